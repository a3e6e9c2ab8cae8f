//! Where a runtime listens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Says why a text names no socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It names another transport.
    #[error("{given:?} is not a Unix socket: write unix:///path/to/the.sock")]
    NotUnix {
        /// The text.
        given: String,
    },
    /// Its path is not absolute.
    #[error("the socket's path in {given:?} does not begin with a slash: write unix:///path/to/the.sock")]
    NotAbsolute {
        /// The text.
        given: String,
    },
}

/// The Unix socket of a container runtime, written `unix:///path`; a bare `/path` is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketEndpoint {
    path: PathBuf,
}

impl SocketEndpoint {
    /// Parses the text.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let path = match text.split_once(':') {
            Some(("unix", rest)) => match rest.strip_prefix("//") {
                Some(path) => path,
                None => rest,
            },
            _ if text.starts_with('/') => text,
            _ => return Err(EndpointError::NotUnix { given: text.to_owned() }),
        };
        if path.starts_with('/') && path.len() > 1 {
            Ok(Self { path: PathBuf::from(path) })
        } else {
            Err(EndpointError::NotAbsolute { given: text.to_owned() })
        }
    }

    /// Returns the socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what listens there, as far as the name of the socket tells.
    #[must_use]
    pub fn runtime_name(&self) -> &'static str {
        let file = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if file.contains("containerd") {
            "containerd"
        } else if file.contains("crio") {
            "CRI-O"
        } else {
            "the container runtime"
        }
    }
}

impl FromStr for SocketEndpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for SocketEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_named_as_kubelet_names_it() {
        let path = |text: &str| SocketEndpoint::parse(text).map(|endpoint| endpoint.to_string());
        let expect = Ok("unix:///run/containerd/containerd.sock".to_owned());
        assert_eq!(path("unix:///run/containerd/containerd.sock"), expect);
        assert_eq!(path("unix:/run/containerd/containerd.sock"), expect);
        assert_eq!(path("/run/containerd/containerd.sock"), expect);
    }

    #[test]
    fn what_is_no_socket_is_refused_with_the_form_to_write() {
        for given in ["tcp://localhost:2375", "npipe:////./pipe/containerd", "containerd", ""] {
            let error = SocketEndpoint::parse(given).expect_err(given);
            assert_eq!(error, EndpointError::NotUnix { given: given.to_owned() });
        }
        for given in ["unix://run/x.sock", "unix://", "unix:///", "unix:run"] {
            let error = SocketEndpoint::parse(given).expect_err(given);
            assert_eq!(error, EndpointError::NotAbsolute { given: given.to_owned() });
            assert!(error.to_string().contains("write unix:///path"), "{error}");
        }
    }

    #[test]
    fn the_runtime_is_guessed_from_the_sockets_name() {
        let name = |text| SocketEndpoint::parse(text).expect("a socket").runtime_name();
        assert_eq!(name("unix:///run/k3s/containerd/containerd.sock"), "containerd");
        assert_eq!(name("unix:///run/crio/crio.sock"), "CRI-O");
        assert_eq!(name("unix:///run/containerd/other.sock"), "the container runtime");
    }
}

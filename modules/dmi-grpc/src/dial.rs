//! The way to the other end's socket.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::socket::PATH_BYTES_MAX;

/// How long a socket may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepares a connection to a socket. It is made when it is first used, and again when it broke.
#[must_use]
pub fn channel(path: &Path) -> Channel {
    let path = path.to_owned();
    let connect = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The authority goes into each request's header and names nothing.
    Endpoint::from_static("http://localhost")
        .connect_timeout(CONNECT_TIMEOUT)
        .connect_with_connector_lazy(connect)
}

/// Reads a socket's path as a mapper announces it: absolute, perhaps with `unix:` or `unix://` before it.
/// `None` if it is none.
#[must_use]
pub fn socket_path(address: &[u8]) -> Option<PathBuf> {
    let path = [&b"unix://"[..], b"unix:"].iter().find_map(|scheme| address.strip_prefix(*scheme));
    let path = path.unwrap_or(address);
    let is_path = path.first() == Some(&b'/') && path.len() <= PATH_BYTES_MAX && !path.contains(&0);
    is_path.then(|| PathBuf::from(OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_s_path_is_absolute() {
        for (address, expect) in [
            (&b"/etc/kubeedge/modbus.sock"[..], Some("/etc/kubeedge/modbus.sock")),
            (b"unix:///run/m.sock", Some("/run/m.sock")),
            (b"unix:/run/m.sock", Some("/run/m.sock")),
            (b"", None),
            (b"m.sock", None),
            (b"127.0.0.1:8000", None),
            (b"/a\0b", None),
        ] {
            assert_eq!(socket_path(address), expect.map(PathBuf::from), "{address:?}");
        }
        assert_eq!(socket_path(&[b'/'; 108]), None);
    }
}

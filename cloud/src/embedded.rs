//! The embedded API server as a process has it: over a store, with its own authority, behind HTTPS.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use apiserver::{ApiServer, Identity, NodeLogs, OpenError, Options, SigningKey};
use beehive::{Clock, SystemClock};
use store::SharedMedium;
use tokio::sync::oneshot;

use crate::https::authority::write_private;
use crate::https::{Authority, AuthorityError, HttpsError, HttpsLimits, HttpsListener, write_kubeconfig};

const SIGNING_KEY_FILE: &str = "service-accounts.key";
/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// What an embedded API server is given.
#[derive(Debug)]
pub struct EmbeddedOptions {
    /// Keeps the objects.
    pub store: SharedMedium,
    /// Holds the authority's files and the signing key; made if it is missing.
    pub directory: PathBuf,
    /// Where to listen.
    pub address: SocketAddr,
    /// Reads container logs.
    pub logs: Arc<dyn NodeLogs>,
}

/// Says why the embedded API server does not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The objects could not be opened.
    #[error("the API server's objects could not be opened")]
    Objects(#[from] OpenError),
    /// The authority or a certificate is of no use.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The signing key is of no use.
    #[error("the signing key {} is of no use: {problem}", path.display())]
    SigningKey {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Nothing listens.
    #[error(transparent)]
    Https(#[from] HttpsError),
    /// The system refused something.
    #[error("the system refused {what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        #[source]
        cause: io::Error,
    },
}

/// An API server that listens. Dropping it stops the listener.
///
/// Requests from outside are served on a thread of their own, so that no client makes the modules
/// wait.
#[derive(Debug)]
pub struct Embedded {
    server: ApiServer,
    authority: Arc<Authority>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the server and begins to listen.
    ///
    /// # Errors
    ///
    /// When the store, the authority's files or the address cannot be used.
    pub async fn open(options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let EmbeddedOptions { store, directory, address, logs } = options;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let authority = Arc::new(Authority::open(&directory, Arc::clone(&clock))?);
        let key = signing_key(&directory.join(SIGNING_KEY_FILE))?;
        let seed = node_config::random_seed()
            .map_err(|cause| EmbeddedError::System { what: "randomness", cause })?;
        let mut server = Options::new(clock, seed, key);
        server.ca_certificate = authority.certificate_pem().to_owned();
        server.address = address.to_string();
        server.logs = logs;
        let server = ApiServer::open(store, server).await?;
        let (stop, stopped) = oneshot::channel();
        let (thread, address) = listen(address, Arc::clone(&authority), server.clone(), stopped).await?;
        Ok(Self { server, authority, address, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the server.
    #[must_use]
    pub fn server(&self) -> ApiServer {
        self.server.clone()
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a client within this process that may do everything.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        client(&self.server)
    }

    /// Writes a kubeconfig for the cluster's administrator, readable by its owner only.
    ///
    /// # Errors
    ///
    /// When no certificate can be issued or the file cannot be written.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<(), EmbeddedError> {
        let user = "kubernetes-admin";
        let issued = self.authority.issue_client(user, MASTERS)?;
        let url = format!("https://{}", reachable(self.address));
        Ok(write_kubeconfig(path, &url, self.authority.certificate_pem(), user, &issued)?)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the API server's listener panicked");
        }
    }
}

/// Returns a client of a server within this process that may do everything.
pub(crate) fn client(server: &ApiServer) -> kube::Client {
    let identity = Identity::new("system:kubeedge:cloudcore", [MASTERS]);
    kube::Client::new(server.client_service(identity), "default")
}

/// A server that listens everywhere is reached here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        let loopback = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    address
}

async fn listen(
    address: SocketAddr,
    authority: Arc<Authority>,
    server: ApiServer,
    stopped: oneshot::Receiver<()>,
) -> Result<(JoinHandle<()>, SocketAddr), EmbeddedError> {
    let refused = |what| move |cause| EmbeddedError::System { what, cause };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(refused("a runtime"))?;
    let (bound, is_bound) = oneshot::channel();
    let serve = async move {
        let names = vec![address.ip().to_string()];
        let listener = HttpsListener::bind(address, authority, names, HttpsLimits::default()).await;
        let (listener, outcome) = match listener {
            Ok(listener) => {
                let address = listener.local_address();
                (Some(listener), address.map_err(refused("its address")))
            }
            Err(error) => (None, Err(error.into())),
        };
        if bound.send(outcome).is_ok()
            && let Some(listener) = listener
        {
            let stopped = async { drop(stopped.await) };
            listener.serve(server, stopped).await;
        }
    };
    let thread = std::thread::Builder::new()
        .name("kube-api".to_owned())
        .spawn(move || runtime.block_on(serve))
        .map_err(refused("a thread"))?;
    let gone = |_| EmbeddedError::System { what: "a listener", cause: io::ErrorKind::BrokenPipe.into() };
    Ok((thread, is_bound.await.map_err(gone)??))
}

/// Reads the key that tokens are signed with; makes it once.
fn signing_key(path: &Path) -> Result<SigningKey, EmbeddedError> {
    let useless = |problem: String| EmbeddedError::SigningKey { path: path.to_owned(), problem };
    match std::fs::read_to_string(path) {
        Ok(text) => {
            parse_key(text.trim()).map(SigningKey::new).ok_or_else(|| useless("not 64 hex digits".into()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret: [u8; 32] = node_config::random_bytes().map_err(|error| useless(error.to_string()))?;
            let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            write_private(path, &format!("{text}\n"))?;
            Ok(SigningKey::new(secret))
        }
        Err(error) => Err(useless(error.to_string())),
    }
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)))
        .collect::<Result<_, _>>()
        .ok()?;
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signing_key_is_made_once_and_a_broken_one_is_not_replaced() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("key");
        signing_key(&path).expect("it is made");
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert!(parse_key(text.trim()).is_some());
        signing_key(&path).expect("it is read");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), text);
        for broken in ["", "zz", "00", &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
            std::fs::write(&path, broken).expect("it is writable");
            assert!(signing_key(&path).is_err(), "{broken:?}");
        }
    }
}

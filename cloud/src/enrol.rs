//! How edges get their certificates, as KubeEdge does it.
//!
//! An authority of the cloud's own signs the certificates of the links. It comes from the files of
//! the configuration, else from secrets of the cluster, else it is made. An edge shows the join
//! token, of which it knows the authority as well, and gets a certificate for its own name.

mod authority;
mod ec_key;
mod material;
mod secrets;
mod server;
mod token;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use beehive::Clock;
use cloudhub::CloudHubConfig;
use link_ws::LinkCertificates;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use self::authority::{EdgeAuthority, is_name};
use self::secrets::{Secrets, Values};
use self::server::Desk;
use crate::tls::server_config;

pub use self::authority::EdgeAuthorityError;
pub use self::material::MaterialError;
pub use self::secrets::SecretError;

const TOKEN_SECRET: &str = "tokensecret";
const TOKEN_KEY: &str = "tokendata";
/// The pause after the token could not be written.
const TOKEN_RETRY: Duration = Duration::from_secs(60);
/// What the cloud is called by its own host.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Says why edges cannot get certificates.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There are no certificates.
    #[error("the certificates for edges could not be had")]
    Material(#[from] MaterialError),
    /// A key cannot be used.
    #[error("the cloud's key is of no use")]
    Key(#[from] EdgeAuthorityError),
    /// The certificates cannot be used for TLS.
    #[error("cannot set up TLS for edges")]
    Tls(#[from] rustls::Error),
    /// The authority cannot verify clients.
    #[error("cannot verify the certificates of edges")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// A name cannot stand in a certificate.
    #[error("cloudHub.dnsNames: {name:?} is no host name")]
    Name {
        /// The name.
        name: String,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
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

impl EnrolError {
    /// Tells whether the same may succeed later, as when the Kubernetes API is away.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Material(MaterialError::Secret(error)) if error.may_pass())
    }
}

/// Gives edges their certificates until it is dropped.
///
/// It runs on a thread of its own, so that nobody who asks makes the modules wait.
#[derive(Debug)]
pub struct Enrolment {
    certificates: Arc<LinkCertificates>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Enrolment {
    /// Finds or makes the certificates and the token, and begins to listen.
    ///
    /// # Errors
    ///
    /// When a file, a secret or the address cannot be used.
    pub async fn open(
        config: &CloudHubConfig,
        client: kube::Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EnrolError> {
        let names = names(config)?;
        let secrets = Secrets::new(client);
        secrets.ensure_namespace().await.map_err(MaterialError::from)?;
        let authority = Arc::new(material::authority(config, &secrets, clock).await?);
        let pair = material::server(config, &secrets, &authority, &names).await?;
        let refresh = Refresh {
            authority: Arc::clone(&authority),
            secrets: secrets.clone(),
            period: Duration::from_secs(u64::from(config.token_refresh_duration) * 3600),
        };
        refresh.write().await.map_err(MaterialError::from)?;
        let tls = server_config::<EnrolError>(
            authority.certificate().clone(),
            pair.chain.clone(),
            pair.private_key()?,
            &[b"http/1.1"],
        )?;
        let tls = TlsAcceptor::from(Arc::new(tls));
        let certificates = Arc::new(LinkCertificates {
            authorities: vec![authority.certificate().clone()],
            chain: pair.chain.clone(),
            key: pair.private_key()?,
        });
        let desk = Desk { authority, secrets, days: config.edge_cert_signing_duration };
        let ip: IpAddr = config.https.address.parse().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let address = SocketAddr::new(ip, config.https.port);
        let (stop, stopped) = oneshot::channel();
        let (thread, address) = start(address, tls, desk, refresh, stopped)?;
        tracing::info!(%address, names = names.join(","), "giving edges their certificates");
        tracing::info!(
            "the join token: keadm gettoken --kubeconfig FILE, or \
             kubectl -n kubeedge get secret tokensecret -o jsonpath={{.data.tokendata}} | base64 -d"
        );
        Ok(Self { certificates, address, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the certificates of the cloud's end of the links.
    #[must_use]
    pub fn certificates(&self) -> Arc<LinkCertificates> {
        Arc::clone(&self.certificates)
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Enrolment {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the server of certificates panicked");
        }
    }
}

/// Makes the join token anew in time.
struct Refresh {
    authority: Arc<EdgeAuthority>,
    secrets: Secrets,
    period: Duration,
}

impl Refresh {
    async fn write(&self) -> Result<(), SecretError> {
        let ends = self.authority.now() + self.period * 2;
        let token = token::make(self.authority.certificate(), self.authority.key(), ends);
        let values = Values::from([(TOKEN_KEY.to_owned(), token.into_bytes())]);
        self.secrets.write(TOKEN_SECRET, &values).await
    }

    async fn run(&self) {
        let mut pause = self.period;
        loop {
            sleep(pause).await;
            pause = match self.write().await {
                Ok(()) => self.period,
                Err(error) => {
                    tracing::warn!(%error, "the join token could not be made anew");
                    TOKEN_RETRY
                }
            };
        }
    }
}

fn start(
    address: SocketAddr,
    tls: TlsAcceptor,
    desk: Desk,
    refresh: Refresh,
    stopped: oneshot::Receiver<()>,
) -> Result<(JoinHandle<()>, SocketAddr), EnrolError> {
    let refused = |what| move |cause| EnrolError::System { what, cause };
    let unbound = |cause| EnrolError::Bind { address, cause };
    let listener = std::net::TcpListener::bind(address).map_err(unbound)?;
    listener.set_nonblocking(true).map_err(unbound)?;
    let bound = listener.local_addr().map_err(unbound)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(refused("a runtime"))?;
    let serve = async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::select! {
                    biased;
                    _ = stopped => {}
                    () = refresh.run() => {}
                    () = server::serve(listener, tls, desk) => {}
                }
            }
            Err(error) => tracing::error!(%error, "edges get no certificates: the listener is of no use"),
        }
    };
    let thread = std::thread::Builder::new()
        .name("enrol".to_owned())
        .spawn(move || runtime.block_on(serve))
        .map_err(refused("a thread"))?;
    Ok((thread, bound))
}

/// Returns the names by which edges reach the cloud: those that are configured, those of its own
/// host, and where no address is configured the one that this host uses.
fn names(config: &CloudHubConfig) -> Result<Vec<String>, EnrolError> {
    let mut names: Vec<String> = OWN_NAMES.iter().map(|&name| name.to_owned()).collect();
    let mut add = |name: &str| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    for name in config.advertise_address.iter().chain(&config.dns_names) {
        if !is_name(name) {
            return Err(EnrolError::Name { name: name.clone() });
        }
        add(name);
    }
    if config.advertise_address.is_empty()
        && let Some(address) = outgoing_address()
    {
        add(&address.to_string());
    }
    Ok(names)
}

/// Returns the address from which this host would reach others. Nothing is sent.
fn outgoing_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // An address for documentation: whatever the default route serves.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

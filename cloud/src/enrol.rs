//! How edges get their certificates, as KubeEdge does it.
//!
//! An authority of the cloud's own signs the certificates of the links. It comes from the files of
//! the configuration, else from secrets of the cluster, else it is made. An edge shows the join
//! token, of which it knows the authority as well, and gets a certificate for its own name.

mod authority;
mod ec_key;
mod material;
mod refresh;
mod reload;
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
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wire::link::LinkError;

use self::authority::is_name;
use self::refresh::Refresh;
use self::reload::{Reload, Shown};
use self::secrets::Secrets;
use self::server::{Desk, DeskLimits};
use crate::tls::Live;

pub use self::authority::EdgeAuthorityError;
pub use self::material::MaterialError;
pub use self::secrets::SecretError;

/// How often files and secrets are looked at for other certificates.
const RELOAD_PERIOD: Duration = Duration::from_secs(60);
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
    /// The certificates cannot be used for links.
    #[error("cannot set up the links of edges")]
    Link(#[from] LinkError),
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
    shown: Shown,
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
        Self::open_looking_every(RELOAD_PERIOD, config, client, clock).await
    }

    /// Does the same, and looks for other certificates once in `period`.
    ///
    /// # Errors
    ///
    /// When a file, a secret or the address cannot be used.
    pub async fn open_looking_every(
        period: Duration,
        config: &CloudHubConfig,
        client: kube::Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EnrolError> {
        let names = names(config)?;
        let secrets = Secrets::new(client);
        secrets.ensure_namespace().await.map_err(MaterialError::from)?;
        let authority = material::authority(config, &secrets, Arc::clone(&clock)).await?;
        let pair = material::server(config, &secrets, &authority, &names).await?;
        let shown = Shown::new(authority, &pair)?;
        let refresh = Refresh {
            authority: Arc::clone(&shown.authority),
            secrets: secrets.clone(),
            period: Duration::from_secs(u64::from(config.token_refresh_duration) * 3600),
        };
        refresh.write().await.map_err(MaterialError::from)?;
        let desk = Desk {
            authority: Arc::clone(&shown.authority),
            secrets: secrets.clone(),
            days: config.edge_cert_signing_duration,
        };
        let ip: IpAddr = config.https.address.parse().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let address = SocketAddr::new(ip, config.https.port);
        let known_as = names.join(",");
        let of_reload = shown.clone();
        let reload = Reload { config: config.clone(), names, secrets, clock, shown: of_reload, pair, period };
        let (stop, stopped) = oneshot::channel();
        let (thread, address) = start(address, desk, refresh, reload, stopped)?;
        tracing::info!(%address, names = known_as, "giving edges their certificates");
        tracing::info!(
            "the join token: keadm gettoken --kubeconfig FILE, or \
             kubectl -n kubeedge get secret tokensecret -o jsonpath={{.data.tokendata}} | base64 -d"
        );
        Ok(Self { shown, address, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns what the cloud's end of the links shows and believes, as it is at the moment.
    #[must_use]
    pub fn certificates(&self) -> Arc<Live<ServerConfig>> {
        Arc::clone(&self.shown.links)
    }

    /// Returns the authority of the edges, as it is at the moment.
    #[must_use]
    pub fn authority(&self) -> CertificateDer<'static> {
        self.shown.authority.get().certificate().clone()
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

fn start(
    address: SocketAddr,
    desk: Desk,
    refresh: Refresh,
    reload: Reload,
    stopped: oneshot::Receiver<()>,
) -> Result<(JoinHandle<()>, SocketAddr), EnrolError> {
    let refused = |what| move |cause| EnrolError::System { what, cause };
    let unbound = |cause| EnrolError::Bind { address, cause };
    let listener = std::net::TcpListener::bind(address).map_err(unbound)?;
    listener.set_nonblocking(true).map_err(unbound)?;
    let bound = listener.local_addr().map_err(unbound)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(refused("a runtime"))?;
    let tls = Arc::clone(&reload.shown.desk);
    let serve = async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::select! {
                    biased;
                    _ = stopped => {}
                    () = refresh.run() => {}
                    () = server::serve(listener, tls, desk, DeskLimits::default()) => {}
                    () = reload.run(&refresh) => {}
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

//! Edges reach the cloud over QUIC, with the certificates of WebSocket.
//!
//! What fails, stalls or is not what it should be ends alone, as with WebSocket. Of what comes while many
//! handshakes are under way it is asked first that its address is its own, which costs the cloud nothing
//! to remember.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use link_quic::{Alert, Introduced, Refusal, alert, link_error};
use quinn::{Connection, ConnectionError, Endpoint, EndpointConfig, TokioRuntime};
use rustls::{AlertDescription, CertificateError, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use wire::link::{Accepted, Incoming, LinkError, ListenOn, Listener, Transport};

use crate::accept::{BACKLOG, CROWDED_PART, Places, in_time, place};
use crate::certificates::{self, RELOAD_PERIOD};
use crate::peer::{self, ClaimError};
use crate::tls::{Live, doubt_of};

/// The part of the places from which on an address has to be shown to be true first.
const DOUBTED_PART: usize = 4;
/// How often a port is tried that an ended listener still holds, and the pause between: its connections
/// say goodbye.
const BINDS: (u32, Duration) = (20, Duration::from_millis(200));

/// Listens for edges over QUIC.
#[derive(Clone, Default)]
pub struct QuicListener {
    certificates: Option<Arc<Live<ServerConfig>>>,
}

impl QuicListener {
    /// Makes a listener with certificates that are given, instead of files.
    #[must_use]
    pub fn certified(certificates: Arc<Live<ServerConfig>>) -> Self {
        Self { certificates: Some(certificates) }
    }
}

impl fmt::Debug for QuicListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QuicListener")
    }
}

#[async_trait]
impl Listener for QuicListener {
    fn transport(&self) -> Transport {
        Transport::Quic
    }

    async fn listen(&self, on: ListenOn) -> Result<Box<dyn Incoming>, LinkError> {
        Ok(Box::new(match &self.certificates {
            Some(certificates) => QuicIncoming::bind_with(on, certificates).await?,
            None => QuicIncoming::bind_looking_every(RELOAD_PERIOD, on).await?,
        }))
    }
}

/// A bound socket and the tasks that do its handshakes.
#[derive(Debug)]
pub struct QuicIncoming {
    endpoint: Endpoint,
    address: SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
    tasks: JoinSet<()>,
}

impl QuicIncoming {
    /// Binds the socket and begins to accept; looks at the certificate files once in `period`. Files that
    /// change are used from the next connection on.
    ///
    /// # Errors
    ///
    /// When a certificate file is of no use or the address cannot be bound.
    pub async fn bind_looking_every(period: Duration, on: ListenOn) -> Result<Self, LinkError> {
        let (tls, looking) = certificates::of_files(on.tls.clone(), period).await?;
        let mut incoming = Self::bind_with(on, &tls).await?;
        incoming.tasks.spawn(looking);
        Ok(incoming)
    }

    /// Does the same with certificates that are given; the files of `on` are not read.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub async fn bind_with(on: ListenOn, tls: &Arc<Live<ServerConfig>>) -> Result<Self, LinkError> {
        let at = place(&on);
        let unusable =
            |error: std::io::Error| LinkError::Local(format!("cannot listen on {at}/udp: {error}"));
        let shown = Shown::new(Arc::clone(tls), on.handshakes_max)?;
        let socket = bind(&at).await.map_err(unusable)?;
        let server = quinn::ServerConfig::clone(&shown.made);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))
            .map_err(unusable)?;
        let address = endpoint.local_addr().map_err(unusable)?;
        tracing::info!(%address, "listening for edges over QUIC");
        let (sender, accepted) = mpsc::channel(BACKLOG);
        let door = Door { sender, on };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(endpoint.clone(), shown, door));
        Ok(Self { endpoint, address, accepted, tasks })
    }

    /// Returns the address that was bound, useful when the port was 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for QuicIncoming {
    fn drop(&mut self) {
        // Links that were handed out go on; who comes from now on gets no answer.
        self.endpoint.set_server_config(None);
    }
}

#[async_trait]
impl Incoming for QuicIncoming {
    async fn accept(&mut self) -> Result<Accepted, LinkError> {
        self.accepted.recv().await.ok_or(LinkError::Closed)
    }
}

async fn bind(at: &str) -> std::io::Result<UdpSocket> {
    let (tries, pause) = BINDS;
    for _ in 1..tries {
        match UdpSocket::bind(at) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => sleep(pause).await,
            bound => return bound,
        }
    }
    UdpSocket::bind(at)
}

/// What the next connection is shown: the settings of QUIC, made of TLS as it is at the moment.
struct Shown {
    tls: Arc<Live<ServerConfig>>,
    early_max: usize,
    made_of: Arc<ServerConfig>,
    made: Arc<quinn::ServerConfig>,
}

impl Shown {
    fn new(tls: Arc<Live<ServerConfig>>, early_max: usize) -> Result<Self, LinkError> {
        let made_of = tls.get();
        let made = Arc::new(link_quic::server_config(ServerConfig::clone(&made_of), early_max)?);
        Ok(Self { tls, early_max, made_of, made })
    }

    fn config(&mut self) -> Result<Arc<quinn::ServerConfig>, LinkError> {
        if !Arc::ptr_eq(&self.made_of, &self.tls.get()) {
            *self = Self::new(Arc::clone(&self.tls), self.early_max)?;
        }
        Ok(Arc::clone(&self.made))
    }
}

/// What a handshake needs.
#[derive(Clone)]
struct Door {
    sender: mpsc::Sender<Accepted>,
    on: ListenOn,
}

async fn accept(endpoint: Endpoint, mut shown: Shown, door: Door) {
    let (at_once, patience) = (door.on.handshakes_max, door.on.handshake_timeout / CROWDED_PART);
    let doubted_from = (at_once / DOUBTED_PART).max(1);
    let mut handshakes = JoinSet::new();
    let mut places = Places::new(at_once, Some(patience), &mut handshakes);
    while let Some(incoming) = endpoint.accept().await {
        let address = incoming.remote_address();
        if places.taken() >= doubted_from && !incoming.remote_address_validated() {
            if incoming.retry().is_err() {
                tracing::debug!(%address, "a connection could not be asked for its address");
            }
            continue;
        }
        places.free().await;
        match shown.config() {
            Ok(config) => places.serve(|give_way| enter(door.clone(), incoming, config, give_way)),
            Err(error) => tracing::warn!(%error, "the certificates are of no use over QUIC"),
        }
    }
}

async fn enter(
    door: Door,
    incoming: quinn::Incoming,
    config: Arc<quinn::ServerConfig>,
    give_way: oneshot::Receiver<Duration>,
) {
    let address = incoming.remote_address();
    match in_time(door.on.handshake_timeout, give_way, handshake(&door, incoming, config, address)).await {
        Ok(accepted) => {
            if door.sender.send(accepted).await.is_err() {
                tracing::debug!(%address, "nobody takes connections any more");
            }
        }
        Err(error) => tracing::info!(%address, %error, "a connection over QUIC failed"),
    }
}

/// A connection whose end, for whatever reason, tells the peer that it was too slow, until it is kept.
struct Hasty(Option<Connection>);

impl Drop for Hasty {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            // Closing one that is closed changes nothing.
            Refusal::TooSlow.tell(&connection, "the handshake took too long");
        }
    }
}

async fn handshake(
    door: &Door,
    incoming: quinn::Incoming,
    config: Arc<quinn::ServerConfig>,
    address: SocketAddr,
) -> Result<Accepted, LinkError> {
    let connection = async { incoming.accept_with(config)?.await }.await.map_err(|error| failed(&error))?;
    let mut hasty = Hasty(Some(connection.clone()));
    let identity = peer::identity(&certificates(&connection))?;
    let introduced = Introduced::hear(connection.clone()).await.map_err(|error| {
        // TLS may end what it let in at first.
        connection.close_reason().map_or(error, |reason| failed(&reason))
    })?;
    let claimed = introduced.claimed.clone();
    if let Err(error) = peer::check(&identity, &claimed) {
        let refusal = match error {
            ClaimError::Name(_) => Refusal::Malformed,
            ClaimError::AnotherNode { .. } => Refusal::Forbidden,
        };
        refusal.tell(&connection, &error.to_string());
        return Err(LinkError::Handshake(error.to_string()));
    }
    let (codec, link) = introduced.welcome(door.on.frame_bytes_max).await?;
    hasty.0 = None;
    let address = address.to_string();
    Ok(Accepted { identity, claimed, codec, transport: Transport::Quic, address, link })
}

fn certificates(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection.peer_identity().and_then(|identity| identity.downcast().ok());
    identity.map(|certificates| *certificates).unwrap_or_default()
}

/// Says why a handshake failed, and what that means where it is about who trusts whom.
fn failed(error: &ConnectionError) -> LinkError {
    let doubt = alert(error).and_then(problem).and_then(|problem| doubt_of(&problem));
    match (link_error(error), doubt) {
        (LinkError::Handshake(text), Some(doubt)) => LinkError::Handshake(format!("{text}: {doubt}")),
        (error, _) => error,
    }
}

/// Returns the error of TLS that an alert stands for.
fn problem(alert: Alert) -> Option<rustls::Error> {
    match alert {
        Alert::Received(description) => Some(rustls::Error::AlertReceived(description)),
        Alert::Sent(AlertDescription::CertificateRequired) => Some(rustls::Error::NoCertificatesPresented),
        Alert::Sent(AlertDescription::CertificateExpired) => Some(CertificateError::Expired.into()),
        Alert::Sent(AlertDescription::UnknownCA | AlertDescription::BadCertificate) => {
            Some(CertificateError::UnknownIssuer.into())
        }
        Alert::Sent(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_alert_means_is_said() {
        for (alert, expected) in [
            (Alert::Received(AlertDescription::UnknownCA), "its clock is wrong"),
            (Alert::Sent(AlertDescription::CertificateRequired), "it has no certificate"),
            (Alert::Sent(AlertDescription::CertificateExpired), "it ended"),
            (Alert::Sent(AlertDescription::UnknownCA), "another authority"),
        ] {
            let said = problem(alert).and_then(|problem| doubt_of(&problem)).expect("it is about trust");
            assert!(said.contains(expected), "{said}");
        }
        assert_eq!(problem(Alert::Sent(AlertDescription::NoApplicationProtocol)), None);
    }
}

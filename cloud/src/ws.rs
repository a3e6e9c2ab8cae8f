//! Edges reach the cloud over WebSocket and TLS, with certificates on both sides.
//!
//! A connection that fails, stalls or is not what it should be ends alone: it is logged and
//! forgotten. At most so many are in their handshake at a time, each for a limited time, and for less
//! while others wait for a place: peers that stall keep nobody out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use link_ws::{header, link, settings};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use wire::Codec;
use wire::link::{Accepted, Identity, Incoming, LinkError, ListenOn, Listener, Transport};

use crate::accept::{BACKLOG, CROWDED_PART, accept_giving_way, in_time, place};
use crate::certificates::{self, RELOAD_PERIOD};
use crate::peer::{self, ClaimError};
use crate::tls::{Live, doubt};

/// Listens for edges over WebSocket and TLS.
#[derive(Debug, Clone, Default)]
pub struct WsListener;

#[async_trait]
impl Listener for WsListener {
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn Incoming>, LinkError> {
        Ok(Box::new(WsIncoming::bind(on).await?))
    }
}

/// Listens as [`WsListener`] does, with certificates that it was given instead of files.
#[derive(Debug, Clone)]
pub struct CertifiedListener(pub Arc<Live<ServerConfig>>);

#[async_trait]
impl Listener for CertifiedListener {
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn Incoming>, LinkError> {
        Ok(Box::new(WsIncoming::bind_with(on, &self.0).await?))
    }
}

/// A bound socket and the tasks that do its handshakes.
#[derive(Debug)]
pub struct WsIncoming {
    address: SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
    tasks: JoinSet<()>,
}

impl WsIncoming {
    /// Binds the socket and begins to accept. Files that change are used from the next connection on.
    ///
    /// # Errors
    ///
    /// When a certificate file is of no use or the address cannot be bound.
    pub async fn bind(on: ListenOn) -> Result<Self, LinkError> {
        Self::bind_looking_every(RELOAD_PERIOD, on).await
    }

    /// Does the same, and looks at the files once in `period`.
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
        let unusable = |error: std::io::Error| LinkError::Local(format!("cannot listen on {at}: {error}"));
        let socket = TcpListener::bind(&at).await.map_err(unusable)?;
        let address = socket.local_addr().map_err(unusable)?;
        tracing::info!(%address, "listening for edges");
        let (sender, accepted) = mpsc::channel(BACKLOG);
        let door = Door { tls: Arc::clone(tls), sender, on };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(socket, door));
        Ok(Self { address, accepted, tasks })
    }

    /// Returns the address that was bound, useful when the port was 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[async_trait]
impl Incoming for WsIncoming {
    async fn accept(&mut self) -> Result<Accepted, LinkError> {
        self.accepted.recv().await.ok_or(LinkError::Closed)
    }
}

/// What a handshake needs.
#[derive(Clone)]
struct Door {
    tls: Arc<Live<ServerConfig>>,
    sender: mpsc::Sender<Accepted>,
    on: ListenOn,
}

async fn accept(socket: TcpListener, door: Door) {
    let (at_once, patience) = (door.on.handshakes_max, door.on.handshake_timeout / CROWDED_PART);
    let entering = |stream, address, give_way| enter(door.clone(), stream, address, give_way);
    accept_giving_way(&socket, at_once, patience, &mut JoinSet::new(), entering).await;
}

async fn enter(door: Door, stream: TcpStream, address: SocketAddr, give_way: oneshot::Receiver<Duration>) {
    match in_time(door.on.handshake_timeout, give_way, handshake(&door, stream, address)).await {
        Ok(accepted) => {
            if door.sender.send(accepted).await.is_err() {
                tracing::debug!(%address, "nobody takes connections any more");
            }
        }
        Err(error) => tracing::info!(%address, %error, "a connection failed"),
    }
}

async fn handshake(door: &Door, stream: TcpStream, address: SocketAddr) -> Result<Accepted, LinkError> {
    let failed = |error: String| LinkError::Handshake(error);
    stream.set_nodelay(true).map_err(|error| LinkError::Transport(error.to_string()))?;
    let untrusted = |error: std::io::Error| match doubt(&error) {
        Some(doubt) => failed(format!("{error}: {doubt}")),
        None => failed(error.to_string()),
    };
    let stream = door.tls.acceptor().accept(stream).await.map_err(untrusted)?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let identity = peer::identity(certificates)?;
    let mut claim = None;
    let upgrade = Upgrade { identity: &identity, claim: &mut claim };
    let socket = accept_hdr_async_with_config(stream, upgrade, Some(settings(door.on.frame_bytes_max)))
        .await
        .map_err(|error| failed(refused(error)))?;
    let Claim { node, codec } = claim.ok_or_else(|| failed("no upgrade".to_owned()))?;
    Ok(Accepted {
        identity,
        claimed: node,
        codec,
        transport: Transport::WebSocket,
        address: address.to_string(),
        link: link(socket),
    })
}

/// What the HTTP upgrade says.
struct Claim {
    node: String,
    codec: Codec,
}

struct Upgrade<'a> {
    identity: &'a Identity,
    claim: &'a mut Option<Claim>,
}

impl Callback for Upgrade<'_> {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        let value = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let Some(node) = value(header::NODE) else { return Err(refusal("the header node_id is missing")) };
        check(self.identity, node).map_err(|refused| *refused)?;
        // Upstream's server would upgrade and then never read.
        if value(header::USE) != Some(header::USE_MESSAGES) {
            return Err(refusal("the header ConnectionUse is not msg"));
        }
        let codec = Codec::of_header(value(Codec::HEADER));
        if let Some(chosen) = codec.header_value() {
            response.headers_mut().insert(Codec::HEADER, HeaderValue::from_static(chosen));
        }
        *self.claim = Some(Claim { node: node.to_owned(), codec });
        Ok(response)
    }
}

/// Refuses who claims to be another node than its certificate is of.
fn check(identity: &Identity, claimed: &str) -> Result<(), Box<ErrorResponse>> {
    peer::check(identity, claimed).map_err(|error| {
        Box::new(match error {
            ClaimError::Name(problem) => refusal(&format!("the header node_id: {problem}")),
            ClaimError::AnotherNode { .. } => {
                let mut response = refusal(&error.to_string());
                *response.status_mut() = StatusCode::FORBIDDEN;
                response
            }
        })
    })
}

fn refusal(text: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(format!("{text}\n")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// Says why an upgrade was refused, where it was.
fn refused(error: Error) -> String {
    match error {
        Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            format!("{}: {}", response.status(), String::from_utf8_lossy(body).trim())
        }
        error => error.to_string(),
    }
}

//! The HTTPS server of which edges get the authority and their certificates.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::NodeName;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::authority::{CsrProblem, EdgeAuthority, Subject};
use super::secrets::Secrets;
use super::token;
use crate::accept::accept_giving_way;
use crate::linger::{LingerLimits, Lingering};
use crate::tls::{Live, doubt};

const BODY_BYTES_MAX: usize = 1 << 20;
const CONNECTIONS_MAX: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// All of a connection: an edge makes one request on each.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection has to say what it wants while others wait for a place.
const CROWDED_TIMEOUT: Duration = Duration::from_millis(2500);
const OTHER_PORT: &str = "this is the port for joining, cloudHub.https: \
    edgeHub.websocket.server must have the port of cloudHub.websocket, usually 10000";
/// Go's number of the usage clientAuth.
const CLIENT_AUTH: i64 = 2;

/// What answers edges.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) authority: Arc<Live<EdgeAuthority>>,
    pub(crate) secrets: Secrets,
    /// Days that an edge's certificate is valid.
    pub(crate) days: u32,
}

/// How many may ask at a time, and how long each has to say what it wants while others wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeskLimits {
    pub(crate) connections_max: usize,
    pub(crate) crowded_timeout: Duration,
}

impl Default for DeskLimits {
    fn default() -> Self {
        Self { connections_max: CONNECTIONS_MAX, crowded_timeout: CROWDED_TIMEOUT }
    }
}

type Answer = Response<Full<Bytes>>;

/// A request that is refused.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(StatusCode, String);

/// Serves connections for as long as it is polled. While all places are taken and others wait, whoever has
/// not said what it wants for the longest time gives way; what was asked for is answered.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<Live<ServerConfig>>,
    desk: Desk,
    limits: DeskLimits,
) {
    let serving = |stream, peer, give_way: oneshot::Receiver<Duration>| {
        let asked = Arc::new(AtomicBool::new(false));
        let connection = connection(stream, peer, tls.acceptor(), desk.clone(), Arc::clone(&asked));
        let in_the_way = async move {
            if give_way.await.is_err() || asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        async move {
            tokio::select! {
                biased;
                served = timeout(CONNECTION_TIMEOUT, connection) => match served {
                    Ok(Ok(())) => {}
                    Ok(Err(cause)) => tracing::debug!(%peer, %cause, "a request for a certificate failed"),
                    Err(_) => tracing::debug!(%peer, "a request for a certificate took too long"),
                },
                () = in_the_way => tracing::info!(%peer, "a silent connection gave way to another"),
            }
        }
    };
    accept_giving_way(
        &listener,
        limits.connections_max,
        limits.crowded_timeout,
        &mut JoinSet::new(),
        serving,
    )
    .await;
}

async fn connection(
    stream: TcpStream,
    peer_address: SocketAddr,
    tls: TlsAcceptor,
    desk: Desk,
    asked: Arc<AtomicBool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = Lingering::new(stream, LingerLimits::default());
    let stream = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await?;
    let stream = stream.inspect_err(|error| {
        if let Some(doubt) = doubt(error) {
            tracing::warn!(%peer_address, %error, doubt, "an edge could not join");
        }
    })?;
    let certificates = stream.get_ref().1.peer_certificates();
    // TLS has checked that it is of the authority and in force.
    let peer = certificates.and_then(|chain| chain.first()).and_then(|leaf| Subject::of_certificate(leaf));
    let service = service_fn(|request| {
        let (desk, peer, asked) = (&desk, peer.as_ref(), &asked);
        async move { Ok::<_, Infallible>(desk.answer(request, peer, asked).await) }
    });
    let mut builder = http1::Builder::new();
    // A connection that was answered leaves its place.
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false);
    Ok(builder.serve_connection(TokioIo::new(stream), service).await?)
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>, peer: Option<&Subject>, asked: &AtomicBool) -> Answer {
        let is_read = request.body().is_end_stream();
        asked.store(is_read, Ordering::Relaxed);
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served");
        }
        let path = request.uri().path();
        if request.headers().contains_key(header::UPGRADE) {
            tracing::warn!(path, "an edge dialed its link to the port for joining");
            return text(StatusCode::BAD_REQUEST, OTHER_PORT);
        }
        if let Some(node) = path.strip_prefix("/node/") {
            return self.find(node).await;
        }
        match path {
            "/ca.crt" => der(self.authority.get().certificate().to_vec()),
            "/edge.crt" => self.certify(request, peer, asked).await,
            _ => text(StatusCode::NOT_FOUND, "404: Page Not Found"),
        }
    }

    async fn find(&self, node: &str) -> Answer {
        let Ok(node) = NodeName::parse(node) else {
            return text(StatusCode::BAD_REQUEST, "the path names no node");
        };
        match self.secrets.has_node(&node).await {
            Ok(true) => text(StatusCode::OK, "Node found"),
            Ok(false) => text(StatusCode::NOT_FOUND, "Node not found"),
            Err(error) => {
                tracing::warn!(%node, %error, "a node could not be looked for");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the Kubernetes API was not reached")
            }
        }
    }

    async fn certify(
        &self,
        request: Request<Incoming>,
        peer: Option<&Subject>,
        asked: &AtomicBool,
    ) -> Answer {
        let (head, body) = request.into_parts();
        let authority = self.authority.get();
        let checked = match admit(&authority, &head.headers, peer) {
            Ok(node) if peer.is_none() => self.check_name(&node).await.map(|()| node),
            checked => checked,
        };
        let outcome = match checked {
            Err(refusal) => Err(refusal),
            Ok(node) => match Limited::new(body, BODY_BYTES_MAX).collect().await {
                Ok(csr) => {
                    asked.store(true, Ordering::Relaxed);
                    sign(&authority, &csr.to_bytes(), &node, self.days).map(|der| (node, der))
                }
                Err(error) => Err(Refusal(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("the body could not be read up to {BODY_BYTES_MAX} bytes: {error}"),
                )),
            },
        };
        match outcome {
            Ok((node, certificate)) => {
                tracing::info!(%node, with_token = peer.is_none(), "a certificate was issued");
                der(certificate)
            }
            Err(Refusal(status, reason)) => {
                let node =
                    head.headers.get("NodeName").and_then(|name| name.to_str().ok()).unwrap_or_default();
                tracing::warn!(node, reason, "a certificate was refused");
                text(status, &reason)
            }
        }
    }

    /// Refuses the name of a node that lives: whoever has a token must not take its place, be it by
    /// mistake. Once that node is gone its name is free.
    async fn check_name(&self, node: &NodeName) -> Result<(), Refusal> {
        match self.secrets.is_ready(node).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(Refusal(
                StatusCode::CONFLICT,
                format!(
                    "a node {node} is Ready: another machine has this name. If this machine was that node, \
                     wait until the cloud takes it for gone, usually 40 seconds"
                ),
            )),
            Err(error) => {
                tracing::warn!(%node, %error, "whether a node of this name lives could not be read");
                let problem = "the cloud did not reach its Kubernetes API to look whether the name is free";
                Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, problem.to_owned()))
            }
        }
    }
}

/// Returns the node for which the caller may have a certificate: with a certificate only its
/// own, with a token the one that it names.
fn admit(
    authority: &EdgeAuthority,
    headers: &HeaderMap,
    peer: Option<&Subject>,
) -> Result<NodeName, Refusal> {
    let bad = |text: String| Refusal(StatusCode::BAD_REQUEST, text);
    let unauthorized = |text: String| Refusal(StatusCode::UNAUTHORIZED, text);
    let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"));
    let node = value("NodeName").ok_or_else(|| bad("the header NodeName is missing".to_owned()))?;
    let node = NodeName::parse(node).map_err(|error| bad(format!("the header NodeName: {error}")))?;
    if let Some(usages) = value("ExtKeyUsages") {
        let usages: Option<Vec<i64>> = serde_json::from_str(usages).ok();
        if usages.is_none_or(|usages| usages.iter().any(|usage| *usage != CLIENT_AUTH)) {
            return Err(bad("the header ExtKeyUsages may only be [2], clientAuth".to_owned()));
        }
    }
    match peer {
        Some(peer) if peer.is_node(&node) => Ok(node),
        Some(peer) => Err(unauthorized(format!(
            "the client's certificate is of {:?}, not of the node {node}",
            peer.names.join(", ")
        ))),
        None => {
            let authorization = value(header::AUTHORIZATION.as_str()).unwrap_or_default();
            if authorization.is_empty() {
                return Err(unauthorized("token validation failure, token is empty".to_owned()));
            }
            let token = authorization.split_once(' ').map(|(_, token)| token).unwrap_or_default();
            token::verify(token, authority.key(), authority.now())
                .map_err(|error| unauthorized(format!("token validation failure: {error}")))?;
            Ok(node)
        }
    }
}

fn sign(authority: &EdgeAuthority, csr: &[u8], node: &NodeName, days: u32) -> Result<Vec<u8>, Refusal> {
    authority.sign(csr, node, days).map_err(|problem| {
        let status = match &problem {
            CsrProblem::NotOne => StatusCode::BAD_REQUEST,
            CsrProblem::OtherSubject { .. } => StatusCode::UNAUTHORIZED,
            CsrProblem::Issue(cause) => {
                tracing::error!(%node, %cause, "a certificate could not be made");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Refusal(status, problem.to_string())
    })
}

fn der(bytes: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::from(bytes));
    let kind = http::HeaderValue::from_static("application/octet-stream");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Full::from(text.to_owned()));
    *answer.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

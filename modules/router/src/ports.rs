//! What the router needs from outside: the Kubernetes API, a listener for REST clients, and a client of REST
//! endpoints.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::rules::Headers;
use tokio::sync::oneshot;

/// The largest body of a request, in bytes: `MaxMessageBytes` of KubeEdge's router. An adapter answers a
/// larger one itself, with 413.
pub const REST_BODY_BYTES_MAX: usize = 12 << 20;

/// The module's ports.
#[derive(Clone)]
pub struct Ports {
    /// Reaches the Kubernetes API.
    pub kube: kube::Client,
    /// Where REST clients come from.
    pub listener: Arc<dyn RestListener>,
    /// Reaches REST endpoints.
    pub client: Arc<dyn RestClient>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

/// The PEM files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with its chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Where and how to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOn {
    /// The address to bind.
    pub address: String,
    /// The port to bind.
    pub port: u16,
    /// With these, HTTPS; without, HTTP.
    pub tls: Option<TlsFiles>,
    /// How long a client may take to send a request. An adapter gives the router some time more to answer.
    pub request_timeout: Duration,
}

/// Says why nothing comes from a listener.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListenError(pub String);

/// Binds addresses.
#[async_trait]
pub trait RestListener: Send + Sync {
    /// Begins to listen. Dropping what is returned ends that.
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn RestCalls>, ListenError>;
}

/// What comes from a listener.
///
/// An adapter bounds how many requests are under way and how many bytes their bodies have together, and
/// answers what is beyond with 503.
#[async_trait]
pub trait RestCalls: Send {
    /// Returns the next request, or why there is none any more.
    ///
    /// Dropping the returned future loses no request.
    async fn next(&mut self) -> Result<RestCall, ListenError>;
}

/// A request with the way back. Dropped unanswered, it is answered with 503.
#[derive(Debug)]
pub struct RestCall {
    /// What is asked.
    pub request: RestRequest,
    /// Where the answer goes. It is closed when the client has left.
    pub answer: oneshot::Sender<RestAnswer>,
}

/// What a REST client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestRequest {
    /// The method.
    pub method: String,
    /// The path with the query, as it came.
    pub uri: String,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// What a REST client is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestAnswer {
    /// The status.
    pub status: u16,
    /// The headers, without those of the connection.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// What an endpoint is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointCall {
    /// The endpoint's URL, `http` or `https`.
    pub url: String,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// The time for all of it.
    pub within: Duration,
    /// The largest answer that is read.
    pub answer_bytes_max: usize,
    /// Authorities that an `https` server may have a certificate of, besides the system's.
    pub ca: Option<PathBuf>,
}

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointAnswer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// Says why an endpoint did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It was not reached, or its connection broke.
    #[error("it was not reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("it did not answer within {0:?}")]
    TimedOut(Duration),
    /// Its answer is too large. It has the message.
    #[error("its answer has more than {0} bytes")]
    TooLarge(usize),
    /// The call cannot be made: trying again is of no use.
    #[error("it cannot be called: {0}")]
    Unfit(String),
}

/// Calls endpoints.
#[async_trait]
pub trait RestClient: Send + Sync {
    /// Posts, and returns the answer, whatever its status. Redirections are not followed.
    async fn post(&self, call: EndpointCall) -> Result<EndpointAnswer, EndpointError>;
}

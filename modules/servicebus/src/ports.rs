//! What the service bus needs from outside: a store, a client of the node's services, and a listener for its
//! applications.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::rules::{Headers, HttpAnswer};
use store::SharedMedium;
use tokio::sync::oneshot;

/// The module's ports.
#[derive(Clone)]
pub struct Ports {
    /// Keeps which URLs applications may have called.
    pub store: SharedMedium,
    /// Reaches services.
    pub services: Arc<dyn ServiceClient>,
    /// Where applications come from.
    pub listener: Arc<dyn AppListener>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

/// A call of a service on this machine's loopback address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCall {
    /// The service's port.
    pub port: u16,
    /// The method.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// The headers, without those of the connection.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// The time for all of it.
    pub within: Duration,
    /// The largest body that is read of the answer.
    pub answer_bytes_max: usize,
}

/// Says why a service did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// It was not reached, or said nothing.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// Its answer broke off.
    #[error("{0}")]
    BrokeOff(String),
    /// Its answer has more bytes than are read.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// HTTP does not allow such a call.
    #[error("{0}")]
    Unfit(String),
}

/// Calls services.
#[async_trait]
pub trait ServiceClient: Send + Sync {
    /// Calls a service and returns what it answered, whatever the status. Redirections are not followed.
    async fn call(&self, call: ServiceCall) -> Result<HttpAnswer, ServiceError>;
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
    /// How long the service bus may take to answer. An adapter waits a little longer.
    pub answer_timeout: Duration,
}

/// Says why nothing comes from a listener.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListenError(pub String);

/// Binds addresses.
#[async_trait]
pub trait AppListener: Send + Sync {
    /// Begins to listen. Dropping what is returned ends that.
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn AppCalls>, ListenError>;
}

/// What applications ask. An adapter bounds how many of them there are.
#[async_trait]
pub trait AppCalls: Send {
    /// Returns the next request, or why there is none any more.
    ///
    /// Dropping the returned future loses no request.
    async fn next(&mut self) -> Result<AppCall, ListenError>;
}

/// A request of an application, whatever its method and path, with the way back.
#[derive(Debug)]
pub struct AppCall {
    /// The body; `None` if it could not be read, or has more than
    /// [`SERVICE_BODY_BYTES_MAX`](protocol::rules::SERVICE_BODY_BYTES_MAX) bytes.
    pub body: Option<Bytes>,
    /// Where the answer goes: a JSON document, always with status 200, as KubeEdge's service bus answers.
    pub answer: oneshot::Sender<Bytes>,
}

//! What the event bus needs from outside: a client of an MQTT 3.1.1 broker, a broker in its process, and a
//! store.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use store::SharedMedium;

use crate::config::Password;
use crate::server::ServerUrl;

/// The module's ports.
#[derive(Clone)]
pub struct Ports {
    /// Reaches brokers.
    pub mqtt: Arc<dyn Mqtt>,
    /// The broker within this process.
    pub broker: Arc<dyn Broker>,
    /// Keeps which topics the rules of the cloud want.
    pub store: SharedMedium,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

/// Says why a connection to a broker is of no use, or never came to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MqttError {
    /// The broker ended the connection.
    #[error("the broker closed the connection")]
    Closed,
    /// The network or the protocol failed.
    #[error("{0}")]
    Transport(String),
    /// The broker is there and does not want this client, or what it asked.
    #[error("the broker refused: {0}")]
    Refused(String),
    /// A message is larger than a client takes.
    #[error("a message exceeds the limit of {max} bytes")]
    TooLarge {
        /// The limit for a packet.
        max: usize,
    },
    /// The broker did not answer.
    #[error("the broker did not answer within {0:?}")]
    TimedOut(Duration),
    /// Local material, such as a certificate file, is missing or broken.
    #[error("{0}")]
    Local(String),
}

/// Who a client says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: Password,
}

/// The PEM files of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that the broker's certificate must chain to.
    pub ca: PathBuf,
    /// The own certificate chain and private key, for brokers that ask for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Where and as whom to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectTo {
    /// The broker.
    pub server: ServerUrl,
    /// The files for TLS, which the scheme `ssl` needs.
    pub tls: Option<TlsFiles>,
    /// The client's id; a broker has one connection for each.
    pub client_id: String,
    /// User and password, if the broker asks for them.
    pub credentials: Option<Credentials>,
    /// Whether the broker is to forget what it knew of the client, and to forget again when it leaves.
    pub is_clean: bool,
    /// After how long without a packet a ping is sent.
    pub keep_alive: Duration,
    /// The time for connecting and all handshakes, and for each answer of the broker.
    pub timeout: Duration,
    /// The largest packet that is taken or sent.
    pub packet_bytes_max: usize,
}

/// How surely a message is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// At most once: QoS 0.
    AtMostOnce,
    /// At least once: QoS 1.
    AtLeastOnce,
    /// Exactly once, as long as both ends keep their sessions: QoS 2.
    ExactlyOnce,
}

/// A message to local clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its topic.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// How surely it is delivered.
    pub qos: Qos,
    /// Whether the broker keeps it for clients that subscribe later.
    pub is_retained: bool,
}

/// What a message that arrived is acknowledged by, to the client that it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt(pub u64);

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Its topic.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// What it is acknowledged by.
    pub receipt: Receipt,
}

/// How a broker within the process serves clients outside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOn {
    /// Where it listens.
    pub address: SocketAddr,
    /// The files for TLS; plain TCP without.
    pub tls: Option<ServerTls>,
    /// Who may connect; everybody if there is none.
    pub user: Option<Credentials>,
    /// How many messages may wait for one client.
    pub queue_max: usize,
    /// The largest packet that is taken, in bytes.
    pub packet_bytes_max: usize,
}

/// The PEM files of a broker's own TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Its certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities to which clients' certificates must chain; without it they need none.
    pub clients: Option<PathBuf>,
}

/// A broker within the process. It outlives the event bus, with its sessions.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Returns the way to it from within the process, which is there whether it serves others or not.
    ///
    /// A client on this way is answered whether its arrivals are read or not. What clients outside of the
    /// process publish for its subscriptions with QoS 1 or 2 is acknowledged to them only once it has
    /// acknowledged it, also while a session of it that is not clean has no connection.
    fn local(&self) -> Arc<dyn Mqtt>;

    /// Serves clients outside of the process, until what it returns is dropped.
    async fn serve(&self, on: ServeOn) -> Result<Box<dyn Serving>, MqttError>;
}

/// A broker that serves. It stops when this is dropped.
pub trait Serving: Send {
    /// Returns where it listens, useful when the port was 0.
    fn address(&self) -> SocketAddr;
}

impl fmt::Debug for dyn Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("address", &self.address()).finish()
    }
}

/// Connects to brokers.
#[async_trait]
pub trait Mqtt: Send + Sync {
    /// Connects within the time that `to` gives.
    async fn connect(&self, to: ConnectTo) -> Result<Connection, MqttError>;
}

/// A connection to a broker. It ends when all of it is dropped.
pub struct Connection {
    /// Whether the broker knew the client and kept its subscriptions and what it has not acknowledged.
    pub is_resumed: bool,
    /// Talks to the broker.
    pub client: Arc<dyn Client>,
    /// What the broker delivers.
    pub arrivals: Box<dyn Arrivals>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_resumed", &self.is_resumed).finish_non_exhaustive()
    }
}

/// Talks to a broker. What it asks is answered only while somebody reads the [`Arrivals`].
#[async_trait]
pub trait Client: Send + Sync {
    /// Subscribes with QoS 1, and returns when the broker has confirmed it.
    async fn subscribe(&self, filter: &str) -> Result<(), MqttError>;

    /// Ends a subscription, and returns when the broker has confirmed it.
    async fn unsubscribe(&self, filter: &str) -> Result<(), MqttError>;

    /// Publishes, and returns when the broker has the message; with QoS 0, when it is sent.
    ///
    /// A message that is [too large](MqttError::TooLarge) does not harm the connection.
    async fn publish(&self, publication: Publication) -> Result<(), MqttError>;

    /// Tells the broker that a message was taken. Receipts are to be given in order of arrival; those of
    /// another connection are nothing to this one.
    ///
    /// Never waits: as many as arrived may be acknowledged at once.
    fn acknowledge(&self, receipt: Receipt) -> Result<(), MqttError>;

    /// Ends the connection in order.
    async fn close(&self);
}

/// What a broker delivers.
#[async_trait]
pub trait Arrivals: Send {
    /// Returns the next message, or why there is none any more.
    ///
    /// Dropping the returned future loses no message. An adapter holds a bounded number of messages, and
    /// beyond these reads no more from the broker.
    async fn next(&mut self) -> Result<Arrived, MqttError>;
}

//! The event bus reaches its broker with MQTT 3.1.1 over TCP or TLS, or within the process.

mod broker;
mod pending;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventbus::ports::{
    Arrivals, Arrived, Client, ConnectTo, Connection, Mqtt, MqttError, Publication, Qos, Receipt,
};
use eventbus::{BrokerUrl, Scheme};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Outgoing,
    Packet, Publish, QoS, StateError, SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use self::broker::EmbeddedBroker;
use self::pending::Pending;

/// Requests on their way to the connection's task: an acknowledgement for each number that a message can
/// have, so that none fails for want of room, and a few others. Brokers need not limit what they send, and
/// the library may read for a while before it writes.
const REQUESTS_MAX: usize = (1 << 16) + 256;
/// Messages that were read and that nobody has taken.
const ARRIVED_MAX: usize = 64;
/// What a packet has besides its topic and its payload, at most.
const OVERHEAD: usize = 16;

/// Connects to brokers with `rumqttc`. TLS files are read for each connection, so that renewed ones are
/// used from the next one on.
#[derive(Debug, Clone, Default)]
pub struct MqttClient;

#[async_trait]
impl Mqtt for MqttClient {
    async fn connect(&self, to: ConnectTo) -> Result<Connection, MqttError> {
        let limit = to.timeout;
        match timeout(limit, connect(to)).await {
            Ok(connected) => connected,
            Err(_) => Err(MqttError::TimedOut(limit)),
        }
    }
}

async fn connect(to: ConnectTo) -> Result<Connection, MqttError> {
    let bytes_max = to.packet_bytes_max;
    let (client, mut events) = AsyncClient::new(options(&to).await?, REQUESTS_MAX);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(to.timeout.as_secs().max(1));
    events.set_network_options(network);
    let is_resumed = match events.poll().await {
        Ok(Event::Incoming(Packet::ConnAck(ack))) => ack.session_present,
        Ok(event) => return Err(MqttError::Transport(format!("the broker began with {event:?}"))),
        Err(error) => return Err(in_words(error, bytes_max, to.timeout)),
    };
    let (arrived, arrivals) = mpsc::channel(ARRIVED_MAX);
    let pending = Arc::new(Pending::default());
    let driver = Driver { pending: Arc::clone(&pending), bytes_max, timeout: to.timeout };
    let mut task = JoinSet::new();
    task.spawn(driver.run(events, arrived));
    Ok(Connection {
        is_resumed,
        client: Arc::new(RumqttcClient { client, pending, bytes_max }),
        arrivals: Box::new(RumqttcArrivals { arrivals, _task: task }),
    })
}

async fn options(to: &ConnectTo) -> Result<MqttOptions, MqttError> {
    let BrokerUrl { scheme, host, port } = &to.server;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    if to.client_id.is_empty() {
        return Err(MqttError::Local("the client id is empty".to_owned()));
    }
    let mut options = MqttOptions::new(&to.client_id, host, *port);
    options.set_keep_alive(to.keep_alive.max(Duration::from_secs(1)));
    options.set_clean_session(to.is_clean);
    options.set_manual_acks(true);
    // What is sent is measured before, since the library would end the connection.
    options.set_max_packet_size(to.packet_bytes_max, usize::MAX);
    if let Some(user) = &to.credentials {
        options.set_credentials(&user.username, user.password.reveal());
    }
    match (scheme, &to.tls) {
        (Scheme::Tcp, _) => {}
        (Scheme::Tls, Some(files)) => {
            let config = Arc::new(tls::client_config(files).await?);
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
        }
        (Scheme::Tls, None) => {
            return Err(MqttError::Local("TLS needs a certificate authority to believe".to_owned()));
        }
    }
    Ok(options)
}

/// The task of a connection: moves packets, and tells who waits for what they say.
struct Driver {
    pending: Arc<Pending>,
    bytes_max: usize,
    timeout: Duration,
}

impl Driver {
    async fn run(self, mut events: EventLoop, arrived: mpsc::Sender<Result<Arrived, MqttError>>) {
        let end = loop {
            match events.poll().await {
                Ok(Event::Outgoing(Outgoing::Disconnect)) => break MqttError::Closed,
                Ok(event) => {
                    if !self.pass(event, &arrived).await {
                        return;
                    }
                }
                Err(error) => break in_words(error, self.bytes_max, self.timeout),
            }
        };
        // What was read in one go with the end comes before it.
        while let Some(event) = events.state.events.pop_front() {
            if !self.pass(event, &arrived).await {
                return;
            }
        }
        // The connection ends before its end is told.
        drop(events);
        self.pending.close();
        if arrived.send(Err(end)).await.is_err() {
            tracing::trace!("nobody waits for the end of the connection");
        }
    }

    /// Tells whoever it concerns. While nobody takes messages none is read: the broker keeps them. Returns
    /// false when nobody will take one any more.
    async fn pass(&self, event: Event, arrived: &mpsc::Sender<Result<Arrived, MqttError>>) -> bool {
        if let Event::Incoming(Packet::Publish(publish)) = event {
            return arrived.send(Ok(received(publish))).await.is_ok();
        }
        self.note(&event);
        true
    }

    fn note(&self, event: &Event) {
        match event {
            Event::Outgoing(Outgoing::Publish(id)) => self.pending.published(*id),
            Event::Outgoing(Outgoing::Subscribe(id)) => self.pending.subscribed(*id),
            Event::Outgoing(Outgoing::Unsubscribe(id)) => self.pending.unsubscribed(*id),
            Event::Incoming(Packet::UnsubAck(ack)) => self.pending.answer(ack.pkid, Ok(())),
            Event::Incoming(Packet::PubAck(ack)) => self.pending.answer(ack.pkid, Ok(())),
            Event::Incoming(Packet::PubComp(complete)) => self.pending.answer(complete.pkid, Ok(())),
            Event::Incoming(Packet::SubAck(ack)) => {
                let is_refused = ack.return_codes.contains(&SubscribeReasonCode::Failure);
                let outcome = if is_refused {
                    Err(MqttError::Refused("it may not subscribe to this".to_owned()))
                } else {
                    Ok(())
                };
                self.pending.answer(ack.pkid, outcome);
            }
            _ => {}
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.pending.close();
    }
}

fn received(publish: Publish) -> Arrived {
    let id = if publish.qos == QoS::AtMostOnce { 0 } else { publish.pkid };
    Arrived { topic: publish.topic, payload: publish.payload, receipt: Receipt(id.into()) }
}

struct RumqttcClient {
    client: AsyncClient,
    pending: Arc<Pending>,
    bytes_max: usize,
}

#[async_trait]
impl Client for RumqttcClient {
    async fn subscribe(&self, filter: &str) -> Result<(), MqttError> {
        let asked = self.pending.subscribe(|| self.client.try_subscribe(filter, QoS::AtLeastOnce).is_ok())?;
        asked.await.unwrap_or(Err(MqttError::Closed))
    }

    async fn unsubscribe(&self, filter: &str) -> Result<(), MqttError> {
        let asked = self.pending.unsubscribe(|| self.client.try_unsubscribe(filter).is_ok())?;
        asked.await.unwrap_or(Err(MqttError::Closed))
    }

    async fn publish(&self, publication: Publication) -> Result<(), MqttError> {
        let Publication { topic, payload, qos, is_retained } = publication;
        if topic.len() + payload.len() + OVERHEAD > self.bytes_max {
            return Err(MqttError::TooLarge { max: self.bytes_max });
        }
        let qos = match qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
            Qos::ExactlyOnce => QoS::ExactlyOnce,
        };
        let asked =
            self.pending.publish(|| self.client.try_publish(topic, qos, is_retained, payload).is_ok())?;
        asked.await.unwrap_or(Err(MqttError::Closed))
    }

    fn acknowledge(&self, receipt: Receipt) -> Result<(), MqttError> {
        let Some(id) = u16::try_from(receipt.0).ok().filter(|id| *id > 0) else { return Ok(()) };
        let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
        publish.pkid = id;
        self.client.try_ack(&publish).map_err(|_| self.pending.why_not())
    }

    async fn close(&self) {
        let closed = self.pending.closed();
        if self.client.try_disconnect().is_ok() {
            closed.await;
        }
    }
}

struct RumqttcArrivals {
    arrivals: mpsc::Receiver<Result<Arrived, MqttError>>,
    /// Ends with this.
    _task: JoinSet<()>,
}

#[async_trait]
impl Arrivals for RumqttcArrivals {
    async fn next(&mut self) -> Result<Arrived, MqttError> {
        self.arrivals.recv().await.unwrap_or(Err(MqttError::Closed))
    }
}

/// Says what ended a connection, for an operator.
fn in_words(error: ConnectionError, bytes_max: usize, timeout: Duration) -> MqttError {
    match error {
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => MqttError::TimedOut(timeout),
        ConnectionError::ConnectionRefused(code) => MqttError::Refused(refusal(code).to_owned()),
        ConnectionError::Io(error) => MqttError::Transport(error.to_string()),
        ConnectionError::MqttState(StateError::Io(error)) => MqttError::Transport(error.to_string()),
        ConnectionError::MqttState(StateError::ConnectionAborted) => MqttError::Closed,
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            MqttError::Transport("the broker did not answer a ping".to_owned())
        }
        ConnectionError::MqttState(StateError::Deserialization(
            rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded(_),
        )) => MqttError::TooLarge { max: bytes_max },
        ConnectionError::MqttState(error) => MqttError::Transport(error.to_string()),
        ConnectionError::RequestsDone => MqttError::Closed,
        error => MqttError::Transport(error.to_string()),
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "nothing",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        ConnectReturnCode::BadClientId => "the client id is not allowed",
        ConnectReturnCode::ServiceUnavailable => "it is not ready",
        ConnectReturnCode::BadUserNamePassword => "the user name or the password is wrong",
        ConnectReturnCode::NotAuthorized => "the user may not connect, or the password is wrong",
    }
}

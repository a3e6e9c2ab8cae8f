//! Clients within this process: the port of the event bus, without a socket in between.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use eventbus::ports::{
    Arrivals, Arrived, Client, ConnectTo, Connection, Mqtt, MqttError, Publication, Qos, Receipt,
};
use tokio::sync::{Notify, oneshot};

use super::core::{End, Origin, Step};
use super::encode::{Delivery, ToClient};
use super::packet::{Connect, FromClient, Publish};
use super::shared::{Presence, Shared, Waker};

/// What a packet has besides its topic and its payload, at most.
const OVERHEAD: usize = 16;
/// Requests of one client that have no answer yet.
const REQUESTS_MAX: usize = 1024;

/// Connects clients within this process.
#[derive(Debug, Clone)]
pub(super) struct LocalMqtt(pub(super) Arc<Shared>);

/// What a client within the process waits for.
#[derive(Debug, Default)]
pub(super) struct LocalLink {
    pub(super) arrived: Notify,
    requests: Mutex<Requests>,
}

#[derive(Debug, Default)]
struct Requests {
    is_closed: bool,
    last: u16,
    waiting: BTreeMap<u16, oneshot::Sender<Result<(), MqttError>>>,
}

impl LocalLink {
    /// Takes an answer, and returns what is to be said to it.
    pub(super) fn answer(&self, packet: ToClient) -> Option<FromClient> {
        let (id, outcome) = match packet {
            ToClient::PubRec(id) => return Some(FromClient::PubRel(id)),
            ToClient::PubAck(id) | ToClient::PubComp(id) | ToClient::UnsubAck(id) => (id, Ok(())),
            ToClient::SubAck(id, codes) if codes.contains(&None) => {
                (id, Err(MqttError::Refused("it may not subscribe to this".to_owned())))
            }
            ToClient::SubAck(id, _) => (id, Ok(())),
            ToClient::Welcome(_)
            | ToClient::Refused(_)
            | ToClient::Publish(_)
            | ToClient::PubRel(_)
            | ToClient::PingResp => return None,
        };
        if let Some(waiting) = self.requests().waiting.remove(&id) {
            // Those that have left miss nothing.
            drop(waiting.send(outcome));
        }
        None
    }

    /// Notes that the connection is over: nobody waits any longer.
    pub(super) fn close(&self) {
        let mut requests = self.requests();
        requests.is_closed = true;
        requests.waiting.clear();
    }

    fn ask(&self) -> Result<(u16, oneshot::Receiver<Result<(), MqttError>>), MqttError> {
        let mut requests = self.requests();
        if requests.is_closed {
            return Err(MqttError::Closed);
        }
        if requests.waiting.len() >= REQUESTS_MAX {
            return Err(MqttError::Transport("too many requests have no answer".to_owned()));
        }
        loop {
            requests.last = requests.last.checked_add(1).unwrap_or(1);
            let id = requests.last;
            if let Entry::Vacant(free) = requests.waiting.entry(id) {
                let (sender, answer) = oneshot::channel();
                free.insert(sender);
                return Ok((id, answer));
            }
        }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Mqtt for LocalMqtt {
    async fn connect(&self, to: ConnectTo) -> Result<Connection, MqttError> {
        let user = to.credentials.map(|it| (it.username, it.password.reveal().as_bytes().to_vec()));
        let connect = Connect {
            client_id: to.client_id,
            is_clean: to.is_clean,
            keep_alive: std::time::Duration::ZERO,
            will: None,
            user,
        };
        let link = Arc::new(LocalLink::default());
        let connected = self.0.connect(connect, Origin::Local, Waker::Local(Arc::clone(&link)));
        let (presence, is_resumed) = connected.map_err(|refusal| MqttError::Refused(refusal.to_string()))?;
        let presence = Arc::new(presence);
        let bytes_max = to.packet_bytes_max;
        Ok(Connection {
            is_resumed,
            client: Arc::new(LocalClient {
                presence: Arc::clone(&presence),
                link: Arc::clone(&link),
                bytes_max,
            }),
            arrivals: Box::new(LocalArrivals { presence, link, bytes_max }),
        })
    }
}

struct LocalClient {
    presence: Arc<Presence>,
    link: Arc<LocalLink>,
    bytes_max: usize,
}

impl LocalClient {
    /// Hands a packet over. Those of clients within the process never wait, since only so many are
    /// unanswered.
    fn tell(&self, packet: FromClient) {
        drop(self.presence.handle(packet));
    }

    /// Asks something, and waits for the answer.
    async fn ask(&self, packet: impl FnOnce(u16) -> FromClient) -> Result<(), MqttError> {
        let (id, answer) = self.link.ask()?;
        self.tell(packet(id));
        answer.await.unwrap_or(Err(MqttError::Closed))
    }
}

#[async_trait]
impl Client for LocalClient {
    async fn subscribe(&self, filter: &str) -> Result<(), MqttError> {
        let filters = vec![(filter.to_owned(), Qos::AtLeastOnce)];
        self.ask(|id| FromClient::Subscribe { id, filters }).await
    }

    async fn unsubscribe(&self, filter: &str) -> Result<(), MqttError> {
        let filters = vec![filter.to_owned()];
        self.ask(|id| FromClient::Unsubscribe { id, filters }).await
    }

    async fn publish(&self, publication: Publication) -> Result<(), MqttError> {
        let Publication { topic, payload, qos, is_retained } = publication;
        if topic.len() + payload.len() + OVERHEAD > self.bytes_max {
            return Err(MqttError::TooLarge { max: self.bytes_max });
        }
        if !protocol::filter::is_topic(&topic) {
            return Err(MqttError::Refused("nothing can be published to this topic".to_owned()));
        }
        let publish = Publish { topic, payload, qos, is_retained, id: 0 };
        if qos == Qos::AtMostOnce {
            if self.link.requests().is_closed {
                return Err(MqttError::Closed);
            }
            self.tell(FromClient::Publish(publish));
            return Ok(());
        }
        self.ask(|id| FromClient::Publish(Publish { id, ..publish })).await
    }

    fn acknowledge(&self, receipt: Receipt) -> Result<(), MqttError> {
        if self.link.requests().is_closed {
            return Err(MqttError::Closed);
        }
        let number = u16::try_from(receipt.0 & 0xffff).unwrap_or_default();
        if number > 0 && receipt.0 >> 16 == self.presence.id.0 {
            self.tell(FromClient::PubAck(number));
        }
        Ok(())
    }

    async fn close(&self) {
        self.presence.end(End::Asked);
    }
}

struct LocalArrivals {
    presence: Arc<Presence>,
    link: Arc<LocalLink>,
    bytes_max: usize,
}

#[async_trait]
impl Arrivals for LocalArrivals {
    async fn next(&mut self) -> Result<Arrived, MqttError> {
        loop {
            match self.presence.step() {
                Step::Send(ToClient::Publish(delivery)) => return self.take(delivery),
                Step::Send(_) => {}
                Step::Wait => self.link.arrived.notified().await,
                Step::End(_) => return Err(MqttError::Closed),
            }
        }
    }
}

impl LocalArrivals {
    fn take(&self, delivery: Delivery) -> Result<Arrived, MqttError> {
        let Delivery { message, id, .. } = delivery;
        if message.bytes() + OVERHEAD > self.bytes_max {
            self.presence.end(End::Lost);
            return Err(MqttError::TooLarge { max: self.bytes_max });
        }
        let receipt = Receipt(if id == 0 { 0 } else { self.presence.id.0 << 16 | u64::from(id) });
        Ok(Arrived { topic: message.topic.clone(), payload: message.payload.clone(), receipt })
    }
}

impl Drop for LocalArrivals {
    /// A client whose reader is gone is none.
    fn drop(&mut self) {
        self.presence.end(End::Lost);
    }
}

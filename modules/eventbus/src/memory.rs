//! A broker in memory, for tests and simulations.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::filter::{is_filter, is_topic, matches};
use crate::ports::{
    Arrivals, Arrived, Broker, Client, ConnectTo, Connection, Credentials, Mqtt, MqttError, Publication, Qos,
    Receipt, ServeOn, Serving,
};

/// Messages that one client has not acknowledged, and those that wait for it: mosquitto's defaults.
const UNACKNOWLEDGED_MAX: usize = 20;
const WAITING_MAX: usize = 1000;

/// A broker in memory. Clones are the same broker.
#[derive(Clone, Default)]
pub struct MemoryBroker(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_away: bool,
    refuses_to_serve: bool,
    user: Option<Credentials>,
    /// Filters that nobody may subscribe to.
    refused: Vec<String>,
    sessions: BTreeMap<String, Session>,
    retained: BTreeMap<String, Publication>,
    connections: u64,
    log: Vec<String>,
}

#[derive(Default)]
struct Session {
    is_clean: bool,
    /// The number of the connection, and what wakes its reader.
    connection: Option<(u64, Arc<Notify>)>,
    filters: Vec<String>,
    waiting: VecDeque<Publication>,
    /// What was delivered and is to be acknowledged, oldest first.
    delivered: VecDeque<(Receipt, Publication)>,
    receipts: u64,
    packet_bytes_max: usize,
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryBroker")
    }
}

impl MemoryBroker {
    /// Makes a broker without clients.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets only this user in.
    pub fn admit_only(&self, user: Credentials) {
        self.state().user = Some(user);
    }

    /// Refuses subscriptions to this filter.
    pub fn refuse(&self, filter: &str) {
        self.state().refused.push(filter.to_owned());
    }

    /// Makes it unable to listen, as when its port is taken, or able again.
    pub fn refuse_to_serve(&self, refuses: bool) {
        self.state().refuses_to_serve = refuses;
    }

    /// Takes the broker away, or brings it back. Its sessions that are not clean outlive that.
    pub fn set_away(&self, is_away: bool) {
        self.state().is_away = is_away;
        if is_away {
            self.cut();
        }
    }

    /// Ends all connections.
    pub fn cut(&self) {
        let mut state = self.state();
        let ids: Vec<String> = state.sessions.keys().cloned().collect();
        ids.iter().for_each(|id| state.end(id, None));
    }

    /// Returns what was done since this was last called: `connect <id>`, `subscribe <filter>`, `unsubscribe
    /// <filter>` and `disconnect <id>` by clients, `serve <address>` and `stop <address>` by the process.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    /// Returns how many messages a client has not acknowledged, and how many wait for it.
    #[must_use]
    pub fn backlog(&self, client_id: &str) -> (usize, usize) {
        let state = self.state();
        state
            .sessions
            .get(client_id)
            .map_or((0, 0), |session| (session.delivered.len(), session.waiting.len()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends a client's connection, if it is this one.
    fn end(&mut self, client_id: &str, only: Option<u64>) {
        let Some(session) = self.sessions.get_mut(client_id) else { return };
        let Some((number, reader)) = &session.connection else { return };
        if only.is_some_and(|only| only != *number) {
            return;
        }
        reader.notify_one();
        session.connection = None;
        // Acknowledgements of the next connection are for what it delivers.
        let unacknowledged = std::mem::take(&mut session.delivered);
        for (_, publication) in unacknowledged.into_iter().rev() {
            session.waiting.push_front(publication);
        }
        if session.is_clean {
            self.sessions.remove(client_id);
        }
    }

    fn publish(&mut self, publication: &Publication) {
        if publication.is_retained && publication.payload.is_empty() {
            self.retained.remove(&publication.topic);
        } else if publication.is_retained {
            self.retained.insert(publication.topic.clone(), publication.clone());
        }
        for session in self.sessions.values_mut() {
            if session.filters.iter().any(|filter| matches(filter, &publication.topic)) {
                session.offer(publication.clone());
            }
        }
    }
}

impl Session {
    fn offer(&mut self, publication: Publication) {
        let is_away = self.connection.is_none();
        if self.waiting.len() >= WAITING_MAX || (is_away && publication.qos == Qos::AtMostOnce) {
            return;
        }
        self.waiting.push_back(publication);
        if let Some((_, reader)) = &self.connection {
            reader.notify_one();
        }
    }

    /// Returns the next message, if its client may be given one.
    fn deliver(&mut self) -> Option<Result<Arrived, MqttError>> {
        if self.delivered.len() >= UNACKNOWLEDGED_MAX {
            return None;
        }
        let publication = self.waiting.pop_front()?;
        self.receipts += 1;
        let receipt = Receipt(self.receipts);
        let (topic, payload) = (publication.topic.clone(), publication.payload.clone());
        if publication.qos > Qos::AtMostOnce {
            self.delivered.push_back((receipt, publication));
        }
        if topic.len() + payload.len() > self.packet_bytes_max {
            return Some(Err(MqttError::TooLarge { max: self.packet_bytes_max }));
        }
        Some(Ok(Arrived { topic, payload, receipt }))
    }
}

#[async_trait]
impl Mqtt for MemoryBroker {
    async fn connect(&self, to: ConnectTo) -> Result<Connection, MqttError> {
        // A connection takes time, which others may use.
        tokio::task::yield_now().await;
        let mut state = self.state();
        if state.is_away {
            return Err(MqttError::Transport(format!("{}: connection refused", to.server)));
        }
        if state.user.is_some() && state.user != to.credentials {
            return Err(MqttError::Refused("bad user name or password".to_owned()));
        }
        state.log.push(format!("connect {}", to.client_id));
        state.end(&to.client_id, None);
        if to.is_clean {
            state.sessions.remove(&to.client_id);
        }
        let is_resumed = state.sessions.contains_key(&to.client_id);
        state.connections += 1;
        let (number, reader) = (state.connections, Arc::new(Notify::new()));
        let session = state.sessions.entry(to.client_id.clone()).or_default();
        session.is_clean = to.is_clean;
        session.packet_bytes_max = to.packet_bytes_max;
        session.connection = Some((number, Arc::clone(&reader)));
        drop(state);
        let end = Arc::new(End { broker: self.clone(), client_id: to.client_id, number });
        let client = Arc::new(MemoryClient { end: Arc::clone(&end), packet_bytes_max: to.packet_bytes_max });
        Ok(Connection { is_resumed, client, arrivals: Box::new(MemoryArrivals { end, reader }) })
    }
}

/// It plays the broker of a process, too; nobody outside of the process is there.
#[async_trait]
impl Broker for MemoryBroker {
    fn local(&self) -> Arc<dyn Mqtt> {
        Arc::new(self.clone())
    }

    async fn serve(&self, on: ServeOn) -> Result<Box<dyn Serving>, MqttError> {
        let mut state = self.state();
        if state.refuses_to_serve {
            return Err(MqttError::Local(format!("cannot listen on {}", on.address)));
        }
        state.log.push(format!("serve {}", on.address));
        Ok(Box::new(MemoryServing { broker: self.clone(), address: on.address }))
    }
}

struct MemoryServing {
    broker: MemoryBroker,
    address: SocketAddr,
}

impl Serving for MemoryServing {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MemoryServing {
    fn drop(&mut self) {
        self.broker.state().log.push(format!("stop {}", self.address));
    }
}

/// One connection. It ends with its arrivals, so that a client whose reader is gone is none.
struct End {
    broker: MemoryBroker,
    client_id: String,
    number: u64,
}

impl End {
    /// Does something in the session, if this is its connection.
    fn with<T>(&self, act: impl FnOnce(&mut Session) -> T) -> Result<T, MqttError> {
        let mut state = self.broker.state();
        let session = state.sessions.get_mut(&self.client_id);
        let is_mine =
            |session: &&mut Session| session.connection.as_ref().is_some_and(|it| it.0 == self.number);
        session.filter(is_mine).map(act).ok_or(MqttError::Closed)
    }

    fn close(&self) {
        self.broker.state().end(&self.client_id, Some(self.number));
    }
}

struct MemoryClient {
    end: Arc<End>,
    packet_bytes_max: usize,
}

#[async_trait]
impl Client for MemoryClient {
    async fn subscribe(&self, filter: &str) -> Result<(), MqttError> {
        tokio::task::yield_now().await;
        self.end.with(|_| ())?;
        let mut state = self.end.broker.state();
        if !is_filter(filter) || state.refused.iter().any(|refused| refused == filter) {
            return Err(MqttError::Refused(format!("the subscription to {filter}")));
        }
        state.log.push(format!("subscribe {filter}"));
        let kept: Vec<Publication> =
            state.retained.values().filter(|kept| matches(filter, &kept.topic)).cloned().collect();
        drop(state);
        self.end.with(|session| {
            if !session.filters.iter().any(|known| known == filter) {
                session.filters.push(filter.to_owned());
            }
            kept.into_iter().for_each(|publication| session.offer(publication));
        })
    }

    async fn unsubscribe(&self, filter: &str) -> Result<(), MqttError> {
        tokio::task::yield_now().await;
        self.end.with(|session| session.filters.retain(|known| known != filter))?;
        self.end.broker.state().log.push(format!("unsubscribe {filter}"));
        Ok(())
    }

    async fn publish(&self, publication: Publication) -> Result<(), MqttError> {
        tokio::task::yield_now().await;
        self.end.with(|_| ())?;
        if publication.topic.len() + publication.payload.len() > self.packet_bytes_max {
            return Err(MqttError::TooLarge { max: self.packet_bytes_max });
        }
        if !is_topic(&publication.topic) {
            return Err(MqttError::Closed);
        }
        self.end.broker.state().publish(&publication);
        Ok(())
    }

    fn acknowledge(&self, receipt: Receipt) -> Result<(), MqttError> {
        self.end.with(|session| {
            session.delivered.retain(|(delivered, _)| *delivered != receipt);
            if let Some((_, reader)) = &session.connection {
                reader.notify_one();
            }
        })
    }

    async fn close(&self) {
        self.end.broker.state().log.push(format!("disconnect {}", self.end.client_id));
        self.end.close();
    }
}

struct MemoryArrivals {
    end: Arc<End>,
    reader: Arc<Notify>,
}

#[async_trait]
impl Arrivals for MemoryArrivals {
    async fn next(&mut self) -> Result<Arrived, MqttError> {
        loop {
            match self.end.with(Session::deliver)? {
                Some(delivered) => {
                    if delivered.is_err() {
                        self.end.close();
                    }
                    return delivered;
                }
                None => self.reader.notified().await,
            }
        }
    }
}

impl Drop for MemoryArrivals {
    fn drop(&mut self) {
        self.end.close();
    }
}

/// Makes a message as mappers publish it: QoS 1, not retained.
#[must_use]
pub fn message(topic: &str, payload: impl Into<Bytes>) -> Publication {
    Publication {
        topic: topic.to_owned(),
        payload: payload.into(),
        qos: Qos::AtLeastOnce,
        is_retained: false,
    }
}

//! The broker itself: packets in, packets out. It has no socket, no clock and no task; whoever drives it
//! gives it the time, and takes what is to be sent.

mod connect;
mod routing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventbus::Tally;
use eventbus::ports::{Credentials, Qos};
use protocol::filter::is_filter;
use tokio::time::Instant;

use super::encode::{Message, ToClient};
use super::packet::{FromClient, Malformed, Publish};
use super::retained::Retained;
use super::session::{LinkId, Session, Ticket};
use super::tree::Tree;

/// The longest filter, its most levels, the most subscriptions of a client and of all.
const FILTER_BYTES_MAX: usize = 1024;
const FILTER_LEVELS_MAX: usize = 32;
const FILTERS_MAX: usize = 128;
const SUBSCRIPTIONS_MAX: usize = 8192;
/// A client that is silent for this part of its keepalive more is gone, as the standard says.
const KEEP_ALIVE_PART: f64 = 1.5;

/// Who a session belongs to. Clients within the process cannot be mistaken for others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Local(Arc<str>),
    Client(Arc<str>),
    /// A client that gave no id.
    Unnamed(u64),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(id) | Self::Client(id) => f.write_str(id),
            Self::Unnamed(number) => write!(f, "unnamed-{number}"),
        }
    }
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// In this process.
    Local,
    /// At the other end of a connection.
    Network,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    #[error("the client left")]
    Asked,
    #[error("the connection was lost")]
    Lost,
    #[error("the client was silent for longer than its keepalive allows")]
    Silent,
    #[error("another client has the same id")]
    TakenOver,
    #[error("the client takes its messages too slowly")]
    Slow,
    #[error("the client sent {0}")]
    Broken(#[from] Malformed),
    #[error("the broker stops")]
    Stopped,
}

/// How the broker treats its clients.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Who may connect; everybody if there is none.
    pub(super) user: Option<Credentials>,
    /// How many messages may wait for a client.
    pub(super) queue_max: usize,
}

/// What happened to messages that were not handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Dropped {
    /// With QoS 0, for a client that has as much as may wait for it.
    Crowded,
    /// For a client that is away.
    Away,
    /// A retained message for which there is no room.
    Retained,
    /// All that waited for a client, since too much waits for all.
    Session,
}

/// A connection.
#[derive(Debug)]
struct Link {
    key: Key,
    control: VecDeque<ToClient>,
    end: Option<End>,
    will: Option<Publish>,
    keep_alive: Duration,
    heard: Instant,
    /// Whether a packet of it waits to be handled, so that it cannot be heard.
    is_waiting: bool,
}

/// A publisher waits for this.
#[derive(Debug)]
struct Waiting {
    publisher: Key,
    holders: usize,
    bytes: usize,
}

/// The broker.
#[derive(Debug)]
pub(super) struct Core {
    rules: Rules,
    sessions: BTreeMap<Key, Session>,
    links: BTreeMap<LinkId, Link>,
    tree: Tree<Key>,
    retained: Retained,
    tickets: BTreeMap<Ticket, Waiting>,
    /// Bytes of all messages that wait or are under way.
    held_bytes: usize,
    /// Bytes of the messages whose publishers wait.
    owed_bytes: usize,
    numbers: u64,
    dirty: BTreeSet<LinkId>,
    /// Of connections that were cut; published before anything else is handled.
    wills: VecDeque<Publish>,
    dropped: Tally<Dropped>,
}

/// What is to be done for a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Send(ToClient),
    Wait,
    End(End),
}

impl Core {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            tree: Tree::new(),
            retained: Retained::default(),
            tickets: BTreeMap::new(),
            held_bytes: 0,
            owed_bytes: 0,
            numbers: 0,
            dirty: BTreeSet::new(),
            wills: VecDeque::new(),
            dropped: Tally::new(),
        }
    }

    pub(super) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Returns the connections for which there is something to do since this was last called.
    pub(super) fn take_dirty(&mut self) -> BTreeSet<LinkId> {
        std::mem::take(&mut self.dirty)
    }

    /// Returns what a connection is to do next: answers before messages.
    pub(super) fn step(&mut self, id: LinkId) -> Step {
        match self.answer(id) {
            Step::Wait => {}
            step => return step,
        }
        let Some(key) = self.links.get(&id).map(|link| link.key.clone()) else { return Step::Wait };
        let queue_max = self.queue_max(&key);
        let next = self.in_session(&key, |session| {
            let next = session.next();
            if session.load().0 <= queue_max / 2 {
                session.crowded_since = None;
            }
            next
        });
        let Some(Some((packet, let_go))) = next else { return Step::Wait };
        let_go.into_iter().for_each(|ticket| self.let_go(ticket));
        Step::Send(packet)
    }

    /// Returns the next answer to what a client sent, or that its connection has ended.
    pub(super) fn answer(&mut self, id: LinkId) -> Step {
        let Some(link) = self.links.get_mut(&id) else { return Step::End(End::Lost) };
        match (link.end, link.control.pop_front()) {
            (Some(end), _) => Step::End(end),
            (None, Some(packet)) => Step::Send(packet),
            (None, None) => Step::Wait,
        }
    }

    /// Handles a packet, or gives it back if it has to wait: while so much of what its client published has
    /// not been taken, no more is.
    pub(super) fn handle(&mut self, id: LinkId, packet: FromClient, now: Instant) -> Option<FromClient> {
        let link = self.links.get_mut(&id).filter(|link| link.end.is_none())?;
        link.heard = now;
        let key = link.key.clone();
        if let FromClient::Publish(publish) = &packet {
            let must_wait = self.must_wait(&key, publish);
            self.links.get_mut(&id)?.is_waiting = must_wait;
            if must_wait {
                return Some(packet);
            }
        }
        match packet {
            FromClient::Connect(_) => {
                self.end(id, End::Broken(Malformed::Packet("a second CONNECT")), now);
            }
            FromClient::Publish(publish) => self.publish(id, &key, publish, now),
            FromClient::PubAck(number) => self.finish(&key, |session| session.acknowledged(number)),
            FromClient::PubRec(number) => {
                self.in_session(&key, |session| session.arrived(number));
                self.reply(id, ToClient::PubRel(number));
            }
            FromClient::PubComp(number) => self.finish(&key, |session| session.completed(number)),
            FromClient::PubRel(number) => {
                self.in_session(&key, |session| session.release(number));
                self.reply(id, ToClient::PubComp(number));
            }
            FromClient::Subscribe { id: number, filters } => {
                let codes = filters.iter().map(|(filter, qos)| self.subscribe(&key, filter, *qos)).collect();
                self.reply(id, ToClient::SubAck(number, codes));
                filters.iter().for_each(|(filter, qos)| self.give_retained(id, &key, filter, *qos, now));
            }
            FromClient::Unsubscribe { id: number, filters } => {
                for filter in filters {
                    self.in_session(&key, |session| session.filters.remove(&filter));
                    self.tree.remove(&filter, &key);
                }
                self.reply(id, ToClient::UnsubAck(number));
            }
            FromClient::PingReq => self.reply(id, ToClient::PingResp),
            FromClient::Disconnect => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.will = None;
                }
                self.end(id, End::Asked, now);
            }
        }
        self.publish_wills(now);
        self.dirty.insert(id);
        None
    }

    fn subscribe(&mut self, key: &Key, filter: &str, qos: Qos) -> Option<Qos> {
        let is_fit = is_filter(filter)
            && filter.len() <= FILTER_BYTES_MAX
            && filter.split('/').count() <= FILTER_LEVELS_MAX;
        let session = self.sessions.get_mut(key)?;
        let is_known = session.filters.contains_key(filter);
        let has_room = session.filters.len() < FILTERS_MAX && self.tree.len() < SUBSCRIPTIONS_MAX;
        if !is_fit || !(is_known || has_room) {
            let shown: String = filter.chars().take(64).collect();
            tracing::info!(client = %key, filter = shown, "a subscription was refused");
            return None;
        }
        session.filters.insert(filter.to_owned(), qos);
        self.tree.insert(filter, key.clone(), qos);
        Some(qos)
    }

    /// Does something in a session, and counts what it holds then.
    fn in_session<T>(&mut self, key: &Key, act: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let session = self.sessions.get_mut(key)?;
        let before = session.load().1;
        let done = act(session);
        self.held_bytes = self.held_bytes - before + session.load().1;
        Some(done)
    }

    /// Notes that a client is done with a message.
    fn finish(&mut self, key: &Key, note: impl FnOnce(&mut Session) -> Option<Ticket>) {
        if let Some(Some(ticket)) = self.in_session(key, note) {
            self.let_go(ticket);
        }
    }

    fn reply(&mut self, id: LinkId, packet: ToClient) {
        if let Some(link) = self.links.get_mut(&id) {
            link.control.push_back(packet);
            self.dirty.insert(id);
        }
    }

    fn note(&mut self, kind: Dropped, client: &Key, message: &Message) {
        let Some(count) = self.dropped.count(kind) else { return };
        let topic: String = message.topic.chars().take(256).collect();
        match kind {
            Dropped::Crowded => {
                tracing::warn!(count, %client, topic, "a client takes its messages too slowly: one with QoS 0 is dropped");
            }
            Dropped::Away => {
                tracing::warn!(count, %client, topic, "as much as may wait for a client that is away does: a message is dropped");
            }
            Dropped::Retained => {
                tracing::warn!(count, %client, topic, "too many messages are retained: one is not");
            }
            Dropped::Session => {
                tracing::warn!(count, %client, "too much waits for all clients: the one that has the most loses its session");
            }
        }
    }

    /// Returns how many messages may wait for a client.
    fn queue_max(&self, key: &Key) -> usize {
        match key {
            Key::Local(_) => routing::LOCAL_QUEUE_MAX,
            Key::Client(_) | Key::Unnamed(_) => self.rules.queue_max,
        }
    }
}

#[cfg(test)]
mod tests;

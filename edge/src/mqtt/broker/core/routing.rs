//! Where messages go, and when their publishers are told.
//!
//! A message with QoS 1 or 2 is acknowledged once each client within this process has acknowledged it, unless
//! it came from one, and once no client has more to take than may wait for it. So what is published for the
//! event bus is acknowledged when the event bus has it, and who publishes faster than others read is slowed
//! down, for as long as these others are given at most.

use std::sync::Arc;

use eventbus::ports::Qos;
use tokio::time::Instant;

use super::{Core, Dropped, End, Key, Waiting};
use crate::mqtt::broker::encode::{Message, ToClient};
use crate::mqtt::broker::packet::{Malformed, Publish};
use crate::mqtt::broker::retained::RETAINED_MAX;
use crate::mqtt::broker::session::{Entry, LinkId, Ticket};

/// How many messages with QoS 0 may wait for a client within this process, and their bytes; those with QoS
/// 1 and 2 wait at their publishers.
pub(super) const LOCAL_QUEUE_MAX: usize = 1024;
/// The bytes that may wait for one client.
const CLIENT_BYTES_MAX: usize = 4 << 20;
/// The bytes that may wait for all clients outside of this process.
pub(super) const HELD_BYTES_MAX: usize = 32 << 20;
/// The acknowledgements that one client may be owed while further packets of it are taken.
pub(super) const OWED_MAX: usize = 64;
/// The bytes of all messages whose publishers wait.
pub(super) const OWED_BYTES_MAX: usize = 8 << 20;

impl Core {
    /// Tells whether a message has to wait until earlier ones were taken. Clients within the process bound
    /// what they have under way themselves.
    pub(super) fn must_wait(&self, publisher: &Key, publish: &Publish) -> bool {
        if publish.qos == Qos::AtMostOnce || matches!(publisher, Key::Local(_)) {
            return false;
        }
        let owed = self.sessions.get(publisher).map_or(0, |session| session.owed());
        owed >= OWED_MAX || (self.owed_bytes >= OWED_BYTES_MAX && self.would_owe(&publish.topic))
    }

    /// Tells whether the publisher of a message would have to wait for somebody.
    fn would_owe(&self, topic: &str) -> bool {
        self.tree.matching(topic).into_keys().any(|key| match &key {
            Key::Local(_) => true,
            Key::Client(_) | Key::Unnamed(_) => self.is_crowded(&key),
        })
    }

    /// Tells whether as much waits for a client as may.
    fn is_crowded(&self, key: &Key) -> bool {
        let Some(session) = self.sessions.get(key) else { return false };
        let (messages, bytes) = session.load();
        messages >= self.queue_max(key) || bytes >= CLIENT_BYTES_MAX
    }

    /// Takes what a client publishes.
    pub(super) fn publish(&mut self, id: LinkId, key: &Key, publish: Publish, now: Instant) {
        let (qos, number) = (publish.qos, publish.id);
        let answer = match qos {
            Qos::AtMostOnce => {
                // Nobody waits for it.
                self.route(Some(key), publish, now);
                return;
            }
            Qos::AtLeastOnce => ToClient::PubAck(number),
            Qos::ExactlyOnce => ToClient::PubRec(number),
        };
        let ticket = if qos == Qos::AtLeastOnce {
            self.route(Some(key), publish, now)
        } else {
            match self.in_session(key, |session| session.receive(number)).flatten() {
                Some(Ok(())) => self.route(Some(key), publish, now),
                Some(Err(ticket)) => ticket,
                None => {
                    let why = Malformed::Packet("more messages with QoS 2 than it may leave unreleased");
                    return self.end(id, End::Broken(why), now);
                }
            }
        };
        self.in_session(key, |session| session.owe(answer, ticket));
        self.pay(key);
    }

    /// Hands a message to all that subscribe to it. Returns what its publisher has to wait for, if it is to
    /// wait. A will has no publisher, so nobody waits: where it has no room it is dropped.
    pub(super) fn route(
        &mut self,
        publisher: Option<&Key>,
        publish: Publish,
        now: Instant,
    ) -> Option<Ticket> {
        let Publish { topic, payload, qos, is_retained, .. } = publish;
        let message = Arc::new(Message { topic, payload });
        if is_retained && !self.retained.keep(&message, qos) {
            let key = publisher.cloned().unwrap_or(Key::Unnamed(0));
            self.note(Dropped::Retained, &key, &message);
        }
        self.numbers += 1;
        let (ticket, mut holders) = (Ticket(self.numbers), 0);
        let is_from_outside = !matches!(publisher, Some(Key::Local(_)));
        for (key, granted) in self.tree.matching(&message.topic) {
            let qos = qos.min(granted);
            let (is_crowded, is_local) = (self.is_crowded(&key), matches!(key, Key::Local(_)));
            let Some(session) = self.sessions.get_mut(&key) else { continue };
            let link = session.link;
            let is_slowing = publisher.is_some() && qos > Qos::AtMostOnce;
            if link.is_none() && qos == Qos::AtMostOnce {
                continue;
            }
            if is_crowded && link.is_none() && !is_local {
                self.note(Dropped::Away, &key, &message);
                continue;
            }
            if is_crowded && is_slowing && !is_local {
                session.crowded_since.get_or_insert(now);
            }
            if is_crowded && !is_slowing {
                self.note(Dropped::Crowded, &key, &message);
                continue;
            }
            let holds = is_slowing && (is_crowded || (is_local && is_from_outside));
            holders += usize::from(holds);
            let ticket = holds.then_some(ticket);
            let entry = Entry { message: Arc::clone(&message), qos, is_retained: false, ticket };
            self.in_session(&key, |session| session.push(entry));
            self.dirty.extend(link);
        }
        let waits = publisher.filter(|_| holders > 0).map(|publisher| {
            let waiting = Waiting { publisher: publisher.clone(), holders, bytes: message.bytes() };
            self.owed_bytes += waiting.bytes;
            self.tickets.insert(ticket, waiting);
            ticket
        });
        self.hold_less(now);
        // It may have been let go with the session that held it.
        waits.filter(|ticket| self.tickets.contains_key(ticket))
    }

    /// While too much waits for all clients, the one that has the most loses its session.
    fn hold_less(&mut self, now: Instant) {
        while self.held_bytes > HELD_BYTES_MAX {
            let outside = self.sessions.iter().filter(|(key, _)| !matches!(key, Key::Local(_)));
            let most = outside.max_by_key(|(_, session)| session.load().1);
            let Some((key, link)) = most.map(|(key, session)| (key.clone(), session.link)) else { return };
            if self.sessions.get(&key).is_none_or(|session| session.load().1 == 0) {
                return;
            }
            let nothing = Message { topic: String::new(), payload: bytes::Bytes::new() };
            self.note(Dropped::Session, &key, &nothing);
            if let Some(link) = link {
                self.cut(link, End::Slow, now);
            }
            self.forget(&key);
        }
    }

    /// Notes that one of those for whom a publisher waits needs it to wait no longer.
    pub(super) fn let_go(&mut self, ticket: Ticket) {
        let Some(waiting) = self.tickets.get_mut(&ticket) else { return };
        waiting.holders -= 1;
        if waiting.holders > 0 {
            return;
        }
        let Some(waiting) = self.tickets.remove(&ticket) else { return };
        let was_full = self.owed_bytes >= OWED_BYTES_MAX;
        self.owed_bytes -= waiting.bytes;
        self.in_session(&waiting.publisher, |session| session.settle(ticket));
        self.pay(&waiting.publisher);
        if was_full && self.owed_bytes < OWED_BYTES_MAX {
            let waiting = self.links.iter().filter(|(_, link)| link.is_waiting).map(|(id, _)| *id);
            self.dirty.extend(waiting);
        }
    }

    /// Sends the answers that are due to a client.
    fn pay(&mut self, key: &Key) {
        let Some(link) = self.sessions.get(key).and_then(|session| session.link) else { return };
        while let Some(Some(answer)) = self.in_session(key, |session| session.answer()) {
            self.reply(link, answer);
        }
        // What waits because it is owed so much may be handled.
        self.dirty.insert(link);
    }

    /// Gives a new subscriber what is retained. One that asks for it again and again, and takes nothing, is
    /// one that is too slow.
    pub(super) fn give_retained(&mut self, id: LinkId, key: &Key, filter: &str, qos: Qos, now: Instant) {
        let is_subscribed =
            self.sessions.get(key).is_some_and(|session| session.filters.contains_key(filter));
        if !is_subscribed {
            return;
        }
        let room = self.queue_max(key) + RETAINED_MAX;
        for (message, kept) in self.retained.matching(filter) {
            let entry = Entry { message, qos: qos.min(kept), is_retained: true, ticket: None };
            self.in_session(key, |session| session.push(entry));
            if self.sessions.get(key).is_some_and(|session| session.load().0 > room) {
                return self.end(id, End::Slow, now);
            }
        }
        self.hold_less(now);
    }
}

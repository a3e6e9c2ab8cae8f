//! How connections begin and end, and what a session outlives.

use std::collections::VecDeque;
use std::time::Duration;

use eventbus::ports::Credentials;
use tokio::time::Instant;

use super::{Core, End, KEEP_ALIVE_PART, Key, Link, Origin};
use crate::mqtt::broker::encode::{Refusal, ToClient};
use crate::mqtt::broker::packet::Connect;
use crate::mqtt::broker::session::{LinkId, Session};

/// The longest client id.
const CLIENT_ID_BYTES_MAX: usize = 256;
/// Sessions of clients that are there or away.
const SESSIONS_MAX: usize = 512;
/// A session whose client was away for so long is forgotten.
const AWAY_MAX: Duration = Duration::from_hours(7 * 24);
/// A client that has had more to take than it should for so long loses its connection.
pub(super) const CROWDED_MAX: Duration = Duration::from_secs(10);

impl Core {
    /// Lets a client in. Returns its connection, and whether its session was kept.
    pub(in crate::mqtt::broker) fn connect(
        &mut self,
        connect: Connect,
        origin: Origin,
        now: Instant,
    ) -> Result<(LinkId, bool), Refusal> {
        self.check_user(&connect)?;
        let key = self.key(&connect, origin)?;
        if let Some(older) = self.sessions.get(&key).and_then(|session| session.link) {
            self.end(older, End::TakenOver, now);
        }
        if connect.is_clean {
            self.forget(&key);
        }
        let is_resumed = self.sessions.contains_key(&key);
        if !is_resumed {
            self.make_room()?;
            self.sessions.insert(key.clone(), Session::new(origin == Origin::Local));
        }
        self.numbers += 1;
        let id = LinkId(self.numbers);
        self.in_session(&key, |session| session.resume(id, connect.is_clean));
        let control = match origin {
            Origin::Network => VecDeque::from([ToClient::Welcome(is_resumed)]),
            Origin::Local => VecDeque::new(),
        };
        let Connect { keep_alive, will, .. } = connect;
        let link = Link { key, control, end: None, will, keep_alive, heard: now, is_waiting: false };
        self.links.insert(id, link);
        self.dirty.insert(id);
        Ok((id, is_resumed))
    }

    fn check_user(&self, connect: &Connect) -> Result<(), Refusal> {
        let Some(Credentials { username, password }) = &self.rules.user else { return Ok(()) };
        let Some((name, secret)) = &connect.user else { return Err(Refusal::NotAuthorized) };
        // Both are looked at in full, so that the time tells nothing of either.
        let (is_name, is_secret) =
            (is_same(name.as_bytes(), username.as_bytes()), is_same(secret, password.reveal().as_bytes()));
        if is_name & is_secret { Ok(()) } else { Err(Refusal::Password) }
    }

    fn key(&mut self, connect: &Connect, origin: Origin) -> Result<Key, Refusal> {
        let id = connect.client_id.as_str();
        match (origin, id.is_empty()) {
            (Origin::Network, true) if connect.is_clean => {
                self.numbers += 1;
                Ok(Key::Unnamed(self.numbers))
            }
            (_, true) => Err(Refusal::ClientId),
            _ if id.len() > CLIENT_ID_BYTES_MAX || id.chars().any(char::is_control) => Err(Refusal::ClientId),
            (Origin::Network, false) => Ok(Key::Client(id.into())),
            (Origin::Local, false) => Ok(Key::Local(id.into())),
        }
    }

    /// Makes room for a session: the one whose client is away for the longest time goes.
    fn make_room(&mut self) -> Result<(), Refusal> {
        if self.sessions.len() < SESSIONS_MAX {
            return Ok(());
        }
        let away = self.sessions.iter().filter(|(key, _)| !matches!(key, Key::Local(_)));
        let away = away.filter_map(|(key, session)| Some((session.away_since?, key.clone())));
        let (_, longest) = away.min().ok_or(Refusal::Unavailable)?;
        tracing::warn!(client = %longest, "there are too many sessions: that of the client that is away for the longest time is dropped");
        self.forget(&longest);
        Ok(())
    }

    /// Ends a connection: its will is published unless the client took leave, and its session is kept if it
    /// is to be.
    pub(in crate::mqtt::broker) fn end(&mut self, id: LinkId, why: End, now: Instant) {
        self.cut(id, why, now);
        self.publish_wills(now);
    }

    /// Publishes the wills of connections that were cut. A will may crowd others out, whose wills follow.
    pub(super) fn publish_wills(&mut self, now: Instant) {
        while let Some(will) = self.wills.pop_front() {
            self.route(None, will, now);
        }
    }

    /// Ends a connection, whose will is still to be published.
    pub(super) fn cut(&mut self, id: LinkId, why: End, now: Instant) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.end.is_none()) else { return };
        link.end = Some(why);
        link.control.clear();
        let (key, will) = (link.key.clone(), link.will.take());
        self.dirty.insert(id);
        match self.sessions.get(&key).map(|session| session.is_clean) {
            Some(true) => self.forget(&key),
            Some(false) => {
                self.in_session(&key, |session| session.pause(now));
            }
            None => {}
        }
        if why != End::Stopped {
            self.wills.extend(will);
        }
    }

    /// Drops a connection that has ended.
    pub(in crate::mqtt::broker) fn remove(&mut self, id: LinkId) {
        self.links.remove(&id);
        self.dirty.remove(&id);
    }

    /// Drops a session that has no connection, with all that waits in it.
    pub(super) fn forget(&mut self, key: &Key) {
        let Some(session) = self.sessions.remove(key) else { return };
        self.held_bytes -= session.load().1;
        session.filters.keys().for_each(|filter| self.tree.remove(filter, key));
        session.into_tickets().into_iter().for_each(|ticket| self.let_go(ticket));
    }

    /// Ends the connections of all clients outside of this process, without their wills.
    pub(in crate::mqtt::broker) fn stop(&mut self, now: Instant) {
        let is_outside = |link: &Link| !matches!(link.key, Key::Local(_));
        let outside: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| is_outside(link)).map(|(id, _)| *id).collect();
        outside.into_iter().for_each(|id| self.end(id, End::Stopped, now));
    }

    /// Ends what has lasted too long: silent connections, slow ones, and sessions without a client.
    pub(in crate::mqtt::broker) fn look_around(&mut self, now: Instant) {
        let is_silent = |link: &Link| {
            let limit = link.keep_alive.mul_f64(KEEP_ALIVE_PART);
            link.end.is_none() && !link.is_waiting && !limit.is_zero() && now - link.heard > limit
        };
        let silent: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| is_silent(link)).map(|(id, _)| *id).collect();
        silent.into_iter().for_each(|id| self.end(id, End::Silent, now));
        let is_slow =
            |session: &Session| session.crowded_since.is_some_and(|since| now - since > CROWDED_MAX);
        let slow: Vec<LinkId> = self
            .sessions
            .values()
            .filter(|session| is_slow(session))
            .filter_map(|session| session.link)
            .collect();
        slow.into_iter().for_each(|id| self.end(id, End::Slow, now));
        let is_old = |session: &Session| session.away_since.is_some_and(|since| now - since > AWAY_MAX);
        let is_outside = |key: &Key| !matches!(key, Key::Local(_));
        let old = self.sessions.iter().filter(|(key, session)| is_outside(key) && is_old(session));
        let old: Vec<Key> = old.map(|(key, _)| key.clone()).collect();
        for key in old {
            tracing::info!(client = %key, "the session of a client that was away for a week is dropped");
            self.forget(&key);
        }
    }
}

/// Compares without telling by the time how much is the same.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && differing == 0
}

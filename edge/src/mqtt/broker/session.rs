//! What a broker keeps for one client: what it subscribed to, what waits for it, and what it is owed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use eventbus::ports::Qos;
use tokio::time::Instant;

use super::encode::{Delivery, Message, ToClient};

/// Messages that a client was sent and has not acknowledged.
pub(super) const INFLIGHT_MAX: usize = 32;
/// Messages with QoS 2 that a client has sent and not released.
pub(super) const RECEIVED_MAX: usize = 1024;

/// A connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u64);

/// A message whose publisher waits for its acknowledgement until all holders have let it go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(pub(super) u64);

/// A message that waits for a client.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Arc<Message>,
    pub(super) qos: Qos,
    pub(super) is_retained: bool,
    pub(super) ticket: Option<Ticket>,
}

/// A message that was sent and not acknowledged.
#[derive(Debug)]
struct Flight {
    id: u16,
    entry: Entry,
    /// It has arrived, and is to be released: the second half of QoS 2.
    is_received: bool,
    /// It is to be sent on this connection, since it was sent on one before.
    is_due: bool,
}

/// An acknowledgement that a client will get, in the order of what it sent.
#[derive(Debug)]
struct Owed {
    answer: ToClient,
    /// What it waits for.
    ticket: Option<Ticket>,
}

/// A client's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) is_clean: bool,
    pub(super) link: Option<LinkId>,
    pub(super) filters: BTreeMap<String, Qos>,
    /// Since when more waits than should, without having been half of that in between.
    pub(super) crowded_since: Option<Instant>,
    /// Since when it has no connection.
    pub(super) away_since: Option<Instant>,
    /// Whether a ticket is held until the client has acknowledged; else only until it was sent.
    holds_on: bool,
    queue: VecDeque<Entry>,
    flights: VecDeque<Flight>,
    bytes: usize,
    last_id: u16,
    received: BTreeMap<u16, Option<Ticket>>,
    owed: VecDeque<Owed>,
}

/// What is to be sent next, and the ticket that is let go by that.
pub(super) type Next = (ToClient, Option<Ticket>);

impl Session {
    pub(super) fn new(holds_on: bool) -> Self {
        Self {
            is_clean: true,
            link: None,
            filters: BTreeMap::new(),
            crowded_since: None,
            away_since: None,
            holds_on,
            queue: VecDeque::new(),
            flights: VecDeque::new(),
            bytes: 0,
            last_id: 0,
            received: BTreeMap::new(),
            owed: VecDeque::new(),
        }
    }

    /// Begins a connection. What was sent on the one before is sent again.
    pub(super) fn resume(&mut self, link: LinkId, is_clean: bool) {
        (self.link, self.is_clean, self.away_since) = (Some(link), is_clean, None);
        self.flights.iter_mut().for_each(|flight| flight.is_due = true);
    }

    /// Ends the connection of a session that is kept. What the client is owed it sends again.
    pub(super) fn pause(&mut self, now: Instant) {
        (self.link, self.away_since, self.crowded_since) = (None, Some(now), None);
        self.owed.clear();
    }

    /// Returns how many messages wait, and the bytes of all that it holds.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.queue.len(), self.bytes)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.message.bytes();
        self.queue.push_back(entry);
    }

    /// Returns what is to be sent next, if the client may be sent something.
    pub(super) fn next(&mut self) -> Option<Next> {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.is_due) {
            flight.is_due = false;
            if flight.is_received {
                return Some((ToClient::PubRel(flight.id), None));
            }
            return Some((publish(&flight.entry, flight.id, true), None));
        }
        let qos = self.queue.front()?.qos;
        if qos == Qos::AtMostOnce {
            let entry = self.queue.pop_front()?;
            self.bytes -= entry.message.bytes();
            return Some((publish(&entry, 0, false), entry.ticket));
        }
        if self.flights.len() >= INFLIGHT_MAX {
            return None;
        }
        let mut entry = self.queue.pop_front()?;
        let id = self.free_id();
        let packet = publish(&entry, id, false);
        let let_go = if self.holds_on { None } else { entry.ticket.take() };
        self.flights.push_back(Flight { id, entry, is_received: false, is_due: false });
        Some((packet, let_go))
    }

    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.flights.iter().any(|flight| flight.id == self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Notes that the client has a message with QoS 1 (`PUBACK`), and returns the ticket that is let go.
    pub(super) fn acknowledged(&mut self, id: u16) -> Option<Ticket> {
        self.finish(id, |flight| flight.entry.qos == Qos::AtLeastOnce)
    }

    /// Notes that a message with QoS 2 has arrived (`PUBREC`).
    pub(super) fn arrived(&mut self, id: u16) {
        let flights = self.flights.iter_mut();
        let of_it = |flight: &&mut Flight| flight.id == id && flight.entry.qos == Qos::ExactlyOnce;
        if let Some(flight) = flights.into_iter().find(of_it) {
            flight.is_received = true;
        }
    }

    /// Notes that a message with QoS 2 is done (`PUBCOMP`), and returns the ticket that is let go.
    pub(super) fn completed(&mut self, id: u16) -> Option<Ticket> {
        self.finish(id, |flight| flight.is_received)
    }

    fn finish(&mut self, id: u16, is_it: impl Fn(&Flight) -> bool) -> Option<Ticket> {
        let at = self.flights.iter().position(|flight| flight.id == id && is_it(flight))?;
        let flight = self.flights.remove(at)?;
        self.bytes -= flight.entry.message.bytes();
        flight.entry.ticket
    }

    /// Notes that the client sent a message with QoS 2. Tells whether it is one that was not sent before,
    /// and else what its acknowledgement waits for; nothing if there are too many.
    pub(super) fn receive(&mut self, id: u16) -> Option<Result<(), Option<Ticket>>> {
        match self.received.get(&id) {
            Some(ticket) => Some(Err(*ticket)),
            None if self.received.len() >= RECEIVED_MAX => None,
            None => {
                self.received.insert(id, None);
                Some(Ok(()))
            }
        }
    }

    /// Notes that the client released a message with QoS 2 (`PUBREL`).
    pub(super) fn release(&mut self, id: u16) {
        self.received.remove(&id);
    }

    /// Owes the client an answer, once a ticket is done.
    pub(super) fn owe(&mut self, answer: ToClient, ticket: Option<Ticket>) {
        if let (ToClient::PubRec(id), Some(_)) = (&answer, ticket) {
            self.received.entry(*id).and_modify(|known| *known = ticket);
        }
        self.owed.push_back(Owed { answer, ticket });
    }

    /// Returns how many answers it is owed.
    pub(super) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Notes that a ticket is done.
    pub(super) fn settle(&mut self, done: Ticket) {
        for owed in self.owed.iter_mut().filter(|owed| owed.ticket == Some(done)) {
            owed.ticket = None;
        }
        self.received.values_mut().filter(|ticket| **ticket == Some(done)).for_each(|ticket| *ticket = None);
    }

    /// Returns the answer that is due next. They keep the order of what they answer, as the standard asks.
    pub(super) fn answer(&mut self) -> Option<ToClient> {
        self.owed.pop_front_if(|owed| owed.ticket.is_none()).map(|owed| owed.answer)
    }

    /// Ends the session, and returns what it held.
    pub(super) fn into_tickets(self) -> Vec<Ticket> {
        let flying = self.flights.into_iter().map(|flight| flight.entry);
        self.queue.into_iter().chain(flying).filter_map(|entry| entry.ticket).collect()
    }
}

fn publish(entry: &Entry, id: u16, is_duplicate: bool) -> ToClient {
    let Entry { message, qos, is_retained, .. } = entry;
    let message = Arc::clone(message);
    ToClient::Publish(Delivery { message, qos: *qos, id, is_duplicate, is_retained: *is_retained })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: &str, qos: Qos, ticket: Option<u64>) -> Entry {
        let message = Message { topic: "t".to_owned(), payload: payload.to_owned().into() };
        Entry { message: Arc::new(message), qos, is_retained: false, ticket: ticket.map(Ticket) }
    }

    /// What is sent, as payload (`!` before what is sent again) or `release`, and the number.
    fn sent(session: &mut Session) -> Vec<(String, u16)> {
        let packets = std::iter::from_fn(|| session.next().map(|(packet, _)| packet));
        let show = |packet| match packet {
            ToClient::Publish(it) => {
                let again = if it.is_duplicate { "!" } else { "" };
                (format!("{again}{}", String::from_utf8_lossy(&it.message.payload)), it.id)
            }
            ToClient::PubRel(id) => ("release".to_owned(), id),
            other => panic!("{other:?}"),
        };
        packets.map(show).collect()
    }

    fn named(expect: &[(&str, u16)]) -> Vec<(String, u16)> {
        expect.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect()
    }

    #[test]
    fn only_so_many_are_under_way_and_messages_that_need_no_answer_pass() {
        let mut session = Session::new(false);
        for _ in 0..INFLIGHT_MAX {
            session.push(entry("x", Qos::AtLeastOnce, None));
        }
        session.push(entry("free", Qos::AtMostOnce, None));
        session.push(entry("last", Qos::AtLeastOnce, None));
        let packets = sent(&mut session);
        assert_eq!((packets.len(), packets.last()), (INFLIGHT_MAX + 1, Some(&("free".to_owned(), 0))));
        session.acknowledged(7);
        session.acknowledged(7);
        assert_eq!(sent(&mut session), named(&[("last", 33)]));
    }

    #[test]
    fn what_was_sent_and_not_finished_is_sent_again_in_its_order() {
        let mut session = Session::new(false);
        for (payload, qos) in [
            ("1", Qos::AtLeastOnce),
            ("2", Qos::ExactlyOnce),
            ("3", Qos::ExactlyOnce),
            ("4", Qos::AtLeastOnce),
        ] {
            session.push(entry(payload, qos, None));
        }
        assert_eq!(sent(&mut session), named(&[("1", 1), ("2", 2), ("3", 3), ("4", 4)]));
        session.acknowledged(1);
        session.arrived(2);
        // Acknowledgements of another kind than the message's are nothing.
        assert_eq!((session.acknowledged(3), session.completed(3)), (None, None));
        session.pause(Instant::now());
        session.push(entry("5", Qos::AtLeastOnce, None));
        session.resume(LinkId(2), false);
        assert_eq!(sent(&mut session), named(&[("release", 2), ("!3", 3), ("!4", 4), ("5", 5)]));
        session.completed(2);
        session.arrived(3);
        session.completed(3);
        session.acknowledged(4);
        session.acknowledged(5);
        assert_eq!(session.load(), (0, 0));
    }

    #[test]
    fn a_number_that_is_in_use_is_not_given_twice() {
        let mut session = Session::new(false);
        session.push(entry("old", Qos::AtLeastOnce, None));
        assert_eq!(sent(&mut session), named(&[("old", 1)]));
        session.last_id = u16::MAX - 1;
        for _ in 0..2 {
            session.push(entry("new", Qos::AtLeastOnce, None));
        }
        assert_eq!(sent(&mut session), named(&[("new", u16::MAX), ("new", 2)]));
    }

    #[test]
    fn tickets_are_held_until_the_message_is_sent_or_until_it_is_acknowledged() {
        for (holds_on, at_sending, at_acknowledgement) in
            [(false, Some(Ticket(9)), None), (true, None, Some(Ticket(9)))]
        {
            let mut session = Session::new(holds_on);
            session.push(entry("x", Qos::AtLeastOnce, Some(9)));
            session.push(entry("y", Qos::AtLeastOnce, Some(10)));
            assert_eq!(session.next().map(|(_, let_go)| let_go), Some(at_sending));
            assert_eq!(session.acknowledged(1), at_acknowledgement);
            assert_eq!(session.into_tickets(), [Ticket(10)]);
        }
    }

    #[test]
    fn answers_keep_the_order_of_what_they_answer() {
        let mut session = Session::new(false);
        session.owe(ToClient::PubAck(1), Some(Ticket(5)));
        session.owe(ToClient::PubAck(2), None);
        assert_eq!(session.receive(3), Some(Ok(())));
        session.owe(ToClient::PubRec(3), Some(Ticket(6)));
        assert_eq!(session.answer(), None);
        assert_eq!(session.receive(3), Some(Err(Some(Ticket(6)))), "it is known and not taken yet");
        session.settle(Ticket(5));
        assert_eq!(session.answer(), Some(ToClient::PubAck(1)));
        assert_eq!(session.answer(), Some(ToClient::PubAck(2)));
        assert_eq!(session.answer(), None);
        session.settle(Ticket(6));
        assert_eq!(session.answer(), Some(ToClient::PubRec(3)));
        assert_eq!(session.receive(3), Some(Err(None)));
        session.release(3);
        assert_eq!(session.receive(3), Some(Ok(())));
    }

    #[test]
    fn what_a_client_leaves_unreleased_is_bounded() {
        let mut session = Session::new(false);
        for id in 1..=u16::try_from(RECEIVED_MAX).expect("small") {
            assert_eq!(session.receive(id), Some(Ok(())));
        }
        assert_eq!(session.receive(60_000), None);
        assert_eq!(session.receive(1), Some(Err(None)));
    }
}

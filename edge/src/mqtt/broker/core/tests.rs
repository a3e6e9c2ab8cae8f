//! The broker without sockets: packets in, packets out.

mod chaos;
mod limits;
mod promises;

use bytes::Bytes;
use eventbus::Password;

use super::*;
use crate::mqtt::broker::packet::Connect;

const SECOND: Duration = Duration::from_secs(1);

/// A broker and its time.
struct Play {
    core: Core,
    now: Instant,
}

/// A message as a client reads it: payload, QoS, number, and `r` or `d` if it is retained or sent again.
type Seen = (String, u8, u16, &'static str);

impl Play {
    fn new() -> Self {
        Self::with(10)
    }

    fn with(queue_max: usize) -> Self {
        let core = Core::new(Rules { user: None, queue_max });
        Self { core, now: Instant::now() }
    }

    fn connect_as(&mut self, connect: Connect, origin: Origin) -> (LinkId, bool) {
        self.core.connect(connect, origin, self.now).expect("it is let in")
    }

    /// Connects a client with a clean session, and takes its welcome.
    fn join(&mut self, id: &str) -> LinkId {
        let (link, is_resumed) = self.connect_as(connect(id, true), Origin::Network);
        assert_eq!(self.core.step(link), Step::Send(ToClient::Welcome(false)));
        assert!(!is_resumed);
        link
    }

    /// Connects a client whose session is kept, and returns whether it was.
    fn return_as(&mut self, id: &str) -> (LinkId, bool) {
        let (link, is_resumed) = self.connect_as(connect(id, false), Origin::Network);
        assert_eq!(self.core.step(link), Step::Send(ToClient::Welcome(is_resumed)));
        (link, is_resumed)
    }

    fn local(&mut self, id: &str) -> LinkId {
        self.connect_as(connect(id, false), Origin::Local).0
    }

    /// Hands a packet over; it does not have to wait.
    fn say(&mut self, link: LinkId, packet: FromClient) {
        assert_eq!(self.core.handle(link, packet, self.now), None);
    }

    fn subscribe(&mut self, link: LinkId, filter: &str, qos: Qos) {
        self.say(link, FromClient::Subscribe { id: 1, filters: vec![(filter.to_owned(), qos)] });
        assert_eq!(self.core.step(link), Step::Send(ToClient::SubAck(1, vec![Some(qos)])));
    }

    fn publish(&mut self, link: LinkId, topic: &str, payload: &str, qos: Qos, id: u16) {
        self.say(link, FromClient::Publish(message(topic, payload, qos, id)));
    }

    /// Returns all that a client is sent now.
    fn sent(&mut self, link: LinkId) -> Vec<ToClient> {
        let mut packets = Vec::new();
        while let Step::Send(packet) = self.core.step(link) {
            packets.push(packet);
        }
        packets
    }

    /// Returns the messages that a client is sent now; it is sent nothing else.
    fn seen(&mut self, link: LinkId) -> Vec<Seen> {
        let packets = self.sent(link).into_iter();
        packets
            .map(|packet| match packet {
                ToClient::Publish(it) => {
                    let mark = match (it.is_retained, it.is_duplicate) {
                        (true, _) => "r",
                        (false, true) => "d",
                        (false, false) => "",
                    };
                    let payload = String::from_utf8_lossy(&it.message.payload).into_owned();
                    (payload, super::super::encode::number(it.qos), it.id, mark)
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.core.look_around(self.now);
    }

    /// Nothing is left of what is gone.
    fn assert_empty(&self) {
        let core = &self.core;
        assert_eq!((core.held_bytes, core.owed_bytes, core.tickets.len()), (0, 0, 0));
        assert_eq!(core.wills.len(), 0);
    }
}

fn connect(id: &str, is_clean: bool) -> Connect {
    Connect { client_id: id.to_owned(), is_clean, keep_alive: Duration::ZERO, will: None, user: None }
}

fn message(topic: &str, payload: &str, qos: Qos, id: u16) -> Publish {
    let payload = Bytes::from(payload.to_owned());
    Publish { topic: topic.to_owned(), payload, qos, is_retained: false, id }
}

fn seen(expect: &[(&str, u8, u16, &'static str)]) -> Vec<Seen> {
    expect.iter().map(|(payload, qos, id, mark)| ((*payload).to_owned(), *qos, *id, *mark)).collect()
}

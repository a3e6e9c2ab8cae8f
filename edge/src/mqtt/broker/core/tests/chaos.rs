//! Clients that do anything in any order.

use proptest::prelude::*;

use super::*;

/// The last one is within the process.
const CLIENTS: usize = 5;

/// Clients, as far as they are connected.
struct Crowd {
    play: Play,
    links: [Option<LinkId>; CLIENTS],
}

impl Crowd {
    fn connect(&mut self, at: usize, is_clean: bool) {
        let origin = if at + 1 == CLIENTS { Origin::Local } else { Origin::Network };
        let will = (at == 0).then(|| message("t1", "gone", Qos::AtLeastOnce, 0));
        let connect = Connect { will, ..connect(&at.to_string(), is_clean) };
        self.links[at] = Some(self.play.connect_as(connect, origin).0);
    }

    fn act(&mut self, at: usize, action: u8, number: u16) {
        let topic = format!("t{}", number % 2);
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(number) % 3];
        let Some(link) = self.links[at] else { return self.connect(at, action.is_multiple_of(2)) };
        let packet = match action {
            0 => return self.connect(at, number.is_multiple_of(2)),
            1 => FromClient::Subscribe { id: number, filters: vec![(topic, qos)] },
            2 => FromClient::Unsubscribe { id: number, filters: vec![topic] },
            3..=6 => {
                let publish = message(&topic, "some text", qos, number);
                FromClient::Publish(Publish { is_retained: action == 3, ..publish })
            }
            7 => FromClient::PubRel(number),
            8 => return self.answer(link),
            9 => FromClient::Disconnect,
            10 => {
                self.play.core.end(link, End::Lost, self.play.now);
                self.play.core.remove(link);
                self.links[at] = None;
                return;
            }
            _ => return self.play.advance(5 * SECOND),
        };
        // What has to wait is given up, as if its client had gone.
        drop(self.play.core.handle(link, packet, self.play.now));
    }

    /// Takes what a client is sent, and acknowledges it.
    fn answer(&mut self, link: LinkId) {
        for packet in self.play.sent(link) {
            let answer = match packet {
                ToClient::Publish(it) if it.qos == Qos::AtLeastOnce => FromClient::PubAck(it.id),
                ToClient::Publish(it) if it.qos == Qos::ExactlyOnce => FromClient::PubRec(it.id),
                ToClient::PubRel(id) => FromClient::PubComp(id),
                _ => continue,
            };
            self.play.say(link, answer);
        }
    }

    /// What is counted is what is there.
    fn check(&self) {
        let core = &self.play.core;
        let held: usize = core.sessions.values().map(|session| session.load().1).sum();
        let filters: usize = core.sessions.values().map(|session| session.filters.len()).sum();
        let owed: usize = core.tickets.values().map(|waiting| waiting.bytes).sum();
        assert_eq!((core.held_bytes, core.tree.len(), core.owed_bytes), (held, filters, owed));
        assert!(core.tickets.values().all(|waiting| waiting.holders > 0));
        assert!(core.wills.is_empty());
    }
}

proptest! {
    #[test]
    fn whatever_clients_do_the_books_are_right_and_nothing_is_left_when_all_have_gone(
        actions in prop::collection::vec((0..CLIENTS, 0..12_u8, 1..6_u16), 0..300),
    ) {
        let mut crowd = Crowd { play: Play::with(3), links: [None; CLIENTS] };
        for (at, action, number) in actions {
            crowd.act(at, action, number);
            crowd.check();
        }
        for at in 0..CLIENTS {
            crowd.connect(at, true);
            let link = crowd.links[at].expect("it has just connected");
            crowd.play.say(link, FromClient::Disconnect);
        }
        crowd.check();
        crowd.play.assert_empty();
        prop_assert_eq!(crowd.play.core.sessions.len(), 0);
    }
}

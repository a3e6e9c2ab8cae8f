//! What is bounded, and what gives way.

use super::*;
use crate::mqtt::broker::core::routing::{HELD_BYTES_MAX, LOCAL_QUEUE_MAX, OWED_BYTES_MAX, OWED_MAX};
use crate::mqtt::broker::encode::Refusal;
use crate::mqtt::broker::retained::RETAINED_MAX;
use crate::mqtt::broker::session::{INFLIGHT_MAX, RECEIVED_MAX};

fn number(of: usize) -> u16 {
    u16::try_from(of).expect("small")
}

/// Fills a reader's window and its queue, by a publisher that is acknowledged all of it.
fn fill(play: &mut Play, sender: LinkId, reader: LinkId, queue_max: usize) {
    for id in 1..=INFLIGHT_MAX + queue_max {
        play.publish(sender, "a", "x", Qos::AtLeastOnce, number(id));
        play.sent(reader);
        assert_eq!(play.sent(sender), [ToClient::PubAck(number(id))]);
    }
}

#[test]
fn a_slow_reader_slows_its_publisher_and_nobody_else_and_ends_after_ten_seconds() {
    let mut play = Play::with(4);
    let (sender, reader, other) = (play.join("s"), play.join("r"), play.join("o"));
    for link in [reader, other] {
        play.subscribe(link, "a", Qos::AtLeastOnce);
    }
    play.subscribe(other, "b", Qos::AtLeastOnce);
    for id in 1..=INFLIGHT_MAX + 4 {
        play.publish(sender, "a", "x", Qos::AtLeastOnce, number(id));
        play.sent(reader);
        for (_, _, id, _) in play.seen(other) {
            play.say(other, FromClient::PubAck(id));
        }
    }
    assert_eq!(play.sent(sender).len(), INFLIGHT_MAX + 4);
    // From here on the publisher is not acknowledged, and what needs no acknowledgement is dropped.
    play.publish(sender, "a", "late", Qos::AtLeastOnce, 100);
    play.publish(sender, "a", "dropped", Qos::AtMostOnce, 0);
    assert_eq!(play.sent(sender), []);
    let payloads: Vec<String> = play.seen(other).into_iter().map(|(payload, ..)| payload).collect();
    assert_eq!(payloads, ["late", "dropped"]);
    let third = play.join("t");
    play.publish(third, "b", "x", Qos::AtLeastOnce, 1);
    assert_eq!(play.sent(third), [ToClient::PubAck(1)]);
    play.advance(9 * SECOND);
    assert_eq!(play.core.step(reader), Step::Wait);
    play.advance(2 * SECOND);
    assert_eq!(play.core.step(reader), Step::End(End::Slow));
    assert_eq!(play.sent(sender), [ToClient::PubAck(100)]);
    play.say(sender, FromClient::Disconnect);
    play.core.end(other, End::Lost, play.now);
    play.assert_empty();
}

#[test]
fn a_reader_that_catches_up_goes_on() {
    let mut play = Play::with(4);
    let (sender, reader) = (play.join("s"), play.join("r"));
    play.subscribe(reader, "a", Qos::AtLeastOnce);
    fill(&mut play, sender, reader, 4);
    play.publish(sender, "a", "late", Qos::AtLeastOnce, 100);
    play.advance(9 * SECOND);
    let mut acknowledged = 0;
    let answers = loop {
        acknowledged += 1;
        play.say(reader, FromClient::PubAck(acknowledged));
        play.sent(reader);
        let answers = play.sent(sender);
        if !answers.is_empty() {
            break answers;
        }
    };
    assert_eq!((answers, acknowledged), (vec![ToClient::PubAck(100)], 5), "once it was sent");
    play.advance(9 * SECOND);
    assert_eq!(play.core.step(reader), Step::Wait);
}

#[test]
fn a_client_that_is_away_has_so_many_messages_and_no_more() {
    let mut play = Play::with(4);
    let sender = play.join("s");
    let (reader, _) = play.return_as("r");
    play.subscribe(reader, "a", Qos::AtLeastOnce);
    play.core.end(reader, End::Lost, play.now);
    for id in 1..=6 {
        play.publish(sender, "a", &id.to_string(), Qos::AtLeastOnce, id);
    }
    assert_eq!(play.sent(sender).len(), 6, "nobody waits for who is away");
    let (reader, _) = play.return_as("r");
    let payloads: Vec<String> = play.seen(reader).into_iter().map(|(payload, ..)| payload).collect();
    assert_eq!(payloads, ["1", "2", "3", "4"]);
}

#[test]
fn a_publisher_that_is_owed_much_waits_and_goes_on_when_it_was_taken() {
    let mut play = Play::new();
    let (inner, sender) = (play.local("bus"), play.join("s"));
    play.say(inner, FromClient::Subscribe { id: 1, filters: vec![("a".to_owned(), Qos::AtLeastOnce)] });
    play.sent(inner);
    for id in 1..=OWED_MAX {
        play.publish(sender, "a", "x", Qos::AtLeastOnce, number(id));
    }
    let next = FromClient::Publish(message("a", "y", Qos::AtLeastOnce, 1000));
    assert_eq!(play.core.handle(sender, next.clone(), play.now), Some(next.clone()));
    // While it waits it is not silent, and what it does not wait with is heard.
    play.core.links.get_mut(&sender).expect("it is there").keep_alive = SECOND;
    play.advance(60 * SECOND);
    assert_eq!(play.core.step(sender), Step::Wait);
    play.core.take_dirty();
    for (_, _, id, _) in play.seen(inner).into_iter().take(1) {
        play.say(inner, FromClient::PubAck(id));
    }
    assert!(play.core.take_dirty().contains(&sender), "it is woken");
    assert_eq!(play.sent(sender), [ToClient::PubAck(1)]);
    assert_eq!(play.core.handle(sender, next, play.now), None);
}

#[test]
fn what_waits_for_the_event_bus_is_bounded_and_those_that_do_not_publish_for_it_go_on() {
    let mut play = Play::new();
    let inner = play.local("bus");
    play.say(inner, FromClient::Subscribe { id: 1, filters: vec![("a".to_owned(), Qos::AtLeastOnce)] });
    play.sent(inner);
    let large = "x".repeat(1 << 20);
    let senders: Vec<LinkId> = (0..20).map(|at| play.join(&at.to_string())).collect();
    let mut waiting = Vec::new();
    for sender in &senders {
        let packet = FromClient::Publish(message("a", &large, Qos::AtLeastOnce, 1));
        waiting.extend(play.core.handle(*sender, packet, play.now).map(|_| *sender));
    }
    assert_eq!(waiting.len(), 20 - OWED_BYTES_MAX / (1 << 20));
    assert!(play.core.held_bytes <= OWED_BYTES_MAX + (1 << 21));
    let sender = play.join("other");
    play.publish(sender, "b", "x", Qos::AtLeastOnce, 2);
    assert_eq!(play.sent(sender), [ToClient::PubAck(2)]);
    // What needs no acknowledgement is dropped once much waits.
    for _ in 0..2 * LOCAL_QUEUE_MAX {
        play.publish(sender, "a", "x", Qos::AtMostOnce, 0);
    }
    assert!(play.core.held_bytes <= OWED_BYTES_MAX + (1 << 21));
    play.core.take_dirty();
    for (_, _, id, _) in play.seen(inner).into_iter().filter(|(_, qos, ..)| *qos > 0) {
        play.say(inner, FromClient::PubAck(id));
    }
    let woken = play.core.take_dirty();
    assert!(waiting.iter().all(|link| woken.contains(link)), "all that wait are woken");
}

#[test]
fn who_has_the_most_gives_way_when_too_much_waits() {
    let mut play = Play::with(1000);
    let sender = play.join("s");
    let large = "x".repeat(1 << 20);
    for id in 0..20 {
        let (reader, _) = play.return_as(&format!("r{id}"));
        play.subscribe(reader, &format!("t{}", id % 2), Qos::AtLeastOnce);
        play.core.end(reader, End::Lost, play.now);
    }
    for round in 1..=4 {
        for topic in ["t0", "t1"] {
            play.publish(sender, topic, &large, Qos::AtLeastOnce, round);
            assert!(play.core.held_bytes <= HELD_BYTES_MAX);
        }
    }
    let lost = (0..20).filter(|id| !play.return_as(&format!("r{id}")).1).count();
    assert!((1..20).contains(&lost), "{lost}");
}

#[test]
fn silence_ends_a_connection_after_one_and_a_half_of_its_keepalive() {
    let mut play = Play::new();
    let keep_alive = 10 * SECOND;
    let (link, _) = play.connect_as(Connect { keep_alive, ..connect("c", true) }, Origin::Network);
    let quiet = play.join("without-keepalive");
    play.sent(link);
    play.advance(14 * SECOND);
    play.say(link, FromClient::PingReq);
    assert_eq!(play.sent(link), [ToClient::PingResp]);
    play.advance(15 * SECOND);
    assert_eq!(play.core.step(link), Step::Wait);
    play.advance(SECOND);
    assert_eq!(play.core.step(link), Step::End(End::Silent));
    play.advance(10_000 * SECOND);
    assert_eq!(play.core.step(quiet), Step::Wait);
}

#[test]
fn sessions_are_bounded_in_number_and_in_time() {
    let mut play = Play::new();
    let (gone, _) = play.return_as("gone");
    play.core.end(gone, End::Lost, play.now);
    play.advance(SECOND);
    let links: Vec<LinkId> = (1..512).map(|id| play.return_as(&id.to_string()).0).collect();
    play.join("one more");
    assert!(
        play.core.connect(connect("and one", true), Origin::Network, play.now) == Err(Refusal::Unavailable)
    );
    for link in links {
        play.core.end(link, End::Lost, play.now);
    }
    assert!(!play.return_as("gone").1, "it was away for the longest time");
    play.advance(8 * 24 * 3600 * SECOND);
    assert!(!play.return_as("300").1, "a week is enough");
}

#[test]
fn subscriptions_are_bounded_in_number_and_in_size() {
    let mut play = Play::new();
    let link = play.join("c");
    let mut code = |filter: String| {
        play.say(link, FromClient::Subscribe { id: 1, filters: vec![(filter, Qos::AtMostOnce)] });
        match play.core.step(link) {
            Step::Send(ToClient::SubAck(1, codes)) => codes == [Some(Qos::AtMostOnce)],
            other => panic!("{other:?}"),
        }
    };
    assert!(!code("a#".to_owned()) && !code(String::new()));
    assert!(!code("x".repeat(FILTER_BYTES_MAX + 1)) && !code("/".repeat(FILTER_LEVELS_MAX)));
    assert!((0..FILTERS_MAX).all(|id| code(id.to_string())));
    assert!(!code("one more".to_owned()));
    assert!(code("7".to_owned()), "one that it has is no further one");
}

#[test]
fn a_client_that_asks_for_what_is_retained_and_takes_none_is_ended() {
    let mut play = Play::new();
    let (sender, reader) = (play.join("s"), play.join("r"));
    for id in 0..RETAINED_MAX {
        let kept = Publish { is_retained: true, ..message(&id.to_string(), "x", Qos::AtMostOnce, 0) };
        play.say(sender, FromClient::Publish(kept));
    }
    let ask = || FromClient::Subscribe { id: 1, filters: vec![("#".to_owned(), Qos::AtLeastOnce)] };
    play.say(reader, ask());
    assert!(play.core.links[&reader].end.is_none());
    play.say(reader, ask());
    assert_eq!(play.core.links[&reader].end, Some(End::Slow));
    play.assert_empty();
}

#[test]
fn a_client_that_breaks_the_rules_is_ended() {
    let mut play = Play::new();
    let link = play.join("c");
    play.say(link, FromClient::Connect(connect("c", true)));
    assert!(matches!(play.core.step(link), Step::End(End::Broken(_))));
    let link = play.join("c");
    for id in 1..=RECEIVED_MAX + 1 {
        play.publish(link, "a", "x", Qos::ExactlyOnce, number(id));
    }
    assert!(matches!(play.core.step(link), Step::End(End::Broken(_))));
    play.assert_empty();
}

#[test]
fn acknowledgements_of_nothing_harm_nobody() {
    let mut play = Play::new();
    let link = play.join("c");
    for packet in
        [FromClient::PubAck(1), FromClient::PubRec(2), FromClient::PubComp(3), FromClient::PubRel(4)]
    {
        play.say(link, packet);
    }
    assert_eq!(play.sent(link), [ToClient::PubRel(2), ToClient::PubComp(4)]);
    assert_eq!(play.core.step(link), Step::Wait);
    play.assert_empty();
}

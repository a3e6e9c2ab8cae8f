//! What clients of a broker may rely on.

use super::*;
use crate::mqtt::broker::encode::Refusal;

#[test]
fn a_message_has_the_smaller_qos_of_its_publisher_and_its_subscriber() {
    let mut play = Play::new();
    let sender = play.join("s");
    for (granted, expect) in
        [(Qos::AtMostOnce, [0, 0, 0]), (Qos::AtLeastOnce, [0, 1, 1]), (Qos::ExactlyOnce, [0, 1, 2])]
    {
        let reader = play.join("r");
        play.subscribe(reader, "a", granted);
        play.publish(sender, "a", "x", Qos::AtMostOnce, 0);
        play.publish(sender, "a", "x", Qos::AtLeastOnce, 1);
        play.publish(sender, "a", "x", Qos::ExactlyOnce, 2);
        play.say(sender, FromClient::PubRel(2));
        let found: Vec<u8> = play.seen(reader).into_iter().map(|(_, qos, ..)| qos).collect();
        assert_eq!(found, expect);
        play.core.end(reader, End::Lost, play.now);
    }
    let answers = [ToClient::PubAck(1), ToClient::PubRec(2), ToClient::PubComp(2)];
    assert_eq!(play.sent(sender), [&answers[..], &answers, &answers].concat());
    play.assert_empty();
}

#[test]
fn a_message_with_qos_2_is_handed_on_once_however_often_it_is_sent() {
    let mut play = Play::new();
    let (sender, reader) = (play.join("s"), play.join("r"));
    play.subscribe(reader, "a", Qos::ExactlyOnce);
    for _ in 0..3 {
        play.publish(sender, "a", "x", Qos::ExactlyOnce, 7);
    }
    play.say(sender, FromClient::PubRel(7));
    play.publish(sender, "a", "y", Qos::ExactlyOnce, 7);
    assert_eq!(play.seen(reader), seen(&[("x", 2, 1, ""), ("y", 2, 2, "")]));
    play.say(reader, FromClient::PubRec(1));
    assert_eq!(play.sent(reader), [ToClient::PubRel(1)]);
    play.say(reader, FromClient::PubComp(1));
    let expect =
        [7, 7, 7].map(ToClient::PubRec).into_iter().chain([ToClient::PubComp(7), ToClient::PubRec(7)]);
    assert_eq!(play.sent(sender), expect.collect::<Vec<_>>());
}

#[test]
fn a_session_that_is_kept_has_what_came_while_its_client_was_away() {
    let mut play = Play::new();
    let sender = play.join("s");
    let (reader, _) = play.return_as("r");
    play.subscribe(reader, "a", Qos::AtLeastOnce);
    play.publish(sender, "a", "1", Qos::AtLeastOnce, 1);
    assert_eq!(play.seen(reader), seen(&[("1", 1, 1, "")]));
    play.say(reader, FromClient::Disconnect);
    play.core.remove(reader);
    play.publish(sender, "a", "0", Qos::AtMostOnce, 0);
    play.publish(sender, "a", "2", Qos::AtLeastOnce, 2);
    assert_eq!(play.sent(sender), [ToClient::PubAck(1), ToClient::PubAck(2)]);
    let (reader, is_resumed) = play.return_as("r");
    assert!(is_resumed);
    assert_eq!(play.seen(reader), seen(&[("1", 1, 1, "d"), ("2", 1, 2, "")]));
    play.say(reader, FromClient::PubAck(1));
    play.say(reader, FromClient::PubAck(2));
    play.say(reader, FromClient::Disconnect);
    let clean = play.join("r");
    play.publish(sender, "a", "3", Qos::AtLeastOnce, 3);
    assert_eq!(play.seen(clean), seen(&[]), "a clean session has no subscription");
    play.say(clean, FromClient::Disconnect);
    assert!(!play.return_as("r").1, "and leaves none");
    play.assert_empty();
}

#[test]
fn the_newest_client_of_an_id_wins_and_the_older_one_s_will_is_published() {
    let mut play = Play::new();
    let reader = play.join("r");
    play.subscribe(reader, "w", Qos::AtMostOnce);
    let will = Some(message("w", "gone", Qos::AtMostOnce, 0));
    let (older, _) = play.connect_as(Connect { will, ..connect("c", true) }, Origin::Network);
    let newer = play.join("c");
    assert_eq!(play.core.step(older), Step::End(End::TakenOver));
    assert_eq!(play.core.step(newer), Step::Wait);
    assert_eq!(play.seen(reader), seen(&[("gone", 0, 0, "")]));
    // What an ended connection still says is nothing.
    play.say(older, FromClient::PingReq);
    assert_eq!(play.core.step(older), Step::End(End::TakenOver));
}

#[test]
fn a_will_is_published_unless_its_client_took_leave() {
    let mut play = Play::new();
    let reader = play.join("r");
    play.subscribe(reader, "w", Qos::AtLeastOnce);
    for (end, expect) in [(None, 0), (Some(End::Lost), 1), (Some(End::Silent), 1), (Some(End::Stopped), 0)] {
        let will = Some(message("w", "gone", Qos::AtLeastOnce, 0));
        let (link, _) = play.connect_as(Connect { will, ..connect("c", true) }, Origin::Network);
        match end {
            Some(end) => play.core.end(link, end, play.now),
            None => play.say(link, FromClient::Disconnect),
        }
        assert_eq!(play.seen(reader).len(), expect, "{end:?}");
        play.core.remove(link);
    }
}

#[test]
fn what_is_retained_is_given_to_those_that_come_later() {
    let mut play = Play::new();
    let sender = play.join("s");
    let kept = |payload| {
        FromClient::Publish(Publish { is_retained: true, ..message("a/b", payload, Qos::AtLeastOnce, 1) })
    };
    play.say(sender, kept("1"));
    play.say(sender, kept("2"));
    let reader = play.join("r");
    play.subscribe(reader, "a/+", Qos::AtMostOnce);
    assert_eq!(play.seen(reader), seen(&[("2", 0, 0, "r")]));
    // Those that are there get it as any other, and again when they subscribe again.
    play.say(sender, kept("3"));
    assert_eq!(play.seen(reader), seen(&[("3", 0, 0, "")]));
    play.subscribe(reader, "a/+", Qos::AtLeastOnce);
    assert_eq!(play.seen(reader), seen(&[("3", 1, 1, "r")]));
    play.say(sender, kept(""));
    let late = play.join("l");
    play.subscribe(late, "#", Qos::AtLeastOnce);
    assert_eq!(play.seen(late), seen(&[]));
}

#[test]
fn an_end_of_a_subscription_is_one_and_of_others_too() {
    let mut play = Play::new();
    let (sender, reader, other) = (play.join("s"), play.join("r"), play.join("o"));
    for link in [reader, other] {
        play.subscribe(link, "a/#", Qos::AtMostOnce);
    }
    play.say(
        reader,
        FromClient::Unsubscribe { id: 9, filters: vec!["a/#".to_owned(), "nothing".to_owned()] },
    );
    assert_eq!(play.sent(reader), [ToClient::UnsubAck(9)]);
    play.publish(sender, "a/b", "x", Qos::AtMostOnce, 0);
    assert_eq!((play.seen(reader), play.seen(other)), (seen(&[]), seen(&[("x", 0, 0, "")])));
}

#[test]
fn what_is_published_for_a_client_within_the_process_is_acknowledged_when_it_has_it() {
    let mut play = Play::new();
    let (inner, sender) = (play.local("bus"), play.join("s"));
    play.say(inner, FromClient::Subscribe { id: 1, filters: vec![("$hw/#".to_owned(), Qos::AtLeastOnce)] });
    play.sent(inner);
    play.publish(sender, "$hw/a", "1", Qos::AtLeastOnce, 1);
    play.publish(sender, "b", "2", Qos::AtLeastOnce, 2);
    play.publish(sender, "$hw/a", "3", Qos::ExactlyOnce, 3);
    assert_eq!(play.sent(sender), [], "the second waits for its turn");
    assert_eq!(play.seen(inner), seen(&[("1", 1, 1, ""), ("3", 1, 2, "")]));
    play.say(inner, FromClient::PubAck(1));
    assert_eq!(play.sent(sender), [ToClient::PubAck(1), ToClient::PubAck(2)]);
    // It is sent again, and is not taken twice.
    play.publish(sender, "$hw/a", "3", Qos::ExactlyOnce, 3);
    play.say(inner, FromClient::PubAck(2));
    assert_eq!(play.sent(sender), [ToClient::PubRec(3), ToClient::PubRec(3)]);
    assert_eq!(play.seen(inner), seen(&[]));
    play.assert_empty();
}

#[test]
fn what_a_client_within_the_process_left_unanswered_is_acknowledged_when_it_is_back() {
    let mut play = Play::new();
    let (inner, sender) = (play.local("bus"), play.join("s"));
    play.say(inner, FromClient::Subscribe { id: 1, filters: vec![("a".to_owned(), Qos::AtLeastOnce)] });
    play.sent(inner);
    play.publish(sender, "a", "1", Qos::AtLeastOnce, 1);
    assert_eq!(play.seen(inner).len(), 1);
    play.core.end(inner, End::Lost, play.now);
    play.publish(sender, "a", "2", Qos::AtLeastOnce, 2);
    assert_eq!(play.sent(sender), []);
    let inner = play.local("bus");
    assert_eq!(play.seen(inner), seen(&[("1", 1, 1, "d"), ("2", 1, 2, "")]));
    play.say(inner, FromClient::PubAck(1));
    play.say(inner, FromClient::PubAck(2));
    assert_eq!(play.sent(sender), [ToClient::PubAck(1), ToClient::PubAck(2)]);
    play.assert_empty();
}

#[test]
fn nobody_takes_over_a_client_within_the_process() {
    let mut play = Play::new();
    let inner = play.local("bus");
    play.join("bus");
    assert_eq!(play.core.step(inner), Step::Wait);
    play.core.stop(play.now);
    assert_eq!(play.core.step(inner), Step::Wait);
}

#[test]
fn who_may_not_connect_is_told_why() {
    let mut play = Play::new();
    let user = Credentials { username: "u".to_owned(), password: Password::new("p") };
    play.core.set_rules(Rules { user: Some(user), queue_max: 10 });
    let mut check = |connect: Connect, expect: Option<Refusal>| {
        let refused = play.core.connect(connect, Origin::Network, play.now).err();
        assert_eq!(refused, expect);
    };
    let as_user = |name: &str, password: &str| Some((name.to_owned(), password.as_bytes().to_vec()));
    let known = || Connect { user: as_user("u", "p"), ..connect("c", true) };
    check(known(), None);
    check(connect("c", true), Some(Refusal::NotAuthorized));
    for (name, password) in [("u", "x"), ("x", "p"), ("u", ""), ("u", "pp"), ("", "")] {
        check(Connect { user: as_user(name, password), ..known() }, Some(Refusal::Password));
    }
    check(Connect { client_id: String::new(), is_clean: false, ..known() }, Some(Refusal::ClientId));
    check(Connect { client_id: "x".repeat(257), ..known() }, Some(Refusal::ClientId));
    check(Connect { client_id: "a\nb".to_owned(), ..known() }, Some(Refusal::ClientId));
    // Clients without an id are many.
    check(Connect { client_id: String::new(), ..known() }, None);
    check(Connect { client_id: String::new(), ..known() }, None);
    assert_eq!(play.core.sessions.len(), 3);
}

use bytes::Bytes;
use protocol::{Lease, NodeRequest, Object};

use super::*;
use crate::downlink::Downlink;
use crate::session::{Beats, CloudEnd, EdgeEnd};
use crate::uplink::Uplink;

const SECOND: Duration = Duration::from_secs(1);

fn settings(codec: Codec) -> ConversationSettings {
    let beats = if codec == Codec::Native { Beats::WhenSilent } else { Beats::Always };
    ConversationSettings {
        codec,
        features: if codec == Codec::Native { Features::ALL } else { Features::default() },
        keepalive: KeepaliveLimits { beats, interval: SECOND * 3, silence_max: SECOND * 9 },
        lanes: LaneLimits { liveness: 4, status: 8, data: 8, extra: 0 },
        frame_bytes_max: 1 << 20,
        wall_clock: SECOND * 1000,
        seed: 7,
    }
}

fn edge(codec: Codec) -> Conversation<EdgeEnd> {
    Conversation::new(settings(codec))
}

fn cloud(codec: Codec) -> Conversation<CloudEnd> {
    Conversation::new(settings(codec))
}

fn object(bytes: usize) -> Object {
    let mut seed = 1_u64;
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + u8::try_from((seed >> 33) % 26).expect("a letter"))
    });
    let padding: String = noise.take(bytes).collect();
    Object::parse(format!(r#"{{"metadata":{{"name":"a","namespace":"b"}},"data":"{padding}"}}"#))
        .expect("an object")
}

fn event(bytes: usize) -> Uplink {
    Uplink::request(NodeRequest::RecordEvent(object(bytes)))
}

fn lease() -> Uplink {
    Uplink::request(NodeRequest::Lease(Lease::Update(object(1))))
}

/// Gives all that one end has to say to the other; returns the messages and how many frames it took.
fn carry<A: End, B: End<Hears = A::Says>>(
    from: &mut Conversation<A>,
    to: &mut Conversation<B>,
    now: Duration,
) -> (Vec<A::Says>, usize) {
    let (mut messages, mut frames) = (Vec::new(), 0);
    while let Some(frame) = from.next_frame(now) {
        frames += 1;
        match to.hear(&frame, now).expect("the conversation goes on") {
            Heard::Message(envelope) => messages.push(envelope.body),
            Heard::Nothing | Heard::Notice(_) | Heard::Comparison(_) => {}
            Heard::Renewal(_) | Heard::Renewed => {}
            Heard::Garbage(error) => panic!("a sound frame: {error}"),
        }
    }
    (messages, frames)
}

#[test]
fn a_ping_is_answered_and_a_silent_peer_is_given_up() {
    let (mut edge, mut cloud) = (edge(Codec::Native), cloud(Codec::Native));
    assert_eq!(edge.poll(Duration::ZERO), Ok(SECOND * 3));
    assert_eq!(carry(&mut edge, &mut cloud, Duration::ZERO).1, 1, "a ping");
    assert_eq!(carry(&mut cloud, &mut edge, SECOND * 2).1, 1, "its pong");
    assert_eq!(edge.poll(SECOND * 11 - Duration::from_millis(1)), Ok(SECOND * 11));
    assert_eq!(edge.poll(SECOND * 11), Err(Broken::Silent));
    edge.excuse(SECOND * 11);
    assert!(edge.poll(SECOND * 11).is_ok(), "its own silence is no fault of the peer");
}

#[test]
fn upstream_s_peer_hears_keepalives_of_an_edge_and_nothing_of_a_cloud() {
    let (mut edge, mut cloud) = (edge(Codec::KubeEdge), cloud(Codec::KubeEdge));
    edge.poll(Duration::ZERO).expect("alive");
    cloud.poll(Duration::ZERO).expect("alive");
    assert_eq!(carry(&mut edge, &mut cloud, Duration::ZERO).0, [Uplink::Keepalive]);
    assert_eq!(carry(&mut cloud, &mut edge, Duration::ZERO).1, 0);
}

#[test]
fn ids_differ_and_times_follow_the_wall_clock() {
    let (mut edge, mut cloud) = (edge(Codec::Native), cloud(Codec::Native));
    let first = edge.say(Lane::Status, Uplink::Keepalive, SECOND).expect("room");
    let second = edge.say(Lane::Status, Uplink::Keepalive, SECOND * 2).expect("room");
    assert_ne!(first, second);
    for (id, timestamp_ms) in [(first, 1_001_000), (second, 1_002_000)] {
        let frame = edge.next_frame(SECOND * 2).expect("a message");
        let Ok(Heard::Message(envelope)) = cloud.hear(&frame, SECOND * 2) else { panic!("a message") };
        assert_eq!((envelope.id, envelope.timestamp_ms), (id, timestamp_ms));
    }
}

#[test]
fn a_lease_passes_data_that_came_before_it_even_in_the_middle_of_a_frame() {
    let (mut edge, mut cloud) = (edge(Codec::Native), cloud(Codec::Native));
    edge.say(Lane::Bulk, event(100_000), Duration::ZERO).expect("room");
    let first = edge.next_frame(Duration::ZERO).expect("a part");
    assert!(first.payload().len() < 5000, "{first:?}");
    assert!(matches!(cloud.hear(&first, Duration::ZERO), Ok(Heard::Nothing)));
    edge.say(Lane::Liveness, lease(), Duration::ZERO).expect("room");
    let mut heard = Vec::new();
    for millis in 0..200 {
        let now = Duration::from_millis(millis);
        heard.extend(carry(&mut edge, &mut cloud, now).0);
        carry(&mut cloud, &mut edge, now);
    }
    assert_eq!(heard, [lease(), event(100_000)]);
}

#[test]
fn a_link_that_does_not_answer_is_given_little_data_and_all_that_is_urgent() {
    let (mut edge, mut cloud) = (edge(Codec::Native), cloud(Codec::Native));
    for _ in 0..8 {
        edge.say(Lane::Bulk, event(20_000), Duration::ZERO).expect("room");
    }
    let given: usize =
        std::iter::from_fn(|| edge.next_frame(Duration::ZERO)).map(|frame| frame.payload().len()).sum();
    assert!((8_000..16_000).contains(&given), "{given} bytes");
    edge.say(Lane::Liveness, lease(), Duration::ZERO).expect("room");
    let (messages, _) = carry(&mut edge, &mut cloud, Duration::ZERO);
    assert_eq!(messages, [lease()]);
}

#[test]
fn a_peer_without_features_gets_whole_frames() {
    let first = ConversationSettings { features: Features::default(), ..settings(Codec::Native) };
    let mut edge: Conversation<EdgeEnd> = Conversation::new(first);
    edge.say(Lane::Bulk, event(100_000), Duration::ZERO).expect("room");
    let frame = edge.next_frame(Duration::ZERO).expect("a frame");
    assert!(frame.payload().len() > 100_000);
}

#[test]
fn a_goodbye_follows_what_is_urgent_and_takes_the_place_of_data() {
    let (mut edge, mut cloud) = (edge(Codec::Native), cloud(Codec::Native));
    edge.say(Lane::Bulk, event(10), Duration::ZERO).expect("room");
    edge.say(Lane::Status, Uplink::Keepalive, Duration::ZERO).expect("room");
    edge.say_goodbye("night");
    let status = edge.next_frame(Duration::ZERO).expect("a frame");
    assert!(matches!(cloud.hear(&status, Duration::ZERO), Ok(Heard::Message(_))));
    let goodbye = edge.next_frame(Duration::ZERO).expect("a frame");
    assert_eq!(
        cloud.hear(&goodbye, Duration::ZERO).expect_err("the end"),
        Broken::Goodbye("night".to_owned())
    );
    assert_eq!(edge.next_frame(Duration::ZERO), None);
}

#[test]
fn upstream_s_peer_is_told_all_that_waits_before_the_end() {
    let (mut edge, mut cloud) = (edge(Codec::KubeEdge), cloud(Codec::KubeEdge));
    edge.say(Lane::Bulk, event(10), Duration::ZERO).expect("room");
    edge.say_goodbye("night");
    assert_eq!(carry(&mut edge, &mut cloud, Duration::ZERO), (vec![event(10)], 1));
}

#[test]
fn only_a_peer_that_takes_notices_gets_one() {
    let mut cloud = cloud(Codec::Native);
    cloud.notify("busy").expect("room");
    let frame = cloud.next_frame(Duration::ZERO).expect("a frame");
    let heard = edge(Codec::Native).hear(&frame, Duration::ZERO);
    assert!(matches!(&heard, Ok(Heard::Notice(text)) if text == "busy"), "{heard:?}");
    let first = ConversationSettings { features: Features::default(), ..settings(Codec::Native) };
    let mut cloud: Conversation<CloudEnd> = Conversation::new(first);
    cloud.notify("busy").expect("room");
    assert_eq!(cloud.next_frame(Duration::ZERO), None);
}

#[test]
fn garbage_ends_a_native_conversation_at_once_and_upstream_s_after_a_while() {
    let garbage = Frame::Binary(Bytes::from_static(b"\xff\x00"));
    assert!(matches!(edge(Codec::Native).hear(&garbage, Duration::ZERO), Err(Broken::Protocol(_))));
    let mut edge = edge(Codec::KubeEdge);
    for _ in 1..GARBAGE_MAX {
        assert!(matches!(edge.hear(&garbage, Duration::ZERO), Ok(Heard::Garbage(_))));
    }
    assert!(matches!(edge.hear(&garbage, Duration::ZERO), Err(Broken::Protocol(_))));
}

#[test]
fn what_a_native_peer_may_not_say_twice_or_within_parts_is_an_error() {
    use crate::codec::{CloudFrame, EdgeFrame, Hello, Part};
    let welcome = CloudFrame::Welcome { version: 1, session: 1, features: Features::ALL };
    let welcome = Codec::Native.encode_cloud(welcome).expect("a frame");
    assert!(matches!(edge(Codec::Native).hear(&welcome, Duration::ZERO), Err(Broken::Protocol(_))));
    let hello = Hello {
        version: 1,
        node: "n".to_owned(),
        instance: [0; 16],
        held: None,
        digest: None,
        features: Features::ALL,
    };
    let hello = Codec::Native.encode_edge(EdgeFrame::Hello(hello)).expect("a frame");
    assert!(matches!(cloud(Codec::Native).hear(&hello, Duration::ZERO), Err(Broken::Protocol(_))));
    let part =
        |bytes: &Bytes| crate::codec::encode_part(Part { lane: 3, is_last: true, bytes: bytes.clone() });
    let nested = part(part(&Bytes::from_static(b"x")).payload());
    assert!(matches!(cloud(Codec::Native).hear(&nested, Duration::ZERO), Err(Broken::Protocol(_))));
}

#[test]
fn unknown_kinds_are_news_once() {
    let raw = |source: &str| crate::RawMessage {
        header: crate::RawHeader::default(),
        route: crate::RawRoute { source: source.to_owned(), ..crate::RawRoute::default() },
        content: crate::content::null(),
    };
    let mut edge = edge(Codec::KubeEdge);
    let mut is_news = |source: &str| edge.is_news(&Unknown::new(raw(source), "what")).is_some();
    assert!(is_news("a"));
    assert!(!is_news("a"));
    assert!(is_news("b"));
    let many = (0..1000).filter(|number| is_news(&format!("c{number}"))).count();
    assert_eq!(many, KINDS_MAX - 2, "the memory of them is bounded");
}

#[test]
fn a_cloud_s_answer_to_a_lease_passes_its_changes() {
    let mut cloud = cloud(Codec::Native);
    let reply = |reply| {
        let to = crate::ReplyTo {
            parent: MessageId::new("1"),
            path: crate::ResourcePath::Empty,
            shape: crate::ReplyShape::Object,
        };
        Downlink::Reply { to, reply }
    };
    cloud.say(Lane::Sync, reply(protocol::NodeReply::Object(object(1))), Duration::ZERO).expect("room");
    cloud.say(Lane::Liveness, reply(protocol::NodeReply::Done), Duration::ZERO).expect("room");
    let mut edge = edge(Codec::Native);
    let (heard, _) = carry(&mut cloud, &mut edge, Duration::ZERO);
    assert_eq!(heard, [reply(protocol::NodeReply::Done), reply(protocol::NodeReply::Object(object(1)))]);
}

#[test]
fn what_resembles_what_was_said_before_is_small_but_secrets_are_sent_as_they_are() {
    let mut cloud = cloud(Codec::Native);
    let mut edge = edge(Codec::Native);
    let mut sizes = |resource: protocol::ResourceType| {
        let object = object(2000);
        let key = object.key(resource).expect("a key");
        let change = protocol::ObjectChange { kind: protocol::ChangeKind::Update, key, object };
        let mut sizes = Vec::new();
        for _ in 0..2 {
            cloud.say(Lane::Sync, Downlink::change(change.clone()), Duration::ZERO).expect("room");
            let mut heard = Vec::new();
            let mut size = 0;
            while let Some(frame) = cloud.next_frame(Duration::ZERO) {
                size += frame.payload().len();
                if let Heard::Message(envelope) = edge.hear(&frame, Duration::ZERO).expect("a sound frame") {
                    heard.push(envelope.body);
                }
            }
            sizes.push(size);
            assert_eq!(heard, [Downlink::change(change.clone())]);
        }
        sizes
    };
    let plain = sizes(protocol::ResourceType::CONFIG_MAP);
    assert!(plain[0] > 1000 && plain[1] < 200, "{plain:?}");
    let secret = sizes(protocol::ResourceType::SECRET);
    assert!(secret.iter().all(|size| *size > 2000), "{secret:?}");
}

//! The hub between a probe, which plays the other modules, and edges at the far ends of memory
//! links.

mod acknowledged;
mod commands;
mod compare;
mod fencing;
mod limits;
mod priority;
mod renewals;
mod world;

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use beehive::Probe;
use futures::FutureExt;
use protocol::cloud::{EndSession, Holdings, NodeConnected, ReadRecords, SendRefused, SendToNode, ServeNode};
use protocol::{ChangeKind, Held, NodeReply, Object, ObjectChange, ResourceType, Uid, group};
use wire::codec::{CloudFrame, EdgeFrame};
use wire::link::{Accepted, Frame, Identity, Incoming, Link, LinkError, ListenOn, Listener, Transport};
use wire::{Codec, Downlink, Envelope, MessageId, ResourcePath, Uplink, link_pair};

use self::world::*;
use super::*;

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_is_connected_once_it_said_hello() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.dial("edge-1", Codec::Native).await;
    probe.settle().await;
    assert!(probe.published::<NodeConnected>().is_empty());
    assert_eq!(send(&probe, "edge-1", "a", 1).await, Err(SendRefused::NotConnected));
    let held = Held { key: change("a", 1).key, uid: None, resource_version: None };
    edge.say_hello("edge-1", Some(vec![held.clone()])).await;
    let CloudFrame::Welcome { session, .. } = edge.hear().await else { panic!("a welcome") };
    probe.settle().await;
    let connected: Vec<NodeConnected> = probe.published();
    assert_eq!(connected.len(), 1);
    assert_eq!((&connected[0].node, connected[0].session), (&node("edge-1"), session));
    assert_eq!(connected[0].holds, Holdings::Said(vec![held]));
    drop(edge);
    probe.settle().await;
    assert_eq!(disconnected(&probe), [("edge-1".to_owned(), session)]);
    assert_eq!(send(&probe, "edge-1", "a", 1).await, Err(SendRefused::NotConnected));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn changes_arrive_and_a_newer_state_waits_for_the_acknowledgement_of_the_older() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.connect("edge-1").await;
    probe.settle().await;
    assert_eq!(send(&probe, "edge-1", "a", 1).await, Ok(()));
    let (first, name, version) = edge.hear_change().await;
    assert_eq!((name.as_str(), version.as_str()), ("a", "1"));
    for version in 2..=4 {
        assert_eq!(send(&probe, "edge-1", "a", version).await, Ok(()));
    }
    assert_eq!(send(&probe, "edge-1", "b", 1).await, Ok(()));
    let (other, name, _) = edge.hear_change().await;
    assert_eq!(name, "b", "other objects go on");
    edge.acknowledge(&first).await;
    edge.acknowledge(&other).await;
    let (_, name, version) = edge.hear_change().await;
    assert_eq!((name.as_str(), version.as_str()), ("a", "4"), "only the newest");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_change_that_the_node_could_not_keep_is_sent_again_after_a_pause() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.connect("edge-1").await;
    probe.settle().await;
    assert_eq!(send(&probe, "edge-1", "a", 1).await, Ok(()));
    let (parent, ..) = edge.hear_change().await;
    let refused = tokio::time::Instant::now();
    edge.send(Uplink::Nack {
        parent: parent.clone(),
        path: ResourcePath::Empty,
        text: "disk full".to_owned(),
    })
    .await;
    let (again, name, version) = edge.hear_change().await;
    assert_eq!((name.as_str(), version.as_str()), ("a", "1"));
    assert_ne!(again, parent);
    assert!(refused.elapsed() >= Duration::from_millis(500), "{:?}", refused.elapsed());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_newest_connection_of_a_node_is_its_session() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut older = edges.connect("edge-1").await;
    let mut newer = edges.connect("edge-1").await;
    assert!(matches!(older.hear().await, CloudFrame::Goodbye(_)));
    assert_eq!(older.hear_end().await, LinkError::Closed);
    probe.settle().await;
    let sessions: Vec<u64> = probe.published::<NodeConnected>().iter().map(|event| event.session).collect();
    assert!(sessions[0] < sessions[1], "{sessions:?}");
    assert_eq!(disconnected(&probe), [("edge-1".to_owned(), sessions[0])]);
    assert_eq!(send(&probe, "edge-1", "a", 1).await, Ok(()));
    assert_eq!(newer.hear_change().await.1, "a");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_session_that_a_module_ends_begins_anew_with_what_the_node_holds() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let bus = probe.bus();
    let end = |name: &str| bus.to(group::CLOUDHUB).ask(EndSession { node: node(name) }).within(SECOND);
    let (mut ended, mut other) = (edges.connect("edge-1").await, edges.connect("edge-2").await);
    probe.settle().await;
    assert_eq!(end("edge-3").await, Ok(()), "a node without a session is none to end");
    assert_eq!(end("edge-1").await, Ok(()));
    assert_eq!(ended.hear_end().await, LinkError::Closed);
    probe.settle().await;
    assert_eq!(disconnected(&probe).len(), 1);
    assert_eq!(send(&probe, "edge-1", "a", 1).await, Err(SendRefused::NotConnected));
    let mut again = edges.dial("edge-1", Codec::Native).await;
    again.say_hello("edge-1", Some(Vec::new())).await;
    assert!(matches!(again.hear().await, CloudFrame::Welcome { .. }));
    probe.settle().await;
    let held = probe.published::<NodeConnected>().pop().map(|event| event.holds);
    assert_eq!(held, Some(Holdings::Said(Vec::new())), "it says what it holds");
    assert_eq!(send(&probe, "edge-1", "a", 1).await, Ok(()));
    assert_eq!(again.hear_change().await.1, "a");
    assert_eq!(send(&probe, "edge-2", "b", 1).await, Ok(()));
    assert_eq!(other.hear_change().await.1, "b", "the others are left alone");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_does_not_read_delays_no_other_and_its_queue_is_bounded() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let _stuck = edges.connect("edge-1").await;
    let mut quick = edges.connect("edge-2").await;
    probe.settle().await;
    let bus = probe.bus();
    let mut refused = None;
    for number in 0..20_000 {
        let message = SendToNode { node: node("edge-1"), change: change(&format!("a{number}"), 1) };
        let stuck = bus.to(group::CLOUDHUB).ask(message).within(SECOND).await;
        if stuck == Ok(Err(SendRefused::QueueFull)) {
            refused = Some(number);
            break;
        }
        assert!(matches!(stuck, Ok(Ok(_))), "{stuck:?}");
        if number % 1000 == 0 {
            assert_eq!(send(&probe, "edge-2", "b", number).await, Ok(()));
            let (id, name, version) = quick.hear_change().await;
            assert_eq!((name.as_str(), version), ("b", number.to_string()));
            quick.acknowledge(&id).await;
        }
    }
    assert!(refused.is_some_and(|number| number < 9000), "{refused:?}");
    probe.advance(SECOND * 2).await;
    assert_eq!(disconnected(&probe).len(), 1, "what does not keep up is let go");
    assert_eq!(send(&probe, "edge-1", "a", 1).await, Err(SendRefused::NotConnected));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_request_is_served_in_the_node_s_name_and_answered() {
    let edges = Edges::new();
    let probe = edges.probe(CloudHubConfig::default());
    let probe = probe.serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Object(object("a", 7)));
    let probe = probe.start().await;
    let mut edge = edges.connect("edge-1").await;
    let id = edge.send(query("a")).await;
    let Downlink::Reply { to, reply } = edge.hear_down().await.body else { panic!("an answer") };
    assert_eq!((to.parent, reply), (id, NodeReply::Object(object("a", 7))));
    let asked: Vec<ServeNode> = probe.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].node, node("edge-1"));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_request_that_nobody_serves_is_refused_as_one_to_try_again() {
    let edges = Edges::new();
    let probe = edges.probe(CloudHubConfig::default());
    let probe = probe.serve_later::<ServeNode>(group::EDGECONTROLLER, |_, responder| drop(responder));
    let _probe = probe.start().await;
    let mut edge = edges.connect("edge-1").await;
    edge.send(query("a")).await;
    match edge.hear_down().await.body {
        Downlink::Reply { reply: NodeReply::Refused(status), .. } => assert_eq!(status.code, 503),
        other => panic!("a refusal: {other:?}"),
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_has_a_bounded_number_of_requests_served_at_a_time() {
    let edges = Edges::new();
    let serving = Serving::default();
    let asked = Rc::clone(&serving);
    let probe = edges
        .probe(CloudHubConfig::default())
        .serve_later::<ServeNode>(group::EDGECONTROLLER, move |_, responder| {
            asked.borrow_mut().push(responder)
        })
        .start()
        .await;
    let Edge { link: Link { mut reader, writer }, .. } = edges.connect("edge-1").await;
    let writer = tokio::sync::Mutex::new(writer);
    let say = async |frame| {
        let frame = Codec::Native.encode_edge(frame).expect("a frame");
        writer.lock().await.send(frame).await.expect("the link is up");
    };
    let sending = async {
        for number in 0..2000 {
            let id = MessageId::new(&number.to_string());
            let up = Envelope { id, timestamp_ms: 0, body: query("a") };
            say(EdgeFrame::Up(up)).await;
        }
    };
    let mut sending = std::pin::pin!(sending);
    assert!(sending.as_mut().now_or_never().is_none());
    let idle = async { probe.settle().await };
    tokio::select! {
        biased;
        () = &mut sending => panic!("the hub took more than it may"),
        () = idle => {}
    }
    assert_eq!(probe.asked::<ServeNode>().len(), 16);
    let mut answered = 0;
    let answering = async {
        while answered < 2000 {
            let frame = reader.next().await.expect("the link is up");
            match Codec::Native.decode_cloud(&frame) {
                Ok(CloudFrame::Down(_)) => answered += 1,
                Ok(CloudFrame::Ping(number)) => say(EdgeFrame::Pong(number)).await,
                other => panic!("an answer or a ping: {other:?}"),
            }
        }
    };
    let serve_all = async {
        loop {
            let next = serving.borrow_mut().pop();
            match next {
                Some(responder) => responder.reply(NodeReply::Done),
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::select! {
        biased;
        () = async { tokio::join!(sending, answering); } => {}
        () = serve_all => {}
    }
    assert_eq!(answered, 2000);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_silent_node_is_noticed_within_ten_seconds() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let _half_open = edges.connect("edge-1").await;
    probe.advance(SECOND * 8).await;
    assert!(disconnected(&probe).is_empty());
    probe.advance(SECOND * 2).await;
    assert_eq!(disconnected(&probe).len(), 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_connection_that_never_says_hello_is_dropped() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut silent = edges.dial("edge-1", Codec::Native).await;
    probe.advance(SECOND * 9).await;
    assert!(silent.link.reader.next().now_or_never().is_none());
    probe.advance(SECOND * 2).await;
    assert_eq!(silent.hear_end().await, LinkError::Closed);
    assert!(probe.published::<NodeConnected>().is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_hello_of_another_node_or_garbage_in_its_place_is_refused() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut liar = edges.dial("edge-1", Codec::Native).await;
    liar.say_hello("edge-2", None).await;
    assert_eq!(liar.hear_end().await, LinkError::Closed);
    let mut broken = edges.dial("edge-1", Codec::Native).await;
    broken.link.writer.send(Frame::Binary(b"\xc1"[..].into())).await.expect("the link is up");
    assert_eq!(broken.hear_end().await, LinkError::Closed);
    let mut huge = edges.dial("edge-1", Codec::Native).await;
    huge.link.writer.send(Frame::Binary(vec![0; 100 << 20].into())).await.expect("the link is up");
    assert_eq!(huge.hear_end().await, LinkError::Closed);
    probe.settle().await;
    assert!(probe.published::<NodeConnected>().is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn no_more_nodes_than_the_limit_are_admitted_and_a_known_one_may_come_back() {
    let edges = Edges::new();
    let probe = edges.probe(CloudHubConfig { node_limit: 1, ..CloudHubConfig::default() });
    let probe = probe.serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done).start().await;
    let _first = edges.connect("edge-1").await;
    let mut second = edges.dial("edge-2", Codec::Native).await;
    second.say_hello("edge-2", None).await;
    match second.hear().await {
        CloudFrame::Goodbye(reason) => assert!(reason.contains("as many nodes"), "{reason}"),
        other => panic!("a refusal: {other:?}"),
    }
    let _again = edges.connect("edge-1").await;
    probe.settle().await;
    assert_eq!(probe.published::<NodeConnected>().len(), 2);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn upstream_s_edge_gets_one_change_at_a_time_repeated_four_times() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.dial("edge-1", Codec::KubeEdge).await;
    probe.settle().await;
    let connected: Vec<NodeConnected> = probe.published();
    assert_eq!(connected.len(), 1, "it says no hello");
    assert_eq!(connected[0].holds, Holdings::Remembered(Vec::new()));
    assert_eq!(send(&probe, "edge-1", "a", 1).await, Ok(()));
    assert_eq!(send(&probe, "edge-1", "b", 1).await, Ok(()));
    let keepalives = Duration::from_secs(15);
    let started = tokio::time::Instant::now();
    let mut seen = Vec::new();
    while seen.len() < 6 {
        tokio::select! {
            biased;
            (id, name, _) = edge.hear_change() => seen.push((started.elapsed().as_secs(), id, name)),
            () = tokio::time::sleep(keepalives) => panic!("a repetition comes each five seconds"),
        }
        edge.send(Uplink::Keepalive).await;
    }
    let times: Vec<_> = seen.iter().map(|(second, _, name)| (*second, name.as_str())).collect();
    assert_eq!(times, [(0, "a"), (5, "a"), (10, "a"), (15, "a"), (20, "a"), (25, "b")]);
    assert!(seen[..5].iter().all(|(_, id, _)| *id == seen[0].1), "the same message");
    edge.acknowledge(&seen[5].1).await;
    assert_eq!(edge.hear_change().await.1, "a", "it comes back after a pause");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_upstream_s_edge_acknowledged_is_remembered_for_its_next_session() {
    let edges = Edges::new();
    let recorded = |name: &str, uid: &str| Held {
        key: object(name, 1).key(ResourceType::CONFIG_MAP).expect("a key"),
        uid: Some(Uid::parse(uid).expect("a uid")),
        resource_version: None,
    };
    let records = vec![recorded("recorded", "u"), recorded("recorded", "v")];
    let told = records.clone();
    let probe = edges.probe(CloudHubConfig::default());
    let probe = probe.serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done);
    let probe = probe.serve::<ReadRecords>(group::SYNCCONTROLLER, move |_| told.clone()).start().await;
    let mut edge = edges.dial("edge-1", Codec::KubeEdge).await;
    probe.settle().await;
    assert_eq!(send(&probe, "edge-1", "a", 1).await, Ok(()));
    let (id, ..) = edge.hear_change().await;
    edge.acknowledge(&id).await;
    probe.settle().await;
    drop(edge);
    let _again = edges.dial("edge-1", Codec::KubeEdge).await;
    probe.settle().await;
    let last = probe.published::<NodeConnected>().pop().expect("it connected").holds;
    let Holdings::Remembered(mut remembered) = last else { panic!("it said nothing: {last:?}") };
    remembered.sort_by_key(|held| (held.key.name.to_string(), held.uid.clone()));
    let names: Vec<_> = remembered.iter().map(|held| held.key.name.as_str()).collect();
    assert_eq!(names, ["a", "recorded", "recorded"]);
    assert_eq!(remembered[1..], records);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_pod_of_upstream_s_edge_ends_before_the_next_one_of_its_name() {
    for (codec, expected) in [
        (Codec::KubeEdge, ["Delete first", "Insert second"].as_slice()),
        (Codec::Native, ["Insert second"].as_slice()),
    ] {
        let edges = Edges::new();
        let probe = edges.start().await;
        let mut edge = edges.dial("edge-1", codec).await;
        if codec == Codec::Native {
            edge.say_hello("edge-1", None).await;
            assert!(matches!(edge.hear().await, CloudFrame::Welcome { .. }));
        }
        probe.settle().await;
        // What is on its way holds up what follows.
        let mut fill = Vec::new();
        for (kind, uid) in
            [(ChangeKind::Insert, "first"), (ChangeKind::Delete, "first"), (ChangeKind::Insert, "second")]
        {
            let text = format!(r#"{{"metadata":{{"name":"p","namespace":"d","uid":"{uid}"}}}}"#);
            let object = Object::parse(text).expect("an object");
            let key = object.key(ResourceType::POD).expect("a key");
            let change = ObjectChange { kind, key, object };
            let sent = probe.ask(SendToNode { node: node("edge-1"), change }).await;
            assert!(matches!(sent, Ok(Ok(_))), "{sent:?}");
            if fill.is_empty() {
                fill.push(edge.hear_change().await.0);
            }
        }
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            edge.acknowledge(&fill.pop().expect("one is under way")).await;
            let Envelope { id, body, .. } = edge.hear_down().await;
            let Downlink::Change { change, .. } = body else { panic!("a change: {body:?}") };
            seen.push(format!("{:?} {}", change.kind, change.object.uid().expect("a uid")));
            fill.push(id);
        }
        assert_eq!(seen, expected, "{codec:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn upstream_s_edge_is_gone_when_its_keepalives_stop() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.dial("edge-1", Codec::KubeEdge).await;
    probe.advance(SECOND * 20).await;
    edge.send(Uplink::Keepalive).await;
    probe.advance(SECOND * 29).await;
    assert!(disconnected(&probe).is_empty());
    probe.advance(SECOND * 2).await;
    assert_eq!(disconnected(&probe).len(), 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_status_report_of_an_old_edge_is_served_as_patches_and_answered_with_ok() {
    let edges = Edges::new();
    let probe = edges.probe(CloudHubConfig::default());
    let probe = probe.serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Object(object("web-0", 2)));
    let probe = probe.start().await;
    let mut edge = edges.dial("edge-1", Codec::KubeEdge).await;
    let text = r#"{"header":{"msg_id":"m1","timestamp":1},"route":{"source":"edged","group":"meta","operation":"update","resource":"default/podstatus"},"content":[{"UID":"1","Name":"web-0","Status":{}},{"UID":"2","Name":"web-1","Status":{}}]}"#;
    edge.link.writer.send(Frame::Text(text.into())).await.expect("the link is up");
    let frame = edge.link.reader.next().await.expect("the link is up");
    let answer = String::from_utf8_lossy(frame.payload()).into_owned();
    assert!(
        answer.contains(r#""operation":"response","resource":"default/podstatus"},"content":"OK""#),
        "{answer}"
    );
    assert_eq!(probe.asked::<ServeNode>().len(), 2);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn messages_without_a_meaning_are_passed_over() {
    let edges = Edges::new();
    let _probe = edges.start().await;
    let mut edge = edges.dial("edge-1", Codec::KubeEdge).await;
    for text in
        ["no JSON", "{}", r#"{"route":{"source":"twin","operation":"get","resource":"membership/detail"}}"#]
    {
        edge.link.writer.send(Frame::Text(text.into())).await.expect("the link is up");
    }
    let id = edge.send(query("a")).await;
    let Downlink::Reply { to, .. } = edge.hear_down().await.body else { panic!("an answer") };
    assert_eq!(to.parent, id);
    for _ in 0..20 {
        let sent = edge.link.writer.send(Frame::Text("no JSON".into())).await;
        assert!(matches!(sent, Ok(()) | Err(LinkError::Closed)), "{sent:?}");
    }
    assert_eq!(edge.hear_end().await, LinkError::Closed, "garbage without end is no peer");
}

/// A listener that hands out what the test puts in.
struct Handout(Mutex<Option<Vec<Accepted>>>);

struct HandoutIncoming(Vec<Accepted>);

#[async_trait]
impl Incoming for HandoutIncoming {
    async fn accept(&mut self) -> Result<Accepted, LinkError> {
        match self.0.pop() {
            Some(accepted) => Ok(accepted),
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Listener for Handout {
    async fn listen(&self, _: ListenOn) -> Result<Box<dyn Incoming>, LinkError> {
        let accepted = self.0.lock().expect("one thread").take().unwrap_or_default();
        Ok(Box::new(HandoutIncoming(accepted)))
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn only_the_certificate_of_a_node_speaks_for_it() {
    let mut ends = Vec::new();
    let mut accepted = Vec::new();
    for (certificate, claimed) in [
        ("system:node:edge-1", "edge-1"),
        ("system:node:edge-2", "edge-1"),
        ("edge-1", "edge-1"),
        ("system:node:../x", "../x"),
        ("", ""),
    ] {
        let (ours, theirs) = link_pair(16, 1024, 1024);
        ends.push(ours);
        accepted.push(Accepted {
            identity: Identity::Certificate(certificate.to_owned()),
            claimed: claimed.to_owned(),
            codec: Codec::KubeEdge,
            transport: Transport::WebSocket,
            address: "test".to_owned(),
            link: theirs,
        });
    }
    let listener = Arc::new(Handout(Mutex::new(Some(accepted))));
    let probe: Probe<CloudHub> = Probe::new(CloudHubConfig::default(), Ports { listeners: vec![listener] })
        .serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done)
        .start()
        .await;
    let connected: Vec<NodeConnected> = probe.published();
    assert_eq!(connected.iter().map(|event| event.node.as_str()).collect::<Vec<_>>(), ["edge-1"]);
    let open: Vec<bool> = ends.iter_mut().map(|end| end.reader.next().now_or_never().is_none()).collect();
    assert_eq!(open, [true, false, false, false, false]);
}

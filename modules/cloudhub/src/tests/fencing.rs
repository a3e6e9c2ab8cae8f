//! The newest session of a node is its only one.

use std::rc::Rc;

use protocol::cloud::{NodeArrived, NodeConnected, ServeNode};
use protocol::{NodeReply, NodeRequest, group};
use wire::codec::EdgeFrame;
use wire::{Codec, Envelope, MessageId, Uplink};

use super::world::*;
use crate::*;

#[tokio::test(flavor = "local", start_paused = true)]
async fn nothing_of_an_older_session_is_served_once_a_newer_one_began() {
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
    let mut older = edges.connect("edge-1").await;
    for number in 0..20 {
        older.send(query(&format!("a{number}"))).await;
    }
    probe.settle().await;
    let sessions = |asked: &[ServeNode]| asked.iter().map(|serve| serve.session).collect::<Vec<_>>();
    let first = sessions(&probe.asked());
    assert_eq!(first.len(), 16);
    let mut newer = edges.dial("edge-1", Codec::Native).await;
    // These frames lie in the older link while the newer session begins.
    for number in 20..23 {
        let body = query(&format!("a{number}"));
        let up = Envelope { id: MessageId::new("late"), timestamp_ms: 0, body };
        let frame = Codec::Native.encode_edge(EdgeFrame::Up(up)).expect("a frame");
        older.link.writer.send(frame).await.expect("the link is up");
    }
    newer.say_hello("edge-1", None).await;
    assert!(matches!(newer.hear().await, wire::codec::CloudFrame::Welcome { .. }));
    probe.settle().await;
    let late = probe.asked::<ServeNode>();
    assert!(late.iter().all(|serve| serve.session == first[0]), "the newer one asked nothing yet");
    let of_the_older = serving.borrow().len();
    assert!(serving.borrow().iter().all(beehive::Responder::is_closed), "nobody waits for these any more");
    for responder in std::mem::take(&mut *serving.borrow_mut()) {
        responder.reply(NodeReply::Done);
    }
    probe.settle().await;
    assert_eq!((probe.asked::<ServeNode>().len(), of_the_older), (0, 16 + late.len()));
    newer.send(query("b")).await;
    probe.settle().await;
    let asked = probe.asked::<ServeNode>();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].session > first[0]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_session_is_known_before_its_first_request_is_served() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.dial("edge-1", Codec::Native).await;
    edge.say_hello("edge-1", None).await;
    edge.send(Uplink::request(NodeRequest::KubernetesCa)).await;
    probe.settle().await;
    let arrived: Vec<NodeArrived> = probe.published();
    let connected: Vec<NodeConnected> = probe.published();
    let served: Vec<ServeNode> = probe.asked();
    assert_eq!((arrived.len(), connected.len(), served.len()), (1, 1, 1));
    assert_eq!((arrived[0].session, connected[0].session), (served[0].session, served[0].session));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn sessions_of_a_hub_that_was_restarted_are_newer() {
    let edges = Edges::new();
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let probe = edges.start().await;
        let _edge = edges.connect("edge-1").await;
        probe.settle().await;
        numbers.extend(probe.published::<NodeArrived>().iter().map(|arrived| arrived.session));
    }
    assert!(numbers.len() == 2 && numbers[0] < numbers[1], "{numbers:?}");
}

//! What keeps a node alive is served first.

use std::rc::Rc;

use protocol::cloud::{SendToNode, ServeNode};
use protocol::{Lease, NodeReply, NodeRequest, Object, group};
use wire::{Downlink, Uplink};

use super::world::*;
use crate::*;

fn lease() -> NodeRequest {
    NodeRequest::Lease(Lease::Update(object("edge-1", 1)))
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lease_is_served_while_all_other_places_are_taken() {
    let edges = Edges::new();
    let serving = Serving::default();
    let slow = Rc::clone(&serving);
    let probe = edges
        .probe(CloudHubConfig::default())
        .serve_later::<ServeNode>(group::EDGECONTROLLER, move |ServeNode { request, .. }, responder| {
            match request {
                NodeRequest::Lease(_) => responder.reply(NodeReply::Object(object("edge-1", 2))),
                _ => slow.borrow_mut().push(responder),
            }
        })
        .start()
        .await;
    let mut edge = edges.connect("edge-1").await;
    for number in 0..900 {
        edge.send(query(&format!("a{number}"))).await;
    }
    let asked = edge.send(Uplink::request(lease())).await;
    let Downlink::Reply { to, reply } = edge.hear_down().await.body else { panic!("an answer") };
    assert_eq!((to.parent, reply), (asked, NodeReply::Object(object("edge-1", 2))));
    assert_eq!(serving.borrow().len(), 16);
    assert_eq!(probe.asked::<ServeNode>().len(), 17);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn events_leave_places_for_the_status_of_the_node() {
    let edges = Edges::new();
    let serving = Serving::default();
    let slow = Rc::clone(&serving);
    let probe = edges
        .probe(CloudHubConfig::default())
        .serve_later::<ServeNode>(group::EDGECONTROLLER, move |_, responder| {
            slow.borrow_mut().push(responder)
        })
        .start()
        .await;
    let mut edge = edges.connect("edge-1").await;
    for number in 0..50 {
        let event = NodeRequest::RecordEvent(object(&format!("e{number}"), 1));
        edge.send(Uplink::request(event)).await;
    }
    let status = NodeRequest::UpdateNode(object("edge-1", 1));
    edge.send(Uplink::request(status.clone())).await;
    probe.settle().await;
    let asked: Vec<ServeNode> = probe.asked();
    assert_eq!(asked.len(), 9);
    assert_eq!(asked[8].request, status);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_large_object_lets_a_small_one_pass() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.connect("edge-1").await;
    probe.settle().await;
    let mut large = change("large", 1);
    let padding = "x".repeat(300_000);
    let meta = r#""metadata":{"name":"large","namespace":"default","resourceVersion":"1"}"#;
    large.object = Object::parse(format!("{{{meta},\"data\":\"{padding}\"}}")).expect("an object");
    let sent = probe.ask(SendToNode { node: node("edge-1"), change: large.clone() }).await;
    assert!(matches!(sent, Ok(Ok(_))), "{sent:?}");
    assert_eq!(send(&probe, "edge-1", "small", 1).await, Ok(()));
    assert_eq!(edge.hear_change().await.1, "small");
    let Downlink::Change { change, .. } = edge.hear_down().await.body else { panic!("a change") };
    assert_eq!(change, large);
}

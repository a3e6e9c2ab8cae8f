//! Leases in shorthand.

use protocol::{ApiStatus, Lease, NodeRequest, Object};
use serde_json::json;
use wire::codec::EdgeFrame;

use super::world::*;
use super::*;

fn lease(version: u32, renewed: &str, duration: u32) -> Object {
    let lease = json!({
        "kind": "Lease",
        "metadata": { "name": "edge-1", "namespace": "kube-node-lease", "resourceVersion": version.to_string() },
        "spec": { "leaseDurationSeconds": duration, "renewTime": renewed },
    });
    Object::from_value(&lease).expect("an object")
}

/// Starts a hub whose edge controller answers leases one after the other like this.
async fn start(edges: &Edges, answers: Vec<NodeReply>) -> Probe<CloudHub> {
    let mut answers = answers.into_iter();
    edges
        .probe(CloudHubConfig::default())
        .serve::<ServeNode>(group::EDGECONTROLLER, move |_| answers.next().expect("another answer"))
        .start()
        .await
}

async fn reply(edge: &mut Edge) -> (MessageId, NodeReply) {
    match edge.hear_down().await.body {
        Downlink::Reply { to, reply } => (to.parent, reply),
        other => panic!("an answer: {other:?}"),
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_renewal_in_shorthand_is_served_as_the_whole_lease() {
    let edges = Edges::new();
    let first = lease(1, "2026-11-28T10:00:00.500000Z", 40);
    let second = lease(2, "2026-11-28T10:00:10.500000Z", 40);
    let third = lease(3, "2026-11-28T10:00:20.500000Z", 50);
    let refused = NodeReply::Refused(ApiStatus::new(500, "InternalError", "no"));
    let answers = [first.clone(), second, third.clone()].map(NodeReply::Object);
    let probe = start(&edges, answers.into_iter().chain([refused.clone()]).collect()).await;
    let mut edge = edges.connect("edge-1").await;
    let id = edge.send(Uplink::request(NodeRequest::Lease(Lease::Update(first.clone())))).await;
    assert_eq!(reply(&mut edge).await, (id, NodeReply::Object(first)));
    edge.say(EdgeFrame::Renewal(10_000)).await;
    assert_eq!(edge.hear().await, CloudFrame::Renewed, "it is as it was to be");
    edge.say(EdgeFrame::Renewal(10_000)).await;
    let changed = (MessageId::of_renewal(), NodeReply::Object(third));
    assert_eq!(reply(&mut edge).await, changed, "someone changed it meanwhile");
    edge.say(EdgeFrame::Renewal(10_000)).await;
    assert_eq!(reply(&mut edge).await, (MessageId::of_renewal(), refused));
    let asked: Vec<NodeRequest> =
        probe.asked::<ServeNode>().into_iter().skip(1).map(|serve| serve.request).collect();
    let expected = [
        lease(1, "2026-11-28T10:00:10.500000Z", 40),
        lease(2, "2026-11-28T10:00:20.500000Z", 40),
        lease(3, "2026-11-28T10:00:30.500000Z", 50),
    ];
    let value = |object: &Object| object.value().expect("JSON");
    for (asked, expected) in asked.iter().zip(&expected) {
        let NodeRequest::Lease(Lease::Update(asked)) = asked else { panic!("a lease: {asked:?}") };
        assert_eq!(value(asked), value(expected));
    }
    assert_eq!(asked.len(), expected.len());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_renewal_of_what_was_never_told_ends_the_session() {
    let edges = Edges::new();
    let probe = start(&edges, Vec::new()).await;
    let mut edge = edges.connect("edge-1").await;
    edge.say(EdgeFrame::Renewal(10_000)).await;
    assert!(matches!(edge.hear().await, CloudFrame::Goodbye(_)));
    probe.settle().await;
    assert_eq!(disconnected(&probe).len(), 1);
}

//! How much the hub takes on at once.

use std::time::Duration;

use beehive::Probe;
use protocol::cloud::{AwaitRoom, NodeArrived, NodeConnected, Room, SendRefused, SendToNode, ServeNode};
use protocol::{ChangeKind, Lease, NodeReply, NodeRequest, Object, ObjectChange, ResourceType, group};
use wire::codec::CloudFrame;
use wire::{Codec, Downlink, Uplink};

use super::world::*;
use crate::*;

#[tokio::test(flavor = "local", start_paused = true)]
async fn of_many_nodes_that_come_at_once_each_is_served_and_told_what_changed_in_its_turn() {
    let edges = Edges::new();
    let config = CloudHubConfig { resyncs_per_second: 2, ..CloudHubConfig::default() };
    let probe =
        edges.probe(config).serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done).start().await;
    let mut all = Vec::new();
    for number in 0..7 {
        all.push(edges.connect(&format!("edge-{number}")).await);
    }
    probe.settle().await;
    assert_eq!(probe.published::<NodeArrived>().len(), 7);
    let told = |probe: &Probe<CloudHub>| {
        let connected: Vec<NodeConnected> = probe.published();
        connected.into_iter().map(|event| event.node.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(told(&probe), ["edge-0", "edge-1"]);
    let last = &mut all[6];
    assert!(matches!(last.hear().await, CloudFrame::Notice(_)), "it is told why it hears nothing");
    last.send(Uplink::request(NodeRequest::Lease(Lease::Update(object("edge-6", 1))))).await;
    let reply = last.hear_down().await.body;
    assert!(matches!(reply, Downlink::Reply { reply: NodeReply::Done, .. }), "{reply:?}");
    assert_eq!(told(&probe), [""; 0]);
    drop(all.remove(2));
    probe.advance(Duration::from_millis(1100)).await;
    assert_eq!(told(&probe), ["edge-3", "edge-4"], "who left takes no turn");
    probe.advance(SECOND).await;
    assert_eq!(told(&probe), ["edge-5", "edge-6"]);
    let sent = send(&probe, "edge-6", "a", 1).await;
    assert_eq!(sent, Ok(()));
    assert_eq!(all[5].hear_change().await.1, "a");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_thousand_nodes_have_had_their_turn_within_half_a_minute_and_all_stay_alive() {
    let edges = Edges::new();
    let config = CloudHubConfig { node_limit: 1000, ..CloudHubConfig::default() };
    let probe =
        edges.probe(config).serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done).start().await;
    let mut all = Vec::new();
    for number in 0..1000 {
        let mut edge = edges.connect(&format!("edge-{number}")).await;
        all.push(async move {
            loop {
                edge.hear().await;
            }
        });
    }
    tokio::select! {
        biased;
        _ended = futures::future::join_all(all) => panic!("an edge lost its link"),
        () = probe.advance(SECOND * 25) => {}
    }
    assert_eq!(probe.published::<NodeConnected>().len(), 1000);
    assert!(disconnected(&probe).is_empty());
}

fn large(name: &str, bytes: usize) -> ObjectChange {
    let padding = "x".repeat(bytes);
    let meta = format!(r#""metadata":{{"name":"{name}","namespace":"default"}}"#);
    let object = Object::parse(format!(r#"{{{meta},"data":"{padding}"}}"#)).expect("an object");
    let key = object.key(ResourceType::CONFIG_MAP).expect("a key");
    ObjectChange { kind: ChangeKind::Update, key, object }
}

async fn fill(probe: &Probe<CloudHub>, to: &str, mebibytes: usize) -> Result<(), SendRefused> {
    for number in 0..mebibytes {
        let change = large(&format!("large-{number}"), 1 << 20);
        probe.ask(SendToNode { node: node(to), change }).await.expect("the hub answers")?;
    }
    Ok(())
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_whose_queue_has_too_many_bytes_connects_anew() {
    let edges = Edges::new();
    let config = CloudHubConfig { node_queue_mib: 3, ..CloudHubConfig::default() };
    let probe =
        edges.probe(config).serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done).start().await;
    let (_stuck, _other) = (edges.connect("stuck").await, edges.connect("other").await);
    probe.settle().await;
    assert_eq!(fill(&probe, "stuck", 2).await, Ok(()));
    assert_eq!(fill(&probe, "other", 2).await, Ok(()));
    assert_eq!(fill(&probe, "stuck", 4).await, Err(SendRefused::QueueFull));
    assert_eq!(fill(&probe, "stuck", 1).await, Err(SendRefused::NotConnected));
    assert_eq!(send(&probe, "other", "a", 1).await, Ok(()));
    probe.advance(SECOND * 2).await;
    let ended: Vec<String> = disconnected(&probe).into_iter().map(|(node, _)| node).collect();
    assert_eq!(ended, ["stuck"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn when_all_queues_have_too_many_bytes_the_node_with_the_most_connects_anew() {
    let edges = Edges::new();
    let config = CloudHubConfig { queue_mib: 8, ..CloudHubConfig::default() };
    let probe =
        edges.probe(config).serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done).start().await;
    let (_most, _less) = (edges.connect("most").await, edges.connect("less").await);
    let mut quick = edges.connect("quick").await;
    probe.settle().await;
    assert_eq!(fill(&probe, "most", 5).await, Ok(()));
    assert_eq!(fill(&probe, "less", 2).await, Ok(()));
    assert_eq!(send(&probe, "quick", "a", 1).await, Ok(()));
    probe
        .ask(SendToNode { node: node("less"), change: large("more", 1 << 20) })
        .await
        .expect("an answer")
        .expect("room");
    assert_eq!(send(&probe, "most", "a", 1).await, Err(SendRefused::NotConnected));
    assert_eq!(fill(&probe, "less", 4).await, Ok(()), "there is room again");
    let (id, name, _) = quick.hear_change().await;
    assert_eq!(name, "a", "a node that keeps up is left alone");
    quick.acknowledge(&id).await;
    probe.advance(SECOND * 2).await;
    let ended: Vec<String> = disconnected(&probe).into_iter().map(|(node, _)| node).collect();
    assert_eq!(ended, ["most"]);
    let _again = edges.dial("most", Codec::Native).await;
}

async fn room_after(probe: &Probe<CloudHub>, change: ObjectChange) -> Room {
    let sent = probe.ask(SendToNode { node: node("edge-1"), change }).await;
    sent.expect("the hub answers").expect("the queue takes it")
}

fn await_room(probe: &Probe<CloudHub>, session: u64) -> impl Future<Output = bool> + use<> {
    let bus = probe.bus();
    async move {
        let ask = AwaitRoom { node: node("edge-1"), session };
        bus.to(group::CLOUDHUB).ask(ask).within(SECOND).await.is_ok()
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_fills_a_queue_is_told_how_much_room_there_is_and_when_there_is_some_again() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.connect("edge-1").await;
    probe.settle().await;
    let session = probe.published::<NodeConnected>().last().expect("a session").session;
    assert!(await_room(&probe, session).await, "nothing waits");
    for number in 1..=300 {
        let room = room_after(&probe, change(&format!("a{number}"), 1)).await;
        assert_eq!(room, Room(256_usize.saturating_sub(number)), "no more is wished for, and it is taken");
    }
    assert!(!await_room(&probe, session).await, "300 wait");
    for _ in 0..171 {
        let (id, ..) = edge.hear_change().await;
        edge.acknowledge(&id).await;
    }
    probe.settle().await;
    assert!(!await_room(&probe, session).await, "129 wait");
    let (id, ..) = edge.hear_change().await;
    let (told, ()) = futures::future::join(await_room(&probe, session), edge.acknowledge(&id)).await;
    assert!(told, "128 wait");
    drop(edge);
    probe.advance(SECOND * 15).await;
    assert!(await_room(&probe, session).await, "the session is over");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn there_is_no_room_where_many_bytes_wait() {
    let edges = Edges::new();
    let config = CloudHubConfig { node_queue_mib: 4, queue_mib: 64, ..CloudHubConfig::default() };
    let probe =
        edges.probe(config).serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done).start().await;
    let (_edge, _others) = (edges.connect("edge-1").await, edges.connect("edge-2").await);
    probe.settle().await;
    assert_eq!(room_after(&probe, large("a", 1 << 20)).await, Room(255));
    assert_eq!(room_after(&probe, large("b", 1 << 20)).await, Room(0), "half of what may wait for it does");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn there_is_less_room_for_each_where_much_waits_for_all() {
    let edges = Edges::new();
    let config = CloudHubConfig { queue_mib: 8, ..CloudHubConfig::default() };
    let probe =
        edges.probe(config).serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done).start().await;
    let (_edge, _other) = (edges.connect("edge-1").await, edges.connect("edge-2").await);
    probe.settle().await;
    assert_eq!(room_after(&probe, change("a", 1)).await, Room(255));
    assert_eq!(fill(&probe, "edge-2", 4).await, Ok(()));
    assert_eq!(room_after(&probe, change("b", 1)).await, Room(30));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn requests_that_wait_are_bounded_in_bytes() {
    let edges = Edges::new();
    let serving = Serving::default();
    let slow = std::rc::Rc::clone(&serving);
    let probe = edges
        .probe(CloudHubConfig::default())
        .serve_later::<ServeNode>(group::EDGECONTROLLER, move |_, responder| {
            slow.borrow_mut().push(responder)
        })
        .start()
        .await;
    let mut edge = edges.connect("edge-1").await;
    let flooding = async {
        for number in 0..100 {
            let request = NodeRequest::UpdateNode(large(&format!("n{number}"), 1 << 20).object);
            edge.send(Uplink::request(request)).await;
        }
    };
    tokio::select! {
        biased;
        () = flooding => panic!("the hub took a hundred mebibytes"),
        () = probe.settle() => {}
    }
    assert_eq!(serving.borrow().len(), 16);
}

//! What rules want of nodes, and what nodes pass on for them.

use std::rc::Rc;

use beehive::Probe;
use protocol::cloud::ServeNode;
use protocol::rules::{
    CommandError, CommandNode, CommandReply, Headers, HttpAnswer, HttpCall, NodeCommand, NodeRules,
};
use protocol::{ApiStatus, NodeReply, NodeRequest, group};
use wire::codec::Features;
use wire::{Codec, Downlink, Envelope, Uplink};

use super::world::*;
use crate::*;

type Asked = Result<CommandReply, CommandError>;

/// Begins to tell a node something; what comes of it is awaited later.
fn command(probe: &Probe<CloudHub>, command: NodeCommand) -> impl Future<Output = Asked> + use<> {
    let bus = probe.bus();
    async move {
        let ask = bus.to(group::CLOUDHUB).ask(CommandNode { node: node("edge-1"), command });
        ask.within(60 * SECOND).await.expect("the hub answers")
    }
}

fn rules(topics: &[&str]) -> NodeRules {
    NodeRules { topics: topics.iter().map(ToString::to_string).collect(), ..NodeRules::default() }
}

fn publish(payload: Vec<u8>) -> NodeCommand {
    NodeCommand::Publish { topic: "a/b".to_owned(), payload: payload.into() }
}

fn call() -> NodeCommand {
    NodeCommand::Call(HttpCall {
        port: 80,
        path: "/".to_owned(),
        method: "GET".to_owned(),
        headers: Headers::new(),
        body: "b".into(),
    })
}

async fn hear_command(edge: &mut Edge) -> (wire::MessageId, NodeCommand) {
    match edge.hear_down().await {
        Envelope { id, body: Downlink::Command(command), .. } => (id, command),
        other => panic!("a command: {other:?}"),
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_native_node_says_what_became_of_a_command() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.connect("edge-1").await;
    probe.settle().await;
    for (told, reply) in [
        (NodeCommand::Route(rules(&["default/a"])), CommandReply::Done),
        (publish(b"1".to_vec()), CommandReply::Refused("no broker".to_owned())),
        (call(), CommandReply::Answer(HttpAnswer::of_agent(404, "no"))),
    ] {
        let hearing = async {
            let (parent, heard) = hear_command(&mut edge).await;
            assert_eq!(heard, told);
            edge.send(Uplink::CommandReply { parent, reply: reply.clone() }).await;
        };
        let (said, ()) = tokio::join!(command(&probe, told.clone()), hearing);
        assert_eq!(said, Ok(reply.clone()));
    }
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_is_not_there_or_leaves_or_is_too_old_is_told_apart() {
    let edges = Edges::new();
    let probe = edges.start().await;
    assert_eq!(command(&probe, call()).await, Err(CommandError::NotConnected));
    let mut edge = edges.connect("edge-1").await;
    probe.settle().await;
    let leaving = async {
        hear_command(&mut edge).await;
        drop(edge);
    };
    let (said, ()) = tokio::join!(command(&probe, call()), leaving);
    assert_eq!(said, Err(CommandError::Lost));
    let mut old = edges.dial("edge-1", Codec::Native).await;
    old.greet("edge-1", None, None, Features::ALL.without(Features::RULES)).await;
    old.hear().await;
    probe.settle().await;
    assert_eq!(command(&probe, call()).await, Err(CommandError::Unsupported));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_waits_for_a_node_is_bounded_by_number_and_by_bytes() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let _edge = edges.connect("edge-1").await;
    probe.settle().await;
    let large = futures::future::join_all((0..4).map(|_| command(&probe, publish(vec![0; 10 << 20]))));
    let large = tokio::time::timeout(SECOND, large).await;
    assert!(large.is_err(), "the node answers none of the first three");
    probe.settle().await;
    let many = (0..65).map(|_| command(&probe, call()));
    let ended = async {
        tokio::time::sleep(SECOND).await;
        probe.send(protocol::cloud::EndSession { node: node("edge-1") }).await;
    };
    let (said, ()) = tokio::join!(futures::future::join_all(many), ended);
    let overloaded = said.iter().filter(|said| **said == Err(CommandError::Overloaded)).count();
    assert_eq!(overloaded, 1, "{said:?}");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_kubeedge_node_is_told_of_each_change_and_what_is_gone_since_it_was_there() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.dial("edge-1", Codec::KubeEdge).await;
    probe.settle().await;
    let done = Ok(CommandReply::Done);
    assert_eq!(command(&probe, NodeCommand::Route(rules(&["d/a", "d/b"]))).await, done);
    for topic in ["d/a", "d/b"] {
        assert_eq!(hear_command(&mut edge).await.1, NodeCommand::Subscribe(topic.to_owned()));
    }
    drop(edge);
    probe.settle().await;
    let mut edge = edges.dial("edge-1", Codec::KubeEdge).await;
    probe.settle().await;
    assert_eq!(command(&probe, NodeCommand::Route(rules(&["d/b"]))).await, done);
    assert_eq!(hear_command(&mut edge).await.1, NodeCommand::Unsubscribe("d/a".to_owned()));
    assert_eq!(hear_command(&mut edge).await.1, NodeCommand::Subscribe("d/b".to_owned()));
    // It never says that it has published, and answers calls.
    assert_eq!(command(&probe, publish(b"1".to_vec())).await, done);
    assert_eq!(hear_command(&mut edge).await.1, publish(b"1".to_vec()));
    let reply = CommandReply::Answer(HttpAnswer::of_agent(404, "error to call service"));
    let hearing = async {
        let (parent, _) = hear_command(&mut edge).await;
        edge.send(Uplink::CommandReply { parent, reply: reply.clone() }).await;
    };
    let (said, ()) = tokio::join!(command(&probe, call()), hearing);
    assert_eq!(said, Ok(reply));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_waits_for_endpoints_takes_no_place_of_other_requests() {
    let edges = Edges::new();
    let slow = Serving::default();
    let kept = Rc::clone(&slow);
    let probe = edges
        .probe(CloudHubConfig::default())
        .serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done)
        .serve_later::<ServeNode>(group::ROUTER, move |_, responder| kept.borrow_mut().push(responder))
        .start()
        .await;
    let mut edge = edges.connect("edge-1").await;
    for number in 0..20 {
        let upload = NodeRequest::Upload { topic: number.to_string(), payload: "1".into() };
        edge.send(Uplink::request(upload)).await;
    }
    let event = edge.send(Uplink::request(NodeRequest::RecordEvent(object("e", 1)))).await;
    let Downlink::Reply { to, .. } = edge.hear_down().await.body else { panic!("an answer") };
    assert_eq!(to.parent, event);
    assert_eq!(slow.borrow().len(), 8);
    slow.borrow_mut().remove(0).reply(NodeReply::Done);
    probe.settle().await;
    assert_eq!(slow.borrow().len(), 8);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_a_router_an_upload_is_of_no_use_and_a_kubeedge_node_is_told_no_refusal() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let upload =
        || Uplink::request(NodeRequest::Upload { topic: "a/user/b".to_owned(), payload: "1".into() });
    let mut edge = edges.connect("edge-1").await;
    edge.send(upload()).await;
    let Downlink::Reply { reply, .. } = edge.hear_down().await.body else { panic!("an answer") };
    assert!(matches!(reply, NodeReply::Refused(ApiStatus { code: 404, .. })), "{reply:?}");
    let mut edge = edges.dial("edge-2", Codec::KubeEdge).await;
    edge.send(upload()).await;
    edge.send(Uplink::request(NodeRequest::CallUrl { url: "http://h".to_owned(), body: "{}".into() })).await;
    let asked = edge.send(query("a")).await;
    let Downlink::Reply { to, .. } = edge.hear_down().await.body else { panic!("an answer") };
    assert_eq!(to.parent, asked);
    probe.stop().await;
}

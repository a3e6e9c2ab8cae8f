//! What the cloud's rules want of the node, and what waits for them.

use std::collections::BTreeSet;

use protocol::ApiStatus;
use protocol::rules::{
    CallService, ChangeTopics, ChangeUrls, CommandReply, DeliverError, DeliverLocal, Headers, HttpAnswer,
    HttpCall, NodeCommand, NodeRules, SetChange,
};
use store::Store;

use super::*;

fn upload(topic: &str, payload: &str) -> NodeRequest {
    NodeRequest::Upload { topic: topic.to_owned(), payload: payload.to_owned().into() }
}

fn request(up: &Envelope<Uplink>) -> NodeRequest {
    match &up.body {
        Uplink::Request { request, .. } => request.clone(),
        other => panic!("a request: {other:?}"),
    }
}

fn kept(store: &MemoryStore) -> usize {
    store.scan("edgehub.outbox", b"", None, usize::MAX).expect("the store is sound").len()
}

fn probe(cloud: &Cloud, store: &MemoryStore) -> ProbeBuilder<EdgeHub> {
    let config = EdgeHubConfig { codec: CodecChoice::Native, ..EdgeHubConfig::default() };
    easy(Probe::new(config, cloud.ports(store)))
}

async fn obey(peer: &mut Peer, command: NodeCommand) -> CommandReply {
    let id = peer.send(Downlink::Command(command)).await;
    match peer.hear_up().await.body {
        Uplink::CommandReply { parent, reply } if parent == id => reply,
        other => panic!("a reply: {other:?}"),
    }
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

#[tokio::test(flavor = "local", start_paused = true)]
async fn each_command_is_done_by_its_module_and_answered() {
    let mut cloud = Cloud::start().await;
    let probe = probe(&cloud, &MemoryStore::new())
        .serve::<ChangeTopics>(group::BUS, |_| Ok(()))
        .serve::<ChangeUrls>(group::BUS, |_| Ok(()))
        .serve::<DeliverLocal>(group::BUS, |deliver| match deliver.topic.as_str() {
            "a" => Ok(()),
            _ => Err(DeliverError::Away),
        })
        .serve::<CallService>(group::BUS, |_| HttpAnswer::of_agent(201, "made"))
        .start()
        .await;
    let (mut peer, _) = cloud.welcome().await;
    let set = |text: &str| BTreeSet::from([text.to_owned()]);
    let all = NodeRules { topics: set("t"), urls: set("u") };
    assert_eq!(obey(&mut peer, NodeCommand::Route(all)).await, CommandReply::Done);
    let changes: Vec<SetChange> = probe.asked::<ChangeTopics>().into_iter().map(|it| it.0).collect();
    assert_eq!(changes, [SetChange::Replace(set("t"))]);
    let changes: Vec<SetChange> = probe.asked::<ChangeUrls>().into_iter().map(|it| it.0).collect();
    assert_eq!(changes, [SetChange::Replace(set("u"))]);
    assert_eq!(obey(&mut peer, NodeCommand::Subscribe("x".to_owned())).await, CommandReply::Done);
    assert_eq!(obey(&mut peer, NodeCommand::ForbidUrl("u".to_owned())).await, CommandReply::Done);
    let publish = |topic: &str| NodeCommand::Publish { topic: topic.to_owned(), payload: "1".into() };
    assert_eq!(obey(&mut peer, publish("a")).await, CommandReply::Done);
    let away = CommandReply::Refused("the node's MQTT broker is not connected".to_owned());
    assert_eq!(obey(&mut peer, publish("b")).await, away);
    assert_eq!(obey(&mut peer, call()).await, CommandReply::Answer(HttpAnswer::of_agent(201, "made")));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_without_the_module_says_so_and_needs_none_to_route_nothing() {
    let mut cloud = Cloud::start().await;
    let probe = probe(&cloud, &MemoryStore::new()).start().await;
    let (mut peer, _) = cloud.welcome().await;
    assert_eq!(obey(&mut peer, NodeCommand::Route(NodeRules::default())).await, CommandReply::Done);
    let CommandReply::Refused(text) = obey(&mut peer, NodeCommand::Subscribe("a".to_owned())).await else {
        panic!("a refusal")
    };
    assert!(text.contains("modules.eventBus.enable is false"), "{text}");
    let CommandReply::Answer(answer) = obey(&mut peer, call()).await else { panic!("an answer") };
    assert_eq!((answer.status, answer.is_of_agent()), (503, true));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn calls_beyond_the_limit_are_answered_at_once() {
    let mut cloud = Cloud::start().await;
    let keeping: Rc<RefCell<Vec<Responder<HttpAnswer>>>> = Rc::default();
    let kept = keeping.clone();
    let probe = probe(&cloud, &MemoryStore::new())
        .serve_later::<CallService>(group::BUS, move |_, responder| kept.borrow_mut().push(responder))
        .start()
        .await;
    let (mut peer, _) = cloud.welcome().await;
    for _ in 0..64 {
        peer.send(Downlink::Command(call())).await;
    }
    let CommandReply::Answer(answer) = obey(&mut peer, call()).await else { panic!("an answer") };
    assert_eq!(answer.status, 503);
    drop(keeping.take());
    drop(peer);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_upload_is_taken_without_a_link_and_leaves_when_the_cloud_has_delivered_it() {
    let mut cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let running = probe(&cloud, &store).start().await;
    for payload in ["1", "2"] {
        assert_eq!(running.ask(AskCloud(upload("t", payload))).await, Ok(Ok(NodeReply::Done)));
    }
    drop(running);
    let store = store.crash();
    drop(cloud.accept().await);
    let running = probe(&cloud, &store).start().await;
    let (mut peer, _) = cloud.welcome().await;
    let first = peer.hear_up().await;
    assert_eq!(request(&first), upload("t", "1"));
    let busy = ApiStatus::new(503, "ServiceUnavailable", "the endpoint is down");
    let to = reply_to(&first, ReplyShape::Ok);
    peer.send(Downlink::Reply { to, reply: NodeReply::Refused(busy) }).await;
    for payload in ["1", "2"] {
        assert_eq!(request(&peer.answer_request().await), upload("t", payload), "one topic keeps its order");
    }
    running.settle().await;
    assert_eq!(kept(&store), 0);
    running.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn uploads_beyond_the_bound_are_not_taken_and_events_displace_none() {
    let mut cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let running = probe(&cloud, &store).start().await;
    let large = "x".repeat(1 << 20);
    let mut taken = 0;
    while running.ask(AskCloud(upload("t", &large))).await == Ok(Ok(NodeReply::Done)) {
        taken += 1;
    }
    assert_eq!(taken, 7, "eight mebibytes with what is around them");
    let refused = running.ask(AskCloud(upload("t", &large))).await;
    assert_eq!(refused, Ok(Err(CloudError::Overloaded)));
    let event = NodeRequest::RecordEvent(object("e", 1));
    assert_eq!(running.ask(AskCloud(event)).await, Ok(Ok(NodeReply::Done)));
    assert_eq!(kept(&store), 8);
    drop(cloud.accept().await);
    running.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_upload_that_no_rule_can_deliver_is_given_up_after_an_hour_of_trying() {
    let mut cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let running = probe(&cloud, &store).start().await;
    let (mut peer, _) = cloud.welcome().await;
    running.settle().await;
    assert_eq!(running.ask(AskCloud(upload("t", "1"))).await, Ok(Ok(NodeReply::Done)));
    let began = Instant::now();
    let mut tries = 0;
    while kept(&store) > 0 {
        let asked = peer.hear_up().await;
        tries += 1;
        let down = ApiStatus::new(503, "ServiceUnavailable", "the endpoint is down");
        let to = reply_to(&asked, ReplyShape::Ok);
        peer.send(Downlink::Reply { to, reply: NodeReply::Refused(down) }).await;
        running.settle().await;
    }
    assert_eq!(tries, 65);
    assert!(began.elapsed() >= 3000 * SECOND, "{:?}", began.elapsed());
    running.stop().await;
}

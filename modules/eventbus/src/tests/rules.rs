//! What passes to the cloud by its rules, and what comes from it.

use std::collections::BTreeSet;

use protocol::edge::{AskCloud, CloudError};
use protocol::rules::{DeliverError, SetChange};
use protocol::{NodeReply, NodeRequest};
use store::{Fault, SharedMedium};

use super::*;

const ROUTER: &str = "hub-client-rule-probe";

/// Uploads that the hub has taken and not answered.
type Uploads = Rc<RefCell<Vec<(AskCloud, Responder<Result<NodeReply, CloudError>>)>>>;

async fn start_with_slow_hub(broker: &MemoryBroker, store: SharedMedium) -> (Probe<EventBus>, Uploads) {
    let uploads = Uploads::default();
    let kept = Rc::clone(&uploads);
    let (mqtt, within) = (Arc::new(broker.clone()), Arc::new(broker.clone()));
    let ports = Ports { mqtt, broker: within, store };
    let probe = Probe::new(EventBusConfig::default(), ports)
        .serve::<CallDevice>(group::TWIN, |_| Ok(()))
        .serve_later::<AskCloud>(group::HUB, move |ask, responder| kept.borrow_mut().push((ask, responder)))
        .start()
        .await;
    (probe, uploads)
}

fn memory() -> SharedMedium {
    Arc::new(MemoryStore::new())
}

fn topics(uploads: &Uploads) -> Vec<(String, Bytes)> {
    let uploads = uploads.borrow();
    let uploads = uploads.iter().map(|(AskCloud(request), _)| match request {
        NodeRequest::Upload { topic, payload } => (topic.clone(), payload.clone()),
        other => panic!("an upload: {other:?}"),
    });
    uploads.collect()
}

fn answer(uploads: &Uploads, reply: Result<NodeReply, CloudError>) {
    let (_, responder) = uploads.borrow_mut().remove(0);
    responder.reply(reply);
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(ToString::to_string).collect()
}

async fn want(probe: &Probe<EventBus>, topics: &[&str]) -> Result<(), MetaError> {
    probe.ask(ChangeTopics(SetChange::Replace(set(topics)))).await.expect("an answer")
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_upstream_s_edge_uploads_and_what_rules_want_goes_to_the_hub_and_nothing_else() {
    let broker = MemoryBroker::new();
    let (probe, uploads) = start_with_slow_hub(&broker, memory()).await;
    want(&probe, &["default/alarm", "default/+/level"]).await.expect("it is kept");
    let local = Local::connect(&broker, "app").await;
    let passed =
        ["$hw/events/upload/x", "SYS/dis/upload_records", "x/user/y", "default/alarm", "default/tank/level"];
    for topic in passed.iter().chain(&["alarm", "default/alarm/x", "other/alarm", "$hw/other"]) {
        local.say(topic, "1").await;
        probe.settle().await;
    }
    let names: Vec<String> = topics(&uploads).into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(names, passed);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_message_is_acknowledged_when_the_hub_has_it_on_disk_and_stays_with_the_broker_until_then() {
    let broker = MemoryBroker::new();
    let (probe, uploads) = start_with_slow_hub(&broker, memory()).await;
    let local = Local::connect(&broker, "app").await;
    local.say("a/user/b", "1").await;
    probe.advance(20 * SECOND).await;
    assert_eq!(broker.backlog(ROUTER), (1, 0));
    answer(&uploads, Err(CloudError::Overloaded));
    for _ in 0..20 {
        probe.advance(6 * SECOND).await;
        assert_eq!((topics(&uploads).len(), broker.backlog(ROUTER)), (1, (1, 0)));
        answer(&uploads, Err(CloudError::NotKept("the disk is full".to_owned())));
    }
    probe.advance(6 * SECOND).await;
    answer(&uploads, Ok(NodeReply::Done));
    probe.settle().await;
    assert_eq!(broker.backlog(ROUTER), (0, 0));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn devices_do_not_wait_for_messages_that_the_hub_does_not_take() {
    let broker = MemoryBroker::new();
    let (probe, uploads) = start_with_slow_hub(&broker, memory()).await;
    let local = Local::connect(&broker, "app").await;
    for number in 0..100 {
        local.say("a/user/b", number.to_string()).await;
    }
    local.say(&update("t"), "1").await;
    probe.settle().await;
    assert_eq!(topics(&uploads).len(), 1, "one topic keeps its order");
    assert_eq!(payloads(&probe), ["1"]);
    let mut heard = Vec::new();
    while !uploads.borrow().is_empty() {
        heard.extend(topics(&uploads).into_iter().map(|(_, payload)| payload));
        answer(&uploads, Ok(NodeReply::Done));
        probe.settle().await;
    }
    let all: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(heard, all);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_rules_want_is_subscribed_to_once_and_survives_a_restart() {
    let broker = MemoryBroker::new();
    let store = memory();
    let (probe, _) = start_with_slow_hub(&broker, store.clone()).await;
    drop(broker.log());
    want(&probe, &["default/a", "default/b", "default/user/c"]).await.expect("it is kept");
    want(&probe, &["default/b"]).await.expect("it is kept");
    probe.ask(ChangeTopics(SetChange::Add("default/d".to_owned()))).await.expect("an answer").expect("kept");
    probe
        .ask(ChangeTopics(SetChange::Remove("default/b".to_owned())))
        .await
        .expect("an answer")
        .expect("kept");
    let expect = [
        "subscribe default/a",
        "subscribe default/b",
        "unsubscribe default/a",
        "subscribe default/d",
        "unsubscribe default/b",
    ];
    assert_eq!(broker.log(), expect, "a/user is subscribed to anyway");
    probe.stop().await;
    drop(broker.log());
    let (probe, uploads) = start_with_slow_hub(&broker, store).await;
    assert!(broker.log().contains(&"subscribe default/d".to_owned()));
    Local::connect(&broker, "app").await.say("default/d", "1").await;
    probe.settle().await;
    assert_eq!(topics(&uploads).len(), 1);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_cannot_be_kept_is_not_subscribed_to_and_what_is_no_topic_is_refused() {
    let broker = MemoryBroker::new();
    let store = MemoryStore::new();
    let (probe, _) = start_with_slow_hub(&broker, Arc::new(store.clone())).await;
    drop(broker.log());
    for bad in ["", "a#", "a/#/b"] {
        let refused = want(&probe, &["default/a", bad]).await.expect_err("it is no filter");
        assert!(refused.to_string().contains("is no MQTT topic"), "{refused}");
    }
    let many: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    want(&probe, &many).await.expect_err("these are too many");
    store.break_down(Fault::Refused);
    want(&probe, &["default/a"]).await.expect_err("the disk is full");
    assert_eq!(broker.log(), [""; 0]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_rule_hears_what_became_of_its_message() {
    let broker = MemoryBroker::new();
    let (probe, _) = start_with_slow_hub(&broker, memory()).await;
    let deliver =
        |topic: &str, payload: Vec<u8>| DeliverLocal { topic: topic.to_owned(), payload: payload.into() };
    let mut local = Local::connect(&broker, "app").await;
    local.listen("#").await;
    assert_eq!(probe.ask(deliver("a/b", b"1".to_vec())).await, Ok(Ok(())));
    assert_eq!(local.hear().await.payload, "1");
    let refused = probe.ask(deliver("a/#", Vec::new())).await;
    assert_eq!(refused, Ok(Err(DeliverError::NoTopic("a/#".to_owned()))));
    assert_eq!(probe.ask(deliver("a", vec![0; 5 << 20])).await, Ok(Err(DeliverError::TooLarge)));
    broker.set_away(true);
    probe.settle().await;
    assert_eq!(probe.ask(deliver("a/b", b"2".to_vec())).await, Ok(Err(DeliverError::Away)));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_a_hub_what_is_for_the_cloud_is_ignored() {
    let broker = MemoryBroker::new();
    let probe = builder(EventBusConfig::default(), &broker).start().await;
    Local::connect(&broker, "app").await.say("a/user/b", "1").await;
    probe.settle().await;
    assert_eq!(broker.backlog(ROUTER), (0, 0));
    probe.stop().await;
}

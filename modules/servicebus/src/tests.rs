//! The service bus between a probe, which plays the hub, and a service and applications in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use beehive::Probe;
use bytes::Bytes;
use futures::future::join_all;
use protocol::edge::CloudError;
use protocol::rules::HttpCall;
use protocol::{NodeReply, NodeRequest};
use store::{Fault, MemoryStore};

use super::*;
use crate::memory::{Behaviour, MemoryServices};

const SECOND: Duration = Duration::from_secs(1);
const URL: &str = "http://cloud.example/hook";

fn answering() -> MemoryServices {
    let machine = MemoryServices::new();
    machine.behave(Behaviour::Answers(201, "ok".into()));
    machine
}

fn ports(machine: &MemoryServices, store: &MemoryStore) -> Ports {
    let machine = Arc::new(machine.clone());
    Ports { store: Arc::new(store.clone()), services: machine.clone(), listener: machine }
}

async fn start(machine: &MemoryServices, store: &MemoryStore) -> Probe<ServiceBus> {
    start_with(ServiceBusConfig::default(), machine, store).await
}

async fn start_with(
    config: ServiceBusConfig,
    machine: &MemoryServices,
    store: &MemoryStore,
) -> Probe<ServiceBus> {
    Probe::new(config, ports(machine, store))
        .serve::<AskCloud>(group::HUB, |AskCloud(request)| match request {
            NodeRequest::CallUrl { .. } => Ok(NodeReply::Text("from the cloud".to_owned())),
            other => panic!("a call: {other:?}"),
        })
        .start()
        .await
}

fn http_call() -> HttpCall {
    HttpCall {
        port: 8080,
        path: "/a?x=1".to_owned(),
        method: "POST".to_owned(),
        headers: [("X-Test".to_owned(), vec!["y".to_owned()])].into(),
        body: Bytes::from_static(b"body"),
    }
}

async fn change(probe: &Probe<ServiceBus>, change: SetChange) -> Result<(), MetaError> {
    probe.ask(ChangeUrls(change)).await.expect("an answer")
}

async fn allow(probe: &Probe<ServiceBus>, url: &str) {
    change(probe, SetChange::Add(url.to_owned())).await.expect("it is kept");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_service_is_called_as_the_rule_says_and_its_answer_goes_back_whole() {
    let machine = answering();
    let probe = start(&machine, &MemoryStore::new()).await;
    let answer = probe.ask(CallService(http_call())).await.expect("an answer");
    assert_eq!((answer.status, &answer.body[..]), (201, &b"ok"[..]));
    let called = machine.called().pop().expect("a call");
    assert_eq!((called.port, called.path.as_str(), called.method.as_str()), (8080, "/a?x=1", "POST"));
    assert_eq!((&called.body[..], called.within), (&b"body"[..], 10 * SECOND));
    assert_eq!(called.headers["X-Test"], ["y"]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_service_that_fails_is_an_answer_that_says_how() {
    let machine = MemoryServices::new();
    let probe = start(&machine, &MemoryStore::new()).await;
    for (behaviour, status, text) in [
        (Behaviour::IsDown, 404, "error to call service: connection refused"),
        (Behaviour::IsSlow, 504, "error to call service: no answer within 10s"),
        (
            Behaviour::SaysTooMuch,
            502,
            "error to receive response, err: the answer has more than 5000000 bytes",
        ),
        (Behaviour::BreaksOff, 500, "error to receive response, err: unexpected end"),
    ] {
        machine.behave(behaviour);
        let answer = probe.ask(CallService(http_call())).await.expect("an answer");
        assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).as_ref()), (status, text));
        assert!(answer.is_of_agent());
    }
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn only_the_ports_that_the_node_s_owner_allows_are_called() {
    let machine = MemoryServices::new();
    let config = ServiceBusConfig { service_ports: vec![80], ..ServiceBusConfig::default() };
    let probe = start_with(config, &machine, &MemoryStore::new()).await;
    let answer = probe.ask(CallService(http_call())).await.expect("an answer");
    assert_eq!((answer.status, machine.called().len()), (403, 0));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn calls_beyond_the_limit_are_refused_and_places_are_free_again() {
    let machine = MemoryServices::new();
    machine.behave(Behaviour::IsSlow);
    let probe = start(&machine, &MemoryStore::new()).await;
    let bus = probe.bus();
    let all =
        (0..CALLING_MAX + 1).map(|_| bus.to(group::BUS).ask(CallService(http_call())).within(60 * SECOND));
    let mut statuses: Vec<u16> =
        join_all(all).await.into_iter().map(|answer| answer.expect("an answer").status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1], statuses.len()), (503, 504, CALLING_MAX + 1));
    machine.behave(Behaviour::Answers(201, "ok".into()));
    assert_eq!(probe.ask(CallService(http_call())).await.expect("an answer").status, 201);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_listener_is_there_while_a_url_is_allowed_and_after_a_restart() {
    let (machine, store) = (MemoryServices::new(), MemoryStore::new());
    let probe = start(&machine, &store).await;
    assert!(!machine.listens());
    allow(&probe, URL).await;
    allow(&probe, "http://other").await;
    assert!(machine.listens());
    change(&probe, SetChange::Replace([URL.to_owned()].into())).await.expect("it is kept");
    assert!(machine.listens());
    probe.stop().await;
    let probe = start(&machine, &store).await;
    assert!(machine.listens());
    // As KubeEdge's cloud says it.
    change(&probe, SetChange::Remove("http:/cloud.example/hook".to_owned())).await.expect("it is kept");
    assert!(!machine.listens());
    probe.stop().await;
    let probe = start(&machine, &store).await;
    assert!(!machine.listens());
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_address_that_is_taken_is_tried_again_until_it_is_free() {
    let (machine, store) = (MemoryServices::new(), MemoryStore::new());
    machine.take_port(true);
    let probe = start(&machine, &store).await;
    allow(&probe, URL).await;
    probe.advance(100 * SECOND).await;
    assert!(!machine.listens());
    let tries = machine.listened();
    assert!((3..20).contains(&tries), "{tries} tries");
    machine.take_port(false);
    probe.advance(60 * SECOND).await;
    assert!(machine.listens());
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_application_has_an_allowed_url_called_and_no_other() {
    let (machine, store) = (MemoryServices::new(), MemoryStore::new());
    let probe = start(&machine, &store).await;
    allow(&probe, URL).await;
    let body = format!(r#"{{"method":"POST","targetURL":"{URL}","payload":{{"k":"v"}}}}"#);
    let expect = r#"{"code":200,"msg":"receive response from cloud successfully","body":"from the cloud"}"#;
    assert_eq!(machine.app(Some(&body)).await.expect("somebody listens"), expect);
    let asked = probe.asked::<AskCloud>();
    let [AskCloud(NodeRequest::CallUrl { url, body: sent })] = &asked[..] else { panic!("one request") };
    assert_eq!((url.as_str(), &sent[..]), (URL, body.as_bytes()));
    for body in [None, Some("?"), Some(r#"{"targetURL":"http://other"}"#)] {
        let answer = machine.app(body).await.expect("somebody listens");
        assert!(answer.starts_with(r#"{"code":400,"#), "{answer}");
    }
    assert_eq!(probe.asked::<AskCloud>().len(), 0);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_application_hears_that_the_cloud_is_away_or_does_not_answer() {
    let (machine, store) = (MemoryServices::new(), MemoryStore::new());
    let replies = Arc::new(Mutex::new(vec![Err(CloudError::Disconnected)]));
    let given = replies.clone();
    let probe = Probe::<ServiceBus>::new(ServiceBusConfig::default(), ports(&machine, &store))
        .serve_later::<AskCloud>(group::HUB, move |_, responder| {
            match given.lock().expect("no panic").pop() {
                Some(reply) => responder.reply(reply),
                None => std::mem::forget(responder),
            }
        })
        .start()
        .await;
    allow(&probe, URL).await;
    let body = format!(r#"{{"targetURL":"{URL}"}}"#);
    let answer = machine.app(Some(&body)).await.expect("somebody listens");
    assert_eq!(answer, r#"{"code":400,"msg":"the cloud is not connected","body":""}"#);
    let answer = machine.app(Some(&body)).await.expect("somebody listens");
    assert!(answer.contains("did not answer"), "{answer}");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_cannot_be_kept_is_not_allowed() {
    let (machine, store) = (MemoryServices::new(), MemoryStore::new());
    let probe = start(&machine, &store).await;
    store.break_down(Fault::Refused);
    change(&probe, SetChange::Add(URL.to_owned())).await.expect_err("the disk is full");
    assert!(!machine.listens());
    probe.stop().await;
}

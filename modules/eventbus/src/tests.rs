//! The event bus between a probe, which plays the device twins, and a broker in memory.

use std::cell::RefCell;
use std::rc::Rc;

use beehive::probe::ProbeBuilder;
use beehive::{Probe, Responder};
use bytes::Bytes;
use protocol::device::{DeviceCall, DeviceId, LocalTopic};
use protocol::edge::MetaError;
use store::MemoryStore;

use super::*;
use crate::memory::{MemoryBroker, message};
use crate::ports::{Arrived, ConnectTo, Connection, Credentials, Mqtt, Qos};
use crate::server::ServerUrl;

mod connection;
mod incoming;
mod modes;
mod rules;

const SECOND: Duration = Duration::from_secs(1);

/// Calls that the device twins have taken and not answered.
type Calls = Rc<RefCell<Vec<(CallDevice, Responder<Result<(), MetaError>>)>>>;

fn builder(config: EventBusConfig, broker: &MemoryBroker) -> ProbeBuilder<EventBus> {
    let (mqtt, within) = (Arc::new(broker.clone()), Arc::new(broker.clone()));
    Probe::new(config, Ports { mqtt, broker: within, store: Arc::new(MemoryStore::new()) })
}

/// Starts the event bus with device twins that take everything.
async fn start(config: EventBusConfig, broker: &MemoryBroker) -> Probe<EventBus> {
    builder(config, broker).serve::<CallDevice>(group::TWIN, |_| Ok(())).start().await
}

/// Starts the event bus with device twins that answer when the test does.
async fn start_with_slow_twins(broker: &MemoryBroker) -> (Probe<EventBus>, Calls) {
    let calls = Calls::default();
    let kept = Rc::clone(&calls);
    let probe = builder(EventBusConfig::default(), broker)
        .serve_later::<CallDevice>(group::TWIN, move |call, responder| {
            kept.borrow_mut().push((call, responder))
        })
        .start()
        .await;
    (probe, calls)
}

/// A mapper or an application.
struct Local(Connection);

impl Local {
    async fn connect(broker: &MemoryBroker, id: &str) -> Self {
        let config = EventBusConfig { mqtt_pub_client_id: id.to_owned(), ..EventBusConfig::default() };
        let server = ServerUrl::parse(&config.mqtt_server_external).expect("an address");
        let to = ConnectTo { packet_bytes_max: usize::MAX, ..config.publisher(server, "local") };
        Self(broker.connect(to).await.expect("the broker is there"))
    }

    async fn say(&self, topic: &str, payload: impl Into<Bytes>) {
        self.0.client.publish(message(topic, payload)).await.expect("the broker is there");
    }

    async fn listen(&self, filter: &str) {
        self.0.client.subscribe(filter).await.expect("the broker is there");
    }

    async fn hear(&mut self) -> Arrived {
        let arrived = self.0.arrivals.next().await.expect("the broker is there");
        self.0.client.acknowledge(arrived.receipt).expect("the broker is there");
        arrived
    }
}

fn device(name: &str) -> DeviceId {
    DeviceId::parse("default", name).expect("a device")
}

fn update(name: &str) -> String {
    format!("$hw/events/device/default/{name}/twin/update")
}

fn payloads(probe: &Probe<EventBus>) -> Vec<Bytes> {
    probe.asked::<CallDevice>().into_iter().map(|call| call.payload).collect()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn every_promise_of_a_client_is_kept_by_the_broker_in_memory() {
    let credentials = Credentials { username: "edge".to_owned(), password: Password::new("secret") };
    let broker = MemoryBroker::new();
    broker.admit_only(credentials.clone());
    let config = EventBusConfig::default();
    let server = ServerUrl::parse(&config.mqtt_server_external).expect("an address");
    let to = ConnectTo { credentials: Some(credentials), ..config.publisher(server, "n") };
    for promise in conformance::Promise::ALL {
        conformance::check(promise, &broker, &to).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn each_answer_is_published_where_upstream_publishes_it() {
    let broker = MemoryBroker::new();
    let probe = start(EventBusConfig::default(), &broker).await;
    let mut local = Local::connect(&broker, "app").await;
    local.listen("$hw/#").await;
    local.listen("#").await;
    let temp = device("temp-1");
    for (topic, expect) in [
        (LocalTopic::TwinResult(Some(temp.clone())), "$hw/events/device/default/temp-1/twin/update/result"),
        (LocalTopic::TwinResult(None), "$hw/events/device//twin/update/result"),
        (LocalTopic::TwinDocument(temp.clone()), "$hw/events/device/default/temp-1/twin/update/document"),
        (LocalTopic::TwinDelta(temp.clone()), "$hw/events/device/default/temp-1/twin/update/delta"),
        (LocalTopic::TwinGetResult(temp.clone()), "$hw/events/device/default/temp-1/twin/get/result"),
        (LocalTopic::StateResult(temp.clone()), "$hw/events/device/default/temp-1/state/update/result"),
        (LocalTopic::AttributesUpdated(temp), "$hw/events/device/default/temp-1/updated"),
        (LocalTopic::MembershipUpdated, "$hw/events/node/probe/membership/updated"),
        (LocalTopic::MembershipResult, "$hw/events/node/probe/membership/get/result"),
        (LocalTopic::Other("default/test".to_owned()), "default/test"),
    ] {
        probe.send(PublishLocal { topic, payload: Bytes::from_static(b"{\"a\":1}") }).await;
        let arrived = local.hear().await;
        assert_eq!((arrived.topic.as_str(), &arrived.payload[..]), (expect, &b"{\"a\":1}"[..]));
    }
    assert_eq!(payloads(&probe), [""; 0], "the event bus does not hear itself");
    // What nothing can be published to harms nobody.
    probe.send(PublishLocal { topic: LocalTopic::Other("a/#".to_owned()), payload: Bytes::new() }).await;
    probe.send(PublishLocal { topic: LocalTopic::Other(String::new()), payload: Bytes::new() }).await;
    probe.send(PublishLocal { topic: LocalTopic::Other("b".to_owned()), payload: Bytes::new() }).await;
    assert_eq!(local.hear().await.topic, "b");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn answers_are_not_kept_for_those_that_come_later() {
    let broker = MemoryBroker::new();
    let probe = start(EventBusConfig::default(), &broker).await;
    probe
        .send(PublishLocal { topic: LocalTopic::MembershipUpdated, payload: Bytes::from_static(b"1") })
        .await;
    let mut local = Local::connect(&broker, "app").await;
    local.listen("$hw/#").await;
    probe
        .send(PublishLocal { topic: LocalTopic::MembershipUpdated, payload: Bytes::from_static(b"2") })
        .await;
    assert_eq!(local.hear().await.payload, "2");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_no_address_is_no_event_bus() {
    let config = EventBusConfig { mqtt_server_external: "x".to_owned(), ..EventBusConfig::default() };
    let error = builder(config, &MemoryBroker::new()).try_start().await.err().expect("it cannot be built");
    assert!(error.contains("mqttServerExternal"), "{error}");
}

//! The broker within the process, alone and beside an external one.

use super::*;

const INTERNAL: u8 = 0;
const BOTH: u8 = 1;

fn mode(mqtt_mode: u8) -> EventBusConfig {
    EventBusConfig { mqtt_mode, ..EventBusConfig::default() }
}

async fn start_with(
    config: EventBusConfig,
    internal: &MemoryBroker,
    external: &MemoryBroker,
) -> Probe<EventBus> {
    let (mqtt, broker) = (Arc::new(external.clone()), Arc::new(internal.clone()));
    let ports = Ports { mqtt, broker, store: Arc::new(MemoryStore::new()) };
    Probe::new(config, ports).serve::<CallDevice>(group::TWIN, |_| Ok(())).start().await
}

fn place(log: &[String], line: &str) -> Option<usize> {
    log.iter().position(|known| known == line)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nobody_is_let_in_before_the_event_bus_has_subscribed() {
    let (internal, external) = (MemoryBroker::new(), MemoryBroker::new());
    let probe = start_with(mode(INTERNAL), &internal, &external).await;
    probe.settle().await;
    let log = internal.log();
    let open = place(&log, "serve 127.0.0.1:1884").unwrap_or_else(|| panic!("it serves: {log:?}"));
    for filter in topic::OF_DEVICES.into_iter().chain(topic::FOR_CLOUD) {
        assert!(place(&log, &format!("subscribe {filter}")) < Some(open), "{filter}: {log:?}");
    }
    assert_eq!(external.log(), [""; 0], "an external broker is not asked");
    let local = Local::connect(&internal, "mapper").await;
    local.say(&update("t"), "1").await;
    probe.settle().await;
    assert_eq!(payloads(&probe), ["1"]);
    probe.stop().await;
    assert!(internal.log().contains(&"stop 127.0.0.1:1884".to_owned()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_comes_while_the_event_bus_is_away_waits_for_it() {
    let (internal, external) = (MemoryBroker::new(), MemoryBroker::new());
    let probe = start_with(mode(INTERNAL), &internal, &external).await;
    probe.settle().await;
    probe.stop().await;
    let local = Local::connect(&internal, "mapper").await;
    local.say(&update("t"), "1").await;
    let probe = start_with(mode(INTERNAL), &internal, &external).await;
    probe.settle().await;
    assert_eq!(payloads(&probe), ["1"]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn with_both_brokers_each_is_heard_and_told() {
    let (internal, external) = (MemoryBroker::new(), MemoryBroker::new());
    let probe = start_with(mode(BOTH), &internal, &external).await;
    probe.settle().await;
    let mut locals = Vec::new();
    for (broker, payload) in [(&internal, "1"), (&external, "2")] {
        let local = Local::connect(broker, "app").await;
        local.say(&update("t"), payload).await;
        local.listen("#").await;
        locals.push(local);
        probe.settle().await;
    }
    assert_eq!(payloads(&probe), ["1", "2"]);
    let other = LocalTopic::Other("a".to_owned());
    probe.send(PublishLocal { topic: other, payload: Bytes::from_static(b"x") }).await;
    for local in &mut locals {
        assert_eq!(local.hear().await.payload, "x");
    }
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_external_broker_that_is_away_holds_up_nothing() {
    let (internal, external) = (MemoryBroker::new(), MemoryBroker::new());
    external.set_away(true);
    let probe = start_with(mode(BOTH), &internal, &external).await;
    probe.settle().await;
    let local = Local::connect(&internal, "mapper").await;
    local.say(&update("t"), "1").await;
    probe.settle().await;
    assert_eq!(payloads(&probe), ["1"]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_port_that_is_taken_is_asked_for_until_it_is_free() {
    let (internal, external) = (MemoryBroker::new(), MemoryBroker::new());
    let probe = start_with(mode(INTERNAL), &internal, &external).await;
    probe.stop().await;
    drop(internal.log());
    internal.refuse_to_serve(true);
    let probe = start_with(mode(INTERNAL), &internal, &external).await;
    probe.advance(60 * SECOND).await;
    assert_eq!(place(&internal.log(), "serve 127.0.0.1:1884"), None);
    internal.refuse_to_serve(false);
    probe.advance(6 * SECOND).await;
    assert!(place(&internal.log(), "serve 127.0.0.1:1884").is_some());
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn quality_and_retention_are_for_the_broker_within_the_process_only() {
    let (internal, external) = (MemoryBroker::new(), MemoryBroker::new());
    let config = EventBusConfig { mqtt_qos: 2, mqtt_retain: true, ..mode(BOTH) };
    assert_eq!(config.internal_qos(), Qos::ExactlyOnce);
    let probe = start_with(config, &internal, &external).await;
    probe.settle().await;
    let other = |name: &str| LocalTopic::Other(name.to_owned());
    probe.send(PublishLocal { topic: other("a"), payload: Bytes::from_static(b"kept") }).await;
    probe.settle().await;
    let mut late = Local::connect(&internal, "late").await;
    late.listen("a").await;
    assert_eq!(late.hear().await.payload, "kept");
    let mut late = Local::connect(&external, "late").await;
    late.listen("#").await;
    probe.send(PublishLocal { topic: other("b"), payload: Bytes::from_static(b"new") }).await;
    assert_eq!(late.hear().await.payload, "new", "nothing is retained at the external one");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_event_bus_gives_its_own_broker_the_password_that_it_asks_for() {
    let (internal, external) = (MemoryBroker::new(), MemoryBroker::new());
    let credentials = Credentials { username: "edge".to_owned(), password: Password::new("secret") };
    internal.admit_only(credentials.clone());
    let mqtt_internal = InternalBroker {
        username: credentials.username,
        password: credentials.password,
        ..InternalBroker::default()
    };
    let config = EventBusConfig { mqtt_internal, ..mode(INTERNAL) };
    let probe = start_with(config, &internal, &external).await;
    probe.settle().await;
    assert!(place(&internal.log(), "serve 127.0.0.1:1884").is_some());
    probe.stop().await;
}

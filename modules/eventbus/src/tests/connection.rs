//! Connections that come, break and end.

use super::*;

const CONNECTED: [&str; 3] =
    ["connect hub-client-pub-probe", "connect hub-client-rule-probe", "connect hub-client-sub-probe"];

/// The connections subscribe beside each other.
fn subscriptions(log: &[String]) -> Vec<&str> {
    let mut found: Vec<&str> = log.iter().filter_map(|line| line.strip_prefix("subscribe ")).collect();
    found.sort_unstable();
    found
}

fn upstream_s() -> Vec<&'static str> {
    let mut all: Vec<&str> = topic::OF_DEVICES.into_iter().chain(topic::FOR_CLOUD).collect();
    all.sort_unstable();
    all
}

fn connections(log: &[String]) -> Vec<&str> {
    let mut found: Vec<&str> =
        log.iter().map(String::as_str).filter(|line| line.starts_with("connect ")).collect();
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn upstream_s_topics_are_subscribed_and_then_the_user_s() {
    let broker = MemoryBroker::new();
    let mqtt_topics = vec!["$hw/events/device/+/+/updated".to_owned(), "factory/#".to_owned()];
    let probe = start(EventBusConfig { mqtt_topics, ..EventBusConfig::default() }, &broker).await;
    let log = broker.log();
    assert_eq!(connections(&log), CONNECTED);
    let mut expect = upstream_s();
    expect.extend(["$hw/events/device/+/+/updated", "factory/#"]);
    expect.sort_unstable();
    assert_eq!(subscriptions(&log), expect);
    probe.stop().await;
    let mut ended = broker.log();
    ended.sort();
    let expect = [
        "disconnect hub-client-pub-probe",
        "disconnect hub-client-rule-probe",
        "disconnect hub-client-sub-probe",
    ];
    assert_eq!(ended, expect);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_broken_connection_is_made_anew_with_all_its_subscriptions() {
    let broker = MemoryBroker::new();
    let probe = start(EventBusConfig::default(), &broker).await;
    drop(broker.log());
    broker.cut();
    probe.advance(6 * SECOND).await;
    let log = broker.log();
    assert_eq!(connections(&log).len(), 3, "{log:?}");
    assert_eq!(subscriptions(&log), upstream_s());
    let local = Local::connect(&broker, "mapper").await;
    local.say(&update("t"), "1").await;
    probe.settle().await;
    assert_eq!(payloads(&probe), ["1"]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_broker_that_comes_late_is_found_within_five_seconds() {
    let broker = MemoryBroker::new();
    broker.set_away(true);
    let probe = start(EventBusConfig::default(), &broker).await;
    probe.advance(300 * SECOND).await;
    assert_eq!(connections(&broker.log()), [""; 0]);
    broker.set_away(false);
    probe.advance(5 * SECOND).await;
    assert_eq!(connections(&broker.log()).len(), 3);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_published_without_a_broker_is_dropped_and_later_things_are_not() {
    let broker = MemoryBroker::new();
    let probe = start(EventBusConfig::default(), &broker).await;
    broker.set_away(true);
    probe.settle().await;
    probe.send(PublishLocal { topic: LocalTopic::Other("a".to_owned()), payload: Bytes::new() }).await;
    broker.set_away(false);
    let mut local = Local::connect(&broker, "app").await;
    local.listen("#").await;
    probe.advance(6 * SECOND).await;
    probe.send(PublishLocal { topic: LocalTopic::Other("b".to_owned()), payload: Bytes::new() }).await;
    assert_eq!(local.hear().await.topic, "b");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_broker_that_lets_nobody_in_is_asked_again_until_it_does() {
    let broker = MemoryBroker::new();
    let credentials = Credentials { username: "edge".to_owned(), password: Password::new("secret") };
    let other = Credentials { password: Password::new("other"), ..credentials.clone() };
    broker.admit_only(other);
    let config = EventBusConfig {
        mqtt_username: credentials.username.clone(),
        mqtt_password: credentials.password.clone(),
        ..EventBusConfig::default()
    };
    let probe = start(config, &broker).await;
    probe.advance(60 * SECOND).await;
    assert_eq!(broker.log(), [""; 0]);
    broker.admit_only(credentials);
    probe.advance(5 * SECOND).await;
    assert_eq!(connections(&broker.log()).len(), 3);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_refused_subscription_does_not_stop_the_others() {
    let broker = MemoryBroker::new();
    broker.refuse("$hw/events/upload/#");
    let probe = start(EventBusConfig::default(), &broker).await;
    let expect: Vec<&str> =
        upstream_s().into_iter().filter(|filter| *filter != "$hw/events/upload/#").collect();
    assert_eq!(subscriptions(&broker.log()), expect);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_resumed_session_has_what_came_while_the_node_was_away() {
    let broker = MemoryBroker::new();
    let config = EventBusConfig { mqtt_session_resume: true, ..EventBusConfig::default() };
    let probe = start(config.clone(), &broker).await;
    probe.stop().await;
    let local = Local::connect(&broker, "mapper").await;
    for payload in ["1", "2"] {
        local.say(&update("t"), payload).await;
    }
    let probe = start(config, &broker).await;
    assert_eq!(payloads(&probe), ["1", "2"]);
    assert_eq!(broker.backlog("hub-client-sub-probe"), (0, 0));
    probe.stop().await;
    let probe = start(EventBusConfig::default(), &broker).await;
    probe.stop().await;
    local.say(&update("t"), "3").await;
    let probe = start(EventBusConfig::default(), &broker).await;
    assert_eq!(payloads(&probe), [""; 0], "a clean session has nothing");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_session_with_a_message_that_cannot_be_read_is_given_up() {
    let broker = MemoryBroker::new();
    let config = EventBusConfig { mqtt_session_resume: true, ..EventBusConfig::default() };
    let probe = start(config, &broker).await;
    let local = Local::connect(&broker, "mapper").await;
    local.say(&update("t"), vec![0; 17 << 20]).await;
    probe.advance(30 * SECOND).await;
    let ids: Vec<String> = broker.log();
    let again = connections(&ids).into_iter().filter(|line| line.contains("-sub-")).count();
    assert_eq!(again, 3, "at first, to forget, and anew: {ids:?}");
    local.say(&update("t"), "after it").await;
    probe.settle().await;
    assert_eq!(payloads(&probe), ["after it"]);
    probe.stop().await;
}

//! What local clients say, and when it is acknowledged.

use super::*;

const SUBSCRIBER: &str = "hub-client-sub-probe";

fn names(calls: &Calls) -> Vec<Bytes> {
    calls.borrow().iter().map(|(call, _)| call.payload.clone()).collect()
}

fn answer(calls: &Calls, at: usize, reply: Result<(), MetaError>) {
    let (_, responder) = calls.borrow_mut().remove(at);
    responder.reply(reply);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_devices_say_reaches_the_device_twins_as_it_is() {
    let broker = MemoryBroker::new();
    let mqtt_topics = vec!["$hw/events/device/+/+/updated".to_owned()];
    let probe = start(EventBusConfig { mqtt_topics, ..EventBusConfig::default() }, &broker).await;
    let local = Local::connect(&broker, "mapper").await;
    for (topic, expect) in [
        ("$hw/events/device/default/t/twin/update", DeviceCall::UpdateTwins(device("t"))),
        ("$hw/events/device/default/t/twin/get", DeviceCall::GetTwins(device("t"))),
        ("$hw/events/device/default/t/twin/cloud_updated", DeviceCall::SyncTwins(device("t"))),
        ("$hw/events/device/default/t/state/update", DeviceCall::UpdateState(device("t"))),
        ("$hw/events/device/default/t/updated", DeviceCall::UpdateAttributes(device("t"))),
        ("$hw/events/node/another/membership/get", DeviceCall::GetMembership),
    ] {
        local.say(topic, &b"\xff not JSON"[..]).await;
        probe.settle().await;
        let asked = probe.asked::<CallDevice>();
        let asked: Vec<_> = asked.into_iter().map(|asked| (asked.call, asked.payload)).collect();
        assert_eq!(asked, [(expect, Bytes::from_static(b"\xff not JSON"))], "{topic}");
    }
    assert_eq!(broker.backlog(SUBSCRIBER), (0, 0));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_nobody_s_is_acknowledged_and_ignored() {
    let broker = MemoryBroker::new();
    let mqtt_topics = vec!["factory/#".to_owned()];
    let probe = start(EventBusConfig { mqtt_topics, ..EventBusConfig::default() }, &broker).await;
    let local = Local::connect(&broker, "mapper").await;
    for topic in [
        "$hw/events/device/default/t/twin/other",
        "$hw/events/device//t/twin/update",
        "$hw/events/device/../t/twin/update",
        "$hw/events/device/a b/t/state/update",
        "$hw/events/upload/x",
        "SYS/dis/upload_records",
        "x/user/y",
        "factory/a",
    ] {
        local.say(topic, "x").await;
    }
    probe.settle().await;
    assert_eq!(payloads(&probe), [""; 0]);
    assert_eq!(broker.backlog(SUBSCRIBER), (0, 0));
    local.say(&update("t"), "1").await;
    probe.settle().await;
    assert_eq!(payloads(&probe), ["1"]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_message_beyond_the_limit_is_ignored_and_the_next_is_not() {
    let broker = MemoryBroker::new();
    let config = EventBusConfig { mqtt_message_bytes_max: 1024, ..EventBusConfig::default() };
    let probe = start(config, &broker).await;
    let local = Local::connect(&broker, "mapper").await;
    local.say(&update("t"), vec![0; 1025]).await;
    local.say(&update("t"), vec![0; 1024]).await;
    probe.settle().await;
    let sizes: Vec<usize> = payloads(&probe).iter().map(Bytes::len).collect();
    assert_eq!(sizes, [1024]);
    assert_eq!(broker.backlog(SUBSCRIBER), (0, 0));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_message_is_acknowledged_once_it_was_taken_and_not_before() {
    let broker = MemoryBroker::new();
    let (probe, calls) = start_with_slow_twins(&broker).await;
    let local = Local::connect(&broker, "mapper").await;
    local.say(&update("t"), "1").await;
    probe.advance(29 * SECOND).await;
    assert_eq!(broker.backlog(SUBSCRIBER), (1, 0));
    answer(&calls, 0, Ok(()));
    probe.settle().await;
    assert_eq!(broker.backlog(SUBSCRIBER), (0, 0));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_device_is_handled_in_order_and_no_other_waits_for_it() {
    let broker = MemoryBroker::new();
    let (probe, calls) = start_with_slow_twins(&broker).await;
    let local = Local::connect(&broker, "mapper").await;
    for (name, payload) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")] {
        local.say(&update(name), payload).await;
    }
    probe.settle().await;
    assert_eq!(names(&calls), ["a1", "b1"]);
    answer(&calls, 1, Ok(()));
    probe.settle().await;
    assert_eq!(names(&calls), ["a1", "b2"]);
    assert_eq!(broker.backlog(SUBSCRIBER), (4, 0), "acknowledgements keep the order");
    answer(&calls, 0, Ok(()));
    probe.settle().await;
    assert_eq!(names(&calls), ["b2", "a2"]);
    assert_eq!(broker.backlog(SUBSCRIBER), (3, 0));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_the_device_twins_cannot_take_yet_stays_with_the_broker_and_nothing_is_lost() {
    let broker = MemoryBroker::new();
    let (probe, calls) = start_with_slow_twins(&broker).await;
    let local = Local::connect(&broker, "mapper").await;
    let many: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    for payload in &many {
        local.say(&update("t"), payload.clone()).await;
    }
    probe.settle().await;
    assert_eq!(calls.borrow().len(), 1);
    assert_eq!(broker.backlog(SUBSCRIBER), (20, 280));
    let mut heard = Vec::new();
    while !calls.borrow().is_empty() {
        heard.extend(names(&calls));
        answer(&calls, 0, Ok(()));
        probe.settle().await;
    }
    assert_eq!(heard, many);
    assert_eq!(broker.backlog(SUBSCRIBER), (0, 0));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_flood_that_needs_no_acknowledgement_stays_with_the_broker_too() {
    let broker = MemoryBroker::new();
    let (probe, calls) = start_with_slow_twins(&broker).await;
    let local = Local::connect(&broker, "mapper").await;
    for number in 0..300 {
        let once = Publication { qos: Qos::AtMostOnce, ..message(&update("t"), number.to_string()) };
        local.0.client.publish(once).await.expect("the broker is there");
    }
    probe.settle().await;
    let (_, waiting) = broker.backlog(SUBSCRIBER);
    assert_eq!(waiting, 300 - 32 - 1, "32 are in hand and one is on its way");
    let mut heard = 0;
    while !calls.borrow().is_empty() {
        heard += 1;
        answer(&calls, 0, Ok(()));
        probe.settle().await;
    }
    assert_eq!(heard, 300);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn while_the_disk_is_full_a_message_waits_and_the_broker_is_told_nothing() {
    let broker = MemoryBroker::new();
    let (probe, calls) = start_with_slow_twins(&broker).await;
    let local = Local::connect(&broker, "mapper").await;
    local.say(&update("t"), "1").await;
    for _ in 0..50 {
        probe.advance(5 * SECOND).await;
        assert_eq!(names(&calls), ["1"]);
        answer(&calls, 0, Err(MetaError("the disk is full".to_owned())));
        probe.settle().await;
        assert_eq!(broker.backlog(SUBSCRIBER), (1, 0));
    }
    probe.advance(5 * SECOND).await;
    answer(&calls, 0, Ok(()));
    probe.settle().await;
    assert_eq!(broker.backlog(SUBSCRIBER), (0, 0));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_message_that_the_device_twins_never_answer_is_given_up_after_five_times() {
    let broker = MemoryBroker::new();
    let (probe, calls) = start_with_slow_twins(&broker).await;
    let local = Local::connect(&broker, "mapper").await;
    local.say(&update("t"), "poison").await;
    local.say(&update("t"), "cure").await;
    probe.advance(160 * SECOND).await;
    assert_eq!(probe.asked::<CallDevice>().len(), 6);
    answer(&calls, 5, Ok(()));
    assert_eq!(names(&calls), ["poison"; 5]);
    probe.settle().await;
    assert_eq!(broker.backlog(SUBSCRIBER), (0, 0));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_arrived_is_handed_over_even_if_its_connection_ends_before() {
    let broker = MemoryBroker::new();
    let (probe, calls) = start_with_slow_twins(&broker).await;
    let local = Local::connect(&broker, "mapper").await;
    for payload in ["1", "2", "3"] {
        local.say(&update("t"), payload).await;
    }
    probe.settle().await;
    broker.cut();
    let mut heard = Vec::new();
    for _ in 0..3 {
        probe.advance(SECOND).await;
        heard.extend(names(&calls));
        answer(&calls, 0, Ok(()));
    }
    assert_eq!(heard, ["1", "2", "3"]);
    probe.advance(10 * SECOND).await;
    let local = Local::connect(&broker, "mapper").await;
    local.say(&update("t"), "4").await;
    probe.settle().await;
    assert_eq!(names(&calls), ["4"]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_device_twins_what_devices_say_is_ignored() {
    let broker = MemoryBroker::new();
    let probe = builder(EventBusConfig::default(), &broker).start().await;
    let local = Local::connect(&broker, "mapper").await;
    local.say(&update("t"), "1").await;
    probe.settle().await;
    assert_eq!(broker.backlog(SUBSCRIBER), (0, 0));
    probe.stop().await;
}

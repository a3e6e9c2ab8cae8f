//! The event bus with the broker within the process, between a mapper and device twins that only echo.

use super::*;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::module::launch_with;

#[tokio::test(flavor = "local")]
async fn a_mapper_is_answered_without_any_other_broker() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("an address").port()
    };
    let body = serde_json::json!({ "mqttMode": 0, "mqttServerInternal": format!("tcp://127.0.0.1:{port}") });
    let node = launch_with(body, Arc::new(EmbeddedBroker::new())).await;
    let to = || ConnectTo { client_id: "mapper".to_owned(), ..crate::to(&format!("tcp://127.0.0.1:{port}")) };
    let begin = tokio::time::Instant::now();
    let mut mapper = loop {
        match MqttClient.connect(to()).await {
            Ok(connection) => break connection,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "it does not serve: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let device = "$hw/events/device/default/temp-1/twin/update";
    mapper.client.subscribe(&format!("{device}/result")).await.expect("it may subscribe");
    // The event bus has subscribed before anybody is let in, so that one message is enough; its answers
    // are dropped until its own connection is there.
    let answered = loop {
        mapper.client.publish(message(device, "1")).await.expect("it may publish");
        match timeout(Duration::from_millis(200), mapper.arrivals.next()).await {
            Ok(arrived) => break arrived.expect("the broker is there"),
            Err(_) => assert!(begin.elapsed() < PATIENCE, "no answer"),
        }
    };
    assert_eq!((answered.topic, &answered.payload[..]), (format!("{device}/result"), &b"1"[..]));
    assert_eq!(node.stop().await.overran, []);
    mapper.arrivals.next().await.expect_err("the broker stopped with its node");
    MqttClient.connect(to()).await.expect_err("nobody listens");
}

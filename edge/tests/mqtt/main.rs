//! The MQTT client against mosquitto, and against servers that are no brokers; the broker within the process.
//!
//! The tests with a broker run where `mosquitto` and `mosquitto_passwd` are installed, and say on
//! standard error that they were skipped otherwise.

mod embedded;
mod module;
mod mosquitto;

use std::time::Duration;

use edgecore::mqtt::MqttClient;
use eventbus::BrokerUrl;
use eventbus::conformance::{Promise, check};
use eventbus::memory::message;
use eventbus::ports::{ConnectTo, Connection, Mqtt, MqttError, TlsFiles};
use link_ws::authority::Authority;
use tokio::net::TcpListener;

use mosquitto::{Mosquitto, PATIENCE, with_mosquitto};

fn to(url: &str) -> ConnectTo {
    ConnectTo {
        server: BrokerUrl::parse(url).expect("an address"),
        tls: None,
        client_id: "test".to_owned(),
        credentials: None,
        is_clean: true,
        keep_alive: Duration::from_secs(30),
        timeout: PATIENCE,
        packet_bytes_max: 1 << 20,
    }
}

async fn fails(to: ConnectTo) -> MqttError {
    MqttClient.connect(to).await.expect_err("it cannot connect")
}

#[tokio::test]
async fn every_promise_of_a_client_is_kept_with_mosquitto() {
    with_mosquitto!("every_promise", |broker| {
        for promise in Promise::ALL {
            check(promise, &MqttClient, &broker.to()).await;
        }
    });
}

#[tokio::test]
async fn every_promise_of_a_client_is_kept_over_tls() {
    with_mosquitto!("every_promise_over_tls", |broker| {
        for promise in Promise::ALL {
            check(promise, &MqttClient, &broker.to_tls()).await;
        }
    });
}

#[tokio::test]
async fn a_broker_of_another_authority_or_host_is_not_believed() {
    with_mosquitto!("not_believed", |broker| {
        let folder = tempfile::tempdir().expect("a directory");
        let stranger = Authority::new("KubeEdge").issue("edge", &[]).write(folder.path());
        let tls = TlsFiles { ca: stranger.ca, client: broker.to_tls().tls.and_then(|tls| tls.client) };
        let error = fails(ConnectTo { tls: Some(tls), ..broker.to_tls() }).await;
        assert!(matches!(&error, MqttError::Transport(text) if text.contains("certificate")), "{error:?}");
        let mut elsewhere = broker.to_tls();
        elsewhere.server.host = "localhost".to_owned();
        let error = fails(elsewhere).await;
        assert!(matches!(&error, MqttError::Transport(text) if text.contains("certificate")), "{error:?}");
    });
}

#[tokio::test]
async fn a_client_without_the_certificate_that_the_broker_asks_for_is_refused() {
    with_mosquitto!("without_certificate", |broker| {
        let mut to = broker.to_tls();
        to.tls = to.tls.map(|tls| TlsFiles { client: None, ..tls });
        fails(to).await;
    });
}

#[tokio::test]
async fn the_end_of_a_broker_is_seen_and_its_return_too() {
    with_mosquitto!("end_and_return", |broker| {
        let mut connection = MqttClient.connect(broker.to()).await.expect("the broker is there");
        broker.stop();
        let error = connection.arrivals.next().await.expect_err("the broker is gone");
        assert!(matches!(error, MqttError::Closed | MqttError::Transport(_)), "{error:?}");
        assert_eq!(connection.arrivals.next().await, Err(MqttError::Closed));
        let published = connection.client.publish(message("a", "x")).await;
        assert_eq!(published, Err(MqttError::Closed));
        broker.start().await;
        let Connection { client, mut arrivals, .. } =
            MqttClient.connect(broker.to()).await.expect("the broker is there again");
        client.subscribe("a").await.expect("it may subscribe");
        client.publish(message("a", "x")).await.expect("it may publish");
        assert_eq!(arrivals.next().await.expect("a message").payload, "x");
    });
}

#[tokio::test]
async fn more_than_is_held_stays_with_the_broker_until_it_is_read() {
    with_mosquitto!("stays_with_the_broker", |broker| {
        let sender = MqttClient.connect(broker.to()).await.expect("the broker is there");
        let to = ConnectTo { client_id: "reader".to_owned(), ..broker.to() };
        let mut reader = MqttClient.connect(to).await.expect("the broker is there");
        reader.client.subscribe("a").await.expect("it may subscribe");
        for number in 0..500 {
            sender.client.publish(message("a", number.to_string())).await.expect("it may publish");
        }
        for number in 0..500 {
            let arrived = reader.arrivals.next().await.expect("a message");
            assert_eq!(arrived.payload, number.to_string());
            reader.client.acknowledge(arrived.receipt).unwrap_or_else(|error| panic!("{number}: {error}"));
        }
    });
}

#[tokio::test]
async fn where_nobody_listens_or_answers_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let address = listener.local_addr().expect("an address");
    let limit = Duration::from_millis(100);
    let error = fails(ConnectTo { timeout: limit, ..to(&format!("tcp://{address}")) }).await;
    assert_eq!(error, MqttError::TimedOut(limit));
    drop(listener);
    let error = fails(to(&format!("tcp://{address}"))).await;
    assert!(matches!(&error, MqttError::Transport(text) if text.contains("refused")), "{error:?}");
}

#[tokio::test]
async fn tls_without_its_files_is_no_connection() {
    let error = fails(to("ssl://127.0.0.1:1")).await;
    assert!(matches!(error, MqttError::Local(_)), "{error:?}");
    let tls = TlsFiles { ca: "/nowhere/ca.crt".into(), client: None };
    let error = fails(ConnectTo { tls: Some(tls), ..to("ssl://127.0.0.1:1") }).await;
    assert!(matches!(&error, MqttError::Local(text) if text.contains("/nowhere/ca.crt")), "{error:?}");
}

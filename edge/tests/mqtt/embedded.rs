//! The broker within the process: by clients within it, over TCP and TLS, and by mosquitto's clients.

mod clients;
mod hostile;
mod module;

use std::path::Path;

use bytes::Bytes;
use edgecore::mqtt::{EmbeddedBroker, MqttClient};
use eventbus::conformance::{Promise, check};
use eventbus::memory::message;
use eventbus::ports::{
    Broker, ConnectTo, Connection, Credentials, Mqtt, MqttError, ServeOn, ServerTls, Serving, TlsFiles,
};
use eventbus::{BrokerUrl, Password};
use futures::poll;
use link_ws::authority::Authority;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::mosquitto::PATIENCE;

/// The broker and its way out.
struct Open {
    broker: EmbeddedBroker,
    serving: Box<dyn Serving>,
}

fn serve_on() -> ServeOn {
    ServeOn {
        address: "127.0.0.1:0".parse().expect("an address"),
        tls: None,
        user: None,
        queue_max: 100,
        packet_bytes_max: 2 << 20,
    }
}

fn user() -> Credentials {
    Credentials { username: "edge".to_owned(), password: Password::new("s3cret") }
}

impl Open {
    async fn new(on: ServeOn) -> Self {
        let broker = EmbeddedBroker::new();
        let serving = broker.serve(on).await.expect("it serves");
        Self { broker, serving }
    }

    fn to(&self, id: &str) -> ConnectTo {
        let to = crate::to(&format!("tcp://{}", self.serving.address()));
        ConnectTo { client_id: id.to_owned(), packet_bytes_max: 2 << 20, ..to }
    }

    async fn join(&self, id: &str) -> Connection {
        MqttClient.connect(self.to(id)).await.expect("it is let in")
    }

    async fn join_within(&self, id: &str) -> Connection {
        let to = ConnectTo { is_clean: false, ..self.to(id) };
        self.broker.local().connect(to).await.expect("it is let in")
    }
}

/// Reads a message and acknowledges it.
async fn take(connection: &mut Connection) -> Bytes {
    let arrived = connection.arrivals.next().await.expect("a message");
    connection.client.acknowledge(arrived.receipt).expect("it is connected");
    arrived.payload
}

#[tokio::test]
async fn every_promise_of_a_client_is_kept_within_the_process() {
    let open = Open::new(ServeOn { user: Some(user()), ..serve_on() }).await;
    let to = ConnectTo { credentials: Some(user()), packet_bytes_max: 1 << 20, ..open.to("c") };
    for promise in Promise::ALL {
        check(promise, &*open.broker.local(), &to).await;
    }
}

#[tokio::test]
async fn every_promise_of_a_client_is_kept_over_tcp() {
    let open = Open::new(ServeOn { user: Some(user()), ..serve_on() }).await;
    let to = ConnectTo { credentials: Some(user()), packet_bytes_max: 1 << 20, ..open.to("c") };
    for promise in Promise::ALL {
        check(promise, &MqttClient, &to).await;
    }
}

/// Makes the files of an authority, of a broker on loopback, and of a client.
fn tls_files(folder: &Path) -> (ServerTls, TlsFiles) {
    let authority = Authority::new("KubeEdge");
    let (of_server, of_client) = (folder.join("server"), folder.join("client"));
    for folder in [&of_server, &of_client] {
        std::fs::create_dir_all(folder).expect("a directory");
    }
    let server = authority.issue("broker", &["127.0.0.1"]).write(&of_server);
    let client = authority.issue("client", &[]).write(&of_client);
    let tls =
        ServerTls { certificate: server.certificate, key: server.key, clients: Some(server.ca.clone()) };
    (tls, TlsFiles { ca: server.ca, client: Some((client.certificate, client.key)) })
}

async fn open_with_tls() -> (TempDir, Open, ConnectTo) {
    let folder = tempfile::tempdir().expect("a directory");
    let (tls, files) = tls_files(folder.path());
    let open = Open::new(ServeOn { tls: Some(tls), user: Some(user()), ..serve_on() }).await;
    let server = BrokerUrl::parse(&format!("ssl://{}", open.serving.address())).expect("an address");
    let to = ConnectTo { server, tls: Some(files), credentials: Some(user()), ..open.to("c") };
    (folder, open, ConnectTo { packet_bytes_max: 1 << 20, ..to })
}

#[tokio::test]
async fn every_promise_of_a_client_is_kept_over_tls() {
    let (_folder, _open, to) = open_with_tls().await;
    for promise in Promise::ALL {
        check(promise, &MqttClient, &to).await;
    }
}

#[tokio::test]
async fn with_tls_nobody_comes_in_without_a_certificate_of_the_authority() {
    let (_folder, open, to) = open_with_tls().await;
    let without = to.tls.clone().map(|tls| TlsFiles { client: None, ..tls });
    MqttClient.connect(ConnectTo { tls: without, ..to.clone() }).await.expect_err("it has no certificate");
    let plain = ConnectTo { server: open.to("c").server, tls: None, ..to.clone() };
    MqttClient.connect(plain).await.expect_err("it does not speak TLS");
    MqttClient.connect(to).await.expect("it is let in");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_named() {
    let tls = ServerTls { certificate: "/nowhere/crt".into(), key: "/nowhere/key".into(), clients: None };
    let error = EmbeddedBroker::new().serve(ServeOn { tls: Some(tls), ..serve_on() }).await;
    let error = error.expect_err("it has no certificate");
    assert!(matches!(&error, MqttError::Local(text) if text.contains("/nowhere/crt")), "{error:?}");
}

#[tokio::test]
async fn what_is_published_for_the_process_is_acknowledged_when_it_was_taken() {
    let open = Open::new(serve_on()).await;
    let mut inner = open.join_within("bus").await;
    inner.client.subscribe("$hw/#").await.expect("it may subscribe");
    let sender = open.join("mapper").await;
    let mut publishing = Box::pin(sender.client.publish(message("$hw/a", "1")));
    let arrived = tokio::select! {
        biased;
        published = &mut publishing => panic!("nobody has taken it: {published:?}"),
        arrived = inner.arrivals.next() => arrived.expect("a message"),
    };
    // The connection is used meanwhile, and what nobody in the process wants keeps its turn.
    let mut second = Box::pin(sender.client.publish(message("b", "2")));
    assert!(poll!(&mut second).is_pending());
    let other = open.join("other").await;
    other.client.publish(message("b", "3")).await.expect("others do not wait");
    assert!(poll!(&mut publishing).is_pending());
    assert!(poll!(&mut second).is_pending());
    inner.client.acknowledge(arrived.receipt).expect("it is connected");
    publishing.await.expect("it was taken");
    second.await.expect("it was taken");
}

#[tokio::test]
async fn what_was_not_taken_when_the_event_bus_broke_is_taken_and_acknowledged_afterwards() {
    let open = Open::new(serve_on()).await;
    let mut inner = open.join_within("bus").await;
    inner.client.subscribe("$hw/#").await.expect("it may subscribe");
    let sender = open.join("mapper").await;
    let mut publishing = Box::pin(sender.client.publish(message("$hw/a", "1")));
    tokio::select! {
        biased;
        published = &mut publishing => panic!("nobody has taken it: {published:?}"),
        arrived = inner.arrivals.next() => drop(arrived.expect("a message")),
    }
    drop(inner);
    assert!(poll!(&mut publishing).is_pending());
    let mut inner = open.join_within("bus").await;
    assert!(inner.is_resumed);
    assert_eq!(take(&mut inner).await, "1");
    publishing.await.expect("it was taken");
}

#[tokio::test]
async fn a_client_within_the_process_ends_a_subscription() {
    let open = Open::new(serve_on()).await;
    let mut inner = open.join_within("bus").await;
    for filter in ["a", "b"] {
        inner.client.subscribe(filter).await.expect("it may subscribe");
    }
    inner.client.unsubscribe("a").await.expect("it may");
    let sender = open.join("sender").await;
    sender.client.publish(message("a", "1")).await.expect("nobody has to take it");
    let (published, payload) = tokio::join!(sender.client.publish(message("b", "2")), take(&mut inner));
    published.expect("it was taken");
    assert_eq!(payload, "2");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_is_free_again_when_the_broker_stops() {
    let open = Open::new(serve_on()).await;
    let mut client = open.join("c").await;
    let address = open.serving.address();
    let other = EmbeddedBroker::new();
    let error = other.serve(ServeOn { address, ..serve_on() }).await.expect_err("the port is taken");
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("another program"), "{text}");
    let again = open.broker.serve(serve_on()).await.expect_err("it serves already");
    assert!(again.to_string().contains("already"), "{again}");
    drop(open.serving);
    client.arrivals.next().await.expect_err("the broker stopped");
    let serving = other.serve(ServeOn { address, ..serve_on() }).await.expect("the port is free");
    assert_eq!(serving.address(), address);
    open.broker.serve(serve_on()).await.expect("it serves again");
}

#[tokio::test]
async fn a_reader_that_is_stuck_holds_up_nobody_and_loses_what_needs_no_answer() {
    let open = Open::new(serve_on()).await;
    let mut stuck = TcpStream::connect(open.serving.address()).await.expect("it listens");
    hostile::introduce(&mut stuck, "stuck").await;
    hostile::subscribe(&mut stuck, "a").await;
    let mut reader = open.join("reader").await;
    reader.client.subscribe("b").await.expect("it may subscribe");
    let sender = open.join("sender").await;
    for _ in 0..2000 {
        let flood = message("a", vec![0; 16 << 10]);
        let once = eventbus::ports::Publication { qos: eventbus::ports::Qos::AtMostOnce, ..flood };
        sender.client.publish(once).await.expect("it is sent");
    }
    sender.client.publish(message("b", "still there")).await.expect("nobody is held up");
    assert_eq!(take(&mut reader).await, "still there");
}

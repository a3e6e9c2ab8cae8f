//! Clients that do not do as they should.

use super::*;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// CONNECT with a clean session, protocol level `level`.
fn connect(id: &str, level: u8) -> Vec<u8> {
    let length = |bytes: usize| u8::try_from(bytes).expect("short");
    let mut bytes = vec![0x10, length(12 + id.len()), 0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 0];
    bytes.extend([0, length(id.len())]);
    bytes.extend(id.as_bytes());
    bytes
}

/// Introduces a client that speaks bytes.
pub(super) async fn introduce(stream: &mut TcpStream, id: &str) {
    stream.write_all(&connect(id, 4)).await.expect("it listens");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, [0x20, 2, 0, 0]);
}

/// Subscribes to a topic of one letter, with QoS 0.
pub(super) async fn subscribe(stream: &mut TcpStream, topic: &str) {
    let letter = topic.as_bytes()[0];
    stream.write_all(&[0x82, 6, 0, 1, 0, 1, letter, 0]).await.expect("it listens");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, [0x90, 3, 0, 1, 0]);
}

/// Returns what the broker says until it closes the connection.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = async {
        let mut some = [0; 1024];
        // A connection that is reset is closed, too.
        while let Ok(bytes @ 1..) = stream.read(&mut some).await {
            all.extend(&some[..bytes]);
        }
    };
    assert!(timeout(PATIENCE, reading).await.is_ok(), "the broker keeps the connection");
    all
}

async fn dial(open: &Open) -> TcpStream {
    TcpStream::connect(open.serving.address()).await.expect("it listens")
}

#[tokio::test]
async fn clients_of_other_versions_are_told_so() {
    let open = Open::new(serve_on()).await;
    for level in [5, 3, 6, 0x84] {
        let mut stream = dial(&open).await;
        stream.write_all(&connect("c", level)).await.expect("it listens");
        assert_eq!(until_closed(&mut stream).await, [0x20, 2, 0, 1], "{level}");
    }
}

#[tokio::test]
async fn what_is_no_mqtt_ends_its_connection_and_no_other() {
    let open = Open::new(serve_on()).await;
    let mut well_behaved = open.join("well-behaved").await;
    well_behaved.client.subscribe("a").await.expect("it may subscribe");
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n"[..],
        &[0xff; 64],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 3, 0, 1, b'a'],
        &[0xc0, 0],
    ] {
        let mut stream = dial(&open).await;
        stream.write_all(bytes).await.expect("it listens");
        assert_eq!(until_closed(&mut stream).await, [0; 0], "{bytes:x?}");
    }
    for bytes in [
        // A second CONNECT, no filter, a wildcard in a topic, a packet of 256 MiB.
        &connect("c", 4)[..],
        &[0x82, 2, 0, 1],
        &[0x30, 3, 0, 1, b'#'],
        &[0x30, 0xff, 0xff, 0xff, 0x7f],
    ] {
        let mut stream = dial(&open).await;
        introduce(&mut stream, "rude").await;
        stream.write_all(bytes).await.expect("it listens");
        assert_eq!(until_closed(&mut stream).await, [0; 0], "{bytes:x?}");
    }
    well_behaved.client.publish(message("a", "x")).await.expect("it is there");
    assert_eq!(take(&mut well_behaved).await, "x");
}

#[tokio::test]
async fn only_so_many_clients_are_let_in() {
    let open = Open::new(serve_on()).await;
    let mut streams = Vec::new();
    for _ in 0..256 {
        streams.push(dial(&open).await);
    }
    assert_eq!(until_closed(&mut dial(&open).await).await, [0; 0]);
    introduce(streams.last_mut().expect("some"), "last").await;
    streams.truncate(10);
    let to = ConnectTo { timeout: Duration::from_secs(1), ..open.to("next") };
    let begin = tokio::time::Instant::now();
    while let Err(error) = MqttClient.connect(to.clone()).await {
        assert!(begin.elapsed() < PATIENCE, "there is room again: {error}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_the_standard_s_code() {
    let open = Open::new(ServeOn { user: Some(user()), ..serve_on() }).await;
    let mut stream = dial(&open).await;
    stream.write_all(&connect("c", 4)).await.expect("it listens");
    assert_eq!(until_closed(&mut stream).await, [0x20, 2, 0, 5]);
    let wrong = Credentials { password: Password::new("wrong"), ..user() };
    let to = ConnectTo { credentials: Some(wrong), ..open.to("c") };
    let error = MqttClient.connect(to).await.expect_err("the password is wrong");
    assert!(matches!(&error, MqttError::Refused(text) if text.contains("wrong")), "{error:?}");
}

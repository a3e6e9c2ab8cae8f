//! MQTT brokers.

use std::time::Duration;

use dmi_proto::v1beta1::PushMethodMqtt;
use rumqttc::{AsyncClient, EventLoop, MqttOptions, QoS};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{PushError, Sample};

/// Messages on their way to the broker.
const WAITING_MAX: usize = 16;
/// How long a message may wait for the broker.
const LIMIT: Duration = Duration::from_secs(10);
/// The pause before the broker is tried again.
const PAUSE: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A topic of a broker. The connection is kept, and made again when it breaks.
pub(super) struct MqttTarget {
    client: AsyncClient,
    topic: String,
    qos: QoS,
    is_retained: bool,
    _connection: JoinSet<()>,
}

impl MqttTarget {
    pub(super) fn new(config: &PushMethodMqtt, client_id: &str) -> Result<Self, PushError> {
        let (host, port) = address(&config.address)?;
        if config.topic.is_empty() || config.topic.contains(['+', '#']) {
            return Err(PushError(format!("nothing can be published to the topic {:?}", config.topic)));
        }
        let qos = match config.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            2 => QoS::ExactlyOnce,
            other => return Err(PushError(format!("there is no quality of service {other}"))),
        };
        let mut options = MqttOptions::new(client_id, host, port);
        options.set_keep_alive(KEEP_ALIVE);
        let (client, events) = AsyncClient::new(options, WAITING_MAX);
        let mut connection = JoinSet::new();
        connection.spawn(keep(events, config.address.clone()));
        Ok(Self {
            client,
            topic: config.topic.clone(),
            qos,
            is_retained: config.retained,
            _connection: connection,
        })
    }

    pub(super) async fn send(&mut self, sample: &Sample) -> Result<(), PushError> {
        let payload = payload(sample, &self.topic);
        let publishing = self.client.publish(&self.topic, self.qos, self.is_retained, payload);
        match timeout(LIMIT, publishing).await {
            Ok(done) => done.map_err(|error| PushError(error.to_string())),
            Err(_) => Err(PushError(format!("the broker takes no messages for {LIMIT:?}"))),
        }
    }
}

/// Writes a value as `mapper-framework` does, with two blanks before the topic.
fn payload(sample: &Sample, topic: &str) -> String {
    format!("time is {}  {topic}: {}", sample.time(), sample.value)
}

/// Reads `tcp://host:port` or `mqtt://host:port`, with or without a scheme and a port.
fn address(text: &str) -> Result<(String, u16), PushError> {
    let wrong = || PushError(format!("{text:?} is no address of a broker, such as tcp://127.0.0.1:1883"));
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
    if !matches!(scheme, "tcp" | "mqtt") {
        return Err(PushError(format!("{text}: {scheme} is not supported: use tcp://")));
    }
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (rest, 1883),
    };
    if host.is_empty() || host.contains('/') { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

async fn keep(mut events: EventLoop, address: String) {
    let mut failures: u64 = 0;
    loop {
        match events.poll().await {
            Ok(_) => failures = 0,
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(address, %error, "an MQTT broker is away and is tried again");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::push::http::tests::listen;
    use crate::push::tests::sample;
    use crate::value::Value;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for (text, expect) in [
            ("tcp://127.0.0.1:1883", Some(("127.0.0.1", 1883))),
            ("mqtt://broker/", Some(("broker", 1883))),
            ("broker:1884", Some(("broker", 1884))),
            ("tcp://[::1]:1883", Some(("[::1]", 1883))),
            ("ssl://broker:8883", None),
            ("tcp://broker:x", None),
            ("", None),
        ] {
            let read = address(text).ok();
            assert_eq!(read, expect.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
        let wrong = |topic: &str, qos| {
            let config =
                PushMethodMqtt { address: "b".to_owned(), topic: topic.to_owned(), qos, retained: false };
            MqttTarget::new(&config, "c").is_err()
        };
        assert!(wrong("a/#", 0) && wrong("", 0));
    }

    /// A broker that accepts one client and reads one message.
    #[tokio::test]
    async fn a_value_is_published_as_kubeedge_s_mappers_publish_it() {
        let (listener, port) = listen().await;
        let address = format!("tcp://127.0.0.1:{port}");
        let config = PushMethodMqtt { address, topic: "rooms/1".to_owned(), qos: 0, retained: true };
        let mut target = MqttTarget::new(&config, "default-t1-temp").expect("a target");
        let sample = sample(Value::Number(21.5));
        let broker = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut bytes = [0; 512];
            let read = stream.read(&mut bytes).await.expect("it connects");
            assert_eq!((bytes[0], read > 10), (0x10, true), "CONNECT");
            stream.write_all(&[0x20, 2, 0, 0]).await.expect("it waits");
            let mut message = Vec::new();
            while !String::from_utf8_lossy(&message).contains("21.5") {
                let read = stream.read(&mut bytes).await.expect("it publishes");
                assert_ne!(read, 0, "it stays");
                message.extend_from_slice(&bytes[..read]);
            }
            message
        };
        let (message, sent) = tokio::join!(broker, target.send(&sample));
        assert!(sent.is_ok(), "{sent:?}");
        assert_eq!(message[0], 0x31, "PUBLISH, QoS 0, retained");
        let text = String::from_utf8_lossy(&message[2..]).to_string();
        assert_eq!(text, "\0\u{7}rooms/1time is 2023-11-14 22:13:20  rooms/1: 21.5");
    }
}

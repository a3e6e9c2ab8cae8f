//! The two connections to a broker: one subscribes, one publishes, as upstream's do.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::incoming::Delivery;
use crate::outgoing::Outgoing;
use crate::pause::pause;
use crate::ports::{Arrivals, Client, ConnectTo, Connection, Mqtt, MqttError};

/// A connection that lasted this long was a good one: the next pause is short again.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);
/// How long the broker may take to confirm a subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to confirm one message.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an end in order may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a connection is for.
pub(crate) enum Purpose {
    /// Subscribes to these, in this order, and delivers what arrives.
    Subscribe { filters: Vec<String>, deliveries: mpsc::Sender<Delivery> },
    /// Publishes what is taken from here.
    Publish(Outgoing),
}

/// One connection, kept up for as long as the module runs.
pub(crate) struct Line {
    pub(crate) mqtt: Arc<dyn Mqtt>,
    pub(crate) to: ConnectTo,
    pub(crate) purpose: Purpose,
    pub(crate) rng: SmallRng,
}

impl Line {
    /// Connects, again and again, until `stop` resolves.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let (mut attempt, mut failures, mut is_poisoned) = (0_u32, 0_u32, false);
        loop {
            let connected = tokio::select! {
                biased;
                _ = &mut stop => return,
                connected = self.connect(is_poisoned) => connected,
            };
            let began = Instant::now();
            match connected {
                Ok(connection) => {
                    failures = 0;
                    let Some(error) = self.serve(connection, &mut stop).await else { return };
                    self.warn(&error, "the connection to the MQTT broker ended");
                    is_poisoned = matches!(error, MqttError::TooLarge { .. });
                }
                Err(error) => {
                    failures += 1;
                    if failures.is_power_of_two() {
                        self.warn(&error, "the MQTT broker was not reached");
                    }
                }
            }
            attempt = if began.elapsed() >= GOOD_CONNECTION { 0 } else { attempt + 1 };
            let pause = pause(attempt, self.rng.random());
            tokio::select! {
                biased;
                _ = &mut stop => return,
                () = sleep(pause) => {}
            }
        }
    }

    fn warn(&self, error: &MqttError, what: &str) {
        tracing::warn!(server = %self.to.server, client = self.to.client_id, %error, "{what}");
    }

    /// Connects. A session with a message that cannot be read would deliver it for ever, and is given up
    /// first.
    async fn connect(&self, is_poisoned: bool) -> Result<Connection, MqttError> {
        if is_poisoned && !self.to.is_clean {
            let forgetting = self.mqtt.connect(ConnectTo { is_clean: true, ..self.to.clone() }).await?;
            close(&*forgetting.client).await;
            tracing::warn!(
                client = self.to.client_id,
                "what the broker kept was dropped: a message in it is too large"
            );
        }
        let connection = self.mqtt.connect(self.to.clone()).await?;
        let resumed = connection.is_resumed;
        tracing::info!(server = %self.to.server, client = self.to.client_id, resumed, "connected to the MQTT broker");
        Ok(connection)
    }

    /// Uses a connection until it ends, and returns why; nothing when the module stops.
    async fn serve(&self, connection: Connection, stop: &mut oneshot::Receiver<()>) -> Option<MqttError> {
        let Connection { client, arrivals, .. } = connection;
        let using = async {
            match &self.purpose {
                Purpose::Subscribe { filters, deliveries } => {
                    tokio::select! {
                        biased;
                        error = deliver(&client, arrivals, deliveries) => error,
                        error = subscribe(&*client, filters) => error,
                    }
                }
                Purpose::Publish(outgoing) => {
                    outgoing.open();
                    let error = tokio::select! {
                        biased;
                        error = discard(arrivals) => error,
                        error = publish(&*client, outgoing) => error,
                    };
                    let lost = outgoing.close();
                    if lost > 0 {
                        tracing::warn!(lost, "messages to local clients were dropped with the connection");
                    }
                    error
                }
            }
        };
        tokio::select! {
            biased;
            _ = stop => {}
            error = using => return Some(error),
        }
        close(&*client).await;
        None
    }
}

async fn close(client: &dyn Client) {
    if timeout(CLOSE_TIMEOUT, client.close()).await.is_err() {
        tracing::debug!("the connection to the MQTT broker did not end in time");
    }
}

/// Subscribes to all, and returns only if the connection is of no use.
async fn subscribe(client: &dyn Client, filters: &[String]) -> MqttError {
    for filter in filters {
        match timeout(SUBSCRIBE_TIMEOUT, client.subscribe(filter)).await {
            Ok(Ok(())) => tracing::debug!(filter, "subscribed"),
            Ok(Err(error @ MqttError::Refused(_))) => tracing::warn!(filter, %error, "a subscription failed"),
            // What has arrived is read first, and then the end.
            Ok(Err(MqttError::Closed)) => return pending().await,
            Ok(Err(error)) => return error,
            Err(_) => return MqttError::TimedOut(SUBSCRIBE_TIMEOUT),
        }
    }
    pending().await
}

/// Reads only what there is room for.
async fn deliver(
    client: &Arc<dyn Client>,
    mut arrivals: Box<dyn Arrivals>,
    deliveries: &mpsc::Sender<Delivery>,
) -> MqttError {
    loop {
        let Ok(place) = deliveries.reserve().await else { return MqttError::Closed };
        match arrivals.next().await {
            Ok(arrived) => place.send(Delivery { arrived, client: Arc::clone(client) }),
            Err(error) => return error,
        }
    }
}

/// Waits for the end of a connection on which nothing should arrive.
async fn discard(mut arrivals: Box<dyn Arrivals>) -> MqttError {
    loop {
        if let Err(error) = arrivals.next().await {
            return error;
        }
    }
}

async fn publish(client: &dyn Client, outgoing: &Outgoing) -> MqttError {
    loop {
        let publication = outgoing.take().await;
        let topic = publication.topic.clone();
        match timeout(PUBLISH_TIMEOUT, client.publish(publication)).await {
            Ok(Ok(())) => tracing::trace!(topic, "published"),
            Ok(Err(error @ MqttError::TooLarge { .. })) => {
                tracing::warn!(topic, %error, "a message to local clients was dropped");
            }
            Ok(Err(error)) => return error,
            Err(_) => return MqttError::TimedOut(PUBLISH_TIMEOUT),
        }
    }
}

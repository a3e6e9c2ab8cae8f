//! The connections to a broker: one subscribes for devices, one for the rules of the cloud, one publishes.
//! Upstream has one that subscribes to all; here messages for a cloud that is away hold up no device.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use beehive::latest::Receiver;
use protocol::rules::DeliverError;
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::filter::matches;
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
    /// Subscribes to these and delivers what arrives.
    Subscribe { filters: Filters, deliveries: mpsc::Sender<Delivery> },
    /// Publishes what is taken from here.
    Publish(Outgoing),
}

/// What a connection subscribes to.
#[derive(Debug, Clone)]
pub(crate) struct Filters {
    /// These, in this order.
    pub(crate) fixed: Vec<String>,
    /// These too, as they come and go.
    pub(crate) routed: Option<Receiver<Topics>>,
}

impl Filters {
    /// Tells whether a message of this topic was asked for. A broker may know older subscriptions.
    pub(crate) fn want(&self, topic: &str) -> bool {
        let is_routed = |routed: &Receiver<Topics>| routed.get().iter().any(|filter| matches(filter, topic));
        self.fixed.iter().any(|filter| matches(filter, topic)) || self.routed.as_ref().is_some_and(is_routed)
    }

    /// Returns all that is subscribed to at the moment.
    pub(crate) fn all(&self) -> Vec<String> {
        self.fixed.iter().chain(self.further().iter()).cloned().collect()
    }

    /// Returns the routed ones that no fixed one includes: a broker delivers a message for each
    /// subscription that it fits.
    fn further(&self) -> Topics {
        let routed = self.routed.as_ref().map(Receiver::get).unwrap_or_default();
        let is_included = |topic: &String| self.fixed.iter().any(|filter| matches(filter, topic));
        Arc::new(routed.iter().filter(|topic| !is_included(topic)).cloned().collect())
    }
}

/// The topics that the rules of the cloud want.
pub(crate) type Topics = Arc<BTreeSet<String>>;

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

/// Subscribes to all, and to what comes later; returns only if the connection is of no use.
async fn subscribe(client: &dyn Client, filters: &Filters) -> MqttError {
    for filter in &filters.fixed {
        if let Err(end) = confirm(client.subscribe(filter), filter).await {
            return end.reason().await;
        }
    }
    let Some(mut routed) = filters.routed.clone() else { return pending().await };
    let mut known = Topics::default();
    loop {
        routed.mark_seen();
        let wanted = filters.further();
        for filter in known.difference(&wanted) {
            if let Err(end) = confirm(client.unsubscribe(filter), filter).await {
                return end.reason().await;
            }
        }
        for filter in wanted.difference(&known) {
            if let Err(end) = confirm(client.subscribe(filter), filter).await {
                return end.reason().await;
            }
        }
        known = wanted;
        if routed.changed().await.is_err() {
            return pending().await;
        }
    }
}

/// Why no more is subscribed to.
enum End {
    /// What has arrived is read first, and then the end.
    Closed,
    Failed(MqttError),
}

impl End {
    async fn reason(self) -> MqttError {
        match self {
            Self::Closed => pending().await,
            Self::Failed(error) => error,
        }
    }
}

/// Waits for the broker's word on one filter. One that it refuses does not stop the others.
async fn confirm(asked: impl Future<Output = Result<(), MqttError>>, filter: &str) -> Result<(), End> {
    match timeout(SUBSCRIBE_TIMEOUT, asked).await {
        Ok(Ok(())) => tracing::debug!(filter, "the broker confirmed a filter"),
        Ok(Err(error @ MqttError::Refused(_))) => tracing::warn!(filter, %error, "a subscription failed"),
        Ok(Err(MqttError::Closed)) => return Err(End::Closed),
        Ok(Err(error)) => return Err(End::Failed(error)),
        Err(_) => return Err(End::Failed(MqttError::TimedOut(SUBSCRIBE_TIMEOUT))),
    }
    Ok(())
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
        let waiting = outgoing.take().await;
        let topic = waiting.publication.topic.clone();
        match timeout(PUBLISH_TIMEOUT, client.publish(waiting.publication.clone())).await {
            Ok(Ok(())) => {
                tracing::trace!(topic, "published");
                waiting.done(Ok(()));
            }
            Ok(Err(error @ MqttError::TooLarge { .. })) => {
                tracing::warn!(topic, %error, "a message to local clients was dropped");
                waiting.done(Err(DeliverError::TooLarge));
            }
            Ok(Err(error)) => {
                waiting.done(Err(DeliverError::Away));
                return error;
            }
            Err(_) => {
                waiting.done(Err(DeliverError::Overloaded));
                return MqttError::TimedOut(PUBLISH_TIMEOUT);
            }
        }
    }
}

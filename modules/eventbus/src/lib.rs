//! The node's local clients, by MQTT.
//!
//! The event bus is a client of a broker that runs beside the node: what devices and mappers publish is
//! handed to the device twins, what is for the rules of the cloud to the hub, and acknowledged to the broker
//! only once it was taken; what the node or a rule has to tell them is published. Reading waits for the
//! device twins and for the hub, each on a connection of its own, so that a node that is slow leaves messages
//! with the broker. See docs/mqtt.md and docs/rules.md.

mod config;
mod filter;
mod incoming;
mod intake;
mod line;
mod outgoing;
mod pause;
pub mod ports;
mod rules;
mod server;
mod tally;
mod topic;

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
pub mod memory;

use std::sync::Arc;
use std::time::Duration;

use beehive::latest::Sender;
use beehive::{BuildError, Context, Failure, Group, Handler, Module, ModuleName, Wiring};
use bytes::Bytes;
use protocol::device::{CallDevice, PublishLocal};
use protocol::edge::AskCloud;
use protocol::rules::{ChangeTopics, DeliverLocal};
use protocol::{NodeName, group};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use store::Texts;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::incoming::Incoming;
use crate::line::{Filters, Line, Purpose, Topics};
use crate::outgoing::{Asker, Outgoing, Pushed};
use crate::ports::{Publication, Qos};
use crate::server::ServerUrl;
use crate::tally::Tally;

pub use crate::config::{EventBusConfig, EventBusTls, Password};
pub use crate::ports::Ports;
pub use crate::server::{Scheme, ServerUrl as BrokerUrl};

/// The time that the connections get to end in order when the module stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The tree of the topics that rules want.
const TREE: &str = "eventbus.topics";

/// Why a message to local clients is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Dropped {
    Displaced,
    Away,
    TooLarge,
    NoTopic,
}

/// The event bus.
#[derive(Debug)]
pub struct EventBus {
    config: EventBusConfig,
    server: ServerUrl,
    ports: Ports,
    kept: Texts,
    /// What the rules of the cloud want.
    topics: Sender<Topics>,
    outgoing: Outgoing,
    dropped: Tally<Dropped>,
    lines: Vec<LineEnds>,
}

/// How a connection's task is told to stop, and tells that it has.
#[derive(Debug)]
struct LineEnds {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Module for EventBus {
    const NAME: ModuleName = ModuleName::new("eventbus");
    const GROUP: Group = group::BUS;
    const SECTION: &'static str = "eventBus";
    type Config = EventBusConfig;
    type Ports = Ports;

    fn build(config: EventBusConfig, ports: Ports) -> Result<Self, BuildError> {
        let server = ServerUrl::parse(&config.mqtt_server_external)
            .map_err(|problem| BuildError::new(format!("mqttServerExternal: {problem}")))?;
        let (outgoing, dropped) = (Outgoing::new(), Tally::new());
        let (kept, topics) = (Texts::new(ports.store.clone(), TREE), Sender::new(Topics::default()));
        Ok(Self { config, server, ports, kept, topics, outgoing, dropped, lines: Vec::new() })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<PublishLocal>().handles::<ChangeTopics>().defers::<DeliverLocal>();
        wiring.may_ask::<CallDevice>(group::TWIN).may_ask::<AskCloud>(group::HUB);
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let topics = self.kept.load().map_err(Failure::because)?;
        tracing::debug!(topics = topics.len(), "read what the rules of the cloud want");
        self.topics.replace(Arc::new(topics));
        let node = cx.node().to_owned();
        let own = |of_devices: bool| {
            let custom = self.config.mqtt_topics.iter();
            custom.filter(move |filter| topic::is_of_devices(filter) == of_devices).cloned()
        };
        let fixed = topic::OF_DEVICES.into_iter().map(ToOwned::to_owned).chain(own(true)).collect();
        let of_devices = Filters { fixed, routed: None };
        let fixed = topic::FOR_CLOUD.into_iter().map(ToOwned::to_owned).chain(own(false)).collect();
        let for_cloud = Filters { fixed, routed: Some(self.topics.subscribe()) };
        self.subscribe(cx, self.config.subscriber(self.server.clone(), &node), of_devices);
        self.subscribe(cx, self.config.router(self.server.clone(), &node), for_cloud);
        let to = self.config.publisher(self.server.clone(), &node);
        self.connect(cx, to, Purpose::Publish(self.outgoing.clone()));
        Ok(())
    }

    async fn stopping(&mut self, _: &mut Context<Self>) {
        let (stops, ends): (Vec<_>, Vec<_>) =
            self.lines.drain(..).map(|line| (line.stop, line.stopped)).unzip();
        drop(stops);
        if timeout(STOP_TIMEOUT, futures::future::join_all(ends)).await.is_err() {
            tracing::debug!("the connections to the MQTT broker did not end in time");
        }
    }
}

impl EventBus {
    /// Takes what arrives on a connection of its own.
    fn subscribe(&mut self, cx: &mut Context<Self>, to: ports::ConnectTo, filters: Filters) {
        let (deliveries, delivered) = mpsc::channel(1);
        let rng = SmallRng::seed_from_u64(cx.rng().random());
        let bytes_max = self.config.message_bytes_max();
        let incoming = Incoming::new(cx.bus().clone(), rng, bytes_max, filters.clone());
        cx.spawn(incoming.run(delivered));
        self.connect(cx, to, Purpose::Subscribe { filters, deliveries });
    }

    fn connect(&mut self, cx: &mut Context<Self>, to: ports::ConnectTo, purpose: Purpose) {
        let (stop, stops) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        let rng = SmallRng::seed_from_u64(cx.rng().random());
        let line = Line { mqtt: Arc::clone(&self.ports.mqtt), to, purpose, rng };
        cx.spawn(async move {
            line.run(stops).await;
            drop(ended);
        });
        self.lines.push(LineEnds { stop, stopped });
    }

    fn note(&mut self, kind: Dropped, topic: &str) {
        let Some(count) = self.dropped.count(kind) else { return };
        match kind {
            Dropped::Displaced => tracing::warn!(
                count,
                topic,
                "the broker takes messages too slowly: the oldest is dropped for a newer one"
            ),
            // That the broker is away was said when it went.
            Dropped::Away => tracing::debug!(count, topic, "without a broker a message is dropped"),
            Dropped::TooLarge => tracing::warn!(count, topic, "a message to local clients is too large"),
            Dropped::NoTopic => tracing::warn!(count, topic, "nothing can be published to this topic"),
        }
    }
}

impl EventBus {
    fn publish(&mut self, topic: String, payload: Bytes, asker: Asker) {
        // Upstream's values for an external broker.
        let (qos, is_retained) = (Qos::AtLeastOnce, false);
        let publication = Publication { topic: topic.clone(), payload, qos, is_retained };
        match self.outgoing.push(publication, asker) {
            Pushed::Queued => {}
            Pushed::Displaced(number) => (0..number).for_each(|_| self.note(Dropped::Displaced, &topic)),
            Pushed::Away => self.note(Dropped::Away, &topic),
            Pushed::TooLarge => self.note(Dropped::TooLarge, &topic),
        }
    }

    fn note_no_topic(&mut self, topic: &str) -> String {
        let shown: String = topic.chars().take(256).collect();
        self.note(Dropped::NoTopic, &shown);
        shown
    }
}

impl Handler<PublishLocal> for EventBus {
    async fn handle(&mut self, publish: PublishLocal, cx: &mut Context<Self>) -> Result<(), Failure> {
        let node = NodeName::parse(cx.node()).map_err(Failure::because)?;
        let topic = topic::text(publish.topic, &node);
        match filter::is_topic(&topic) {
            true => self.publish(topic, publish.payload, None),
            false => drop(self.note_no_topic(&topic)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The node's local clients, by MQTT.
//!
//! The event bus is a client of a broker within the process, of one that runs beside it, or of both: what
//! devices and mappers publish is handed to the device twins, what is for the rules of the cloud to the hub,
//! and acknowledged to the broker only once it was taken; what the node or a rule has to tell them is
//! published. Reading waits for the device twins and for the hub, each on a connection of its own, so that a
//! node that is slow leaves messages with the broker. See docs/mqtt.md and docs/rules.md.

mod config;
mod door;
mod filter;
mod incoming;
mod intake;
mod line;
mod outgoing;
mod pause;
pub mod ports;
mod rules;
mod server;
mod side;
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

use crate::door::Door;
use crate::incoming::Incoming;
use crate::line::{Filters, Line, Purpose, Topics};
use crate::outgoing::{Asker, Pushed};
use crate::ports::{ConnectTo, Publication};
use crate::side::Side;

pub use crate::config::{EventBusConfig, EventBusTls, InternalBroker, Password};
pub use crate::ports::Ports;
pub use crate::server::{Scheme, ServerUrl as BrokerUrl};
pub use crate::tally::Tally;

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
    ports: Ports,
    sides: Vec<Side>,
    kept: Texts,
    /// What the rules of the cloud want.
    topics: Sender<Topics>,
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
        let sides = Side::of(&config, &ports)?;
        let (kept, topics) = (Texts::new(ports.store.clone(), TREE), Sender::new(Topics::default()));
        Ok(Self { config, ports, sides, kept, topics, dropped: Tally::new(), lines: Vec::new() })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<PublishLocal>().handles::<ChangeTopics>().defers::<DeliverLocal>();
        wiring.may_ask::<CallDevice>(group::TWIN).may_ask::<AskCloud>(group::HUB);
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let topics = self.kept.load().map_err(Failure::because)?;
        tracing::debug!(topics = topics.len(), "read what the rules of the cloud want");
        self.topics.replace(Arc::new(topics));
        for side in std::mem::take(&mut self.sides) {
            self.begin(cx, &side).await?;
            self.sides.push(side);
        }
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
    /// Returns what is subscribed to for devices, and what for the rules of the cloud.
    fn filters(&self) -> [Filters; 2] {
        let own = |of_devices: bool| {
            let custom = self.config.mqtt_topics.iter();
            custom.filter(move |filter| topic::is_of_devices(filter) == of_devices).cloned()
        };
        let of_devices = topic::OF_DEVICES.into_iter().map(ToOwned::to_owned).chain(own(true)).collect();
        let for_cloud = topic::FOR_CLOUD.into_iter().map(ToOwned::to_owned).chain(own(false)).collect();
        [
            Filters { fixed: of_devices, routed: None },
            Filters { fixed: for_cloud, routed: Some(self.topics.subscribe()) },
        ]
    }

    /// Begins to speak to a broker, and opens it if it is the one within the process.
    async fn begin(&mut self, cx: &mut Context<Self>, side: &Side) -> Result<(), Failure> {
        let node = cx.node().to_owned();
        let to = [side.subscriber(&self.config, &node), side.router(&self.config, &node)];
        let subscribers: Vec<_> = to.into_iter().zip(self.filters()).collect();
        if let Some(on) = &side.serve_on {
            for (to, filters) in &subscribers {
                let first = door::subscribe_first(&*self.ports.broker, to.clone(), &filters.all()).await;
                first.map_err(Failure::because)?;
            }
            let rng = SmallRng::seed_from_u64(cx.rng().random());
            let door = Door { broker: Arc::clone(&self.ports.broker), on: on.clone(), rng };
            self.keep_up(cx, |stop| door.run(stop));
        }
        for (to, filters) in subscribers {
            self.subscribe(cx, side, to, filters);
        }
        let to = side.publisher(&self.config, &node);
        self.connect(cx, side, to, Purpose::Publish(side.outgoing.clone()));
        Ok(())
    }

    /// Takes what arrives on a connection of its own.
    fn subscribe(&mut self, cx: &mut Context<Self>, side: &Side, to: ConnectTo, filters: Filters) {
        let (deliveries, delivered) = mpsc::channel(1);
        let rng = SmallRng::seed_from_u64(cx.rng().random());
        let bytes_max = self.config.message_bytes_max();
        let incoming = Incoming::new(cx.bus().clone(), rng, bytes_max, filters.clone());
        cx.spawn(incoming.run(delivered));
        self.connect(cx, side, to, Purpose::Subscribe { filters, deliveries });
    }

    fn connect(&mut self, cx: &mut Context<Self>, side: &Side, to: ConnectTo, purpose: Purpose) {
        let rng = SmallRng::seed_from_u64(cx.rng().random());
        let line = Line { mqtt: Arc::clone(&side.mqtt), to, purpose, rng };
        self.keep_up(cx, |stop| line.run(stop));
    }

    fn keep_up<F>(&mut self, cx: &mut Context<Self>, run: impl FnOnce(oneshot::Receiver<()>) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let (stop, stops) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        let running = run(stops);
        cx.spawn(async move {
            running.await;
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

    /// Publishes at every broker; whoever asks hears of the first: the one within, if there is one.
    fn publish(&mut self, topic: &str, payload: &Bytes, mut asker: Asker) {
        let mut push = |side: &Side| {
            let (topic, payload) = (topic.to_owned(), payload.clone());
            let publication = Publication { topic, payload, qos: side.qos, is_retained: side.is_retained };
            side.outgoing.push(publication, asker.take())
        };
        let pushed: Vec<Pushed> = self.sides.iter().map(&mut push).collect();
        for pushed in pushed {
            match pushed {
                Pushed::Queued => {}
                Pushed::Displaced(number) => (0..number).for_each(|_| self.note(Dropped::Displaced, topic)),
                Pushed::Away => self.note(Dropped::Away, topic),
                Pushed::TooLarge => self.note(Dropped::TooLarge, topic),
            }
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
            true => self.publish(&topic, &publish.payload, None),
            false => drop(self.note_no_topic(&topic)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

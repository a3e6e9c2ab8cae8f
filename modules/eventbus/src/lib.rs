//! The node's local clients, by MQTT.
//!
//! The event bus is a client of a broker within the process, of one that runs beside it, or of both: what
//! devices and mappers publish is handed to the device twins, and acknowledged to the broker only once it
//! was taken; what the node has to tell them is published. Reading waits for the device twins, so that a node that is slow leaves
//! messages with the broker. See docs/mqtt.md.

mod config;
mod door;
pub mod filter;
mod incoming;
mod intake;
mod line;
mod outgoing;
mod pause;
pub mod ports;
mod server;
mod side;
mod tally;
mod topic;

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
pub mod memory;

use std::sync::Arc;
use std::time::Duration;

use beehive::{BuildError, Context, Failure, Group, Handler, Module, ModuleName, Wiring};
use protocol::device::{CallDevice, PublishLocal};
use protocol::{NodeName, group};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::door::Door;
use crate::incoming::Incoming;
use crate::line::{Line, Purpose};
use crate::outgoing::Pushed;
use crate::ports::Publication;
use crate::side::Side;

pub use crate::config::{EventBusConfig, EventBusTls, InternalBroker, Password};
pub use crate::ports::Ports;
pub use crate::server::{Scheme, ServerUrl as BrokerUrl};
pub use crate::tally::Tally;

/// The time that the connections get to end in order when the module stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

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
    dropped: Tally<Dropped>,
    lines: Vec<LineEnds>,
}

/// How a task is told to stop, and tells that it has.
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
        Ok(Self { config, ports, sides, dropped: Tally::new(), lines: Vec::new() })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<PublishLocal>();
        wiring.may_ask::<CallDevice>(group::TWIN);
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        // A connection reserves its place before there is a message: each needs one.
        let (deliveries, delivered) = mpsc::channel(self.sides.len().max(1));
        let rng = SmallRng::seed_from_u64(cx.rng().random());
        let incoming = Incoming::new(cx.bus().clone(), rng, self.config.message_bytes_max());
        cx.spawn(incoming.run(delivered));
        let node = cx.node().to_owned();
        let custom = self.config.mqtt_topics.iter().map(String::as_str);
        let filters: Vec<String> =
            topic::SUBSCRIPTIONS.into_iter().chain(custom).map(ToOwned::to_owned).collect();
        for side in std::mem::take(&mut self.sides) {
            let to = side.subscriber(&self.config, &node);
            if let Some(on) = &side.serve_on {
                let first = door::subscribe_first(&*self.ports.broker, to.clone(), &filters).await;
                first.map_err(Failure::because)?;
                self.open(cx, on.clone());
            }
            let (filters, deliveries) = (filters.clone(), deliveries.clone());
            self.connect(cx, &side, to, Purpose::Subscribe { filters, deliveries });
            let to = side.publisher(&self.config, &node);
            self.connect(cx, &side, to, Purpose::Publish(side.outgoing.clone()));
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
    fn connect(&mut self, cx: &mut Context<Self>, side: &Side, to: ports::ConnectTo, purpose: Purpose) {
        let rng = SmallRng::seed_from_u64(cx.rng().random());
        let line = Line { mqtt: Arc::clone(&side.mqtt), to, purpose, rng };
        self.keep_up(cx, |stop| line.run(stop));
    }

    fn open(&mut self, cx: &mut Context<Self>, on: ports::ServeOn) {
        let rng = SmallRng::seed_from_u64(cx.rng().random());
        let door = Door { broker: Arc::clone(&self.ports.broker), on, rng };
        self.keep_up(cx, |stop| door.run(stop));
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
}

impl Handler<PublishLocal> for EventBus {
    async fn handle(&mut self, publish: PublishLocal, cx: &mut Context<Self>) -> Result<(), Failure> {
        let node = NodeName::parse(cx.node()).map_err(Failure::because)?;
        let topic = topic::text(publish.topic, &node);
        if !filter::is_topic(&topic) {
            let shown: String = topic.chars().take(256).collect();
            self.note(Dropped::NoTopic, &shown);
            return Ok(());
        }
        let push = |side: &Side| {
            let (topic, payload) = (topic.clone(), publish.payload.clone());
            side.outgoing.push(Publication { topic, payload, qos: side.qos, is_retained: side.is_retained })
        };
        let pushed: Vec<Pushed> = self.sides.iter().map(push).collect();
        for pushed in pushed {
            match pushed {
                Pushed::Queued => {}
                Pushed::Displaced(number) => (0..number).for_each(|_| self.note(Dropped::Displaced, &topic)),
                Pushed::Away => self.note(Dropped::Away, &topic),
                Pushed::TooLarge => self.note(Dropped::TooLarge, &topic),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Hands what local clients publish to the device twins, and acknowledges it once it was taken.

use std::sync::Arc;
use std::time::Duration;

use beehive::{AskError, Bus};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::device::CallDevice;
use protocol::group;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::intake::Intake;
use crate::pause::pause;
use crate::ports::{Arrived, Client, Receipt};
use crate::tally::Tally;
use crate::topic::{self, CloudTopic, Topic};

/// How long the device twins may take for one call, with the room for it in their mailbox.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a call is repeated that the device twins did not survive or answer: they may never.
const ATTEMPTS_MAX: u32 = 5;

/// A message and the connection on which it came.
pub(crate) struct Delivery {
    pub(crate) arrived: Arrived,
    pub(crate) client: Arc<dyn Client>,
}

/// Why a message is not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Dropped {
    Unknown,
    TooLarge,
    ForCloud(CloudTopic),
    NoTwins,
    Refused,
}

/// Takes what arrives. It outlives each connection, so that nothing is lost when one ends.
pub(crate) struct Incoming {
    bus: Bus,
    rng: SmallRng,
    message_bytes_max: usize,
    intake: Intake<CallDevice, (Arc<dyn Client>, Receipt)>,
    dropped: Tally<Dropped>,
}

impl Incoming {
    pub(crate) fn new(bus: Bus, rng: SmallRng, message_bytes_max: usize) -> Self {
        Self { bus, rng, message_bytes_max, intake: Intake::new(), dropped: Tally::new() }
    }

    pub(crate) async fn run(mut self, mut deliveries: mpsc::Receiver<Delivery>) {
        let mut calls = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some((number, outcome)) = calls.next() => self.taken(number, outcome),
                Some(delivery) = deliveries.recv(), if self.intake.has_room() => self.accept(delivery),
                else => return,
            }
            while let Some((client, receipt)) = self.intake.finish() {
                // A broker that does not hear it delivers the message again.
                if let Err(error) = client.acknowledge(receipt) {
                    tracing::debug!(%error, "a message was taken and is not acknowledged");
                }
            }
            while let Some((number, call)) = self.intake.start() {
                let (bus, rng) = (self.bus.clone(), SmallRng::seed_from_u64(self.rng.random()));
                calls.push(async move { (number, hand_over(bus, rng, call).await) });
            }
        }
    }

    fn accept(&mut self, delivery: Delivery) {
        let Delivery { arrived, client } = delivery;
        let Arrived { topic, payload, receipt } = arrived;
        tracing::trace!(topic, bytes = payload.len(), "a message arrived");
        let receipt = (client, receipt);
        let kind = match Topic::parse(&topic) {
            Topic::Device(_) if payload.len() > self.message_bytes_max => Dropped::TooLarge,
            Topic::Device(call) => {
                let lane = topic::device(&call).cloned();
                let call = CallDevice { call, payload };
                return self.intake.accept(lane, call.payload.len(), receipt, call);
            }
            Topic::Cloud(kind) => Dropped::ForCloud(kind),
            Topic::Unknown => Dropped::Unknown,
        };
        self.intake.skip(receipt);
        self.note(kind, &topic);
    }

    fn taken(&mut self, number: u64, outcome: Outcome) {
        self.intake.done(number);
        match outcome {
            Outcome::Taken => {}
            Outcome::NoTwins(error) => self.note(Dropped::NoTwins, &error.to_string()),
            Outcome::GivenUp(error) => self.note(Dropped::Refused, &error.to_string()),
        }
    }

    fn note(&mut self, kind: Dropped, what: &str) {
        let Some(count) = self.dropped.count(kind) else { return };
        let what: String = what.chars().take(256).collect();
        match kind {
            Dropped::Unknown => {
                tracing::warn!(count, topic = what, "a topic is none of a device and is ignored")
            }
            Dropped::TooLarge => {
                let max = self.message_bytes_max;
                tracing::warn!(count, topic = what, max, "a message is too large and is ignored");
            }
            Dropped::ForCloud(kind) => {
                tracing::debug!(
                    count,
                    topic = what,
                    ?kind,
                    "a message for the cloud is ignored: there are no rules"
                );
            }
            Dropped::NoTwins => tracing::warn!(count, why = what, "a message of a device is ignored"),
            Dropped::Refused => tracing::error!(count, why = what, "a message of a device was given up"),
        }
    }
}

/// What became of a call.
enum Outcome {
    Taken,
    /// This node has no device twins.
    NoTwins(AskError),
    /// The device twins failed over it again and again.
    GivenUp(AskError),
}

/// Hands a call over and returns when it was taken. While the store fails it is repeated: until then the
/// broker is told nothing, and soon sends no more.
async fn hand_over(bus: Bus, mut rng: SmallRng, call: CallDevice) -> Outcome {
    let (mut attempt, mut unanswered) = (0, 0);
    loop {
        let asked = bus.to(group::TWIN).ask(call.clone()).within(CALL_TIMEOUT).await;
        match asked {
            Ok(Ok(())) => return Outcome::Taken,
            Ok(Err(error)) => tracing::debug!(%error, attempt, "a message of a device is not on disk yet"),
            Err(
                error @ (AskError::NobodyServes { .. }
                | AskError::NotWired { .. }
                | AskError::Ambiguous { .. }),
            ) => {
                return Outcome::NoTwins(error);
            }
            // They did not see it.
            Err(error @ AskError::Full { .. }) => {
                tracing::debug!(%error, attempt, "the device twins are busy")
            }
            Err(error) => {
                unanswered += 1;
                if unanswered == ATTEMPTS_MAX {
                    return Outcome::GivenUp(error);
                }
                tracing::debug!(%error, attempt, "the device twins did not answer");
            }
        }
        sleep(pause(attempt, rng.random())).await;
        attempt += 1;
    }
}

//! Hands what local clients publish to the device twins or to the hub, and acknowledges it once it was
//! taken.

use std::sync::Arc;
use std::time::Duration;

use beehive::{AskError, Bus};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::device::{CallDevice, DeviceId};
use protocol::edge::{AskCloud, CloudError};
use protocol::{NodeReply, NodeRequest, group};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::intake::Intake;
use crate::line::Filters;
use crate::pause::pause;
use crate::ports::{Arrived, Client, Receipt};
use crate::tally::Tally;
use crate::topic::{self, Topic};

/// How long the device twins or the hub may take for one message, with the room for it in their mailbox.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a message is repeated that they did not survive or answer: they may never.
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
    Unwanted,
    TooLarge,
    NoTwins,
    NoHub,
    GivenUp,
}

/// Messages of one lane are handed over one at a time. Calls that are about no device wait for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lane {
    Device(Option<DeviceId>),
    Topic(String),
}

/// What is handed over.
#[derive(Debug, Clone)]
enum Item {
    Call(CallDevice),
    Upload(NodeRequest),
}

/// Takes what arrives on the connections of one purpose. It outlives each of them, so that nothing is lost
/// when one ends.
pub(crate) struct Incoming {
    bus: Bus,
    rng: SmallRng,
    message_bytes_max: usize,
    filters: Filters,
    intake: Intake<Lane, Item, (Arc<dyn Client>, Receipt)>,
    dropped: Tally<Dropped>,
}

impl Incoming {
    pub(crate) fn new(bus: Bus, rng: SmallRng, message_bytes_max: usize, filters: Filters) -> Self {
        Self { bus, rng, message_bytes_max, filters, intake: Intake::new(), dropped: Tally::new() }
    }

    pub(crate) async fn run(mut self, mut deliveries: mpsc::Receiver<Delivery>) {
        let mut handing = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some((number, outcome)) = handing.next() => self.taken(number, outcome),
                Some(delivery) = deliveries.recv(), if self.intake.has_room() => self.accept(delivery),
                else => return,
            }
            while let Some((client, receipt)) = self.intake.finish() {
                // A broker that does not hear it delivers the message again.
                if let Err(error) = client.acknowledge(receipt) {
                    tracing::debug!(%error, "a message was taken and is not acknowledged");
                }
            }
            while let Some((number, item)) = self.intake.start() {
                let (bus, rng) = (self.bus.clone(), SmallRng::seed_from_u64(self.rng.random()));
                handing.push(async move { (number, hand_over(bus, rng, item).await) });
            }
        }
    }

    fn accept(&mut self, delivery: Delivery) {
        let Delivery { arrived, client } = delivery;
        let Arrived { topic, payload, receipt } = arrived;
        tracing::trace!(topic, bytes = payload.len(), "a message arrived");
        let (receipt, bytes) = ((client, receipt), payload.len());
        let kind = match Topic::parse(&topic) {
            Topic::Unknown => Dropped::Unknown,
            _ if bytes > self.message_bytes_max => Dropped::TooLarge,
            Topic::Device(call) => {
                let lane = Lane::Device(topic::device(&call).cloned());
                return self.intake.accept(lane, bytes, receipt, Item::Call(CallDevice { call, payload }));
            }
            Topic::Cloud if !self.filters.want(&topic) => Dropped::Unwanted,
            Topic::Cloud => {
                let lane = Lane::Topic(topic.clone());
                let upload = Item::Upload(NodeRequest::Upload { topic, payload });
                return self.intake.accept(lane, bytes, receipt, upload);
            }
        };
        self.intake.skip(receipt);
        self.note(kind, &topic);
    }

    fn taken(&mut self, number: u64, outcome: Outcome) {
        self.intake.done(number);
        match outcome {
            Outcome::Taken => {}
            Outcome::NoTwins(error) => self.note(Dropped::NoTwins, &error.to_string()),
            Outcome::NoHub(error) => self.note(Dropped::NoHub, &error.to_string()),
            Outcome::GivenUp(error) => self.note(Dropped::GivenUp, &error),
        }
    }

    fn note(&mut self, kind: Dropped, what: &str) {
        let Some(count) = self.dropped.count(kind) else { return };
        let what: String = what.chars().take(256).collect();
        match kind {
            Dropped::Unknown => {
                tracing::warn!(count, topic = what, "a topic is none of a device and is ignored")
            }
            Dropped::Unwanted => {
                tracing::debug!(count, topic = what, "a topic that no rule wants any longer is ignored");
            }
            Dropped::TooLarge => {
                let max = self.message_bytes_max;
                tracing::warn!(count, topic = what, max, "a message is too large and is ignored");
            }
            Dropped::NoTwins => tracing::warn!(count, why = what, "a message of a device is ignored"),
            Dropped::NoHub => tracing::warn!(count, why = what, "a message for the cloud is ignored"),
            Dropped::GivenUp => tracing::error!(count, why = what, "a message was given up"),
        }
    }
}

/// What became of a message.
enum Outcome {
    Taken,
    /// This node has no device twins.
    NoTwins(AskError),
    /// This node has no link to a cloud.
    NoHub(AskError),
    /// They failed over it again and again, or refused it for good.
    GivenUp(String),
}

/// What came of one attempt.
enum Attempt {
    Over(Outcome),
    /// It is not on disk yet, and will be.
    NotYet(String),
    /// They did not answer.
    Unanswered(AskError),
}

/// Hands a message over and returns when it was taken. While the store fails, or too much waits for the
/// cloud, it is repeated: until then the broker is told nothing, and soon sends no more.
async fn hand_over(bus: Bus, mut rng: SmallRng, item: Item) -> Outcome {
    let (mut attempt, mut unanswered) = (0, 0);
    loop {
        let attempted = match item.clone() {
            Item::Call(call) => ask_twins(&bus, call).await,
            Item::Upload(upload) => ask_hub(&bus, upload).await,
        };
        match attempted {
            Attempt::Over(outcome) => return outcome,
            Attempt::NotYet(why) => tracing::debug!(why, attempt, "a message was not taken yet"),
            Attempt::Unanswered(error) => {
                unanswered += 1;
                if unanswered == ATTEMPTS_MAX {
                    return Outcome::GivenUp(error.to_string());
                }
                tracing::debug!(%error, attempt, "a message was not answered");
            }
        }
        sleep(pause(attempt, rng.random())).await;
        attempt += 1;
    }
}

async fn ask_twins(bus: &Bus, call: CallDevice) -> Attempt {
    match bus.to(group::TWIN).ask(call).within(CALL_TIMEOUT).await {
        Ok(Ok(())) => Attempt::Over(Outcome::Taken),
        Ok(Err(error)) => Attempt::NotYet(error.to_string()),
        Err(error) if is_absent(&error) => Attempt::Over(Outcome::NoTwins(error)),
        Err(error) => failed(error),
    }
}

/// The hub takes a message when it is on disk, link or not.
async fn ask_hub(bus: &Bus, upload: NodeRequest) -> Attempt {
    match bus.to(group::HUB).ask(AskCloud(upload)).within(CALL_TIMEOUT).await {
        Ok(Ok(NodeReply::Refused(status))) => Attempt::Over(Outcome::GivenUp(status.to_string())),
        Ok(Ok(_)) => Attempt::Over(Outcome::Taken),
        Ok(Err(error @ (CloudError::Overloaded | CloudError::NotKept(_)))) => {
            Attempt::NotYet(error.to_string())
        }
        Ok(Err(error)) => Attempt::Over(Outcome::GivenUp(error.to_string())),
        Err(error) if is_absent(&error) => Attempt::Over(Outcome::NoHub(error)),
        Err(error) => failed(error),
    }
}

/// Tells whether nobody will ever answer.
fn is_absent(error: &AskError) -> bool {
    matches!(error, AskError::NobodyServes { .. } | AskError::NotWired { .. } | AskError::Ambiguous { .. })
}

fn failed(error: AskError) -> Attempt {
    match error {
        // They did not see it.
        error @ AskError::Full { .. } => Attempt::NotYet(error.to_string()),
        error => Attempt::Unanswered(error),
    }
}

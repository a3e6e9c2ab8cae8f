//! One node's connection, from its admission to its end: one task that owns all of it.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use beehive::Bus;
use protocol::{NodeName, NodeReply};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use wire::codec::{CloudFrame, DecodeError, EdgeFrame};
use wire::link::{Frame, FrameReader, FrameWriter, LinkError};
use wire::session::{Keepalive, KeepaliveLimits, Liveness};
use wire::{
    Codec, Downlink, Envelope, LaneLimits, Lanes, MessageId, ReplyShape, ReplyTo, Stuck, Unknown, Uplink,
};

use crate::queue::Queue;
use crate::serve::{Answer, Requests, SERVING_MAX, Work};

/// Frames that may wait to be written; the reserve is for answers.
const FRAMES_MAX: usize = 64 + SERVING_MAX;
/// Frames that are no messages, before the link is given up.
const GARBAGE_MAX: u32 = 16;
/// Kinds of unknown messages that are remembered as logged.
const KINDS_MAX: usize = 64;
/// How often both ends of the native codec say that they are alive, and the longest silence.
const PING_INTERVAL: Duration = Duration::from_secs(3);
const SILENCE_MAX: Duration = Duration::from_secs(9);
/// The time that saying goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a session is given.
pub(crate) struct Settings {
    pub(crate) node: NodeName,
    pub(crate) codec: Codec,
    pub(crate) silence_max: Duration,
    pub(crate) write_timeout: Duration,
    /// When the session began, and the wall clock at that moment.
    pub(crate) started: Instant,
    pub(crate) wall_clock: Duration,
    pub(crate) seed: u64,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the link broke: {0}")]
    Link(LinkError),
    #[error("the node was silent for too long")]
    Silent,
    #[error("the node ended the session: {0}")]
    Goodbye(String),
    #[error("the node broke the protocol: {0}")]
    Protocol(String),
    #[error(transparent)]
    Stuck(#[from] Stuck),
    #[error("a newer connection of the node took its place, or its queue was full")]
    Fenced,
}

pub(crate) struct Session {
    settings: Settings,
    queue: Queue,
    requests: Requests,
    started: Instant,
    lanes: Lanes,
    keepalive: Keepalive,
    rng: SmallRng,
    garbage: u32,
    kinds: BTreeSet<String>,
}

impl Session {
    /// Makes a session and the future that writes for it.
    pub(crate) fn new(
        settings: Settings,
        bus: Bus,
        queue: Queue,
        writer: Box<dyn FrameWriter>,
    ) -> (Self, impl Future<Output = LinkError>) {
        let limits = LaneLimits {
            frames_max: FRAMES_MAX,
            reserve: SERVING_MAX,
            write_timeout: settings.write_timeout,
        };
        let (lanes, writing) = Lanes::new(writer, limits);
        let keepalive = match settings.codec {
            Codec::Native => KeepaliveLimits { interval: PING_INTERVAL, silence_max: SILENCE_MAX },
            Codec::KubeEdge => KeepaliveLimits { interval: Duration::MAX, silence_max: settings.silence_max },
        };
        let session = Self {
            requests: Requests::new(settings.node.clone(), bus),
            queue,
            started: settings.started,
            lanes,
            keepalive: Keepalive::new(keepalive, Duration::ZERO),
            rng: SmallRng::seed_from_u64(settings.seed),
            garbage: 0,
            kinds: BTreeSet::new(),
            settings,
        };
        (session, writing)
    }

    /// Serves the connection until it ends, or until `fence` says anything.
    pub(crate) async fn run(
        mut self,
        mut reader: Box<dyn FrameReader>,
        writing: impl Future<Output = LinkError>,
        mut fence: oneshot::Receiver<()>,
    ) -> End {
        let mut writing = pin!(writing);
        let queue = self.queue.clone();
        let end = loop {
            let wake = match self.advance() {
                Ok(wake) => self.started + wake,
                Err(end) => break end,
            };
            let may_read = self.requests.has_room();
            let step = tokio::select! {
                biased;
                _ = &mut fence => Err(End::Fenced),
                error = &mut writing => Err(End::Link(error)),
                frame = reader.next(), if may_read => self.read(frame),
                answer = self.requests.answer() => self.send_answer(answer),
                () = queue.filled() => Ok(()),
                () = self.lanes.room(), if !self.lanes.has_room() => Ok(()),
                () = sleep_until(wake) => Ok(()),
            };
            if let Err(end) = step {
                break end;
            }
        };
        let has_last_words = self.say_goodbye(&end);
        drop(self);
        if has_last_words && timeout(GOODBYE_TIMEOUT, writing).await.is_err() {
            tracing::debug!("the link did not take the last frames");
        }
        end
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does what is due and returns when something will be.
    fn advance(&mut self) -> Result<Duration, End> {
        let now = self.now();
        if !self.requests.has_room() {
            // Nothing is read at the moment, so that the silence is this end's own.
            self.keepalive.heard(now);
        }
        let mut wake = loop {
            match self.keepalive.poll(now) {
                Liveness::Dead => return Err(End::Silent),
                Liveness::Quiet(until) => break until,
                Liveness::Beat(number) => self.send_first(CloudFrame::Ping(number))?,
            }
        };
        if self.lanes.has_room() {
            self.requests.advance();
            self.send_changes(now)?;
            if let Some(due) = self.queue.next_due() {
                wake = wake.min(due);
            }
        }
        Ok(wake.min(now + Duration::from_secs(3600)))
    }

    fn send_changes(&mut self, now: Duration) -> Result<(), End> {
        while self.lanes.has_room() {
            let rng = &mut self.rng;
            let Some(to_send) = self.queue.next(now, || new_id(rng)) else { return Ok(()) };
            let timestamp_ms = self.timestamp_ms();
            let body = Downlink::change(to_send.value);
            self.must_send(CloudFrame::Down(Envelope { id: to_send.id, timestamp_ms, body }))?;
        }
        Ok(())
    }

    fn read(&mut self, frame: Result<Frame, LinkError>) -> Result<(), End> {
        let frame = frame.map_err(End::Link)?;
        self.keepalive.heard(self.started.elapsed());
        let frame = match self.settings.codec.decode_edge(&frame) {
            Ok(frame) => frame,
            Err(error) => return self.garbage(&error),
        };
        match frame {
            EdgeFrame::Up(envelope) => {
                self.receive(envelope);
                Ok(())
            }
            EdgeFrame::Ping(number) => self.send_first(CloudFrame::Pong(number)),
            EdgeFrame::Pong(_) => Ok(()),
            EdgeFrame::Goodbye(reason) => Err(End::Goodbye(reason)),
            EdgeFrame::Hello(_) => Err(End::Protocol("a second hello".to_owned())),
        }
    }

    fn garbage(&mut self, error: &DecodeError) -> Result<(), End> {
        self.garbage += 1;
        if self.settings.codec == Codec::Native || self.garbage >= GARBAGE_MAX {
            return Err(End::Protocol(error.to_string()));
        }
        let node = &self.settings.node;
        tracing::warn!(%node, %error, "the node sent a frame that is no message; it is ignored");
        Ok(())
    }

    fn receive(&mut self, Envelope { id, body, .. }: Envelope<Uplink>) {
        match body {
            Uplink::Keepalive => {}
            Uplink::Ack { parent, .. } => {
                self.queue.acknowledge(&parent);
            }
            Uplink::Nack { parent, text, .. } => {
                if self.queue.refuse(&parent, self.started.elapsed()) {
                    let node = &self.settings.node;
                    tracing::warn!(%node, problem = text, "the node did not keep a change");
                }
            }
            Uplink::Request { path, request } => {
                let shape = ReplyShape::of(&request);
                let to = ReplyTo { parent: id, path, shape };
                self.requests.push(Work { to, requests: vec![request] });
            }
            Uplink::LegacyStatus { path, requests, .. } => {
                let to = ReplyTo { parent: id, path, shape: ReplyShape::Ok };
                self.requests.push(Work { to, requests });
            }
            Uplink::Unknown(unknown) => self.note_unknown(&unknown),
        }
    }

    fn note_unknown(&mut self, unknown: &Unknown) {
        let kind = unknown.kind();
        if self.kinds.len() < KINDS_MAX && !self.kinds.contains(&kind) {
            let node = &self.settings.node;
            tracing::warn!(%node, %kind, problem = %unknown.problem, "messages of this kind are ignored");
            self.kinds.insert(kind);
        }
    }

    fn send_answer(&mut self, answer: Answer) -> Result<(), End> {
        let Some((to, reply)) = answer else { return Ok(()) };
        // An old edge reports a pod that is gone for as long as it is not told that all is well.
        let reply = match reply {
            NodeReply::Object(_) if to.shape == ReplyShape::Ok => NodeReply::Done,
            reply => reply,
        };
        let id = new_id(&mut self.rng);
        let timestamp_ms = self.timestamp_ms();
        let body = Downlink::Reply { to, reply };
        self.must_send(CloudFrame::Down(Envelope { id, timestamp_ms, body }))
    }

    fn timestamp_ms(&self) -> i64 {
        let at = self.settings.wall_clock.saturating_add(self.started.elapsed());
        i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
    }

    fn must_send(&self, frame: CloudFrame) -> Result<(), End> {
        match self.settings.codec.encode_cloud(frame) {
            Some(frame) => Ok(self.lanes.must_send(frame)?),
            None => Ok(()),
        }
    }

    fn send_first(&self, frame: CloudFrame) -> Result<(), End> {
        match self.settings.codec.encode_cloud(frame) {
            Some(frame) => Ok(self.lanes.send_first(frame)?),
            None => Ok(()),
        }
    }

    /// Tells whether a link is left that may take it.
    fn say_goodbye(&self, end: &End) -> bool {
        match end {
            End::Fenced | End::Protocol(_) => self.must_send(CloudFrame::Goodbye(end.to_string())).is_ok(),
            End::Link(_) | End::Silent | End::Goodbye(_) | End::Stuck(_) => false,
        }
    }
}

fn new_id(rng: &mut SmallRng) -> MessageId {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    MessageId::from_random(bytes)
}

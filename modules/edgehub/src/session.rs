//! One connection to the cloud, from the first byte to the last: one task that owns all of it.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use beehive::Bus;
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use protocol::edge::{CloudError, KeepChange};
use protocol::{ObjectChange, ObjectKey, group};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use wire::codec::{CloudFrame, EdgeFrame};
use wire::link::{Frame, FrameReader, FrameWriter, LinkError};
use wire::session::{Intake, Keepalive, KeepaliveLimits, Liveness, TokenBucket};
use wire::{
    AckRoute, Codec, Downlink, Envelope, LaneLimits, Lanes, MessageId, ResourcePath, Stuck, Unknown, Uplink,
};

use crate::pending::{Ask, Pending};

/// Frames that may wait to be written, and how many of these are for acknowledgements.
const FRAMES_MAX: usize = 256;
const FRAMES_RESERVE: usize = 192;
/// Changes that the cloud may leave unacknowledged, and how many are being kept at a time.
const CHANGES_MAX: usize = 1024;
const KEEPING_MAX: usize = 16;
/// The longest time that the store may take for one change.
const KEEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that may wait for an answer, and how long.
const PENDING_MAX: usize = 512;
const PENDING_PATIENCE: Duration = Duration::from_secs(60);
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
    pub(crate) codec: Codec,
    pub(crate) heartbeat: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) message_qps: u32,
    pub(crate) message_burst: u32,
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
    #[error("the cloud was silent for too long")]
    Silent,
    #[error("the cloud ended the session: {0}")]
    Goodbye(String),
    #[error("the cloud broke the protocol: {0}")]
    Protocol(String),
    #[error(transparent)]
    Stuck(#[from] Stuck),
    #[error("the hub stops")]
    Stopped,
}

/// What an acknowledgement needs.
#[derive(Debug)]
struct Receipt {
    id: MessageId,
    route: AckRoute,
}

type Keeping = LocalBoxFuture<'static, (ObjectKey, Result<(), String>)>;

pub(crate) struct Session {
    settings: Settings,
    bus: Bus,
    started: Instant,
    lanes: Lanes,
    keepalive: Keepalive,
    bucket: TokenBucket,
    pending: Pending,
    intake: Intake<ObjectKey, ObjectChange, Receipt>,
    keeping: FuturesUnordered<Keeping>,
    rng: SmallRng,
    garbage: u32,
    kinds: BTreeSet<String>,
}

impl Session {
    /// Makes a session and the future that writes for it.
    pub(crate) fn new(
        settings: Settings,
        bus: Bus,
        writer: Box<dyn FrameWriter>,
    ) -> (Self, impl Future<Output = LinkError>) {
        let limits = LaneLimits {
            frames_max: FRAMES_MAX,
            reserve: FRAMES_RESERVE,
            write_timeout: settings.write_timeout,
        };
        let (lanes, writing) = Lanes::new(writer, limits);
        let keepalive = match settings.codec {
            Codec::Native => KeepaliveLimits { interval: PING_INTERVAL, silence_max: SILENCE_MAX },
            Codec::KubeEdge => KeepaliveLimits { interval: settings.heartbeat, silence_max: Duration::MAX },
        };
        let session = Self {
            bus,
            started: settings.started,
            lanes,
            keepalive: Keepalive::new(keepalive, Duration::ZERO),
            bucket: TokenBucket::new(settings.message_qps, settings.message_burst),
            pending: Pending::new(PENDING_MAX, PENDING_PATIENCE),
            intake: Intake::new(CHANGES_MAX, KEEPING_MAX),
            keeping: FuturesUnordered::new(),
            rng: SmallRng::seed_from_u64(settings.seed),
            garbage: 0,
            kinds: BTreeSet::new(),
            settings,
        };
        (session, writing)
    }

    /// Serves the connection until it ends.
    pub(crate) async fn run(
        mut self,
        mut reader: Box<dyn FrameReader>,
        writing: impl Future<Output = LinkError>,
        mut asks: mpsc::Receiver<Ask>,
    ) -> End {
        let mut writing = pin!(writing);
        let end = loop {
            let wake = match self.advance() {
                Ok(wake) => self.started + wake,
                Err(end) => break end,
            };
            let may_ask = self.may_ask();
            let step = tokio::select! {
                biased;
                error = &mut writing => Err(End::Link(error)),
                frame = reader.next() => self.read(frame),
                Some((key, kept)) = self.keeping.next(), if !self.keeping.is_empty() => self.kept(&key, kept),
                ask = asks.recv(), if may_ask => match ask {
                    Some(ask) => self.send_request(ask),
                    None => Err(End::Stopped),
                },
                () = self.lanes.room(), if !self.lanes.has_room() => Ok(()),
                () = sleep_until(wake) => Ok(()),
            };
            if let Err(end) = step {
                break end;
            }
        };
        turn_away(asks);
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
        self.pending.sweep(now);
        while let Some((key, change)) = self.intake.take_next() {
            self.keeping.push(keep(self.bus.clone(), key, change));
        }
        let mut wake = loop {
            match self.keepalive.poll(now) {
                Liveness::Dead => return Err(End::Silent),
                Liveness::Quiet(until) => break until,
                Liveness::Beat(number) => self.beat(number)?,
            }
        };
        if !self.pending.is_empty() {
            wake = wake.min(now + Duration::from_secs(1));
        }
        let token = self.bucket.next(now);
        if token > now {
            wake = wake.min(token);
        }
        Ok(wake.min(now + Duration::from_secs(3600)))
    }

    fn may_ask(&mut self) -> bool {
        let now = self.now();
        self.lanes.has_room() && !self.pending.is_full() && self.bucket.next(now) <= now
    }

    fn beat(&mut self, number: u64) -> Result<(), End> {
        let frame = match self.settings.codec {
            Codec::Native => EdgeFrame::Ping(number),
            Codec::KubeEdge => EdgeFrame::Up(self.envelope(Uplink::Keepalive)),
        };
        self.send_first(frame)
    }

    fn read(&mut self, frame: Result<Frame, LinkError>) -> Result<(), End> {
        let frame = frame.map_err(End::Link)?;
        self.keepalive.heard(self.started.elapsed());
        let frame = match self.settings.codec.decode_cloud(&frame) {
            Ok(frame) => frame,
            Err(error) => return self.garbage(&error),
        };
        match frame {
            CloudFrame::Down(envelope) => self.receive(envelope),
            CloudFrame::Ping(number) => self.send_first(EdgeFrame::Pong(number)),
            CloudFrame::Pong(_) => Ok(()),
            CloudFrame::Goodbye(reason) => Err(End::Goodbye(reason)),
            CloudFrame::Welcome { .. } => Err(End::Protocol("a second welcome".to_owned())),
        }
    }

    /// A native peer never sends garbage; upstream's users may put a proxy or a newer cloud there.
    fn garbage(&mut self, error: &wire::codec::DecodeError) -> Result<(), End> {
        self.garbage += 1;
        if self.settings.codec == Codec::Native || self.garbage >= GARBAGE_MAX {
            return Err(End::Protocol(error.to_string()));
        }
        tracing::warn!(%error, "the cloud sent a frame that is no message; it is ignored");
        Ok(())
    }

    fn receive(&mut self, envelope: Envelope<Downlink>) -> Result<(), End> {
        let ack = envelope.ack_route();
        let id = envelope.id;
        match envelope.body {
            Downlink::Change { change, .. } => {
                let route = ack.unwrap_or_else(no_route);
                let key = change.key.clone();
                self.intake
                    .push(key, change, Receipt { id, route })
                    .map_err(|overflow| End::Protocol(overflow.to_string()))
            }
            Downlink::Reply { to, reply } => {
                if !self.pending.answer(&to.parent, reply) {
                    tracing::debug!(path = %to.path, "an answer came that nobody waits for");
                }
                match ack {
                    Some(route) if self.settings.codec == Codec::KubeEdge => {
                        self.send_ack(Receipt { id, route })
                    }
                    _ => Ok(()),
                }
            }
            Downlink::Unknown(unknown) => {
                self.note_unknown(&unknown);
                Ok(())
            }
        }
    }

    fn note_unknown(&mut self, unknown: &Unknown) {
        let kind = unknown.kind();
        if self.kinds.len() < KINDS_MAX && !self.kinds.contains(&kind) {
            tracing::warn!(%kind, problem = %unknown.problem, "messages of this kind are ignored");
            self.kinds.insert(kind);
        }
    }

    fn kept(&mut self, key: &ObjectKey, kept: Result<(), String>) -> Result<(), End> {
        for receipt in self.intake.done(key) {
            match &kept {
                Ok(()) => self.send_ack(receipt)?,
                Err(problem) => {
                    tracing::warn!(%key, problem, "a change was not kept; the cloud is to send it again");
                    let Receipt { id: parent, route } = receipt;
                    let nack = Uplink::Nack { parent, path: route.path, text: problem.clone() };
                    self.must_send(nack)?;
                }
            }
        }
        Ok(())
    }

    fn send_ack(&mut self, receipt: Receipt) -> Result<(), End> {
        let Receipt { id: parent, route } = receipt;
        self.must_send(Uplink::Ack { parent, route })
    }

    fn send_request(&mut self, ask: Ask) -> Result<(), End> {
        let Ask { request, responder } = ask;
        if responder.is_closed() {
            return Ok(());
        }
        let now = self.now();
        self.bucket.take(now);
        let is_answered = request.is_answered();
        let envelope = self.envelope(Uplink::request(request));
        let id = envelope.id.clone();
        self.must_send_frame(EdgeFrame::Up(envelope))?;
        if is_answered {
            self.pending.insert(id, responder, now);
        } else {
            responder.reply(Ok(protocol::NodeReply::Done));
        }
        Ok(())
    }

    fn envelope(&mut self, body: Uplink) -> Envelope<Uplink> {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        let at = self.settings.wall_clock.saturating_add(self.started.elapsed());
        let timestamp_ms = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        Envelope { id: MessageId::from_random(bytes), timestamp_ms, body }
    }

    fn must_send(&mut self, body: Uplink) -> Result<(), End> {
        let envelope = self.envelope(body);
        self.must_send_frame(EdgeFrame::Up(envelope))
    }

    fn must_send_frame(&self, frame: EdgeFrame) -> Result<(), End> {
        match self.settings.codec.encode_edge(frame) {
            Some(frame) => Ok(self.lanes.must_send(frame)?),
            None => Ok(()),
        }
    }

    fn send_first(&self, frame: EdgeFrame) -> Result<(), End> {
        match self.settings.codec.encode_edge(frame) {
            Some(frame) => Ok(self.lanes.send_first(frame)?),
            None => Ok(()),
        }
    }

    /// Tells whether a link is left that may take it.
    fn say_goodbye(&self, end: &End) -> bool {
        let reason = match end {
            End::Stopped | End::Protocol(_) => end.to_string(),
            End::Link(_) | End::Silent | End::Goodbye(_) | End::Stuck(_) => return false,
        };
        self.must_send_frame(EdgeFrame::Goodbye(reason)).is_ok()
    }
}

/// Answers those whose requests did not leave.
fn turn_away(mut asks: mpsc::Receiver<Ask>) {
    asks.close();
    while let Ok(ask) = asks.try_recv() {
        ask.responder.reply(Err(CloudError::Disconnected));
    }
}

fn no_route() -> AckRoute {
    AckRoute { source: String::new(), group: String::new(), path: ResourcePath::Empty }
}

fn keep(bus: Bus, key: ObjectKey, change: ObjectChange) -> Keeping {
    Box::pin(async move {
        let kept = bus.to(group::META).ask(KeepChange(change)).within(KEEP_TIMEOUT).await;
        let kept = match kept {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => Err(refused.to_string()),
            Err(failed) => Err(failed.to_string()),
        };
        (key, kept)
    })
}

//! One connection to the cloud, from the first byte to the last: one task that owns all of it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use beehive::Bus;
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use protocol::edge::{CloudError, KeepChange};
use protocol::rules::{CommandReply, HttpAnswer};
use protocol::{Lease, NodeReply, NodeRequest, Object, ObjectChange, ObjectKey, group};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use wire::codec::{Comparison, Features};
use wire::link::{Frame, FrameReader, FrameWriter, LinkError};
use wire::session::{
    Beats, Broken, Conversation, ConversationSettings, EdgeEnd, Heard, Intake, KeepaliveLimits, Lane,
    LaneLimits, Renewals, Stuck, TokenBucket,
};
use wire::{AckRoute, Codec, Downlink, Envelope, Line, MessageId, ResourcePath, Uplink};

use crate::commands::{self, COMMANDS_MAX};
use crate::connect::FRAME_BYTES_MAX;
use crate::inventory;
use crate::outbox::{Cloud, Outbox};
use crate::pending::{Ask, Asked, Pending};

/// Frames that may wait to be written. What is extra is for acknowledgements.
const LANES: LaneLimits = LaneLimits { liveness: 8, status: 64, data: 64, extra: 192 + COMMANDS_MAX };
/// Changes that the cloud may leave unacknowledged, and how many are being kept at a time.
const CHANGES_MAX: usize = 1024;
const KEEPING_MAX: usize = 16;
/// The longest time that the store may take for one change.
const KEEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that may wait for an answer, and how long.
const PENDING_MAX: usize = 512;
const PENDING_PATIENCE: Duration = Duration::from_secs(60);
/// After which silence an end of the native codec asks whether the other is alive, and the longest silence.
/// A lease is renewed each ten seconds, and there is one question between two renewals.
const PING_INTERVAL: Duration = Duration::from_millis(5200);
const SILENCE_MAX: Duration = Duration::from_millis(9800);
/// The time that saying goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a session is given.
pub(crate) struct Settings {
    pub(crate) codec: Codec,
    pub(crate) features: Features,
    pub(crate) heartbeat: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) message_qps: u32,
    pub(crate) message_burst: u32,
    /// When the session began, and the wall clock at that moment.
    pub(crate) started: Instant,
    pub(crate) wall_clock: Duration,
    pub(crate) seed: u64,
}

impl Settings {
    fn conversation(&self) -> ConversationSettings {
        let keepalive = match self.codec {
            Codec::Native => KeepaliveLimits {
                beats: Beats::WhenSilent,
                interval: PING_INTERVAL,
                silence_max: SILENCE_MAX,
            },
            Codec::KubeEdge => {
                KeepaliveLimits { beats: Beats::Always, interval: self.heartbeat, silence_max: Duration::MAX }
            }
        };
        ConversationSettings {
            codec: self.codec,
            features: self.features,
            keepalive,
            lanes: LANES,
            frame_bytes_max: FRAME_BYTES_MAX,
            wall_clock: self.wall_clock,
            seed: self.seed,
        }
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the link broke: {0}")]
    Link(LinkError),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("the hub ended it")]
    Stopped,
}

impl From<Stuck> for End {
    fn from(stuck: Stuck) -> Self {
        Self::Broken(stuck.into())
    }
}

/// What an acknowledgement needs.
#[derive(Debug)]
struct Receipt {
    id: MessageId,
    route: AckRoute,
}

/// An answer about what the node holds, which the store is asked for.
type Comparing = LocalBoxFuture<'static, Option<Comparison>>;

/// A command that is being done, and its id.
type Obeying = LocalBoxFuture<'static, (MessageId, CommandReply)>;

type Keeping = LocalBoxFuture<'static, (ObjectKey, Result<(), String>)>;

pub(crate) struct Session {
    bus: Bus,
    started: Instant,
    line: Line<EdgeEnd>,
    bucket: TokenBucket,
    pending: Pending,
    outbox: Outbox,
    /// What the cloud does with what is in the outbox.
    cloud: Cloud,
    intake: Intake<ObjectKey, ObjectChange, Receipt>,
    keeping: FuturesUnordered<Keeping>,
    obeying: FuturesUnordered<Obeying>,
    /// One at most.
    comparing: FuturesUnordered<Comparing>,
    /// Whether leases are renewed in shorthand.
    shortens: bool,
    renewals: Renewals,
    /// The lease that is being renewed in shorthand.
    renewing: Option<Object>,
}

impl Session {
    /// Makes a session and the future that writes for it.
    pub(crate) fn new(
        settings: &Settings,
        bus: Bus,
        outbox: Outbox,
        writer: Box<dyn FrameWriter>,
    ) -> (Self, impl Future<Output = LinkError>) {
        let conversation = Conversation::new(settings.conversation());
        let (line, writing) = Line::new(conversation, settings.started, writer, settings.write_timeout);
        let session = Self {
            bus,
            started: settings.started,
            line,
            bucket: TokenBucket::new(settings.message_qps, settings.message_burst),
            pending: Pending::new(PENDING_MAX, PENDING_PATIENCE),
            outbox,
            cloud: Cloud {
                confirms: settings.features.has(Features::CONFIRMS),
                routes: settings.codec == Codec::KubeEdge || settings.features.has(Features::RULES),
            },
            intake: Intake::new(CHANGES_MAX, KEEPING_MAX),
            keeping: FuturesUnordered::new(),
            obeying: FuturesUnordered::new(),
            comparing: FuturesUnordered::new(),
            shortens: settings.features.has(Features::SHORT),
            renewals: Renewals::default(),
            renewing: None,
        };
        (session, writing)
    }

    /// Serves the connection until it ends.
    pub(crate) async fn run(
        mut self,
        mut reader: Box<dyn FrameReader>,
        writing: impl Future<Output = LinkError>,
        mut asked: Asked,
    ) -> End {
        let mut writing = pin!(writing);
        let outbox = self.outbox.clone();
        let end = loop {
            let wake = match self.advance() {
                Ok(wake) => self.started + wake,
                Err(end) => break end,
            };
            let may_ask = self.may_ask();
            let step = tokio::select! {
                biased;
                error = &mut writing => Err(End::Link(error)),
                // Neither the rate nor the answers that are due hold up what keeps the node alive.
                ask = asked.urgent.recv() => self.send_request(ask),
                frame = reader.next() => self.read(frame),
                Some((key, kept)) = self.keeping.next(), if !self.keeping.is_empty() => self.kept(&key, kept),
                Some(done) = self.obeying.next(), if !self.obeying.is_empty() => self.obeyed(done),
                Some(answer) = self.comparing.next(), if !self.comparing.is_empty() => self.say_compared(answer),
                ask = asked.others.recv(), if may_ask => self.send_paced(ask),
                kept = next_kept(&outbox, self.line.now(), self.cloud), if may_ask => self.send_kept(kept),
                () = self.line.written() => Ok(()),
                () = sleep_until(wake) => Ok(()),
            };
            if let Err(end) = step {
                break end;
            }
        };
        turn_away(asked.urgent);
        turn_away(asked.others);
        self.outbox.release();
        let has_last_words = self.say_goodbye(&end);
        drop(self);
        if has_last_words && timeout(GOODBYE_TIMEOUT, writing).await.is_err() {
            tracing::debug!("the link did not take the last frames");
        }
        end
    }

    /// Does what is due and returns when something will be.
    fn advance(&mut self) -> Result<Duration, End> {
        let now = self.line.now();
        self.pending.sweep(now);
        while let Some((key, change)) = self.intake.take_next() {
            self.keeping.push(keep(self.bus.clone(), key, change));
        }
        let mut wake = self.line.with(Conversation::poll)?;
        if !self.pending.is_empty() {
            wake = wake.min(now + Duration::from_secs(1));
        }
        for due in self.outbox.next_due().into_iter().chain([self.bucket.next(now)]) {
            if due > now {
                wake = wake.min(due);
            }
        }
        Ok(wake.min(now + Duration::from_secs(3600)))
    }

    /// Tells whether a request may be sent, whatever its lane.
    fn may_ask(&mut self) -> bool {
        let has_room = self.line.with(|line, _| Lane::ALL.into_iter().all(|lane| line.has_room(lane)));
        let now = self.line.now();
        has_room && !self.pending.is_full() && self.bucket.next(now) <= now
    }

    fn read(&mut self, frame: Result<Frame, LinkError>) -> Result<(), End> {
        let frame = frame.map_err(End::Link)?;
        match self.line.with(|line, now| line.hear(&frame, now))? {
            Heard::Message(envelope) => self.receive(envelope),
            Heard::Nothing => Ok(()),
            Heard::Notice(text) => {
                tracing::info!(text, "the cloud says");
                Ok(())
            }
            Heard::Comparison(asked) => self.compare(asked),
            Heard::Renewed => self.renewed(),
            Heard::Renewal(_) => Err(End::Broken(Broken::Protocol("it renews a lease".to_owned()))),
            Heard::Garbage(error) => {
                tracing::warn!(%error, "the cloud sent a frame that is no message; it is ignored");
                Ok(())
            }
        }
    }

    fn compare(&mut self, asked: Comparison) -> Result<(), End> {
        if !self.comparing.is_empty() {
            let problem = "it asks a second question before the first is answered".to_owned();
            return Err(End::Broken(Broken::Protocol(problem)));
        }
        self.comparing.push(Box::pin(inventory::answer(self.bus.clone(), asked)));
        Ok(())
    }

    fn say_compared(&mut self, answer: Option<Comparison>) -> Result<(), End> {
        let Some(answer) = answer else { return Ok(()) };
        Ok(self.line.with(|line, _| line.compare(answer))?)
    }

    fn receive(&mut self, envelope: Envelope<Downlink>) -> Result<(), End> {
        let ack = envelope.ack_route();
        let id = envelope.id;
        match envelope.body {
            Downlink::Change { change, .. } => {
                let route = ack.unwrap_or_else(no_route);
                let key = change.key.clone();
                let pushed = self.intake.push(key, change, Receipt { id, route });
                pushed.map_err(|overflow| End::Broken(Broken::Protocol(overflow.to_string())))
            }
            Downlink::Reply { to, reply } => {
                if to.parent == MessageId::of_renewal() {
                    self.renewing = None;
                }
                if let (true, NodeReply::Object(object)) = (self.shortens, &reply) {
                    self.renewals.answered(object);
                }
                let is_kept = self.outbox.answer(&to.parent, &reply, self.line.now());
                if !is_kept && !self.pending.answer(&to.parent, reply) {
                    tracing::debug!(path = %to.path, "an answer came that nobody waits for");
                }
                let codec = self.line.with(|line, _| line.codec());
                match ack {
                    Some(route) if codec == Codec::KubeEdge => self.send_ack(Receipt { id, route }),
                    _ => Ok(()),
                }
            }
            Downlink::Command(command) if self.obeying.len() >= COMMANDS_MAX => {
                let reply = commands::busy(&command);
                self.obeyed((id, reply))
            }
            Downlink::Command(command) => {
                let obeying = commands::obey(self.bus.clone(), command);
                self.obeying.push(Box::pin(async move { (id, obeying.await) }));
                Ok(())
            }
            Downlink::BadCall { problem, .. } => {
                self.obeyed((id, CommandReply::Answer(HttpAnswer::of_agent(400, problem))))
            }
            // The devices come as objects, too.
            Downlink::Membership(_) => Ok(()),
            Downlink::Unknown(unknown) => {
                if let Some(kind) = self.line.with(|line, _| line.is_news(&unknown)) {
                    tracing::warn!(%kind, problem = %unknown.problem, "messages of this kind are ignored");
                }
                Ok(())
            }
        }
    }

    fn kept(&mut self, key: &ObjectKey, kept: Result<(), String>) -> Result<(), End> {
        if self.bus.buggify("edgehub.session-ends") {
            return Err(End::Stopped);
        }
        for receipt in self.intake.done(key) {
            match &kept {
                Ok(()) => self.send_ack(receipt)?,
                Err(problem) => {
                    tracing::warn!(%key, problem, "a change was not kept; the cloud is to send it again");
                    let Receipt { id: parent, route } = receipt;
                    self.say(Lane::Status, Uplink::Nack { parent, path: route.path, text: problem.clone() })?;
                }
            }
        }
        Ok(())
    }

    /// Says what came of a command. A cloud of KubeEdge hears only what services answered.
    fn obeyed(&mut self, (parent, reply): (MessageId, CommandReply)) -> Result<(), End> {
        let size = match &reply {
            CommandReply::Answer(answer) => answer.body.len(),
            CommandReply::Refused(text) => {
                tracing::warn!(problem = text, "what the cloud's rules want of this node was not done");
                text.len()
            }
            CommandReply::Done => 0,
        };
        let is_native = self.line.with(|line, _| line.codec()) == Codec::Native;
        if is_native || matches!(reply, CommandReply::Answer(_)) {
            self.say(Lane::of_routed(size), Uplink::CommandReply { parent, reply })?;
        }
        Ok(())
    }

    fn send_ack(&mut self, receipt: Receipt) -> Result<(), End> {
        let Receipt { id: parent, route } = receipt;
        self.say(Lane::Status, Uplink::Ack { parent, route }).map(drop)
    }

    fn send_paced(&mut self, ask: Option<Ask>) -> Result<(), End> {
        self.bucket.take(self.line.now());
        self.send_request(ask)
    }

    fn send_kept(&mut self, (id, request): (MessageId, NodeRequest)) -> Result<(), End> {
        self.bucket.take(self.line.now());
        let lane = Lane::of_request(&request);
        self.line.with(|line, now| line.say_as(id, lane, Uplink::request(request), now))?;
        Ok(())
    }

    fn send_request(&mut self, ask: Option<Ask>) -> Result<(), End> {
        let Some(Ask { request, responder }) = ask else { return Err(End::Stopped) };
        if responder.is_closed() {
            return Ok(());
        }
        let id = match self.shorten(&request) {
            Some((step_ms, lease)) => {
                self.line.with(|line, _| line.renew(step_ms))?;
                self.renewing = Some(lease);
                MessageId::of_renewal()
            }
            None => self.say(Lane::of_request(&request), Uplink::request(request))?,
        };
        self.pending.insert(id, responder, self.line.now());
        Ok(())
    }

    /// Returns how a lease is renewed in shorthand, and what the cloud makes of that. There is one such
    /// renewal at a time.
    fn shorten(&self, request: &NodeRequest) -> Option<(u32, Object)> {
        let NodeRequest::Lease(Lease::Update(lease)) = request else { return None };
        if !self.shortens || self.renewing.is_some() {
            return None;
        }
        let step_ms = self.renewals.shorten(lease)?;
        Some((step_ms, self.renewals.lengthen(step_ms)?))
    }

    fn renewed(&mut self) -> Result<(), End> {
        let Some(lease) = self.renewing.take() else {
            return Err(End::Broken(Broken::Protocol("nothing is being renewed".to_owned())));
        };
        self.renewals.answered(&lease);
        if !self.pending.answer(&MessageId::of_renewal(), NodeReply::Object(lease)) {
            tracing::debug!("a lease was renewed too late");
        }
        Ok(())
    }

    fn say(&self, lane: Lane, body: Uplink) -> Result<MessageId, End> {
        Ok(self.line.with(|line, now| line.say(lane, body, now))?)
    }

    /// Tells whether a link is left that may take it.
    fn say_goodbye(&self, end: &End) -> bool {
        let has_last_words = matches!(end, End::Stopped | End::Broken(Broken::Protocol(_)));
        if has_last_words {
            self.line.with(|line, _| line.say_goodbye(&end.to_string()));
        }
        has_last_words
    }
}

/// Returns the next request of the outbox, once there is one.
async fn next_kept(outbox: &Outbox, now: Duration, cloud: Cloud) -> (MessageId, NodeRequest) {
    loop {
        match outbox.next(now, cloud) {
            Some(next) => return next,
            None => outbox.filled().await,
        }
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

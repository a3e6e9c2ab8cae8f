//! One node's connection, from its admission to its end: one task that owns all of it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use beehive::Bus;
use protocol::cloud::{ChangesAcknowledged, Compared};
use protocol::rules::{CommandReply, NodeCommand};
use protocol::{Lease, NodeName, NodeReply, NodeRequest, Object};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use wire::codec::{Comparison, Features};
use wire::link::{Frame, FrameReader, FrameWriter, LinkError};
use wire::session::{
    Beats, Broken, CloudEnd, Conversation, ConversationSettings, Heard, KeepaliveLimits, Lane, LaneLimits,
    Renewals, Stuck,
};
use wire::{Codec, Downlink, Envelope, Line, MessageId, ReplyShape, ReplyTo, Uplink};

use crate::acknowledged::Collected;
use crate::commands::{Commanded, Commands};
use crate::compare::{Comparing, Next, Wanted};
use crate::config::FRAME_BYTES_MAX;
use crate::known::Known;
use crate::queue::Queue;
use crate::serve::{Answer, LEASES_MAX, ROUTING_MAX, Requests, SERVING_MAX, Work};

/// Frames that may wait to be written. What is extra is for the answers that are being made.
const LANES: LaneLimits =
    LaneLimits { liveness: LEASES_MAX, status: 32, data: 32, extra: SERVING_MAX + ROUTING_MAX };
/// After which silence the cloud asks whether a node is alive that does not ask itself, which it does
/// sooner, and the longest silence.
const PING_INTERVAL: Duration = Duration::from_millis(6200);
const SILENCE_MAX: Duration = Duration::from_millis(9800);
/// The time that saying goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a session is given.
pub(crate) struct Settings {
    pub(crate) node: NodeName,
    pub(crate) number: u64,
    pub(crate) codec: Codec,
    pub(crate) features: Features,
    pub(crate) silence_max: Duration,
    pub(crate) write_timeout: Duration,
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
            Codec::KubeEdge => KeepaliveLimits {
                beats: Beats::Always,
                interval: Duration::MAX,
                silence_max: self.silence_max,
            },
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

/// What a session shares with the hub.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) commands: Commands,
    pub(crate) known: Known,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the link broke: {0}")]
    Link(LinkError),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("a newer connection of the node took its place, or its queue was full")]
    Fenced,
}

impl From<Stuck> for End {
    fn from(stuck: Stuck) -> Self {
        Self::Broken(stuck.into())
    }
}

pub(crate) struct Session {
    node: NodeName,
    number: u64,
    started: Instant,
    bus: Bus,
    queue: Queue,
    commands: Commands,
    /// Whether the node knows what rules route.
    routes: bool,
    acknowledged: Collected,
    requests: Requests,
    line: Line<CloudEnd>,
    known: Known,
    compares: bool,
    comparing: Option<(Comparing, Asked)>,
    renewals: Renewals,
    /// The lease that the node renews in shorthand.
    renewing: Option<Object>,
}

/// A comparison as it was wanted.
struct Asked {
    wanted: Wanted,
    /// How many changes were ever queued when it began, if the node had them all.
    settled: Option<u64>,
}

impl Session {
    /// Makes a session and the future that writes for it.
    pub(crate) fn new(
        settings: Settings,
        bus: Bus,
        shared: Shared,
        writer: Box<dyn FrameWriter>,
    ) -> (Self, impl Future<Output = LinkError>) {
        let conversation = Conversation::new(settings.conversation());
        let (line, writing) = Line::new(conversation, settings.started, writer, settings.write_timeout);
        let confirms = settings.features.has(Features::CONFIRMS);
        let requests = Requests::new(settings.node.clone(), settings.number, bus.clone(), confirms);
        let compares = settings.codec == Codec::Native && settings.features.has(Features::DIGESTS);
        let routes = settings.codec == Codec::KubeEdge || settings.features.has(Features::RULES);
        let Settings { node, number, started, .. } = settings;
        let Shared { queue, commands, known } = shared;
        (
            Self {
                node,
                number,
                started,
                bus,
                queue,
                commands,
                routes,
                acknowledged: Collected::default(),
                requests,
                line,
                known,
                compares,
                comparing: None,
                renewals: Renewals::default(),
                renewing: None,
            },
            writing,
        )
    }

    /// Tells the node something for its log.
    pub(crate) fn notify(&self, text: &str) {
        if let Err(error) = self.line.with(|line, _| line.notify(text)) {
            tracing::debug!(node = %self.node, %error, "the node was not told");
        }
    }

    /// Serves the connection until it ends, or until `fence` says anything.
    pub(crate) async fn run(
        mut self,
        mut reader: Box<dyn FrameReader>,
        writing: impl Future<Output = LinkError>,
        mut fence: oneshot::Receiver<()>,
        mut wanted: mpsc::Receiver<Wanted>,
    ) -> End {
        let mut writing = pin!(writing);
        let (queue, commands) = (self.queue.clone(), self.commands.clone());
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
                () = commands.filled() => Ok(()),
                Some(wanted) = wanted.recv() => self.compare(wanted),
                () = self.line.written() => Ok(()),
                () = sleep_until(wake) => Ok(()),
            };
            if let Err(end) = step {
                break end;
            }
        };
        self.tell_acknowledged();
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
        if !self.requests.has_room() {
            self.line.with(Conversation::excuse);
        }
        let mut wake = self.line.with(Conversation::poll)?;
        self.requests.advance(|lane| self.line.with(|line, _| line.has_room(lane)));
        self.send_changes(now)?;
        self.send_commands(now)?;
        // What is due and has no room waits for something to be written.
        if let Some(due) = self.queue.next_due().filter(|due| *due > now) {
            wake = wake.min(due);
        }
        if self.acknowledged.due().is_some_and(|due| due <= now) {
            self.tell_acknowledged();
        }
        if let Some(due) = self.acknowledged.due() {
            wake = wake.min(due);
        }
        Ok(wake.min(now + Duration::from_secs(3600)))
    }

    fn send_changes(&mut self, now: Duration) -> Result<(), End> {
        self.line.with(|line, _| {
            loop {
                let rooms = [Lane::Sync, Lane::Bulk].map(|lane| (lane, line.has_room(lane)));
                let fits = |change: &_| rooms.contains(&(Lane::of_change(change), true));
                let Some(next) = self.queue.next(now, fits, || line.new_id()) else { return Ok(()) };
                let lane = Lane::of_change(&next.value);
                if line.codec() == Codec::KubeEdge {
                    let event = line.new_id();
                    if let Some(said) = wire::membership(&next.value, event.to_string(), line.time_ms(now)) {
                        line.say(lane, said, now)?;
                    }
                }
                line.say_as(next.id, lane, Downlink::change(next.value), now)?;
            }
        })
    }

    /// Says what the node is to do for the rules, as there is room.
    fn send_commands(&mut self, now: Duration) -> Result<(), End> {
        self.commands.sweep();
        loop {
            let lane = |command: &NodeCommand| Lane::of_routed(command.bytes());
            let may_send = |command: &_| self.line.with(|line, _| line.has_room(lane(command)));
            let Some(Commanded { command, asker }) = self.commands.next(may_send) else { return Ok(()) };
            let codec = self.line.with(|line, _| line.codec());
            let answers = codec == Codec::Native || matches!(command, NodeCommand::Call(_));
            match command {
                _ if !self.routes => self.commands.refuse(asker),
                NodeCommand::Route(rules) if codec == Codec::KubeEdge => {
                    let before = self.known.replace_rules(rules.clone());
                    self.commands.split(asker, rules.commands_after(&before));
                }
                command => {
                    let lane = lane(&command);
                    let said = self.line.with(|line, _| line.say(lane, Downlink::Command(command), now))?;
                    match answers {
                        true => self.commands.sent(said, asker),
                        false => self.commands.answer_to(asker, CommandReply::Done),
                    }
                }
            }
        }
    }

    fn read(&mut self, frame: Result<Frame, LinkError>) -> Result<(), End> {
        let frame = frame.map_err(End::Link)?;
        match self.line.with(|line, now| line.hear(&frame, now))? {
            Heard::Message(envelope) => self.receive(envelope),
            Heard::Nothing | Heard::Notice(_) => {}
            Heard::Comparison(answer) => self.hear_compared(answer)?,
            Heard::Renewal(step_ms) => self.renew(step_ms)?,
            Heard::Renewed => return Err(End::Broken(Broken::Protocol("it was asked nothing".to_owned()))),
            Heard::Garbage(error) => {
                let node = &self.node;
                tracing::warn!(%node, %error, "the node sent a frame that is no message; it is ignored");
            }
        }
        Ok(())
    }

    /// Takes a lease in shorthand for the whole one.
    fn renew(&mut self, step_ms: u32) -> Result<(), End> {
        let lease = self.renewals.lengthen(step_ms).filter(|_| self.renewing.is_none());
        let Some(lease) = lease else {
            return Err(End::Broken(Broken::Protocol("it renews what cannot be renewed".to_owned())));
        };
        self.renewing = Some(lease.clone());
        let body = Uplink::request(NodeRequest::Lease(Lease::Update(lease)));
        self.receive(Envelope { id: MessageId::of_renewal(), timestamp_ms: 0, body });
        Ok(())
    }

    /// Begins a comparison, unless one is under way.
    fn compare(&mut self, wanted: Wanted) -> Result<(), End> {
        let settled = self.queue.settled();
        let refusal = if !self.compares {
            Some(Compared::Unknown)
        } else if self.comparing.is_some() || (wanted.is_strict && settled.is_none()) {
            Some(Compared::Busy)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            tell(wanted, refusal);
            return Ok(());
        }
        let (comparing, question) = Comparing::begin(self.known.clone());
        self.comparing = Some((comparing, Asked { wanted, settled }));
        Ok(self.line.with(|line, _| line.compare(question))?)
    }

    fn hear_compared(&mut self, answer: Comparison) -> Result<(), End> {
        let Some((mut comparing, asked)) = self.comparing.take() else {
            return Err(End::Broken(Broken::Protocol("it was not asked what it holds".to_owned())));
        };
        let next = comparing.hear(answer).map_err(|unfit| Broken::Protocol(unfit.to_string()))?;
        if asked.wanted.is_strict && (asked.settled.is_none() || self.queue.settled() != asked.settled) {
            tell(asked.wanted, Compared::Busy);
            return Ok(());
        }
        match next {
            Next::Ask(question) => {
                self.comparing = Some((comparing, asked));
                Ok(self.line.with(|line, _| line.compare(question))?)
            }
            Next::End(compared) => {
                tell(asked.wanted, compared);
                Ok(())
            }
        }
    }

    fn receive(&mut self, Envelope { id, body, .. }: Envelope<Uplink>) {
        match body {
            Uplink::Keepalive => {}
            Uplink::Ack { parent, .. } => {
                if let Some(change) = self.queue.acknowledge(&parent) {
                    self.acknowledged.add(&change, self.line.now());
                    self.known.get_mut().take(&change);
                }
            }
            Uplink::Nack { parent, text, .. } => {
                if self.queue.refuse(&parent, self.line.now()) {
                    let node = &self.node;
                    tracing::warn!(%node, problem = text, "the node did not keep a change");
                }
            }
            Uplink::Request { path, request } => {
                let shape = ReplyShape::of(&request);
                let to = ReplyTo { parent: id, path, shape };
                self.requests.push(Work { to, lane: Lane::of_request(&request), requests: vec![request] });
            }
            Uplink::CommandReply { parent, reply } => {
                if !self.commands.answer(&parent, reply) {
                    tracing::debug!(node = %self.node, "an answer came that nobody waits for");
                }
            }
            Uplink::LegacyStatus { path, requests, .. } => {
                let to = ReplyTo { parent: id, path, shape: ReplyShape::Ok };
                self.requests.push(Work { to, lane: Lane::Status, requests });
            }
            Uplink::Unknown(unknown) => {
                if let Some(kind) = self.line.with(|line, _| line.is_news(&unknown)) {
                    let node = &self.node;
                    tracing::warn!(%node, %kind, problem = %unknown.problem, "messages of this kind are ignored");
                }
            }
        }
    }

    fn send_answer(&mut self, answer: Answer) -> Result<(), End> {
        let Answer { to, lane, reply: Some(reply), .. } = answer else { return Ok(()) };
        // An old edge reports a pod that is gone for as long as it is not told that all is well.
        let reply = match reply {
            NodeReply::Object(_) if to.shape == ReplyShape::Ok => NodeReply::Done,
            reply => reply,
        };
        let is_renewed = self.is_renewed(&to, &reply);
        if let NodeReply::Object(object) = &reply {
            self.renewals.answered(object);
        }
        if is_renewed {
            return Ok(self.line.with(|line, _| line.renewed())?);
        }
        self.line.with(|line, now| line.say(lane, Downlink::Reply { to, reply }, now))?;
        Ok(())
    }

    /// Tells whoever wants to know what the node acknowledged. While there is no room for that it
    /// waits, and only its newest: the session waits for nobody.
    fn tell_acknowledged(&mut self) {
        let changes = self.acknowledged.offer(self.line.now());
        if changes.is_empty() {
            return;
        }
        let told = ChangesAcknowledged { node: self.node.clone(), session: self.number, changes };
        match self.bus.try_publish(told) {
            Ok(delivered) if delivered.full.is_empty() => self.acknowledged.forget(),
            Ok(delivered) => {
                let (node, full) = (&self.node, delivered.full);
                tracing::debug!(%node, ?full, "what the node acknowledged is told later");
            }
            Err(error) => tracing::debug!(node = %self.node, %error, "nobody was told"),
        }
    }

    /// Tells whether an answer says no more than that the lease is as it was to be.
    fn is_renewed(&mut self, to: &ReplyTo, reply: &NodeReply) -> bool {
        if to.parent != MessageId::of_renewal() {
            return false;
        }
        match (self.renewing.take(), reply) {
            (Some(asked), NodeReply::Object(answer)) => Renewals::is_as_asked(&asked, answer),
            _ => false,
        }
    }

    /// Tells whether a link is left that may take it.
    fn say_goodbye(&self, end: &End) -> bool {
        let has_last_words = matches!(end, End::Fenced | End::Broken(Broken::Protocol(_)));
        if has_last_words {
            self.line.with(|line, _| line.say_goodbye(&end.to_string()));
        }
        has_last_words
    }
}

/// Whoever wanted it may be gone.
fn tell(wanted: Wanted, compared: Compared) {
    if wanted.reply.send(compared).is_err() {
        tracing::debug!("nobody waits any longer for what a node holds");
    }
}

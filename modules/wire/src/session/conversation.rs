//! What both ends of a session have in common: ids, times, liveness, order, and the peer's faults.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use super::keepalive::{Keepalive, KeepaliveLimits, Liveness};
use super::lane::Lane;
use super::lanes::{Assembly, LaneLimits, Lanes, Stuck};
use super::pacer::Pacer;
use super::packer::{Packer, Unpacker};
use crate::codec::{self, Codec, Comparison, DecodeError, Features, Signal};
use crate::link::Frame;
use crate::message::{Envelope, MessageId, Unknown};

/// Frames that are no messages, before a peer on the KubeEdge codec is given up. A native peer never
/// sends garbage; upstream's users may put a proxy or a newer peer there.
const GARBAGE_MAX: u32 = 16;
/// Kinds of unknown messages that are remembered as noticed.
const KINDS_MAX: usize = 64;

/// One end of the link: what it says and what it hears.
pub trait End {
    /// The messages that it sends.
    type Says;
    /// The messages that it receives.
    type Hears;

    /// Writes what this end sends; `None` when the codec has no such frame.
    fn encode(codec: Codec, signal: Signal<Self::Says>) -> Option<Frame>;

    /// Reads what the other end sent.
    ///
    /// # Errors
    ///
    /// When the bytes are not of the codec.
    fn decode(codec: Codec, frame: &Frame) -> Result<Signal<Self::Hears>, DecodeError>;

    /// Returns what this end says to be known as alive where there are no pings.
    fn keepalive() -> Option<Self::Says>;

    /// Tells whether a message is secret. It is not packed: the size of what was packed together with
    /// something that others can choose would tell of it.
    fn is_secret(body: &Self::Says) -> bool;
}

/// What a conversation is given.
#[derive(Debug, Clone, Copy)]
pub struct ConversationSettings {
    /// The agreed codec.
    pub codec: Codec,
    /// What both ends can do beyond the codec's first version.
    pub features: Features,
    /// How long a peer may be silent, and how often this end says that it is alive.
    pub keepalive: KeepaliveLimits,
    /// How much may wait to be written.
    pub lanes: LaneLimits,
    /// The largest frame that is put together of parts.
    pub frame_bytes_max: usize,
    /// The wall clock when the session began, since the Unix epoch.
    pub wall_clock: Duration,
    /// Decides the ids.
    pub seed: u64,
}

/// Why a conversation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The peer took its leave.
    #[error("the peer ended the session: {0}")]
    Goodbye(String),
    /// The peer does not speak as agreed.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
    /// The peer said nothing for too long.
    #[error("the peer was silent for too long")]
    Silent,
    /// The link does not drain.
    #[error(transparent)]
    Stuck(#[from] Stuck),
}

/// What a frame of the peer came to.
#[derive(Debug)]
pub enum Heard<B> {
    /// A message.
    Message(Envelope<B>),
    /// Nothing that concerns the session.
    Nothing,
    /// A text for the log.
    Notice(String),
    /// About what the node holds.
    Comparison(Comparison),
    /// The node's lease is so many milliseconds later than it was.
    Renewal(u32),
    /// The lease is as the renewal said.
    Renewed,
    /// No message; it is passed over.
    Garbage(DecodeError),
}

/// One end's side of a session, without clock, task or socket. Time is given as the duration since
/// the session began.
///
/// What is said waits in its lane until [`Conversation::next_frame`] is asked for it. On the native
/// codec data is held back while the link is busy with what it was given before.
#[derive(Debug)]
pub struct Conversation<E: End> {
    codec: Codec,
    features: Features,
    wall_clock: Duration,
    ids: SmallRng,
    /// How many ids were made.
    made: u64,
    keepalive: Keepalive,
    lanes: Lanes,
    pacer: Pacer,
    ping_due: bool,
    pong_due: Option<u64>,
    goodbye: Option<Frame>,
    assembly: Assembly,
    packer: Packer,
    unpacker: Unpacker,
    garbage: u32,
    kinds: BTreeSet<String>,
    end: std::marker::PhantomData<E>,
}

impl<E: End> Conversation<E> {
    /// Begins a conversation. A first sign of life is due at once.
    #[must_use]
    pub fn new(settings: ConversationSettings) -> Self {
        Self {
            codec: settings.codec,
            features: settings.features,
            wall_clock: settings.wall_clock,
            ids: SmallRng::seed_from_u64(settings.seed),
            made: 0,
            keepalive: Keepalive::new(settings.keepalive, Duration::ZERO),
            lanes: Lanes::new(settings.lanes, settings.features.has(Features::PARTS)),
            pacer: Pacer::new(),
            ping_due: false,
            pong_due: None,
            goodbye: None,
            assembly: Assembly::new(settings.frame_bytes_max),
            packer: Packer::default(),
            unpacker: Unpacker::new(settings.frame_bytes_max),
            garbage: 0,
            kinds: BTreeSet::new(),
            end: std::marker::PhantomData,
        }
    }

    /// Returns the codec.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Says that this end is alive if that is due, and returns when it will be.
    ///
    /// # Errors
    ///
    /// When the peer has been silent for too long.
    pub fn poll(&mut self, now: Duration) -> Result<Duration, Broken> {
        loop {
            match self.keepalive.poll(now) {
                Liveness::Dead => return Err(Broken::Silent),
                Liveness::Quiet(until) => return Ok(until),
                Liveness::Beat => self.beat(now)?,
            }
        }
    }

    fn beat(&mut self, now: Duration) -> Result<(), Stuck> {
        match (self.codec, E::keepalive()) {
            (Codec::Native, _) => self.ping_due = true,
            (Codec::KubeEdge, Some(body)) => self.say(Lane::Liveness, body, now).map(drop)?,
            (Codec::KubeEdge, None) => {}
        }
        Ok(())
    }

    /// Excuses a silence that is this end's own doing: it does not read.
    pub fn excuse(&mut self, now: Duration) {
        self.keepalive.heard(now);
        self.pacer.forget();
    }

    /// Makes the id of a message: one of this session, where the peer takes short ones, or one that
    /// differs from all others.
    pub fn new_id(&mut self) -> MessageId {
        if self.features.has(Features::SHORT) {
            self.made += 1;
            return MessageId::new(&format!("{:x}", self.made));
        }
        let mut bytes = [0; 16];
        self.ids.fill_bytes(&mut bytes);
        MessageId::from_random(bytes)
    }

    /// Tells whether a lane takes more for now.
    #[must_use]
    pub fn has_room(&self, lane: Lane) -> bool {
        self.lanes.has_room(lane)
    }

    /// Says something new, and returns the id that it was given.
    ///
    /// # Errors
    ///
    /// When too much waits in the lane already.
    pub fn say(&mut self, lane: Lane, body: E::Says, now: Duration) -> Result<MessageId, Stuck> {
        let id = self.new_id();
        self.say_as(id.clone(), lane, body, now)?;
        Ok(id)
    }

    /// Says something under an id that it has already.
    ///
    /// # Errors
    ///
    /// When too much waits in the lane already.
    pub fn say_as(&mut self, id: MessageId, lane: Lane, body: E::Says, now: Duration) -> Result<(), Stuck> {
        let timestamp_ms = self.time_ms(now);
        let is_secret = E::is_secret(&body);
        self.push(lane, Signal::Message(Envelope { id, timestamp_ms, body }), is_secret)
    }

    /// Returns the time of day as messages carry it: milliseconds of Unix time.
    #[must_use]
    pub fn time_ms(&self, now: Duration) -> i64 {
        let at = self.wall_clock.saturating_add(now);
        i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
    }

    fn push(&mut self, lane: Lane, signal: Signal<E::Says>, is_secret: bool) -> Result<(), Stuck> {
        let Some(frame) = E::encode(self.codec, signal) else { return Ok(()) };
        let may_pack = self.features.has(Features::PACKS) && !is_secret;
        let packed = if may_pack { self.packer.pack(lane, &frame) } else { None };
        self.lanes.push(lane, packed.map_or(frame, codec::encode_packed))
    }

    /// Says something about what the node holds, to a peer with [`Features::DIGESTS`].
    ///
    /// # Errors
    ///
    /// When too much waits already.
    pub fn compare(&mut self, comparison: Comparison) -> Result<(), Stuck> {
        self.push(Lane::Sync, Signal::Comparison(comparison), false)
    }

    /// Renews the node's lease by so many milliseconds, where the peer has [`Features::SHORT`].
    ///
    /// # Errors
    ///
    /// When too much waits already.
    pub fn renew(&mut self, step_ms: u32) -> Result<(), Stuck> {
        self.push(Lane::Liveness, Signal::Renewal(step_ms), false)
    }

    /// Says that the lease is as the renewal said.
    ///
    /// # Errors
    ///
    /// When too much waits already.
    pub fn renewed(&mut self) -> Result<(), Stuck> {
        self.push(Lane::Liveness, Signal::Renewed, false)
    }

    /// Tells a peer that takes notices something for its log.
    ///
    /// # Errors
    ///
    /// When too much waits already.
    pub fn notify(&mut self, text: &str) -> Result<(), Stuck> {
        if !self.features.has(Features::NOTICES) {
            return Ok(());
        }
        match E::encode(self.codec, Signal::Notice(text.to_owned())) {
            Some(frame) => self.lanes.push(Lane::Status, frame),
            None => Ok(()),
        }
    }

    /// Takes leave, behind what is urgent. Nothing may be said after it. Data that waits is left out
    /// where both ends make sure that it comes again.
    pub fn say_goodbye(&mut self, reason: &str) {
        if self.features.has(Features::CONFIRMS) {
            self.lanes.clear_data();
        }
        self.goodbye = E::encode(self.codec, Signal::Goodbye(reason.to_owned()));
    }

    /// Returns what is to be given to the transport next; `None` until something is said or heard.
    pub fn next_frame(&mut self, now: Duration) -> Option<Frame> {
        let is_short = self.features.has(Features::SHORT);
        if let Some(number) = self.pong_due.take() {
            let pong = || E::encode(self.codec, Signal::Pong(number));
            let frame = if is_short { Some(codec::encode_pong(number)) } else { pong() };
            if frame.is_some() {
                return frame;
            }
        }
        if self.codec == Codec::KubeEdge {
            return self.lanes.next(true);
        }
        if std::mem::take(&mut self.ping_due) || self.pacer.wants_mark() {
            let number = self.pacer.mark(now);
            let ping = || E::encode(self.codec, Signal::Ping(number));
            return if is_short { Some(codec::encode_ping(number)) } else { ping() };
        }
        let frame = self.lanes.next(self.pacer.is_open()).or_else(|| self.goodbye.take())?;
        self.pacer.gave(frame.payload().len());
        Some(frame)
    }

    /// Takes a frame of the peer.
    ///
    /// # Errors
    ///
    /// When the session is over because of it.
    pub fn hear(&mut self, frame: &Frame, now: Duration) -> Result<Heard<E::Hears>, Broken> {
        self.keepalive.heard(now);
        match E::decode(self.codec, frame) {
            Ok(Signal::Part(part)) => {
                let assembled = self.assembly.add(&part).map_err(|error| Broken::Protocol(error.to_string()));
                match assembled? {
                    Some(frame) => self.hear_whole(&frame, now),
                    None => Ok(Heard::Nothing),
                }
            }
            Ok(signal) => self.unpack(signal, now),
            Err(error) => self.pass_over(error),
        }
    }

    fn hear_whole(&mut self, frame: &Frame, now: Duration) -> Result<Heard<E::Hears>, Broken> {
        match E::decode(self.codec, frame) {
            Ok(signal) => self.unpack(signal, now),
            Err(error) => self.pass_over(error),
        }
    }

    fn unpack(&mut self, signal: Signal<E::Hears>, now: Duration) -> Result<Heard<E::Hears>, Broken> {
        let Signal::Packed(packed) = signal else { return self.take(signal, now) };
        let frame = self.unpacker.unpack(&packed).map_err(|error| Broken::Protocol(error.to_string()))?;
        match E::decode(self.codec, &frame) {
            Ok(signal) => self.take(signal, now),
            Err(error) => self.pass_over(error),
        }
    }

    fn take(&mut self, signal: Signal<E::Hears>, now: Duration) -> Result<Heard<E::Hears>, Broken> {
        match signal {
            Signal::Message(envelope) => return Ok(Heard::Message(envelope)),
            Signal::Ping(number) => {
                // A pong stands for all before it.
                self.pong_due = Some(number);
            }
            Signal::Pong(number) => self.pacer.arrived(number, now),
            Signal::Goodbye(reason) => return Err(Broken::Goodbye(reason)),
            Signal::Greeting => return Err(Broken::Protocol("it greets a second time".to_owned())),
            Signal::Part(_) => return Err(Broken::Protocol("a part lies within a frame".to_owned())),
            Signal::Packed(_) => return Err(Broken::Protocol("a frame is packed twice".to_owned())),
            Signal::Notice(text) => return Ok(Heard::Notice(text)),
            Signal::Comparison(comparison) => return Ok(Heard::Comparison(comparison)),
            Signal::Renewal(step_ms) => return Ok(Heard::Renewal(step_ms)),
            Signal::Renewed => return Ok(Heard::Renewed),
        }
        Ok(Heard::Nothing)
    }

    fn pass_over(&mut self, error: DecodeError) -> Result<Heard<E::Hears>, Broken> {
        self.garbage += 1;
        if self.codec == Codec::Native || self.garbage >= GARBAGE_MAX {
            return Err(Broken::Protocol(error.to_string()));
        }
        Ok(Heard::Garbage(error))
    }

    /// Returns the kind of a message without a meaning, if it is the first of its kind.
    pub fn is_news(&mut self, unknown: &Unknown) -> Option<String> {
        let kind = unknown.kind();
        let is_news = self.kinds.len() < KINDS_MAX && self.kinds.insert(kind.clone());
        is_news.then_some(kind)
    }
}

#[cfg(test)]
mod tests;

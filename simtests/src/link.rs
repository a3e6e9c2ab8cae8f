//! The network between edges and their cloud: reliable and ordered as TCP is, until it breaks.
//!
//! A frame that is lost on the way comes later, or takes its connection with it: the connection
//! breaks, or it sticks and nobody is told. Nothing is delivered twice or out of order, since the
//! transports that this stands for do not do that either.

mod dial;
mod ears;
mod pipe;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::SmallRng;
use tokio::sync::Notify;
use tokio::time::Instant;
use wire::Codec;
use wire::link::Frame;

use crate::disk::Disk;
use crate::trace::digest;
use crate::world::World;
use dial::Accepting;
use ears::Ears;
use pipe::{Half, Pipe};

/// What one connection holds of what nobody has read.
const FRAMES_MAX: usize = 64;
const BYTES_MAX: usize = 1 << 20;
/// The first wait before something lost is sent again; it doubles.
const RESEND_AFTER: Duration = Duration::from_millis(200);

/// A direction of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the edge to the cloud.
    Up,
    /// From the cloud to the edge.
    Down,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];

    const fn at(self) -> usize {
        match self {
            Self::Up => 0,
            Self::Down => 1,
        }
    }
}

/// How the way between one edge and the cloud behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// How long a frame is on its way.
    pub latency: Duration,
    /// By how much at most that varies.
    pub jitter: Duration,
    /// How much fits through it.
    pub bytes_per_second: Option<u64>,
    /// Which share of the frames is lost at first, between 0 and 1.
    pub loss: f64,
}

impl Default for Shape {
    fn default() -> Self {
        let (latency, jitter) = (Duration::from_millis(10), Duration::from_millis(5));
        Self { latency, jitter, bytes_per_second: None, loss: 0.0 }
    }
}

/// The way between one edge and the cloud.
#[derive(Debug, Default)]
struct Road {
    shape: Shape,
    cut: [bool; 2],
    bytes: [u64; 2],
    frames: [u64; 2],
    /// The disk of the node.
    disk: Option<Disk>,
}

#[derive(Debug)]
struct Connection {
    node: String,
    codec: Codec,
    ears: Ears,
    pipes: [Pipe; 2],
    is_broken: bool,
    is_stuck: bool,
    halves: u8,
}

#[derive(Debug)]
struct State {
    rng: SmallRng,
    roads: BTreeMap<String, Road>,
    connections: BTreeMap<u64, Connection>,
    made: u64,
    accepting: Option<Accepting>,
}

/// The network. Clones are the same network; it is the edges' dialer and the cloud's listener.
#[derive(Clone)]
pub(crate) struct Network {
    world: Arc<World>,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        let state = State {
            rng: world.rng("network"),
            roads: BTreeMap::new(),
            connections: BTreeMap::new(),
            made: 0,
            accepting: None,
        };
        Self { world: world.clone(), state: Arc::new(Mutex::new(state)), changed: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whose disk is at the end of a way.
    pub(crate) fn attach(&self, node: &str, disk: &Disk) {
        self.lock().road(node).disk = Some(disk.clone());
    }

    /// Lets nothing through in one direction until it is healed. Nobody is told.
    pub(crate) fn cut(&self, node: &str, direction: Direction) {
        self.lock().road(node).cut[direction.at()] = true;
    }

    /// Lets everything through again, in the shape that the way has without a fault.
    pub(crate) fn heal(&self, node: &str) {
        let mut state = self.lock();
        let road = state.road(node);
        road.cut = [false; 2];
        road.shape = Shape::default();
        state.delay_waiting(node);
        drop(state);
        self.stir(node);
    }

    pub(crate) fn shape(&self, node: &str, shape: Shape) {
        self.lock().road(node).shape = shape;
    }

    /// Breaks what is connected: both ends are told.
    pub(crate) fn reset(&self, node: &str) {
        for connection in self.lock().of(node) {
            connection.is_broken = true;
        }
        self.stir(node);
    }

    /// Lets what is connected stick: nothing comes through any longer and nobody is told. New
    /// connections work.
    pub(crate) fn stick(&self, node: &str) {
        for connection in self.lock().of(node) {
            connection.is_stuck = true;
        }
    }

    /// Returns how many bytes the edge has sent and was sent.
    pub(crate) fn bytes(&self, node: &str) -> [u64; 2] {
        self.lock().road(node).bytes
    }

    /// Returns how many frames the edge has sent and was sent.
    pub(crate) fn frames(&self, node: &str) -> [u64; 2] {
        self.lock().road(node).frames
    }

    /// Wakes whoever waits for the way of a node.
    fn stir(&self, node: &str) {
        for connection in self.lock().of(node) {
            for pipe in &connection.pipes {
                pipe.readable.notify_one();
                pipe.writable.notify_one();
            }
        }
        self.changed.notify_waiters();
    }
}

impl State {
    fn road(&mut self, node: &str) -> &mut Road {
        self.roads.entry(node.to_owned()).or_default()
    }

    fn of<'a>(&'a mut self, node: &'a str) -> impl Iterator<Item = &'a mut Connection> {
        self.connections.values_mut().filter(move |connection| connection.node == node)
    }

    /// What was cut off is sent again some time after the way is healed.
    fn delay_waiting(&mut self, node: &str) {
        let mut resent = Instant::now();
        for connection in self.connections.values_mut().filter(|connection| connection.node == node) {
            for pipe in &mut connection.pipes {
                resent += self.rng.random_range(Duration::ZERO..RESEND_AFTER * 4);
                pipe.not_before(resent);
            }
        }
    }

    fn is_open(&mut self, node: &str, direction: Direction) -> bool {
        !self.road(node).cut[direction.at()]
    }

    fn latency(&mut self, node: &str) -> Duration {
        let shape = self.road(node).shape;
        shape.latency + shape.jitter.mul_f64(self.rng.random())
    }

    /// Decides when a frame arrives, and what becomes of its connection on the way.
    fn dispatch(&mut self, world: &World, half: Half, frame: Frame) -> Option<()> {
        let connection = self.connections.get(&half.connection)?;
        let (node, codec) = (connection.node.clone(), connection.codec);
        let size = frame.payload().len();
        let mut latency = self.latency(&node);
        let road = self.road(&node);
        road.bytes[half.direction.at()] += u64::try_from(size).unwrap_or(u64::MAX);
        road.frames[half.direction.at()] += 1;
        let (shape, disk) = (road.shape, road.disk.clone());
        let mut fate = Fate::Arrives;
        if shape.loss > 0.0 {
            let mut again = RESEND_AFTER;
            while self.rng.random_bool(shape.loss.clamp(0.0, 0.9)) {
                world.fault("frame-lost", format_args!("{node}"));
                latency += again;
                again *= 2;
                fate = match self.rng.random_range(0..10) {
                    0 => Fate::Breaks,
                    1 => Fate::Sticks,
                    _ => fate,
                };
            }
        }
        let connection = self.connections.get_mut(&half.connection)?;
        connection.is_broken |= fate == Fate::Breaks;
        connection.is_stuck |= fate == Fate::Sticks;
        let busy = shape
            .bytes_per_second
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(size as f64 / rate.max(1) as f64));
        let hash = digest(frame.payload());
        world.record(format_args!("link {node} {:?} sent {size} bytes {hash:016x}", half.direction));
        if let Some(whole) = connection.ears.hear(half.direction, &frame) {
            let held = || disk.as_ref().map(Disk::held).unwrap_or_default();
            world.ledger.frame_sent(&node, codec, half.direction, &whole, held);
        }
        connection.pipes[half.direction.at()].push(frame, busy, latency);
        if connection.is_broken {
            world.record(format_args!("link {node} breaks"));
        }
        Some(())
    }
}

/// What a lost frame does to its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Breaks,
    Sticks,
}

#[cfg(test)]
mod tests;

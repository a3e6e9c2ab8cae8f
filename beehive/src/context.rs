//! What a module's handlers are given.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use tokio::time::Instant;

use crate::bus::Bus;
use crate::core::Core;
use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::module::{Handler, Module};
use crate::name::ModuleName;
use crate::parcel::{Me, Parcels, timed};
use crate::route::ModuleId;
use crate::task::{TaskKey, Tasks};
use crate::timer::{TimerKey, Timers};

/// The random numbers that a module is given, decided by the node's seed.
pub type Rng = SmallRng;

/// What a module's handlers are given: the bus, timers, tasks, time and randomness.
pub struct Context<M: Module> {
    bus: Bus,
    mailbox: Mailbox<Parcels<M>>,
    pub(crate) timers: Timers<M>,
    pub(crate) tasks: Rc<Tasks>,
    rng: Rng,
}

impl<M: Module> Context<M> {
    pub(crate) fn new(
        core: Arc<Core>,
        module: ModuleId,
        mailbox: Mailbox<Parcels<M>>,
        tasks: Rc<Tasks>,
        chance: Chance,
    ) -> Self {
        Self { bus: Bus::new(core, module), mailbox, timers: Timers::new(), tasks, rng: chance.rng(M::NAME) }
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.bus.core
    }

    /// Returns the bus. A clone of it may go into tasks and to other threads.
    #[must_use]
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Returns the module's own mailbox, for its tasks to report to.
    #[must_use]
    pub fn me(&self) -> Me<M> {
        Me::new(self.mailbox.clone(), self.bus.me)
    }

    /// Delivers a copy of `message` to the module each `period`, first after one period.
    ///
    /// A module that is slower than its timer skips the ticks that it missed.
    pub fn every<E: Message + Clone>(&mut self, period: Duration, message: E) -> TimerKey
    where
        M: Handler<E>,
    {
        let me = self.bus.me;
        self.timers.add(period, Some(period), Box::new(move || Some(timed::<M, E>(message.clone(), me))))
    }

    /// Delivers `message` to the module once, after `delay`.
    pub fn after<E: Message>(&mut self, delay: Duration, message: E) -> TimerKey
    where
        M: Handler<E>,
    {
        let me = self.bus.me;
        let mut message = Some(message);
        self.timers.add(
            delay,
            None,
            Box::new(move || message.take().map(|message| timed::<M, E>(message, me))),
        )
    }

    /// Ends a timer. Nothing happens if it is over.
    pub fn cancel(&mut self, timer: TimerKey) {
        self.timers.cancel(timer);
    }

    /// Runs a task beside the handlers. The module owns it: it is dropped when the module stops or is
    /// restarted, and a panic in it fails the module.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + 'static) -> TaskKey {
        self.tasks.spawn(task)
    }

    /// Ends a task. Nothing happens if it is over.
    pub fn abort(&mut self, task: TaskKey) {
        self.tasks.abort(task);
    }

    /// Returns the module's source of randomness.
    pub const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Returns tokio's time, for durations and deadlines.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Returns the time of day from the node's clock.
    #[must_use]
    pub fn wall_clock(&self) -> SystemTime {
        self.bus.core.clock.now()
    }

    /// Returns the bytes of a random UUID, version 4.
    pub fn uuid(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        bytes
    }

    /// Tells whether something is to go wrong on purpose at this point. Never so unless the node was
    /// given a [`Buggify`](crate::Buggify), as simulations do. Tasks ask [`Bus::buggify`].
    #[must_use]
    pub fn buggify(&self, point: &'static str) -> bool {
        self.bus.buggify(point)
    }

    /// Returns the module's name.
    #[must_use]
    pub const fn name(&self) -> ModuleName {
        M::NAME
    }

    /// Returns the node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.bus.core.node
    }
}

/// What decides the randomness of one value of a module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance {
    pub(crate) seed: u64,
    /// How many values there were before.
    pub(crate) generation: u64,
}

impl Chance {
    pub(crate) fn rng(self, module: ModuleName) -> Rng {
        SmallRng::seed_from_u64(mix(self.seed, module.as_str()).wrapping_add(self.generation))
    }
}

/// Mixes a seed with a name (FNV-1a).
fn mix(seed: u64, name: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed.rotate_left(17);
    name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

//! What a node tells about its modules.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::mailbox::Mailbox;
use crate::name::{Group, ModuleName};

/// The state of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModuleState {
    /// Its first `started` has not returned.
    Starting,
    /// It handles messages.
    Running,
    /// It failed, and waits or starts again. Its mailbox fills.
    Restarting,
    /// It empties its mailbox and ends.
    Stopping,
    /// It has stopped.
    Stopped,
    /// It was given up.
    Failed,
}

const STATES: [ModuleState; 6] = [
    ModuleState::Starting,
    ModuleState::Running,
    ModuleState::Restarting,
    ModuleState::Stopping,
    ModuleState::Stopped,
    ModuleState::Failed,
];

/// A handler that makes no progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The message that it handles.
    pub message: &'static str,
    /// For how long, when it was last looked at.
    pub waited: Duration,
    /// Whom it waits for, and with what, if it waits for a module.
    pub waits_for: Option<(ModuleName, &'static str)>,
}

/// The health of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleHealth {
    /// The module.
    pub name: ModuleName,
    /// Its group.
    pub group: Group,
    /// Its state.
    pub state: ModuleState,
    /// How often it was restarted.
    pub restarts: u64,
    /// Its last failure.
    pub last_failure: Option<String>,
    /// The handler that makes no progress, if one does not.
    pub stuck: Option<Stuck>,
}

/// The health of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Its modules, in start order.
    pub modules: Vec<ModuleHealth>,
}

impl Health {
    /// Returns whether every module runs and none is stuck.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.modules.iter().all(|module| module.state == ModuleState::Running && module.stuck.is_none())
    }
}

/// The figures of a module since the node was launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleMetrics {
    /// The module.
    pub name: ModuleName,
    /// Messages that its mailbox took, and timers that fired.
    pub received: u64,
    /// Messages that were handled to the end.
    pub handled: u64,
    /// Requests that were dropped unhandled, since their askers had left.
    pub abandoned: u64,
    /// Failures: of handlers, of tasks, of `build` and of `started`.
    pub failed: u64,
    /// How often it was rebuilt.
    pub restarts: u64,
    /// How often a handler was found without progress.
    pub stuck: u64,
    /// Messages that wait in its mailbox.
    pub mailbox_depth: usize,
    /// Messages that its mailbox can hold.
    pub mailbox_capacity: usize,
    /// The time that its handlers took in all, waits included.
    pub handling_time: Duration,
    /// The longest time without a pause between handlers.
    pub busy_max: Duration,
}

/// A counter with one writer: no read-modify-write on the bus's path.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn raise(&self, to: u64) {
        if to > self.get() {
            self.0.store(to, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tells how full a mailbox is.
pub(crate) trait Gauge: Send + Sync {
    /// Returns waiting messages and room in all.
    fn depth(&self) -> (usize, usize);
}

impl<S: Send> Gauge for Mailbox<S> {
    fn depth(&self) -> (usize, usize) {
        Self::depth(self)
    }
}

/// What the node knows about one module. Written by the module's engine only.
pub(crate) struct Cell {
    pub(crate) name: ModuleName,
    pub(crate) group: Group,
    pub(crate) gauge: Box<dyn Gauge>,
    state: AtomicU8,
    pub(crate) opened: Counter,
    pub(crate) handled: Counter,
    pub(crate) abandoned: Counter,
    pub(crate) failed: Counter,
    pub(crate) restarts: Counter,
    pub(crate) stuck_count: Counter,
    pub(crate) handling_nanos: Counter,
    pub(crate) busy_max_nanos: Counter,
    pub(crate) notes: Mutex<Notes>,
}

/// What changes too rarely to need an atomic.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) last_failure: Option<String>,
    pub(crate) stuck: Option<Stuck>,
}

impl Cell {
    pub(crate) fn new(name: ModuleName, group: Group, gauge: Box<dyn Gauge>) -> Self {
        Self {
            name,
            group,
            gauge,
            state: AtomicU8::new(0),
            opened: Counter::default(),
            handled: Counter::default(),
            abandoned: Counter::default(),
            failed: Counter::default(),
            restarts: Counter::default(),
            stuck_count: Counter::default(),
            handling_nanos: Counter::default(),
            busy_max_nanos: Counter::default(),
            notes: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> ModuleState {
        let at = usize::from(self.state.load(Ordering::Acquire));
        STATES.get(at).copied().unwrap_or(ModuleState::Failed)
    }

    pub(crate) fn set_state(&self, state: ModuleState) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub(crate) fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn health(&self) -> ModuleHealth {
        let notes = self.notes();
        ModuleHealth {
            name: self.name,
            group: self.group,
            state: self.state(),
            restarts: self.restarts.get(),
            last_failure: notes.last_failure.clone(),
            stuck: notes.stuck.clone(),
        }
    }

    pub(crate) fn metrics(&self) -> ModuleMetrics {
        let (mailbox_depth, mailbox_capacity) = self.gauge.depth();
        ModuleMetrics {
            name: self.name,
            received: self.opened.get() + mailbox_depth as u64,
            handled: self.handled.get(),
            abandoned: self.abandoned.get(),
            failed: self.failed.get(),
            restarts: self.restarts.get(),
            stuck: self.stuck_count.get(),
            mailbox_depth,
            mailbox_capacity,
            handling_time: Duration::from_nanos(self.handling_nanos.get()),
            busy_max: Duration::from_nanos(self.busy_max_nanos.get()),
        }
    }
}

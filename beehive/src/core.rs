//! What the modules of one node share.

use std::any::TypeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::ThreadId;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::buggify::Buggify;
use crate::clock::Clock;
use crate::error::{Chain, NodeFailure};
use crate::metrics::{Cell, Counter, ModuleState};
use crate::module::Manner;
use crate::name::{Group, ModuleName};
use crate::route::{ModuleId, Routes};
use crate::trace::{BusEvent, EventKind, TraceSink};
use crate::wait::{WaitId, Waits, chain};

/// What a module may ask and publish, sorted.
#[derive(Default)]
pub(crate) struct Permits {
    pub(crate) asks: Vec<(TypeId, Group, Manner)>,
    pub(crate) publishes: Vec<TypeId>,
}

/// A node's shared state.
pub(crate) struct Core {
    pub(crate) node: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) routes: Routes,
    pub(crate) cells: Vec<Cell>,
    pub(crate) permits: Vec<Permits>,
    pub(crate) waits: Waits,
    pub(crate) trace: Option<Arc<dyn TraceSink>>,
    pub(crate) buggify: Option<Arc<dyn Buggify>>,
    /// Told whenever a module's state changes.
    pub(crate) changed: watch::Sender<()>,
    /// The first module that was given up.
    pub(crate) failure: watch::Sender<Option<NodeFailure>>,
    /// Counts polls of engines and tasks, for those who wait until all is quiet.
    pub(crate) activity: Counter,
    /// Tasks that modules own.
    pub(crate) tasks: AtomicU64,
    /// The thread that owns the modules.
    pub(crate) thread: ThreadId,
    /// The module whose handler is being polled.
    handling: AtomicU16,
}

impl Core {
    pub(crate) fn new(
        options: crate::node::Shared,
        routes: Routes,
        cells: Vec<Cell>,
        permits: Vec<Permits>,
    ) -> Self {
        Self {
            node: options.name,
            clock: options.clock,
            routes,
            cells,
            permits,
            waits: Waits::default(),
            trace: options.trace,
            buggify: options.buggify,
            changed: watch::channel(()).0,
            failure: watch::channel(None).0,
            activity: Counter::default(),
            tasks: AtomicU64::new(0),
            thread: std::thread::current().id(),
            handling: AtomicU16::new(ModuleId::OUTSIDE.number()),
        }
    }

    /// Returns the module's shared record. Only for modules, never for the outside.
    #[inline]
    pub(crate) fn cell(&self, module: ModuleId) -> &Cell {
        self.cells.get(module.index()).expect("ids are given out for cells only")
    }

    pub(crate) fn name(&self, module: ModuleId) -> ModuleName {
        self.cells.get(module.index()).map_or(ModuleName::new("outside"), |cell| cell.name)
    }

    pub(crate) fn set_state(&self, module: ModuleId, state: ModuleState) {
        self.cell(module).set_state(state);
        self.changed.send_replace(());
    }

    /// Marks the module whose handler is about to be polled; returns whom to restore afterwards.
    #[inline]
    pub(crate) fn enter(&self, module: ModuleId) -> u16 {
        // Only the modules' thread writes it.
        let before = self.handling.load(Ordering::Relaxed);
        self.handling.store(module.number(), Ordering::Relaxed);
        before
    }

    #[inline]
    pub(crate) fn leave(&self, before: u16) {
        self.handling.store(before, Ordering::Relaxed);
    }

    /// Returns whether the caller is this module's handler, rather than one of its tasks.
    #[inline]
    fn is_handling(&self, module: ModuleId) -> bool {
        module != ModuleId::OUTSIDE
            && self.handling.load(Ordering::Relaxed) == module.number()
            && std::thread::current().id() == self.thread
    }

    /// Notes that `from` cannot go on before `to` does. Does nothing unless a handler of `from` is the
    /// caller.
    pub(crate) fn wait<'a>(
        &'a self,
        from: ModuleId,
        to: ModuleId,
        what: &'static str,
    ) -> Result<Option<WaitGuard<'a>>, Chain> {
        if !self.is_handling(from) {
            return Ok(None);
        }
        match self.waits.add(from, to, what) {
            Ok(id) => Ok(Some(WaitGuard { core: self, id })),
            Err(circle) => {
                self.record(from, to, what, EventKind::Cycle);
                Err(chain(&circle, |id| self.name(id)))
            }
        }
    }

    /// Tells the trace, if there is one.
    #[inline]
    pub(crate) fn record(&self, from: ModuleId, to: ModuleId, message: &'static str, kind: EventKind) {
        if self.trace.is_some() {
            self.tell(from, to, message, kind);
        }
    }

    #[cold]
    fn tell(&self, from: ModuleId, to: ModuleId, message: &'static str, kind: EventKind) {
        if let Some(trace) = &self.trace {
            trace.record(BusEvent {
                at: Instant::now(),
                node: self.node.clone(),
                from: self.name(from).as_str(),
                to: self.name(to).as_str(),
                message,
                kind,
            });
        }
    }

    #[inline]
    pub(crate) fn stir(&self) {
        self.activity.add(1);
    }
}

/// An edge that lasts as long as the wait.
pub(crate) struct WaitGuard<'a> {
    core: &'a Core,
    pub(crate) id: WaitId,
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.core.waits.remove(self.id);
    }
}

//! What a module's handler is doing, and for how long.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::core::Core;
use crate::error::Failure;
use crate::metrics::Stuck;
use crate::route::ModuleId;
use crate::trace::EventKind;

/// A module that held the thread for this long kept all others from running.
const SLICE_MAX: Duration = Duration::from_secs(1);

/// What a module is doing. Written by its value, read by its watchdog.
#[derive(Default)]
pub(crate) struct Progress {
    message: Cell<Option<&'static str>>,
    begun: Cell<u64>,
    waited: Cell<bool>,
}

impl Progress {
    #[inline]
    pub(crate) fn begin(&self, message: &'static str) {
        self.message.set(Some(message));
        self.begun.set(self.begun.get().wrapping_add(1));
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.message.set(None);
    }

    /// Returns the message that is being handled.
    pub(crate) fn message(&self) -> Option<&'static str> {
        self.message.get()
    }

    /// Returns whether a handler has waited since the last call.
    #[inline]
    pub(crate) fn take_waited(&self) -> bool {
        self.waited.take()
    }
}

/// Measures a module's handlers, and finds those that make no progress.
///
/// It reads the clock once before and once after each turn of the module, not for each message, and
/// has a timer only while a handler waits.
pub(crate) struct Watchdog {
    core: Arc<Core>,
    id: ModuleId,
    stuck_after: Duration,
    /// A handler that waits alone for this long has failed; zero: never.
    stuck_for: Duration,
    /// The handler that waits: its number, since when, and when it is looked at next.
    waiting: Option<Waiting>,
    sleep: Option<Pin<Box<Sleep>>>,
    mark: Instant,
}

struct Waiting {
    begun: u64,
    since: Instant,
    /// Since when it is not known to wait for another module.
    alone: Instant,
    /// When it is reported next.
    report: Instant,
    is_stuck: bool,
}

impl Watchdog {
    pub(crate) fn new(core: Arc<Core>, id: ModuleId, stuck_after: Duration, stuck_for: Duration) -> Self {
        Self { core, id, stuck_after, stuck_for, waiting: None, sleep: None, mark: Instant::now() }
    }

    /// Notes the begin of a turn.
    pub(crate) fn begin(&mut self, progress: &Progress) -> Instant {
        let now = Instant::now();
        if progress.message().is_none() {
            self.mark = now;
        }
        now
    }

    /// Notes the end of a turn.
    pub(crate) fn end(&mut self, progress: &Progress, begun: Instant, is_over: bool) {
        let now = Instant::now();
        let cell = self.core.cell(self.id);
        let busy = now.saturating_duration_since(self.mark);
        let slice = now.saturating_duration_since(begun);
        self.mark = now;
        cell.handling_nanos.add(nanos(busy));
        let waited = self.waiting.as_ref().map_or(slice, |waiting| now - waiting.since);
        cell.busy_max_nanos.raise(nanos(waited));
        if slice >= SLICE_MAX {
            tracing::warn!(?slice, "the module held the thread and kept all others from running");
        }
        match progress.message() {
            Some(_) if !is_over => {
                progress.waited.set(true);
                if self.waiting.as_ref().is_none_or(|waiting| waiting.begun != progress.begun.get()) {
                    self.clear();
                    let report = now + self.stuck_after;
                    let begun = progress.begun.get();
                    self.waiting = Some(Waiting { begun, since: now, alone: now, report, is_stuck: false });
                }
            }
            _ => self.clear(),
        }
    }

    /// Reports a handler that has waited too long: once, and again each time the wait has doubled.
    /// Ready when it has waited so long that it has failed.
    pub(crate) fn poll(&mut self, cx: &mut task::Context<'_>, progress: &Progress) -> Poll<Failure> {
        while let (Some(waiting), Some(message)) = (&mut self.waiting, progress.message()) {
            let look = waiting.look(self.stuck_for);
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(look)));
            // A sleep that ends early is cheaper than one that is set anew for each handler.
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if self.core.waits.of(self.id).is_some() {
                waiting.alone = now;
            }
            if now >= waiting.report {
                let waited = now.saturating_duration_since(waiting.since);
                waiting.report = now + waited.max(Duration::from_millis(1));
                waiting.is_stuck = true;
                report(&self.core, self.id, message, waited);
            }
            let alone = now.saturating_duration_since(waiting.alone);
            if !self.stuck_for.is_zero() && alone >= self.stuck_for {
                return Poll::Ready(Failure::new(format!("made no progress in {alone:?}")));
            }
            sleep.as_mut().reset(waiting.look(self.stuck_for));
        }
        Poll::Pending
    }

    /// Forgets the handler that waited.
    pub(crate) fn clear(&mut self) {
        if self.waiting.take().is_some_and(|waiting| waiting.is_stuck) {
            self.core.cell(self.id).notes().stuck = None;
        }
    }
}

impl Waiting {
    /// Returns when there is something to be done about it.
    fn look(&self, stuck_for: Duration) -> Instant {
        match stuck_for.is_zero() {
            true => self.report,
            false => self.report.min(self.alone + stuck_for),
        }
    }
}

fn report(core: &Core, id: ModuleId, message: &'static str, waited: Duration) {
    let cell = core.cell(id);
    cell.stuck_count.add(1);
    let waits_for = core.waits.of(id).map(|(module, what)| (core.name(module), what));
    match waits_for {
        Some((module, what)) => {
            tracing::warn!(message_name = message, ?waited, %module, what, "the module is stuck waiting for another");
        }
        None => tracing::warn!(message_name = message, ?waited, "the module is stuck"),
    }
    cell.notes().stuck = Some(Stuck { message, waited, waits_for });
    core.record(id, id, message, EventKind::Stuck { waited });
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

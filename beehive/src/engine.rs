//! The engine of one module: builds its value, feeds it from its mailbox, and replaces it when it
//! fails.
//!
//! The engine outlives every value of its module. It owns the mailbox, so that messages wait there
//! while a new value is built.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll, Waker};
use std::time::Duration;

use futures::{FutureExt as _, future::LocalBoxFuture};
use rand::Rng as _;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::context::{Chance, Context};
use crate::core::Core;
use crate::error::{Failure, NodeFailure};
use crate::mailbox::{Mailbox, Reader};
use crate::metrics::ModuleState;
use crate::module::Module;
use crate::name::ModuleName;
use crate::parcel::{Label, Parcel, Parcels};
use crate::progress::{Progress, Watchdog};
use crate::route::ModuleId;
use crate::supervise::{Supervisor, Verdict};
use crate::task::{Tasks, panic_text};
use crate::trace::EventKind;

/// How many messages a module handles before others get their turn: as many as tokio lets a task send or
/// receive, so that a busy mailbox neither fills up nor runs empty.
const BUDGET: u32 = 128;

/// A request to stop, from the node to the engine. Both are on the modules' thread.
#[derive(Default)]
pub(crate) struct StopSignal {
    asked: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl StopSignal {
    pub(crate) fn raise(&self) {
        self.asked.set(true);
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_raised(&self, cx: &task::Context<'_>) -> bool {
        let is_known = self.waker.borrow().as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !is_known {
            // The old waker is dropped when it is no longer borrowed: its task may go with it.
            drop(self.waker.replace(Some(cx.waker().clone())));
        }
        self.asked.get()
    }
}

/// Builds a value of a module from its section and its ports.
pub(crate) type Factory<M> = Box<dyn Fn() -> Result<M, String>>;

/// What an engine needs to run its module.
pub(crate) struct Engine<M: Module> {
    pub(crate) core: Arc<Core>,
    pub(crate) id: ModuleId,
    /// The first value; launch has built it already.
    pub(crate) first: Option<M>,
    pub(crate) factory: Factory<M>,
    pub(crate) mailbox: Reader<Parcels<M>>,
    pub(crate) sender: Mailbox<Parcels<M>>,
    pub(crate) supervisor: Supervisor,
    pub(crate) chance: Chance,
    pub(crate) stuck_after: Duration,
    pub(crate) stop: Rc<StopSignal>,
}

impl<M: Module> Engine<M> {
    /// Runs the module until it is stopped or given up.
    pub(crate) async fn run(mut self) {
        let span = tracing::info_span!("module", name = %M::NAME, node = %self.core.node);
        self.supervise().instrument(span).await;
    }

    async fn supervise(&mut self) {
        let mut jitter = self.chance.rng(M::NAME);
        loop {
            let begun = Instant::now();
            let ended = match self.build() {
                Ok(module) => self.live(module).await,
                Err(cause) => Err(cause),
            };
            let Err(cause) = ended else { return self.end(ModuleState::Stopped, EventKind::Stopped) };
            let cell = self.core.cell(self.id);
            cell.failed.add(1);
            cell.notes().last_failure = Some(cause.clone());
            self.record(EventKind::Failed);
            match self.supervisor.failed(begun.elapsed(), jitter.random()) {
                Verdict::GiveUp => return self.give_up(cause),
                Verdict::Restart { after } => {
                    let failures = self.supervisor.failures();
                    tracing::warn!(%cause, failures, ?after, "the module failed and is rebuilt");
                    self.core.set_state(self.id, ModuleState::Restarting);
                    self.record(EventKind::Restarting { after });
                    if self.is_stopped_within(after).await {
                        return self.end(ModuleState::Stopped, EventKind::Stopped);
                    }
                    self.core.cell(self.id).restarts.add(1);
                    self.chance.generation += 1;
                }
            }
        }
    }

    fn record(&self, kind: EventKind) {
        self.core.record(self.id, self.id, "", kind);
    }

    fn build(&mut self) -> Result<M, String> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => catch_unwind(AssertUnwindSafe(|| (self.factory)()))
                .unwrap_or_else(|panic| Err(panic_text(panic.as_ref()))),
        }
    }

    /// Waits, and returns whether the node asked the module to stop meanwhile.
    async fn is_stopped_within(&self, wait: Duration) -> bool {
        let stopped = poll_fn(|cx| match self.stop.is_raised(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        tokio::time::timeout(wait, stopped).await.is_ok()
    }

    fn give_up(&mut self, cause: String) {
        let failures = self.supervisor.failures();
        tracing::error!(%cause, failures, "the module failed too often and is given up");
        self.end(ModuleState::Failed, EventKind::GivenUp);
        let failure = NodeFailure { module: M::NAME, failures, cause };
        self.core.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(failure);
            is_first
        });
    }

    fn end(&mut self, state: ModuleState, kind: EventKind) {
        self.mailbox.close();
        self.core.set_state(self.id, state);
        self.record(kind);
        // Those who still wait in the mailbox learn that nobody comes.
        self.mailbox.clear();
    }

    /// Runs one value of the module, to its graceful end or to its failure.
    async fn live(&mut self, module: M) -> Result<(), String> {
        let tasks = Rc::new(Tasks::new(self.core.clone(), tracing::Span::current()));
        let cx = Context::new(self.core.clone(), self.id, self.sender.clone(), tasks.clone(), self.chance);
        let progress = Rc::new(Progress::default());
        let value = Value {
            core: self.core.clone(),
            id: self.id,
            module,
            cx,
            mailbox: &self.mailbox,
            stop: self.stop.clone(),
            progress: progress.clone(),
        };
        let mut watchdog =
            Watchdog::new(self.core.clone(), self.id, self.stuck_after, self.supervisor.stuck_for());
        let mut run: LocalBoxFuture<'_, _> = Box::pin(AssertUnwindSafe(value.run()).catch_unwind());
        let ended = poll_fn(|cx| {
            self.core.stir();
            let slice = watchdog.begin(&progress);
            let before = self.core.enter(self.id);
            let polled = run.as_mut().poll(cx);
            self.core.leave(before);
            watchdog.end(&progress, slice, polled.is_ready());
            if let Poll::Ready(ended) = polled {
                let ended = ended.unwrap_or_else(|panic| Err(Failure::new(panic_text(panic.as_ref()))));
                return Poll::Ready(ended.map_err(|failure| failure.to_string()));
            }
            if let Poll::Ready(panic) = tasks.poll_panic(cx) {
                return Poll::Ready(Err(format!("a task {panic}")));
            }
            watchdog.poll(cx, &progress).map(|failure| Err(failure.to_string()))
        })
        .await;
        watchdog.clear();
        let message = progress.message();
        // The value may panic in its destructor, too.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(run)));
        tasks.drop_all().await;
        match (ended, dropped) {
            (Err(cause), _) => Err(match message {
                Some(message) => format!("{message}: {cause}"),
                None => cause,
            }),
            (Ok(()), Err(panic)) => {
                tracing::warn!(cause = panic_text(panic.as_ref()), "the module's destructor failed");
                Ok(())
            }
            (Ok(()), Ok(())) => Ok(()),
        }
    }
}

/// One value of a module at work.
struct Value<'a, M: Module> {
    core: Arc<Core>,
    id: ModuleId,
    module: M,
    cx: Context<M>,
    mailbox: &'a Reader<Parcels<M>>,
    stop: Rc<StopSignal>,
    progress: Rc<Progress>,
}

/// What a module does next.
enum Next<M: Module> {
    Message(Parcel<M>),
    Timer(Parcel<M>),
    Stop,
}

impl<M: Module> Value<'_, M> {
    async fn run(mut self) -> Result<(), Failure> {
        self.progress.begin("started");
        self.module.started(&mut self.cx).await?;
        self.progress.end();
        self.core.set_state(self.id, ModuleState::Running);
        self.core.record(self.id, self.id, "", EventKind::Started);
        let mut budget = BUDGET;
        let mut timers_first = true;
        loop {
            // Most often the next message is there already, and no future is needed to wait for it.
            let at_hand = if timers_first { None } else { self.mailbox.take(Parcels::pop_front) };
            let next = match at_hand {
                Some(parcel) => Next::Message(parcel),
                None => poll_fn(|cx| self.poll_next(cx, timers_first)).await,
            };
            let (parcel, kind, is_timer) = match next {
                Next::Message(parcel) => (parcel, EventKind::Handling, false),
                Next::Timer(parcel) => (parcel, EventKind::Timer, true),
                Next::Stop => break,
            };
            self.handle(parcel, kind).await?;
            budget -= 1;
            let waited = self.progress.take_waited();
            // A full mailbox leaves the next turn to the timers after a message that waited and when
            // the budget is spent; a timer, slower than its period perhaps, leaves it to the mailbox.
            timers_first = !is_timer && (waited || budget == 0);
            if waited {
                budget = BUDGET;
            } else if budget == 0 {
                budget = BUDGET;
                tokio::task::yield_now().await;
            }
        }
        self.stop().await
    }

    fn poll_next(&mut self, cx: &mut task::Context<'_>, timers_first: bool) -> Poll<Next<M>> {
        if timers_first {
            if self.stop.is_raised(cx) {
                return Poll::Ready(Next::Stop);
            }
            if let Poll::Ready(parcel) = self.cx.timers.poll_due(cx) {
                return Poll::Ready(Next::Timer(parcel));
            }
        }
        match self.mailbox.poll_take(cx, Parcels::pop_front) {
            Poll::Ready(Some(parcel)) => return Poll::Ready(Next::Message(parcel)),
            Poll::Ready(None) => return Poll::Ready(Next::Stop),
            Poll::Pending if timers_first => return Poll::Pending,
            Poll::Pending => {}
        }
        if self.stop.is_raised(cx) {
            return Poll::Ready(Next::Stop);
        }
        self.cx.timers.poll_due(cx).map(Next::Timer)
    }

    #[inline]
    async fn handle(&mut self, parcel: Parcel<M>, kind: EventKind) -> Result<(), Failure> {
        let Label { message, from, is_abandoned } = parcel.label();
        let cell = self.core.cell(self.id);
        cell.opened.add(1);
        if is_abandoned {
            cell.abandoned.add(1);
            self.core.record(from, self.id, message, EventKind::Abandoned);
            return Ok(());
        }
        self.core.record(from, self.id, message, kind);
        self.progress.begin(message);
        let mut handled = parcel.open(&mut self.module, &mut self.cx);
        if tracing::enabled!(tracing::Level::TRACE) {
            handled = in_span(handled, message, self.core.name(from));
        }
        handled.await?;
        self.progress.end();
        self.core.cell(self.id).handled.add(1);
        self.core.record(from, self.id, message, EventKind::Handled);
        Ok(())
    }

    /// Empties the mailbox and lets the module say goodbye.
    async fn stop(mut self) -> Result<(), Failure> {
        self.core.set_state(self.id, ModuleState::Stopping);
        self.mailbox.close();
        while let Some(parcel) = poll_fn(|cx| self.mailbox.poll_take(cx, Parcels::pop_front)).await {
            self.handle(parcel, EventKind::Handling).await?;
        }
        self.progress.begin("stopping");
        self.module.stopping(&mut self.cx).await;
        self.progress.end();
        Ok(())
    }
}

/// Names a handler's message and its sender in everything that the handler logs.
#[cold]
fn in_span<'a>(
    handled: LocalBoxFuture<'a, Result<(), Failure>>,
    message: &'static str,
    peer: ModuleName,
) -> LocalBoxFuture<'a, Result<(), Failure>> {
    let span = tracing::trace_span!("handle", message, %peer);
    handled.instrument(span).boxed_local()
}

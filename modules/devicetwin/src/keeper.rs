//! Makes changes durable, many at a time and in their order, and only then tells of them.

use std::cell::Cell;
use std::rc::Rc;

use beehive::{Bus, Context, Responder, SendError};
use protocol::device::{PublishLocal, ReportError, TwinError, TwinReported};
use protocol::edge::MetaError;
use protocol::group;
use store::{Batch, Commit, SharedStore, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::DeviceTwin;
use crate::answers::refusal;
use crate::devices::Outcome;

/// How many calls may wait for the disk.
const WAITING_MAX: usize = 1024;
/// How many bytes of answers may wait for the disk.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Who waits until a change is durable.
#[derive(Debug)]
pub(crate) enum Asker {
    Nobody,
    Call(Responder<Result<(), MetaError>>),
    Desire(Responder<Result<(), TwinError>>),
    /// A mapper, and what of its report was wrong.
    Mapper(Responder<Result<(), ReportError>>, Option<ReportError>),
}

impl Asker {
    pub(crate) fn reply(self, done: Result<(), MetaError>) {
        match self {
            Self::Nobody => {}
            Self::Call(responder) => responder.reply(done),
            Self::Desire(responder) => responder.reply(done.map_err(TwinError::Store)),
            Self::Mapper(responder, wrong) => {
                let kept = done.map_err(ReportError::Store);
                responder.reply(kept.and_then(|()| wrong.map_or(Ok(()), Err)));
            }
        }
    }
}

/// A change on its way to the disk.
struct Kept {
    /// `None` where nothing is to be written.
    commit: Option<Commit>,
    outcome: Outcome,
    asker: Asker,
    opening: Opening,
    /// Whether a write had failed before, and what was not kept was read back.
    is_read_back: bool,
    at_ms: i64,
    bytes: usize,
}

/// What is done in turn.
enum Step {
    Finish(Box<Kept>),
    /// All that came before is durable, or was found not to be: then nobody is told.
    Pass(oneshot::Sender<()>, Opening),
}

/// An opening of the store, and whether a write to it failed. None succeeds after that.
#[derive(Debug, Clone, Default)]
struct Opening(Rc<Cell<bool>>);

/// What those are told for whom there is no place.
pub(crate) fn overfull() -> MetaError {
    MetaError("too many changes wait for the disk".to_owned())
}

/// A place among those that wait for the disk.
pub(crate) struct Place(mpsc::OwnedPermit<Step>);

/// The way of changes to the disk and to whoever hears of them.
///
/// A commit is begun when a call comes, so that the store makes many durable with one flush, and one
/// task waits for them in turn. It waits for nothing but the disk.
#[derive(Debug)]
pub(crate) struct Keeper {
    store: SharedStore,
    opening: Opening,
    queue: Option<mpsc::Sender<Step>>,
    bytes: Rc<Cell<usize>>,
}

impl Keeper {
    pub(crate) fn new(store: SharedStore) -> Self {
        Self { store, opening: Opening::default(), queue: None, bytes: Rc::default() }
    }

    /// Keeps changes in another opening of the store from here on.
    pub(crate) fn use_store(&mut self, store: SharedStore) {
        (self.store, self.opening) = (store, Opening::default());
    }

    /// Tells whether the store takes no more until it is opened anew.
    pub(crate) fn has_failed(&self) -> bool {
        self.opening.0.get()
    }

    /// Starts the task that finishes changes.
    pub(crate) fn start(&mut self, cx: &mut Context<DeviceTwin>) {
        let (queue, steps) = mpsc::channel(WAITING_MAX);
        self.queue = Some(queue);
        let teller = Teller { bus: cx.bus().clone(), unheard: 0 };
        cx.spawn(finish_all(steps, teller, Rc::clone(&self.bytes)));
    }

    /// Returns a place for a change, if there is one.
    pub(crate) fn place(&self) -> Option<Place> {
        let queue = self.queue.as_ref().filter(|_| self.bytes.get() < WAITING_BYTES_MAX)?;
        queue.clone().try_reserve_owned().ok().map(Place)
    }

    /// Waits for a place.
    pub(crate) async fn wait_for_place(&self) -> Option<Place> {
        self.queue.as_ref()?.clone().reserve_owned().await.ok().map(Place)
    }

    /// Begins to make a change durable.
    pub(crate) fn keep(&self, Place(place): Place, mut outcome: Outcome, asker: Asker, at_ms: i64) {
        let batch = std::mem::take(&mut outcome.batch);
        let commit = (!batch.writes().is_empty()).then(|| self.store.commit(batch));
        self.push(place, commit, (outcome, asker), at_ms);
    }

    /// Says in turn that nothing is kept since the store failed.
    pub(crate) fn refuse(&self, Place(place): Place, outcome: Outcome, asker: Asker, at_ms: i64) {
        let cause = "an earlier write failed".to_owned();
        let failed: Commit = Box::pin(async { Err(StoreError::Medium { action: "commit", cause }) });
        self.push(place, Some(failed), (outcome, asker), at_ms);
    }

    fn push(
        &self,
        place: mpsc::OwnedPermit<Step>,
        commit: Option<Commit>,
        (outcome, asker): (Outcome, Asker),
        at_ms: i64,
    ) {
        let (bytes, opening) = (outcome.bytes(), self.opening.clone());
        self.bytes.set(self.bytes.get() + bytes);
        let is_read_back = opening.0.get();
        let kept = Kept { commit, outcome, asker, opening, is_read_back, at_ms, bytes };
        place.send(Step::Finish(Box::new(kept)));
    }

    /// Writes what nobody waits for. Should it be lost, it is written again.
    pub(crate) fn note(&self, batch: Batch) {
        if batch.writes().is_empty() || self.has_failed() {
            return;
        }
        if let Some(place) = self.place() {
            self.keep(place, Outcome { batch, ..Outcome::default() }, Asker::Nobody, 0);
        }
    }

    /// Resolves when all that came before is durable. It fails if that is not, or if too many wait.
    pub(crate) fn pass(&self) -> oneshot::Receiver<()> {
        let (sender, passed) = oneshot::channel();
        if let Some(Ok(place)) = self.queue.as_ref().map(mpsc::Sender::try_reserve) {
            place.send(Step::Pass(sender, self.opening.clone()));
        }
        passed
    }
}

async fn finish_all(mut steps: mpsc::Receiver<Step>, mut teller: Teller, bytes: Rc<Cell<usize>>) {
    while let Some(step) = steps.recv().await {
        match step {
            Step::Finish(kept) => {
                bytes.set(bytes.get().saturating_sub(kept.bytes));
                finish(*kept, &mut teller).await;
            }
            Step::Pass(sender, opening) => {
                if !opening.0.get() && sender.send(()).is_err() {
                    tracing::trace!("nobody waits for the disk any more");
                }
            }
        }
    }
}

async fn finish(kept: Kept, teller: &mut Teller) {
    let Kept { commit, outcome, asker, opening, is_read_back, at_ms, .. } = kept;
    let mut done = match commit {
        Some(commit) => commit.await.map_err(|failed| MetaError(failed.to_string())),
        None => Ok(()),
    };
    if let Err(failed) = &done
        && !opening.0.replace(true)
    {
        tracing::error!(%failed, "changes of devices could not be made durable");
    }
    if done.is_ok() && opening.0.get() && !is_read_back {
        // What is told may come from a change that failed.
        done = Err(MetaError("an earlier write failed".to_owned()));
    }
    match &done {
        Ok(()) => teller.tell_all(outcome),
        Err(failed) => {
            if let Some((topic, event_id)) = outcome.asker {
                teller.tell(refusal(topic, &event_id, at_ms, (500, &failed.to_string())));
            }
        }
    }
    asker.reply(done);
}

/// Tells whoever has room, and counts who has none: a slow reader holds up nobody else.
struct Teller {
    bus: Bus,
    unheard: u64,
}

impl Teller {
    fn tell_all(&mut self, outcome: Outcome) {
        outcome.local.into_iter().for_each(|local| self.tell(local));
        for reported in outcome.reported {
            self.publish(reported);
        }
    }

    fn tell(&mut self, local: PublishLocal) {
        match self.bus.to(group::BUS).try_send(local) {
            // Without a broker there are no local clients.
            Ok(()) | Err(SendError::NobodyServes { .. }) => {}
            Err(error) => self.count(&error),
        }
    }

    fn publish(&mut self, reported: TwinReported) {
        match self.bus.try_publish(reported) {
            Ok(delivered) => delivered.full.iter().for_each(|module| self.count(module)),
            Err(error) => self.count(&error),
        }
    }

    fn count(&mut self, cause: &dyn std::fmt::Display) {
        self.unheard += 1;
        if self.unheard.is_power_of_two() {
            let unheard = self.unheard;
            tracing::warn!(%cause, unheard, "what was to be told of devices was not heard");
        }
    }
}

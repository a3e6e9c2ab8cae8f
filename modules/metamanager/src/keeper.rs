//! Makes changes durable and published, many at a time and in their order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use beehive::{Bus, Context, Me, Responder};
use protocol::edge::{MetaError, ObjectChanged};
use protocol::{ChangeKind, ObjectChange, ObjectKey, ResourceType};
use store::{Batch, Commit, SharedStore};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::layout::{self, OBJECTS};
use crate::listing::Listing;
use crate::opening::NotKept;
use crate::{MetaManager, tokens};

/// How many changes may wait for the disk and for the receivers of their publication.
const WAITING_MAX: usize = 1024;

/// How long a simulation may let a change wait that is on disk.
const SLOW: Duration = Duration::from_secs(3);

type Done = Responder<Result<(), MetaError>>;

/// A change on its way to the disk.
struct Kept {
    change: ObjectChange,
    commit: Commit,
    responder: Option<Done>,
}

/// What is done in turn.
enum Step {
    Finish(Kept),
    /// All that came before is durable, or was found not to be.
    Answer(Listing),
}

/// The way of changes to the disk and onto the bus.
///
/// A commit is begun when the change comes, so that the store makes many durable with one flush,
/// and one task waits for them in turn, so that they are published in the order in which they came.
/// It never makes the module wait: a module that is slow to take the publications may itself be
/// waiting for the metadata manager.
#[derive(Debug)]
pub(crate) struct Keeper {
    store: SharedStore,
    queue: Option<mpsc::Sender<Step>>,
    /// Changes of which is not known yet whether they are durable.
    pending: Rc<Cell<usize>>,
    under_way: UnderWay,
}

/// The objects whose changes wait for the disk or are being published, the oldest first.
type UnderWay = Rc<RefCell<VecDeque<ObjectKey>>>;

impl Keeper {
    pub(crate) fn new(store: SharedStore) -> Self {
        Self { store, queue: None, pending: Rc::default(), under_way: UnderWay::default() }
    }

    /// Keeps changes in another opening of the store from here on.
    pub(crate) fn use_store(&mut self, store: SharedStore) {
        self.store = store;
    }

    /// Returns the objects whose changes are neither published nor known to have failed.
    pub(crate) fn under_way(&self) -> Vec<ObjectKey> {
        self.under_way.borrow().iter().cloned().collect()
    }

    /// Starts the task that finishes changes.
    pub(crate) fn start(&mut self, cx: &mut Context<MetaManager>) {
        let (queue, kept) = mpsc::channel(WAITING_MAX);
        self.queue = Some(queue);
        let (bus, me) = (cx.bus().clone(), cx.me());
        let ways = (Rc::clone(&self.pending), Rc::clone(&self.under_way));
        cx.spawn(finish_all(kept, bus, me, ways));
    }

    /// Begins to keep a change; `false` if too many wait, which `responder` is told.
    pub(crate) fn keep(&mut self, change: ObjectChange, responder: Option<Done>) -> bool {
        let Some(Ok(place)) = self.queue.as_ref().map(mpsc::Sender::try_reserve) else {
            if let Some(responder) = responder {
                responder.reply(Err(MetaError("too many changes wait for the disk".to_owned())));
            }
            return false;
        };
        let key = layout::encode_key(&change.key);
        let batch = match change.kind {
            ChangeKind::Insert | ChangeKind::Update => {
                Batch::new().put(OBJECTS, key, layout::encode_record(&change.object))
            }
            ChangeKind::Delete => self.removal(&change, Batch::new().remove(OBJECTS, key)),
        };
        self.under_way.borrow_mut().push_back(change.key.clone());
        self.pending.set(self.pending.get() + 1);
        place.send(Step::Finish(Kept { commit: self.store.commit(batch), change, responder }));
        true
    }

    /// Tells whether all that was kept is durable, or was noted as [`Keeper::failed`].
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.get() == 0
    }

    /// Notes that a change that could not be made durable is known as such.
    pub(crate) fn failed(&self) {
        self.pending.set(self.pending.get().saturating_sub(1));
    }

    /// Lets this module be asked again for a list once all that was kept until now is durable.
    pub(crate) fn list_after(&self, listing: Listing) {
        match self.queue.as_ref().map(mpsc::Sender::try_reserve) {
            Some(Ok(place)) => place.send(Step::Answer(listing)),
            _ => listing.0.reply(Err(MetaError("too many changes wait for the disk".to_owned()))),
        }
    }

    /// Adds what goes with an object.
    fn removal(&self, change: &ObjectChange, batch: Batch) -> Batch {
        let uid = change.object.meta().uid.as_deref().filter(|uid| !uid.is_empty());
        let Some(uid) = uid.filter(|_| change.key.resource == ResourceType::POD) else { return batch };
        match tokens::remove_of_pod(&*self.store, uid, &batch) {
            Ok(removal) => removal,
            Err(failed) => {
                tracing::warn!(key = %change.key, %failed, "the tokens of a pod stay until the next start");
                batch
            }
        }
    }
}

async fn finish_all(
    mut steps: mpsc::Receiver<Step>,
    bus: Bus,
    me: Me<MetaManager>,
    (pending, under_way): (Rc<Cell<usize>>, UnderWay),
) {
    while let Some(step) = steps.recv().await {
        match step {
            Step::Finish(Kept { change, commit, responder }) => {
                let done = finish(change, commit, &bus, &me, &pending).await;
                under_way.borrow_mut().pop_front();
                if let Some(responder) = responder {
                    responder.reply(done);
                }
            }
            Step::Answer(listing) => {
                if me.send(listing).await.is_err() {
                    tracing::debug!("the metadata manager stopped before it could say what it holds");
                }
            }
        }
    }
}

/// Waits until a change is durable and publishes it. It is acknowledged only after that: should
/// this module fail in between, the cloud sends the change again and nobody misses it.
async fn finish(
    change: ObjectChange,
    commit: Commit,
    bus: &Bus,
    me: &Me<MetaManager>,
    pending: &Cell<usize>,
) -> Result<(), MetaError> {
    if let Err(failed) = commit.await {
        tracing::error!(key = %change.key, %failed, "a change could not be made durable");
        if me.send(NotKept(change.key)).await.is_err() {
            tracing::debug!("the metadata manager stopped before it could hear of the failure");
        }
        return Err(MetaError(failed.to_string()));
    }
    pending.set(pending.get().saturating_sub(1));
    if bus.buggify("metamanager.slow-publish") {
        sleep(SLOW).await;
    }
    match bus.publish(ObjectChanged(change)).await {
        Ok(_) => Ok(()),
        Err(failed) => Err(MetaError(failed.to_string())),
    }
}

//! What the edge has taken over for the cloud, on disk until the cloud has it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use beehive::Bus;
use bytes::Bytes;
use protocol::edge::CloudError;
use protocol::{ApiStatus, NodeReply, NodeRequest, ObjectKey, ResourceType};
use store::{Batch, Commit, Pages, SharedStore, StoreError};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use wire::codec::DecodeError;
use wire::session::{Backlog, BacklogLimits, Displaced, Entry};
use wire::{Envelope, MessageId, Uplink};

use crate::pending::Answerer;

/// The tree of entries: the key is the entry's number, big-endian, the value one format byte and the
/// message as [`Envelope::to_record`] writes it.
const TREE: &str = "edgehub.outbox";
const FORMAT: u8 = 1;
/// How long a simulation may let an event wait that is on disk.
const SLOW: Duration = Duration::from_secs(5);
/// Requests that may wait for the disk.
const COMMITTING_MAX: usize = 256;

/// What the backlog of events may hold, and that of uploads.
const LIMITS: BacklogLimits = BacklogLimits {
    entries_max: 4096,
    bytes_max: 8 << 20,
    window: 16,
    retry: (Duration::from_secs(1), Duration::from_secs(60)),
};
/// How often the cloud may say of one upload that it cannot be delivered now: with the pauses between, for
/// about an hour.
const UPLOAD_REFUSALS_MAX: u32 = 64;

/// What is kept, with what orders it.
#[derive(Debug)]
enum Kept {
    Event(Entry<ObjectKey>),
    /// A message of a local client, by its topic.
    Upload(Entry<String>),
}

/// A request on its way to the disk.
struct Committing {
    number: u64,
    entry: Kept,
    commit: Commit,
    responder: Answerer,
}

struct Shared {
    store: SharedStore,
    events: RefCell<Backlog<ObjectKey>>,
    uploads: RefCell<Backlog<String>>,
    /// Uploads that are on their way to the disk, and their bytes.
    uploading: Cell<(usize, usize)>,
    /// The ids under which entries were sent in this session.
    sent: RefCell<BTreeMap<MessageId, u64>>,
    numbers: Cell<u64>,
    dropped: Cell<u64>,
    unwanted: Cell<u64>,
    filled: Notify,
}

/// The durable outbox. Clones are the same.
///
/// Whether a request is kept here is decided by what would be lost with it:
///
/// | Request | Kept | Why |
/// |---|---|---|
/// | record an event, patch an event | yes | nobody says it a second time |
/// | patch a pod's or the node's status, register or update the node | no | `edged` computes the newest state from the runtime and repeats it until it is answered; an older one is of no use |
/// | create a mirror pod, delete a pod | no | `edged` finds out again that it must, also after a crash |
/// | a lease | no | it is of its moment |
/// | an upload, which is a message of a local client for the rules | yes | the broker is told that it was taken |
/// | a call of a URL for a local application | no | the application waits for the answer |
/// | queries, tokens, certificates | no | who asks waits for the answer |
///
/// What is kept counts as accepted when it is on disk, and leaves only when the cloud has answered
/// that it is done, or that it never will be. It is sent under the same id each time, and in its
/// order: of one event, what happened to it earlier goes first. The cloud may have acted on what
/// is sent again: recording an event under its own name, or setting its count, a second time
/// changes nothing.
///
/// A cloud that does not answer events, as upstream's, has them as soon as they are given to the
/// link: no more can be known.
///
/// There is a bound. Beyond it the oldest events are dropped, counted and logged; an upload is not taken, so
/// that it stays with the broker. An upload that no rule can deliver is given up after about an hour in which
/// it was tried.
///
/// An outbox belongs to one opening of the store. When that is over, another one is read from the next.
#[derive(Clone)]
pub(crate) struct Outbox {
    shared: Rc<Shared>,
    committing: Option<mpsc::Sender<Committing>>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("entries", &self.shared.len()).finish()
    }
}

/// Tells whether a request is kept until the cloud has it.
pub(crate) fn is_kept(request: &NodeRequest) -> bool {
    matches!(
        request,
        NodeRequest::RecordEvent(_) | NodeRequest::PatchEvent { .. } | NodeRequest::Upload { .. }
    )
}

fn entry(request: &NodeRequest, bytes: usize) -> Option<Kept> {
    let (event, is_newest_wins) = match request {
        NodeRequest::RecordEvent(event) => (event, false),
        NodeRequest::PatchEvent { event, .. } => (event, true),
        NodeRequest::Upload { topic, .. } => {
            return Some(Kept::Upload(Entry { key: topic.clone(), bytes, is_newest_wins: false }));
        }
        _ => return None,
    };
    let key = event.key(ResourceType::EVENT).ok()?;
    Some(Kept::Event(Entry { key, bytes, is_newest_wins }))
}

/// Says why a record is of no use.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("the record is of no known format")]
    Format,
    #[error(transparent)]
    Content(#[from] DecodeError),
}

fn read(record: &[u8]) -> Result<(MessageId, NodeRequest), Damage> {
    let record = record.strip_prefix(&[FORMAT]).ok_or(Damage::Format)?;
    match Envelope::<Uplink>::from_record(record)? {
        Envelope { id, body: Uplink::Request { request, .. }, .. } => Ok((id, request)),
        _ => Err(Damage::Format),
    }
}

impl Outbox {
    pub(crate) fn new(store: SharedStore) -> Self {
        let shared = Shared {
            store,
            events: RefCell::new(Backlog::new(LIMITS)),
            uploads: RefCell::new(Backlog::new(LIMITS)),
            uploading: Cell::default(),
            sent: RefCell::default(),
            numbers: Cell::new(0),
            dropped: Cell::new(0),
            unwanted: Cell::new(0),
            filled: Notify::new(),
        };
        Self { shared: Rc::new(shared), committing: None }
    }

    /// Reads what an earlier process left, and returns the task that waits for the disk.
    ///
    /// A damaged entry is dropped; it never keeps the node from starting.
    pub(crate) fn open(&mut self, bus: Bus) -> Result<impl Future<Output = ()> + use<>, StoreError> {
        for page in Pages::of(&*self.shared.store, TREE) {
            let page = page?;
            for key in &page.corrupt {
                tracing::error!(key = %key.escape_ascii(), "dropped a corrupt entry of the outbox");
                self.shared.forget([key.clone()]);
            }
            for (key, record) in &page.entries {
                self.shared.restore(key, record);
            }
        }
        let entries = self.shared.len();
        tracing::info!(entries, "read the outbox");
        let (committing, commits) = mpsc::channel(COMMITTING_MAX);
        self.committing = Some(committing);
        Ok(finish(Rc::clone(&self.shared), commits, bus))
    }

    /// Takes over a request; who asked hears of it when it is on disk.
    pub(crate) fn accept(&self, id: MessageId, at_ms: i64, request: NodeRequest, responder: Answerer) {
        let Some(Ok(place)) = self.committing.as_ref().map(mpsc::Sender::try_reserve) else {
            return responder.reply(Err(CloudError::Overloaded));
        };
        let message = Envelope { id, timestamp_ms: at_ms, body: Uplink::request(request.clone()) };
        let record = [&[FORMAT][..], &message.to_record()].concat();
        let Some(entry) = entry(&request, record.len()) else {
            let status = ApiStatus::new(400, "BadRequest", "the event has no valid name");
            return responder.reply(Ok(NodeReply::Refused(status)));
        };
        if !self.shared.reserve(&entry) {
            return responder.reply(Err(CloudError::Overloaded));
        }
        let number = self.shared.numbers.get() + 1;
        self.shared.numbers.set(number);
        let commit = self.shared.store.commit(Batch::new().put(TREE, key_of(number), record));
        place.send(Committing { number, entry, commit, responder });
    }

    /// Waits until the store was opened anew.
    pub(crate) fn over(&self) -> store::Over {
        self.shared.store.over()
    }

    /// Waits until something was taken over since the last wait.
    pub(crate) async fn filled(&self) {
        self.shared.filled.notified().await;
    }

    /// Returns the next request to send, under the id that it always has. Where the cloud does not
    /// confirm it, it leaves. Uploads stay where the cloud knows no rules.
    pub(crate) fn next(&self, now: Duration, cloud: Cloud) -> Option<(MessageId, NodeRequest)> {
        loop {
            let event = self.shared.events.borrow_mut().next(now);
            let upload = || cloud.routes.then(|| self.shared.uploads.borrow_mut().next(now)).flatten();
            let number = event.or_else(upload)?;
            let found = self.shared.store.get(TREE, &key_of(number));
            let problem = match found.map(|record| record.map(|record| read(&record))) {
                Ok(Some(Ok((id, request)))) => {
                    if cloud.confirms {
                        self.shared.sent.borrow_mut().insert(id.clone(), number);
                    } else {
                        self.shared.remove(number);
                    }
                    return Some((id, request));
                }
                Ok(Some(Err(damage))) => damage.to_string(),
                Ok(None) => "it is missing".to_owned(),
                Err(corrupt @ StoreError::Corrupt { .. }) => corrupt.to_string(),
                Err(failed) => {
                    tracing::debug!(number, %failed, "the outbox cannot be read");
                    return None;
                }
            };
            tracing::error!(number, problem, "dropped an entry of the outbox that cannot be read");
            self.shared.remove(number);
        }
    }

    /// Takes the cloud's answer to an entry; `false` if it answers none.
    pub(crate) fn answer(&self, id: &MessageId, reply: &NodeReply, now: Duration) -> bool {
        let Some(number) = self.shared.sent.borrow_mut().remove(id) else { return false };
        match reply {
            NodeReply::Refused(status)
                if self.shared.uploads.borrow().refusals(number) >= UPLOAD_REFUSALS_MAX =>
            {
                tracing::error!(number, %status, "a message for the rules was tried for an hour and is given up");
                self.shared.remove(number);
            }
            NodeReply::Refused(status) if is_passing(status) => {
                tracing::debug!(number, %status, "the cloud is to be told again");
                self.shared.events.borrow_mut().refuse(number, now);
                self.shared.uploads.borrow_mut().refuse(number, now);
            }
            NodeReply::Refused(status) => {
                self.shared.note_unwanted(status);
                self.shared.remove(number);
            }
            NodeReply::Done | NodeReply::Object(_) | NodeReply::Text(_) => self.shared.remove(number),
        }
        true
    }

    /// Returns when something may be sent that was refused before.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let dues = [self.shared.events.borrow().next_due(), self.shared.uploads.borrow().next_due()];
        dues.into_iter().flatten().min()
    }

    /// Notes that the session ended: what it left unanswered is sent again in the next one.
    pub(crate) fn release(&self) {
        self.shared.sent.borrow_mut().clear();
        self.shared.events.borrow_mut().release();
        self.shared.uploads.borrow_mut().release();
    }
}

/// What a cloud does with what is kept for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cloud {
    /// It answers each request.
    pub(crate) confirms: bool,
    /// It knows rules.
    pub(crate) routes: bool,
}

/// Tells whether the same request may be taken later.
fn is_passing(status: &ApiStatus) -> bool {
    matches!(status.code, 408 | 429) || status.code >= 500
}

fn key_of(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

async fn finish(shared: Rc<Shared>, mut commits: mpsc::Receiver<Committing>, bus: Bus) {
    while let Some(Committing { number, entry, commit, responder }) = commits.recv().await {
        let committed = commit.await;
        if bus.buggify("edgehub.slow-outbox") {
            sleep(SLOW).await;
        }
        shared.release_place(&entry);
        match committed {
            Ok(()) => {
                shared.push(number, entry);
                responder.reply(Ok(NodeReply::Done));
                shared.filled.notify_one();
            }
            Err(failed) => {
                tracing::error!(%failed, "a request could not be kept for the cloud");
                responder.reply(Err(CloudError::NotKept(failed.to_string())));
                // A reader may find what was not made durable.
                shared.forget([key_of(number)]);
            }
        }
    }
}

impl Shared {
    fn restore(&self, key: &Bytes, record: &[u8]) {
        let number = <[u8; 8]>::try_from(&key[..]).map(u64::from_be_bytes).ok();
        let entry = read(record).ok().and_then(|(_, request)| entry(&request, record.len()));
        match (number, entry) {
            (Some(number), Some(entry)) => {
                self.numbers.set(self.numbers.get().max(number));
                self.push(number, entry);
            }
            _ => {
                tracing::error!(key = %key.escape_ascii(), "dropped an entry of the outbox that cannot be read");
                self.forget([key.clone()]);
            }
        }
    }

    fn len(&self) -> usize {
        self.events.borrow().len() + self.uploads.borrow().len()
    }

    /// Takes a place for an upload before it is written; `false` if there is none.
    fn reserve(&self, entry: &Kept) -> bool {
        let Kept::Upload(entry) = entry else { return true };
        let (uploads, (entries, bytes)) = (self.uploads.borrow(), self.uploading.get());
        let has_room = uploads.len() + entries < LIMITS.entries_max
            && uploads.bytes() + bytes + entry.bytes <= LIMITS.bytes_max;
        if has_room {
            self.uploading.set((entries + 1, bytes + entry.bytes));
        }
        has_room
    }

    fn release_place(&self, entry: &Kept) {
        if let Kept::Upload(entry) = entry {
            let (entries, bytes) = self.uploading.get();
            self.uploading.set((entries.saturating_sub(1), bytes.saturating_sub(entry.bytes)));
        }
    }

    /// Says that the cloud has no use for something, the first time and each time that it was doubled.
    fn note_unwanted(&self, status: &ApiStatus) {
        let count = self.unwanted.get() + 1;
        self.unwanted.set(count);
        if count.is_power_of_two() {
            tracing::warn!(count, %status, "the cloud does not take an event or a message");
        }
    }

    fn push(&self, number: u64, entry: Kept) {
        let entry = match entry {
            Kept::Event(entry) => entry,
            Kept::Upload(entry) => {
                // There is a place for it, but for what an earlier version of the limits let in.
                let displaced = self.uploads.borrow_mut().push(number, entry);
                return self.forget(displaced.dropped.into_iter().map(key_of));
            }
        };
        let Displaced { replaced, dropped } = self.events.borrow_mut().push(number, entry);
        if !dropped.is_empty() {
            let before = self.dropped.get();
            self.dropped.set(before + u64::try_from(dropped.len()).unwrap_or(u64::MAX));
            if before == 0 || before / 100 != self.dropped.get() / 100 {
                tracing::warn!(
                    dropped = self.dropped.get(),
                    "the outbox is full: its oldest events are dropped"
                );
            }
        }
        self.forget(replaced.into_iter().chain(dropped).map(key_of));
    }

    fn remove(&self, number: u64) {
        self.events.borrow_mut().confirm(number);
        self.uploads.borrow_mut().confirm(number);
        self.forget([key_of(number)]);
    }

    /// Removes records. Nobody waits for it: one that a crash brings back is sent a second time.
    fn forget(&self, keys: impl IntoIterator<Item = Bytes>) {
        let batch = keys.into_iter().fold(Batch::new(), |batch, key| batch.remove(TREE, key));
        if !batch.writes().is_empty() {
            drop(self.store.commit(batch));
        }
    }
}

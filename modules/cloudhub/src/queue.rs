//! What one session has for its node, shared between the hub, which fills it, and the session's
//! task, which empties it. Both run on the hub's thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use beehive::Responder;
use protocol::cloud::Room;
use protocol::{ObjectChange, ObjectKey, ResourceType, Uid};
use tokio::sync::Notify;
use wire::session::{Full, Outbox, OutboxLimits, ToSend};
use wire::{Codec, MessageId};

use crate::total::{Share, Total};

/// Objects that may wait for one node.
const KEYS_MAX: usize = 8192;
/// Changes that a native peer may leave unacknowledged.
const WINDOW: usize = 32;

/// Changes that the hub wishes to have for a node, and while all queues together hold more than half of
/// what they may. It wishes for more when half of them are acknowledged.
const ROOM: usize = 256;
const ROOM_IN_NEED: usize = WINDOW;

/// Upstream's rule: one at a time, five seconds, four repetitions.
const KUBEEDGE: OutboxLimits = OutboxLimits {
    keys_max: KEYS_MAX,
    bytes_max: usize::MAX,
    window: 1,
    resend_after: Duration::from_secs(5),
    resends_max: 4,
    retry: (Duration::from_secs(1), Duration::from_secs(60)),
};

/// A native peer refuses what it cannot keep, and a slow link needs its time: a repetition is only a
/// last resort.
const NATIVE: OutboxLimits = OutboxLimits {
    keys_max: KEYS_MAX,
    bytes_max: usize::MAX,
    window: WINDOW,
    resend_after: Duration::from_secs(600),
    resends_max: 1,
    retry: (Duration::from_millis(500), Duration::from_secs(30)),
};

/// A change that waits. The share is dropped first.
#[derive(Debug, Clone)]
struct Waiting {
    _share: Rc<Share>,
    change: ObjectChange,
}

/// Of what the newest state is enough: an object, and on KubeEdge's codec one pod, since an edge of
/// KubeEdge does not end a pod when it hears of another one of its name.
type Slot = (ObjectKey, Option<Uid>);

#[derive(Debug)]
struct Shared {
    codec: Codec,
    outbox: RefCell<Outbox<Slot, Waiting>>,
    bytes_max: usize,
    total: Total,
    filled: Notify,
    /// How many changes were ever queued.
    pushed: Cell<u64>,
    /// Who is told when there is room again.
    awaiting: RefCell<Option<Responder<()>>>,
}

/// The queue of one session. Clones are the same queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue(Rc<Shared>);

impl Queue {
    /// Makes the queue of a session, which may hold so many bytes and counts them in `total`.
    pub(crate) fn new(codec: Codec, bytes_max: usize, total: Total) -> Self {
        let limits = match codec {
            Codec::KubeEdge => KUBEEDGE,
            Codec::Native => NATIVE,
        };
        let outbox = RefCell::new(Outbox::new(OutboxLimits { bytes_max, ..limits }));
        Self(Rc::new(Shared {
            codec,
            outbox,
            bytes_max,
            total,
            filled: Notify::new(),
            pushed: Cell::new(0),
            awaiting: RefCell::default(),
        }))
    }

    pub(crate) fn push(&self, change: ObjectChange) -> Result<(), Full> {
        let (slot, bytes) = (self.slot(&change), change.bytes());
        let waiting = Waiting { _share: Rc::new(self.0.total.share(&change.object)), change };
        self.0.outbox.borrow_mut().push(slot, waiting, bytes)?;
        self.0.filled.notify_one();
        self.0.pushed.set(self.0.pushed.get() + 1);
        Ok(())
    }

    fn slot(&self, change: &ObjectChange) -> Slot {
        let is_by_uid = self.0.codec == Codec::KubeEdge && change.key.resource == ResourceType::POD;
        (change.key.clone(), if is_by_uid { change.object.uid() } else { None })
    }

    fn held(&self) -> usize {
        let outbox = self.0.outbox.borrow();
        outbox.waiting() + outbox.unacknowledged()
    }

    /// Returns how many changes, and of how many bytes, are wished for at most.
    fn wished(&self) -> (usize, usize) {
        match self.0.total.is_in_need() {
            true => (ROOM_IN_NEED, self.0.bytes_max / 16),
            false => (ROOM, self.0.bytes_max / 2),
        }
    }

    /// Returns how many more changes are wished for.
    pub(crate) fn room(&self) -> Room {
        let (changes, bytes) = self.wished();
        Room(if self.bytes() > bytes { 0 } else { changes.saturating_sub(self.held()) })
    }

    /// Answers when there is room again: with some distance, so that it is not asked for each change.
    pub(crate) fn await_room(&self, responder: Responder<()>) {
        *self.0.awaiting.borrow_mut() = Some(responder);
        self.tell_room();
    }

    fn tell_room(&self) {
        let (changes, bytes) = self.wished();
        if self.held() > changes / 2 || self.bytes() > bytes / 2 {
            return;
        }
        if let Some(responder) = self.0.awaiting.take() {
            responder.reply(());
        }
    }

    /// Returns how many changes were ever queued, if the node has them all; `None` while it does not.
    pub(crate) fn settled(&self) -> Option<u64> {
        (self.held() == 0).then(|| self.0.pushed.get())
    }

    /// Returns how many bytes wait for this node, those that are unacknowledged too.
    pub(crate) fn bytes(&self) -> usize {
        self.0.outbox.borrow().bytes()
    }

    /// Takes what waits out of the total: the session ends, and its task drops the queue.
    pub(crate) fn abandon(&self) {
        *self.0.outbox.borrow_mut() = Outbox::new(NATIVE);
        self.tell_room();
    }

    /// Waits until something was pushed since the last wait.
    pub(crate) async fn filled(&self) {
        self.0.filled.notified().await;
    }

    pub(crate) fn next(
        &self,
        now: Duration,
        fits: impl Fn(&ObjectChange) -> bool,
        id: impl FnOnce() -> MessageId,
    ) -> Option<ToSend<ObjectChange>> {
        let next = self.0.outbox.borrow_mut().next(now, |waiting| fits(&waiting.change), id)?;
        Some(ToSend { id: next.id, value: next.value.change })
    }

    pub(crate) fn acknowledge(&self, id: &MessageId) -> Option<ObjectChange> {
        let acknowledged = self.0.outbox.borrow_mut().acknowledge(id)?.change;
        self.tell_room();
        Some(acknowledged)
    }

    pub(crate) fn refuse(&self, id: &MessageId, now: Duration) -> bool {
        self.0.outbox.borrow_mut().refuse(id, now)
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.0.outbox.borrow().next_due()
    }
}

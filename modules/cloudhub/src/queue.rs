//! What one session has for its node, shared between the hub, which fills it, and the session's
//! task, which empties it. Both run on the hub's thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use protocol::{ObjectChange, ObjectKey};
use tokio::sync::Notify;
use wire::session::{Full, Outbox, OutboxLimits, ToSend};
use wire::{Codec, MessageId};

/// Objects that may wait for one node.
const KEYS_MAX: usize = 8192;
/// Changes that a native peer may leave unacknowledged.
const WINDOW: usize = 32;

/// Upstream's rule: one at a time, five seconds, four repetitions.
const KUBEEDGE: OutboxLimits = OutboxLimits {
    keys_max: KEYS_MAX,
    window: 1,
    resend_after: Duration::from_secs(5),
    resends_max: 4,
    retry: (Duration::from_secs(1), Duration::from_secs(60)),
};

/// A native peer refuses what it cannot keep, and a slow link needs its time: a repetition is only a
/// last resort.
const NATIVE: OutboxLimits = OutboxLimits {
    keys_max: KEYS_MAX,
    window: WINDOW,
    resend_after: Duration::from_secs(600),
    resends_max: 1,
    retry: (Duration::from_millis(500), Duration::from_secs(30)),
};

#[derive(Debug)]
struct Shared {
    outbox: RefCell<Outbox<ObjectKey, ObjectChange>>,
    filled: Notify,
}

/// The queue of one session. Clones are the same queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue(Rc<Shared>);

impl Queue {
    pub(crate) fn new(codec: Codec) -> Self {
        let limits = match codec {
            Codec::KubeEdge => KUBEEDGE,
            Codec::Native => NATIVE,
        };
        Self(Rc::new(Shared { outbox: RefCell::new(Outbox::new(limits)), filled: Notify::new() }))
    }

    pub(crate) fn push(&self, change: ObjectChange) -> Result<(), Full> {
        self.0.outbox.borrow_mut().push(change.key.clone(), change)?;
        self.0.filled.notify_one();
        Ok(())
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
        self.0.outbox.borrow_mut().next(now, fits, id)
    }

    pub(crate) fn acknowledge(&self, id: &MessageId) -> bool {
        self.0.outbox.borrow_mut().acknowledge(id)
    }

    pub(crate) fn refuse(&self, id: &MessageId, now: Duration) -> bool {
        self.0.outbox.borrow_mut().refuse(id, now)
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.0.outbox.borrow().next_due()
    }
}

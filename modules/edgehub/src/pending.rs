//! Requests that wait for the cloud's answer.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use beehive::Responder;
use protocol::edge::CloudError;
use protocol::{NodeReply, NodeRequest};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use wire::MessageId;
use wire::session::Lane;

/// A request on its way into the session.
pub(crate) struct Ask {
    pub(crate) request: NodeRequest,
    pub(crate) responder: Answerer,
}

/// The way of requests into a session: what keeps the node alive has its own.
#[derive(Debug)]
pub(crate) struct Asks {
    urgent: mpsc::Sender<Ask>,
    others: mpsc::Sender<Ask>,
}

/// The end of that way.
pub(crate) struct Asked {
    pub(crate) urgent: mpsc::Receiver<Ask>,
    pub(crate) others: mpsc::Receiver<Ask>,
}

impl Asks {
    /// Makes a way on which at most so many requests wait.
    pub(crate) fn new(urgent_max: usize, others_max: usize) -> (Self, Asked) {
        let (urgent, urgent_asked) = mpsc::channel(urgent_max);
        let (others, others_asked) = mpsc::channel(others_max);
        (Self { urgent, others }, Asked { urgent: urgent_asked, others: others_asked })
    }

    /// Hands a request to the session, or tells who asked why not.
    pub(crate) fn send(&self, ask: Ask) {
        let way = match Lane::of_request(&ask.request) {
            Lane::Liveness => &self.urgent,
            Lane::Status | Lane::Sync | Lane::Bulk => &self.others,
        };
        match way.try_send(ask) {
            Ok(()) => {}
            Err(TrySendError::Full(ask)) => ask.responder.reply(Err(CloudError::Overloaded)),
            Err(TrySendError::Closed(ask)) => ask.responder.reply(Err(CloudError::Disconnected)),
        }
    }
}

/// Where an answer goes.
pub(crate) type Answerer = Responder<Result<NodeReply, CloudError>>;

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ask")
    }
}

struct Waiting {
    responder: Answerer,
    deadline: Duration,
}

/// The requests that were sent and not answered, bounded in number and time.
pub(crate) struct Pending {
    waiting: BTreeMap<MessageId, Waiting>,
    max: usize,
    patience: Duration,
}

impl Pending {
    pub(crate) fn new(max: usize, patience: Duration) -> Self {
        Self { waiting: BTreeMap::new(), max, patience }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.max
    }

    pub(crate) fn insert(&mut self, id: MessageId, responder: Answerer, now: Duration) {
        self.waiting.insert(id, Waiting { responder, deadline: now.saturating_add(self.patience) });
    }

    /// Hands an answer to who asked. Tells whether anybody did.
    pub(crate) fn answer(&mut self, id: &MessageId, reply: NodeReply) -> bool {
        let Some(waiting) = self.waiting.remove(id) else { return false };
        waiting.responder.reply(Ok(reply));
        true
    }

    /// Forgets those who gave up, and tells those who waited long enough.
    pub(crate) fn sweep(&mut self, now: Duration) {
        let gone: Vec<MessageId> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.deadline <= now || waiting.responder.is_closed())
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            if let Some(waiting) = self.waiting.remove(&id) {
                waiting.responder.reply(Err(CloudError::NoAnswer));
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The link is gone: nobody will be answered.
impl Drop for Pending {
    fn drop(&mut self) {
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            waiting.responder.reply(Err(CloudError::NoAnswer));
        }
    }
}

//! The sessions of all nodes, and the bytes that may wait for them.

use std::collections::BTreeMap;

use beehive::Responder;
use protocol::cloud::{Room, SendRefused};
use protocol::{NodeName, ObjectChange};
use tokio::sync::{mpsc, oneshot};

use crate::commands::Commands;
use crate::compare::Wanted;
use crate::queue::Queue;
use crate::total::Total;

/// A node's session. Dropping it ends the session: its task finds the fence down before anything
/// else that it may find.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) connection: u64,
    pub(crate) queue: Queue,
    pub(crate) commands: Commands,
    /// How the session is asked to compare.
    pub(crate) comparing: mpsc::Sender<Wanted>,
    pub(crate) _fence: oneshot::Sender<()>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.queue.abandon();
        self.commands.end();
    }
}

/// The nodes' sessions: one each, the newest.
#[derive(Debug)]
pub(crate) struct Sessions {
    entries: BTreeMap<NodeName, Entry>,
    total: Total,
}

impl Sessions {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { entries: BTreeMap::new(), total: Total::new(bytes_max) }
    }

    /// Returns the count of what waits in all queues.
    pub(crate) fn total(&self) -> Total {
        self.total.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn has(&self, node: &NodeName) -> bool {
        self.entries.contains_key(node)
    }

    /// Returns how the node's session is asked to compare, if it is this one.
    pub(crate) fn comparing(&self, node: &NodeName, session: u64) -> Option<mpsc::Sender<Wanted>> {
        let entry = self.entries.get(node).filter(|entry| entry.connection == session)?;
        Some(entry.comparing.clone())
    }

    /// Returns the commands of the node's session.
    pub(crate) fn commands(&self, node: &NodeName) -> Option<&Commands> {
        self.entries.get(node).map(|entry| &entry.commands)
    }

    /// Makes this the node's session and ends an older one.
    pub(crate) fn begin(&mut self, node: NodeName, entry: Entry) {
        if let Some(older) = self.entries.insert(node.clone(), entry) {
            let session = older.connection;
            tracing::info!(%node, session, "a newer connection takes the place of the node's session");
        }
    }

    /// Ends the node's session; `false` if it has none.
    pub(crate) fn end(&mut self, node: &NodeName) -> bool {
        self.entries.remove(node).is_some()
    }

    /// Forgets a session that ended by itself, unless the node has a newer one.
    pub(crate) fn forget(&mut self, node: &NodeName, connection: u64) {
        if self.entries.get(node).is_some_and(|entry| entry.connection == connection) {
            self.entries.remove(node);
        }
    }

    /// Answers when there is room for a node again, or at once if its session is over.
    pub(crate) fn await_room(&self, node: &NodeName, session: u64, responder: Responder<()>) {
        match self.entries.get(node).filter(|entry| entry.connection == session) {
            Some(entry) => entry.queue.await_room(responder),
            None => responder.reply(()),
        }
    }

    /// Queues a change for a node. A node whose queue is full loses its session, and if all queues
    /// together are, the node with the most does: what it misses is settled when it connects.
    pub(crate) fn send(&mut self, node: &NodeName, change: ObjectChange) -> Result<Room, SendRefused> {
        let Some(entry) = self.entries.get(node) else { return Err(SendRefused::NotConnected) };
        if entry.queue.push(change).is_err() {
            tracing::warn!(%node, "the node does not keep up: its queue is full and its session ends");
            self.end(node);
            return Err(SendRefused::QueueFull);
        }
        while self.total.is_exceeded() {
            let largest = self.entries.iter().max_by_key(|(_, entry)| entry.queue.bytes());
            let Some(largest) = largest.map(|(node, _)| node.clone()) else { break };
            let bytes = self.total.bytes();
            tracing::warn!(node = %largest, bytes, "too much waits for all nodes: the session of the one with the most ends");
            self.end(&largest);
        }
        self.entries.get(node).map(|entry| entry.queue.room()).ok_or(SendRefused::QueueFull)
    }
}

//! Messages on the bus of a cloud process.

use std::collections::BTreeSet;

use beehive::Message;

use crate::name::{NodeName, ResourceType, Uid};
use crate::object::{ChangeKind, Held, Kept, ObjectChange, ObjectKey};
use crate::request::{NodeReply, NodeRequest};

/// A node's session began: its requests are served from now on, those of its older sessions no
/// longer. Published by the cloud hub, which lets it be told what it must know when its turn comes:
/// [`NodeConnected`].
#[derive(Debug, Clone, Message)]
pub struct NodeArrived {
    /// The node.
    pub node: NodeName,
    /// The session's number, growing with each connection of any node.
    pub session: u64,
}

/// A node is to be told what it must know: its session began, and its turn came. Published by the
/// cloud hub; the newest session of a node wins.
#[derive(Debug, Clone, Message)]
pub struct NodeConnected {
    /// The node.
    pub node: NodeName,
    /// The session's number.
    pub session: u64,
    /// What the node holds.
    pub holds: Holdings,
}

/// What a node holds when it is to be told what it must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holdings {
    /// This, as it said itself.
    Said(Vec<Held>),
    /// It cannot say. This is what it has acknowledged at some time, as far as anybody remembers: it
    /// may hold it or not, and in any version.
    Remembered(Vec<Held>),
}

impl Holdings {
    /// Returns what the node itself said.
    #[must_use]
    pub fn said(&self) -> Option<&[Held]> {
        match self {
            Self::Said(held) => Some(held),
            Self::Remembered(_) => None,
        }
    }

    /// Returns all that the node may hold.
    #[must_use]
    pub fn list(&self) -> &[Held] {
        match self {
            Self::Said(held) | Self::Remembered(held) => held,
        }
    }
}

/// A node's session ended. Published by the cloud hub.
#[derive(Debug, Clone, Message)]
pub struct NodeDisconnected {
    /// The node.
    pub node: NodeName,
    /// The session that ended; a newer one may have begun already.
    pub session: u64,
}

/// What a node has acknowledged of one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Acknowledged {
    /// It keeps this version.
    Kept(Kept),
    /// It keeps the object no longer. Without a uid: none of this key.
    Gone {
        /// The object.
        key: ObjectKey,
        /// Its uid, if the change had one.
        uid: Option<Uid>,
    },
}

impl Acknowledged {
    /// Reads what follows from the acknowledgement of a change. `None` if the change's object does
    /// not say what it is.
    #[must_use]
    pub fn of(change: &ObjectChange) -> Option<Self> {
        let ObjectChange { kind, key, object } = change;
        match kind {
            ChangeKind::Delete => Some(Self::Gone { key: key.clone(), uid: object.uid() }),
            ChangeKind::Insert | ChangeKind::Update => {
                Kept::of(key, object, object.resource_version()?).map(Self::Kept)
            }
        }
    }
}

/// A node acknowledged changes, of each object the newest. Published by the cloud hub, which keeps
/// what finds no room for a while and then forgets it: nothing that a node must know may depend on
/// this.
#[derive(Debug, Clone, Message)]
pub struct ChangesAcknowledged {
    /// The node.
    pub node: NodeName,
    /// Its session.
    pub session: u64,
    /// What it acknowledged.
    pub changes: Vec<Acknowledged>,
}

/// What a node holds was compared with what it must know, once for each session. Published by the
/// edge controller before it sends the difference.
#[derive(Debug, Clone, Message)]
pub struct NodeSettled {
    /// The node.
    pub node: NodeName,
    /// Its session.
    pub session: u64,
    /// The types that were compared.
    pub types: Vec<ResourceType>,
    /// What the node said it keeps, of what it must know.
    pub kept: Vec<Kept>,
    /// All of these types that it must know, or that it may hold and is told to drop.
    pub wanted: BTreeSet<Uid>,
}

/// Tells what a node has acknowledged, by the records of it; served by the sync controller once it has
/// read them.
#[derive(Debug, Clone, Message)]
#[reply(Vec<Held>)]
pub struct ReadRecords {
    /// The node.
    pub node: NodeName,
}

/// Says why a change was not queued for a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendRefused {
    /// The node has no session. What it misses is settled when it connects.
    #[error("the node is not connected")]
    NotConnected,
    /// The node's queue is full: it does not keep up, and its session was ended.
    #[error("the node's queue is full")]
    QueueFull,
}

/// How many more changes the cloud hub wishes to be sent for a node before some of them are
/// acknowledged. It takes more, up to what its queue holds, for those who do not look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room(pub usize);

/// Queues a change for a node; served by the cloud hub. The queue keeps each object's newest state.
#[derive(Debug, Clone, Message)]
#[reply(Result<Room, SendRefused>)]
pub struct SendToNode {
    /// The node.
    pub node: NodeName,
    /// What it is to know.
    pub change: ObjectChange,
}

/// Asks to be answered when the cloud hub has [`Room`] for a node again, or the node's session is
/// over; served by the cloud hub.
#[derive(Debug, Clone, Message)]
#[reply(())]
pub struct AwaitRoom {
    /// The node.
    pub node: NodeName,
    /// Its session.
    pub session: u64,
}

/// Ends a node's session, if it has one, so that it connects anew and says what it holds; served
/// by the cloud hub. Asked by a module that was restarted and so missed the session's beginning.
#[derive(Debug, Clone, Message)]
pub struct EndSession {
    /// The node.
    pub node: NodeName,
}

/// What came of comparing what a node holds with what the cloud knows it to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// It is the same.
    Same,
    /// It differs: all that the node holds.
    Differs(Vec<Held>),
    /// Changes were on their way, so that nothing can be said.
    Busy,
    /// The node cannot say what it holds, or its codec cannot.
    Unknown,
}

/// Compares what a node holds with what the cloud hub knows it to hold; served by the cloud hub. The reply
/// is of a moment in which all that was queued for the node until then was on its disk.
#[derive(Debug, Clone, Message)]
#[reply(Compared)]
pub struct CompareNode {
    /// The node.
    pub node: NodeName,
    /// Its session.
    pub session: u64,
}

/// Serves a node's request against the Kubernetes API; served by the edge controller.
#[derive(Debug, Clone, Message)]
#[reply(NodeReply)]
pub struct ServeNode {
    /// The node, as its connection was authenticated.
    pub node: NodeName,
    /// Its session. Nothing is done for one once a newer one of the node is known.
    pub session: u64,
    /// What it asks.
    pub request: NodeRequest,
}

/// Asks that nodes be told of their devices; served by the device controller, which so says that there is one.
#[derive(Debug, Clone, Message)]
#[reply(())]
pub struct CarryDevices;

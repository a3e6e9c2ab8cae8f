//! Messages on the bus of a cloud process.

use beehive::Message;

use crate::name::NodeName;
use crate::object::{Held, ObjectChange};
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
    /// What the node holds. `None` when its codec cannot say.
    pub held: Option<Vec<Held>>,
}

/// A node's session ended. Published by the cloud hub.
#[derive(Debug, Clone, Message)]
pub struct NodeDisconnected {
    /// The node.
    pub node: NodeName,
    /// The session that ended; a newer one may have begun already.
    pub session: u64,
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

/// Queues a change for a node; served by the cloud hub. The queue keeps each object's newest state.
#[derive(Debug, Clone, Message)]
#[reply(Result<(), SendRefused>)]
pub struct SendToNode {
    /// The node.
    pub node: NodeName,
    /// What it is to know.
    pub change: ObjectChange,
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

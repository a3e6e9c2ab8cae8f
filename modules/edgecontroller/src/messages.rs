//! What the edge controller tells itself.

use beehive::Message;
use protocol::{ApiStatus, NodeName, Object, ObjectChange, ObjectKey};

use crate::delivery::Delivery;
use crate::desired::Effect;
use crate::lanes::Subject;

/// A config map or secret was read, or not.
#[derive(Debug, Message)]
pub(crate) struct Fetched {
    pub(crate) key: ObjectKey,
    pub(crate) answer: Result<Object, ApiStatus>,
}

/// The pods of a node were read, or not.
#[derive(Debug, Message)]
pub(crate) struct PodsListed {
    pub(crate) node: NodeName,
    pub(crate) answer: Result<Vec<Object>, ApiStatus>,
}

/// What could not be done before is to be tried again.
#[derive(Debug, Clone, Message)]
pub(crate) struct Again(pub(crate) Effect);

/// An object that a node holds was read, and the node must know this.
#[derive(Debug, Message)]
pub(crate) struct Checked {
    pub(crate) node: NodeName,
    pub(crate) session: u64,
    pub(crate) change: ObjectChange,
}

/// A parcel of changes was handed to the cloud hub, or not.
#[derive(Debug, Message)]
pub(crate) struct Delivered {
    pub(crate) node: NodeName,
    pub(crate) session: u64,
    pub(crate) delivery: Delivery,
}

/// The cloud hub has room for a node again.
#[derive(Debug, Message)]
pub(crate) struct RoomAgain {
    pub(crate) node: NodeName,
    pub(crate) session: u64,
}

/// Delivering goes on after a pause; this node's parcel failed.
#[derive(Debug, Clone, Message)]
pub(crate) struct GoOn(pub(crate) NodeName);

/// A session that this module does not know of goes on: the cloud hub cannot end it.
#[derive(Debug, Message)]
pub(crate) struct NotEnded(pub(crate) NodeName);

/// A request of a node was served.
#[derive(Debug, Message)]
pub(crate) struct Served {
    pub(crate) node: NodeName,
    pub(crate) subject: Subject,
}

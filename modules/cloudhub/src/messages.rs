//! What the hub and its connections tell each other.

use beehive::Message;
use protocol::NodeName;
use tokio::sync::{mpsc, oneshot};
use wire::link::Accepted;

use crate::commands::Commands;
use crate::compare::Wanted;
use crate::connection::Admission;
use crate::queue::Queue;

/// A connection came from a listener.
#[derive(Debug, Message)]
pub(crate) struct Arrived(pub(crate) Accepted);

/// A connection said all that it must before it is admitted.
#[derive(Debug, Message)]
pub(crate) struct Ready {
    pub(crate) connection: u64,
}

/// A connection ended.
#[derive(Debug, Message)]
pub(crate) struct Ended {
    pub(crate) connection: u64,
    pub(crate) node: NodeName,
}

/// Sessions that wait may have their turn.
#[derive(Debug, Clone, Message)]
pub(crate) struct NextTurns;

/// A listener ended.
#[derive(Debug, Message)]
pub(crate) struct ListenerEnded {
    pub(crate) problem: String,
}

/// A connection that waits for its admission.
#[derive(Debug)]
pub(crate) struct Arriving {
    pub(crate) node: NodeName,
    pub(crate) queue: Queue,
    pub(crate) commands: Commands,
    pub(crate) comparing: mpsc::Sender<Wanted>,
    pub(crate) fence: oneshot::Sender<()>,
    pub(crate) admit: oneshot::Sender<Admission>,
}

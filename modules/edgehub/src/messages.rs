//! What the hub tells itself.

use std::time::Duration;

use beehive::Message;
use wire::link::{Dialed, Transport};

use crate::pending::Asks;
use crate::transports::QuicSaid;

/// It is time to dial.
#[derive(Debug, Clone, Message)]
pub(crate) struct Connect;

/// A session began and takes requests.
#[derive(Debug, Message)]
pub(crate) struct Established {
    pub(crate) asks: Asks,
    /// The opening of the store that the session's outbox and what it said of the node are of.
    pub(crate) opening: u64,
    /// What carries the session.
    pub(crate) transport: Transport,
    /// What the dial told of QUIC.
    pub(crate) quic: QuicSaid,
}

/// The store was opened anew after a write failed.
#[derive(Debug, Message)]
pub(crate) struct Reopened;

/// A session ended, or did not come to be.
#[derive(Debug, Message)]
pub(crate) struct Ended {
    pub(crate) lasted: Duration,
    /// Whether nobody answered the dial.
    pub(crate) unreached: bool,
    /// Whether the cloud wants a list of what the node holds.
    pub(crate) lists: bool,
    /// What the session told of QUIC.
    pub(crate) quic: QuicSaid,
}

/// QUIC may be tried again while a session goes on over WebSocket.
#[derive(Debug, Clone, Message)]
pub(crate) struct TryQuic;

/// QUIC was tried meanwhile; the link, if there is one.
#[derive(Debug, Message)]
pub(crate) struct QuicTried(pub(crate) Option<Dialed>);

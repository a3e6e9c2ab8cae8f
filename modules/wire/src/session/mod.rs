//! State machines of a session: no clock, no task, no socket. Time is given as the duration since
//! the session began.

mod keepalive;
mod outbox;

pub use keepalive::{Keepalive, KeepaliveLimits, Liveness};
pub use outbox::{Full, Outbox, OutboxLimits, ToSend};

//! State machines of a session: no clock, no task, no socket. Time is given as the duration since
//! the session began.

mod bucket;
mod intake;
mod keepalive;
mod outbox;

pub use bucket::TokenBucket;
pub use intake::{Intake, Overflow};
pub use keepalive::{Keepalive, KeepaliveLimits, Liveness};
pub use outbox::{Full, Outbox, OutboxLimits, ToSend};

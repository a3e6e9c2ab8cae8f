//! State machines of a session: no clock, no task, no socket. Time is given as the duration since
//! the session began.

mod backlog;
mod bucket;
mod conversation;
mod ends;
mod intake;
mod keepalive;
mod lane;
mod lanes;
mod outbox;
mod pacer;
mod packer;
mod renewal;

pub use backlog::{Backlog, BacklogLimits, Displaced, Entry};
pub use bucket::TokenBucket;
pub use conversation::{Broken, Conversation, ConversationSettings, End, Heard};
pub use ends::{CloudEnd, EdgeEnd};
pub use intake::{Intake, Overflow};
pub use keepalive::{Beats, Keepalive, KeepaliveLimits, Liveness};
pub use lane::{BULK_BYTES_MIN, Lane};
pub use lanes::{LaneLimits, Stuck};
pub use outbox::{Full, Outbox, OutboxLimits, ToSend};
pub use renewal::Renewals;

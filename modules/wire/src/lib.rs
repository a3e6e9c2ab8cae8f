//! The only place that knows the resource paths, operations, message ids and bytes of the
//! cloud-edge link.
//!
//! ```text
//!  typed Uplink / Downlink  <- codec ->  frames  <- link (Dialer, Listener ports) ->  the other end
//! ```
//!
//! - [`link`]: the ports through which frames travel, and their in-memory form.
//! - [`RawMessage`] and [`ResourcePath`]: KubeEdge's message and addresses as they are.
//! - [`Uplink`] and [`Downlink`]: closed enums of all that travels.
//! - [`codec`]: the two byte forms, chosen in the handshake.
//! - [`session`]: state machines without clock, task or socket, and [`Line`], which gives them a
//!   clock and a link.

pub mod codec;
pub mod conformance;
pub mod link;
pub mod memory;
pub mod session;

mod content;
mod downlink;
mod legacy;
mod line;
mod message;
mod path;
mod raw;
mod reply;
mod request;
mod rule;
mod uplink;

pub use codec::Codec;
pub use downlink::{Downlink, membership};
pub use line::Line;
pub use memory::{MemoryLimits, MemoryNetwork, link_pair};
pub use message::{Envelope, MessageId, Unknown};
pub use path::ResourcePath;
pub use raw::{RawError, RawHeader, RawMessage, RawRoute};
pub use reply::{ReplyShape, ReplyTo};
pub use uplink::{AckRoute, Uplink};

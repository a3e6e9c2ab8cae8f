//! What travels on the bus.

use std::fmt;

pub use beehive_macros::Message;

/// A message: an event that is published, or a request that is asked.
///
/// A message moves by value from its sender to its receiver's handler. Large content belongs behind
/// an `Arc` or in `Bytes`, since a published event is cloned for each receiver but the last.
///
/// ```
/// use beehive::Message;
///
/// #[derive(Debug, Clone, Message)]
/// struct DoorOpened;
///
/// #[derive(Debug, Message)]
/// #[reply(Result<u32, String>)]
/// struct CountVisitors { since: u64 }
///
/// assert_eq!(CountVisitors::NAME, "CountVisitors");
/// ```
pub trait Message: fmt::Debug + Send + Sized + 'static {
    /// The message's name in logs, traces and errors.
    const NAME: &'static str;
    /// What the message's server answers.
    type Reply: Send + 'static;
}

//! The headers of upstream's request for the upgrade.

/// The node that asks.
pub const NODE: &str = "node_id";
/// The project that the node belongs to.
pub const PROJECT: &str = "project_id";
/// What the connection is for.
pub const USE: &str = "connectionuse";
/// The value of [`USE`] on a link; upstream's server never reads from a connection with another one.
pub const USE_MESSAGES: &str = "msg";

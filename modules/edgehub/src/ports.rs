//! What the hub needs from outside.

use std::fmt;
use std::sync::Arc;

use store::SharedMedium;
use wire::link::Dialer;

/// The hub's ports.
#[derive(Clone)]
pub struct Ports {
    /// Reaches the cloud.
    pub dialer: Arc<dyn Dialer>,
    /// Keeps what the cloud is to have.
    pub store: SharedMedium,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

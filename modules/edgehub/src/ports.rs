//! What the hub needs from outside.

use std::fmt;
use std::sync::Arc;

use wire::link::Dialer;

/// The hub's ports.
#[derive(Clone)]
pub struct Ports {
    /// Reaches the cloud.
    pub dialer: Arc<dyn Dialer>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

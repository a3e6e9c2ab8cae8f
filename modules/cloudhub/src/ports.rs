//! What the hub needs from outside.

use std::fmt;
use std::sync::Arc;

use wire::link::Listener;

/// The hub's ports.
#[derive(Clone)]
pub struct Ports {
    /// Where edges come from; the hub listens on all of them.
    pub listeners: Vec<Arc<dyn Listener>>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("listeners", &self.listeners.len()).finish()
    }
}

//! The edge process: its catalog of modules and their adapters.

pub mod certificate;
pub mod cri;
pub mod dial;
pub mod enrol;
pub mod files;
pub mod machine;
pub mod mqtt;
pub mod prober;
pub mod runtime;

mod http1;
mod process;
mod quic;
mod tls;
mod ws;

use std::fmt;
use std::sync::Arc;

use beehive::Catalog;
use devicetwin::DeviceTwin;
use edged::{Edged, EdgedPorts};
use edgehub::EdgeHub;
use eventbus::EventBus;
use eventbus::ports::{Broker, Mqtt};
use metamanager::MetaManager;
use store::SharedMedium;

pub use process::{Args, inert_catalog, main_with, open_store};

/// What the edge's modules are given.
#[derive(Clone)]
pub struct EdgePorts {
    /// Keeps the node's objects.
    pub store: SharedMedium,
    /// Reaches the cloud.
    pub hub: edgehub::Ports,
    /// Reaches an external broker of local clients.
    pub mqtt: Arc<dyn Mqtt>,
    /// The broker of local clients within the process.
    pub broker: Arc<dyn Broker>,
    /// Runs pods.
    pub edged: EdgedPorts,
}

impl fmt::Debug for EdgePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgePorts")
            .field("store", &self.store)
            .field("edged", &self.edged)
            .finish_non_exhaustive()
    }
}

/// Returns the modules of an edge process, in start order.
#[must_use]
pub fn catalog(ports: EdgePorts) -> Catalog {
    Catalog::new()
        .with::<MetaManager>(ports.store.clone())
        .with::<EdgeHub>(ports.hub)
        .with::<DeviceTwin>(ports.store)
        .with::<EventBus>(eventbus::Ports { mqtt: ports.mqtt, broker: ports.broker })
        .with::<Edged>(ports.edged)
}

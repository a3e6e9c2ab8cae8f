//! The cloud process: its catalog of modules and their adapters.

pub mod embedded;
pub mod enrol;
pub mod https;
pub mod leader;
pub mod quic;
pub mod ws;

mod accept;
mod certificates;
mod linger;
mod peer;
mod process;
mod tls;

use std::fmt;
use std::sync::Arc;

use apiserver::{ApiServer, ApiServerModule};
use beehive::Catalog;
use cloudhub::CloudHub;
use devicecontroller::DeviceController;
use edgecontroller::EdgeController;
use scheduler::{NodeLifecycle, Scheduler};
use synccontroller::SyncController;
use wire::link::Listener;

pub use embedded::{Embedded, EmbeddedError, EmbeddedOptions};
pub use process::{Args, definitions_yaml, inert_catalog, main_with};
pub use tls::Live;

/// What the cloud's modules are given.
#[derive(Clone)]
pub struct CloudPorts {
    /// Reaches the Kubernetes API.
    pub kube: kube::Client,
    /// Where edges come from.
    pub listeners: Vec<Arc<dyn Listener>>,
    /// The embedded API server, if that is the Kubernetes API.
    pub api_server: Option<ApiServer>,
}

impl fmt::Debug for CloudPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudPorts").field("embedded", &self.api_server.is_some()).finish_non_exhaustive()
    }
}

/// Returns the modules of a cloud process, in start order. A real cluster has its own scheduler and
/// looks after its own nodes.
#[must_use]
pub fn catalog(ports: CloudPorts) -> Catalog {
    let CloudPorts { kube, listeners, api_server } = ports;
    let links = |catalog: Catalog| {
        catalog
            .with::<CloudHub>(cloudhub::Ports { listeners: listeners.clone() })
            .with::<EdgeController>(kube.clone())
            .with::<DeviceController>(kube.clone())
            .with::<SyncController>(kube.clone())
    };
    match api_server {
        None => links(Catalog::new()),
        Some(server) => links(Catalog::new().with::<ApiServerModule>(server))
            .with::<Scheduler>(kube.clone())
            .with::<NodeLifecycle>(kube.clone()),
    }
}

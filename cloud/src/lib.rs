//! The cloud process: its catalog of modules and their adapters.

pub mod embedded;
pub mod enrol;
pub mod https;
pub mod leader;
pub mod quic;
pub mod rest;
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
use router::Router;
use router::ports::{RestClient, RestListener};
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
    /// How the router speaks REST.
    pub rest: RestPorts,
    /// The embedded API server, if that is the Kubernetes API.
    pub api_server: Option<ApiServer>,
}

/// Where REST clients come from, and what reaches REST endpoints.
#[derive(Clone)]
pub struct RestPorts {
    /// Where clients come from.
    pub listener: Arc<dyn RestListener>,
    /// Reaches endpoints.
    pub client: Arc<dyn RestClient>,
}

impl Default for RestPorts {
    /// Returns those of this machine's network.
    fn default() -> Self {
        Self {
            listener: Arc::new(rest::HttpRestListener::default()),
            client: Arc::new(rest::HttpRestClient::default()),
        }
    }
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
    let CloudPorts { kube, listeners, rest, api_server } = ports;
    let links = |catalog: Catalog| {
        catalog
            .with::<CloudHub>(cloudhub::Ports { listeners: listeners.clone() })
            .with::<EdgeController>(kube.clone())
            .with::<DeviceController>(kube.clone())
            .with::<SyncController>(kube.clone())
            .with::<Router>(router::Ports {
                kube: kube.clone(),
                listener: rest.listener.clone(),
                client: rest.client.clone(),
            })
    };
    match api_server {
        None => links(Catalog::new()),
        Some(server) => links(Catalog::new().with::<ApiServerModule>(server))
            .with::<Scheduler>(kube.clone())
            .with::<NodeLifecycle>(kube.clone()),
    }
}

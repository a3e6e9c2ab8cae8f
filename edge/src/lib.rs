//! The edge process: its catalog of modules and their adapters.

pub mod certificate;
pub mod cri;
pub mod dial;
pub mod dmi;
pub mod enrol;
pub mod files;
pub mod machine;
pub mod mqtt;
pub mod prober;
pub mod runtime;
pub mod services;

mod http1;
mod process;
mod quic;
mod tls;
mod ws;

use std::fmt;
use std::sync::Arc;

use ::dmi::Dmi;
use ::dmi::ports::Mappers;
use beehive::Catalog;
use devicetwin::DeviceTwin;
use edged::{Edged, EdgedPorts};
use edgehub::EdgeHub;
use eventbus::EventBus;
use eventbus::ports::{Broker, Mqtt};
use metamanager::MetaManager;
use servicebus::ServiceBus;
use servicebus::ports::{AppListener, ServiceClient};
use store::SharedMedium;

pub use process::{Args, inert_catalog, main_with, mappers, open_store};

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
    /// Reaches the node's services and applications.
    pub services: ServicePorts,
    /// Reaches device mappers; nothing where there are no device twins.
    pub mappers: Option<Arc<dyn Mappers>>,
    /// Runs pods.
    pub edged: EdgedPorts,
}

/// How the node's HTTP services are reached, and where its applications come from.
#[derive(Clone)]
pub struct ServicePorts {
    /// Calls services.
    pub client: Arc<dyn ServiceClient>,
    /// Where applications come from.
    pub listener: Arc<dyn AppListener>,
}

impl Default for ServicePorts {
    /// Returns those of this machine.
    fn default() -> Self {
        Self { client: Arc::new(services::LoopbackClient), listener: Arc::new(services::HttpAppListener) }
    }
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
        .with::<DeviceTwin>(ports.store.clone())
        .with::<Dmi>(::dmi::Ports { store: ports.store.clone(), mappers: ports.mappers })
        .with::<EventBus>(eventbus::Ports {
            mqtt: ports.mqtt,
            broker: ports.broker,
            store: ports.store.clone(),
        })
        .with::<ServiceBus>(servicebus::Ports {
            store: ports.store,
            services: ports.services.client,
            listener: ports.services.listener,
        })
        .with::<Edged>(ports.edged)
}

//! The process `edgecore`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use beehive::{Catalog, Node, SystemClock};
use clap::Parser;
use devicetwin::DeviceTwinConfig;
use dmi::ports::Mappers;
use edged::config::EdgedConfig;
use edgehub::EdgeHubConfig;
use node_config::{Ending, Loaded, Process, ProcessArgs, StartError, is_enabled};
use protocol::NodeName;
use store::{MemoryStore, SharedMedium};
use store_sled::{OnDamage, OpenError, SledMedium};
use wire::MemoryNetwork;

use crate::dial::NetDialer;
use crate::dmi::DmiSockets;
use crate::enrol::Enrolment;
use crate::mqtt::{EmbeddedBroker, MqttClient};
use crate::runtime::{edged_ports, hollow};
use crate::{EdgePorts, ServicePorts};

/// The edge of a Beehive cluster: the agent of one node.
#[derive(Debug, Parser)]
#[command(name = "edgecore", version)]
pub struct Args {
    /// What both processes have.
    #[command(flatten)]
    pub process: ProcessArgs,
}

/// Runs the edge process with the catalog that `catalog` makes of its ports. It is called twice:
/// once to learn what sections the modules read, with ports that do nothing.
pub fn main_with(catalog: impl Fn(EdgePorts) -> Catalog) -> ExitCode {
    let args = Args::parse();
    store_sled::hush_panics();
    node_config::execute(Process::EdgeCore, &args.process, run(&args, catalog))
}

async fn run(args: &Args, catalog: impl Fn(EdgePorts) -> Catalog) -> Result<Ending, StartError> {
    let loaded = node_config::start(Process::EdgeCore, &args.process, &catalog(inert()))?;
    let sections = loaded.node_sections();
    let edged = loaded.module::<EdgedConfig>(&sections, "edged")?;
    let has_link = is_enabled(&sections, "edgeHub");
    let hub = has_link.then(|| loaded.module::<EdgeHubConfig>(&sections, "edgeHub")).transpose()?;
    let has_twins = is_enabled(&sections, "deviceTwin");
    let twins = has_twins.then(|| loaded.module::<DeviceTwinConfig>(&sections, "deviceTwin")).transpose()?;
    let preparing = async {
        let (ports, name) = prepare(&loaded, &edged, twins.as_ref()).await?;
        let enrolment = enrol(hub.as_ref(), &name).await?;
        Ok::<_, Box<dyn std::error::Error>>((ports, name, enrolment))
    };
    let (ports, name, enrolment) = node_config::prepare(preparing).await?;
    let node = loaded.launch(name, catalog(ports), sections).await?;
    Ok(serve(node, enrolment).await)
}

/// Sees to it that the node has a certificate for its link.
async fn enrol(
    config: Option<&EdgeHubConfig>,
    name: &str,
) -> Result<Option<Enrolment>, Box<dyn std::error::Error>> {
    let Some(config) = config else { return Ok(None) };
    let enrolment = Enrolment::new(config, NodeName::parse(name)?, Arc::new(SystemClock))?;
    enrolment.ensure().await?;
    Ok(Some(enrolment))
}

/// Runs the node, and keeps its certificate in force meanwhile.
async fn serve(node: Node, enrolment: Option<Enrolment>) -> Ending {
    let maintaining = async {
        if let Some(enrolment) = &enrolment {
            enrolment.maintain().await;
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        ending = node_config::run(node) => ending,
        () = maintaining => Ending::Broken,
    }
}

/// Opens what the modules need of the machine. Returns the node's name with it.
async fn prepare(
    loaded: &Loaded,
    config: &EdgedConfig,
    twins: Option<&DeviceTwinConfig>,
) -> Result<(EdgePorts, String), Box<dyn std::error::Error>> {
    mention_database(&loaded.settings.store);
    let store = open_store(&loaded.settings.store)?;
    let edged = edged_ports(config).await?;
    let name = match config.hostname_override.as_str() {
        "" => edged.node.facts().await?.hostname,
        name => name.to_owned(),
    };
    let hub = edgehub::Ports { dialer: Arc::new(NetDialer), store: store.clone() };
    let (mqtt, broker) = (Arc::new(MqttClient), Arc::new(EmbeddedBroker::new()));
    let (services, mappers) = (ServicePorts::default(), twins.map(mappers));
    Ok((EdgePorts { store, hub, mqtt, broker, services, mappers, edged }, name))
}

/// Returns the way to device mappers. They report to the device twins and are nothing without them.
#[must_use]
pub fn mappers(twins: &DeviceTwinConfig) -> Arc<dyn Mappers> {
    Arc::new(DmiSockets::new(twins.dmi_socket()))
}

/// Says that KubeEdge's edgecore kept something that was not taken over. Its database is the file beside
/// which the store is made.
fn mention_database(store: &Path) {
    let database = store.with_extension("");
    if database.is_file() && !store.exists() {
        tracing::warn!(
            database = %database.display(),
            "what KubeEdge's edgecore kept is not taken over, the cloud tells it again; \
             `keadm migrate` does, before edgecore runs for the first time"
        );
    }
}

/// Opens a node's store, or a new one in place of one that is damaged: a node without its past is
/// told everything again by the cloud.
///
/// # Errors
///
/// When it is in use, or the directory cannot be used.
pub fn open_store(directory: &Path) -> Result<SharedMedium, OpenError> {
    Ok(Arc::new(SledMedium::open(directory, OnDamage::MoveAside)?))
}

/// Returns the catalog with ports that do nothing, to be looked at.
#[must_use]
pub fn inert_catalog() -> Catalog {
    crate::catalog(inert())
}

/// Makes ports that do nothing, for a catalog that is only looked at.
fn inert() -> EdgePorts {
    let store: SharedMedium = Arc::new(MemoryStore::new());
    EdgePorts {
        store: store.clone(),
        hub: edgehub::Ports { dialer: Arc::new(MemoryNetwork::default()), store },
        mqtt: Arc::new(MqttClient),
        broker: Arc::new(EmbeddedBroker::new()),
        services: ServicePorts::default(),
        mappers: None,
        edged: hollow(&EdgedConfig::default()),
    }
}

//! The process `edgecore`.

use std::process::ExitCode;
use std::sync::Arc;

use beehive::{Catalog, Node, NodeOptions, Sections, SystemClock};
use clap::Parser;
use edged::config::EdgedConfig;
use edgehub::EdgeHubConfig;
use node_config::{Ending, Loaded, Process, ProcessArgs, report};
use protocol::NodeName;
use store::{MemoryStore, SharedStore};
use store_sled::{OpenError, SledStore};
use wire::MemoryNetwork;

use crate::EdgePorts;
use crate::enrol::Enrolment;
use crate::runtime::{edged_ports, hollow};
use crate::ws::WsDialer;

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
    if let Some(text) = node_config::printed(Process::EdgeCore, &args.process) {
        return node_config::print(text);
    }
    match beehive::block_on(run(args, catalog)) {
        Ok(ending) => ending.into(),
        Err(error) => {
            report(&error);
            Ending::Unprepared.into()
        }
    }
}

async fn run(args: Args, catalog: impl Fn(EdgePorts) -> Catalog) -> Ending {
    let loaded = match node_config::start(Process::EdgeCore, &args.process, &catalog(inert())) {
        Ok(loaded) => loaded,
        Err(error) => {
            report(&error);
            return Ending::Misconfigured;
        }
    };
    let (sections, configs) = match sections(&loaded) {
        Ok(read) => read,
        Err(error) => {
            report(&error);
            return Ending::Misconfigured;
        }
    };
    let preparing = async {
        let (ports, name) = prepare(&loaded, &configs.edged).await?;
        let enrolment = enrol(configs.hub.as_ref(), &name).await?;
        Ok::<_, Box<dyn std::error::Error>>((ports, name, enrolment))
    };
    let prepared = tokio::select! {
        biased;
        () = node_config::asked_to_end() => return Ending::Asked,
        prepared = preparing => prepared,
    };
    let (ports, name, enrolment) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            report(&*error);
            return Ending::Unprepared;
        }
    };
    let seed = node_config::random_seed().unwrap_or_default();
    let options = NodeOptions { name, seed, ..NodeOptions::default() };
    match Node::launch(catalog(ports), sections, options).await {
        Ok(node) => serve(node, enrolment).await,
        Err(error) => {
            report(&loaded.explain(&error));
            Ending::Misconfigured
        }
    }
}

/// The sections that the process itself reads as well.
struct Configs {
    edged: EdgedConfig,
    /// None when there is no link.
    hub: Option<EdgeHubConfig>,
}

fn sections(loaded: &Loaded) -> Result<(Sections, Configs), node_config::ConfigError> {
    let sections = loaded.node_sections()?;
    let body =
        |name: &str| sections.get(name).map_or(serde_json::Value::Null, |section| section.body.clone());
    let edged = beehive::section::parse::<EdgedConfig>(&body("edged"), "modules.edged");
    let edged = edged.map_err(|problems| loaded.locate(&problems))?;
    let hub = beehive::section::parse::<EdgeHubConfig>(&body("edgeHub"), "modules.edgeHub");
    let hub = hub.map_err(|problems| loaded.locate(&problems))?;
    let has_link = sections.get("edgeHub").and_then(|section| section.enable).unwrap_or(true);
    Ok((sections, Configs { edged, hub: has_link.then_some(hub) }))
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
) -> Result<(EdgePorts, String), Box<dyn std::error::Error>> {
    let store = open_store(loaded)?;
    let edged = edged_ports(config).await?;
    let name = match config.hostname_override.as_str() {
        "" => edged.node.facts().await?.hostname,
        name => name.to_owned(),
    };
    let hub = edgehub::Ports { dialer: Arc::new(WsDialer), store: store.clone() };
    Ok((EdgePorts { store, hub, edged }, name))
}

/// A node without its past is told everything again by the cloud: it goes on.
fn open_store(loaded: &Loaded) -> Result<SharedStore, OpenError> {
    let opened = SledStore::open_or_recover(&loaded.settings.store)?;
    if let Some(recovery) = &opened.recovery {
        tracing::error!(
            cause = recovery.cause,
            moved_to = %recovery.moved_to.display(),
            "the node's store was damaged: it begins anew with what the cloud sends"
        );
    }
    Ok(Arc::new(opened.store))
}

/// Returns the catalog with ports that do nothing, to be looked at.
#[must_use]
pub fn inert_catalog() -> Catalog {
    crate::catalog(inert())
}

/// Makes ports that do nothing, for a catalog that is only looked at.
fn inert() -> EdgePorts {
    let store: SharedStore = Arc::new(MemoryStore::new());
    EdgePorts {
        store: store.clone(),
        hub: edgehub::Ports { dialer: Arc::new(MemoryNetwork::default()), store },
        edged: hollow(&EdgedConfig::default()),
    }
}

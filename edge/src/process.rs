//! The process `edgecore`.

use std::process::ExitCode;
use std::sync::Arc;

use beehive::{Catalog, Node, NodeOptions, Sections};
use clap::Parser;
use edged::config::EdgedConfig;
use node_config::{Ending, Loaded, Process, ProcessArgs, report};
use store::{MemoryStore, SharedStore};
use store_sled::{OpenError, SledStore};
use wire::MemoryNetwork;

use crate::EdgePorts;
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
    let (sections, config) = match sections(&loaded) {
        Ok(read) => read,
        Err(error) => {
            report(&error);
            return Ending::Misconfigured;
        }
    };
    let (ports, name) = match prepare(&loaded, &config).await {
        Ok(prepared) => prepared,
        Err(error) => {
            report(&*error);
            return Ending::Unprepared;
        }
    };
    let seed = node_config::random_seed().unwrap_or_default();
    let options = NodeOptions { name, seed, ..NodeOptions::default() };
    match Node::launch(catalog(ports), sections, options).await {
        Ok(node) => node_config::run(node).await,
        Err(error) => {
            report(&loaded.explain(&error));
            Ending::Misconfigured
        }
    }
}

fn sections(loaded: &Loaded) -> Result<(Sections, EdgedConfig), node_config::ConfigError> {
    let sections = loaded.node_sections()?;
    let body = sections.get("edged").map_or(serde_json::Value::Null, |section| section.body.clone());
    let config = beehive::section::parse::<EdgedConfig>(&body, "modules.edged");
    let config = config.map_err(|problems| loaded.locate(&problems))?;
    Ok((sections, config))
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
    let hub = edgehub::Ports { dialer: Arc::new(WsDialer) };
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
    EdgePorts {
        store: Arc::new(MemoryStore::new()),
        hub: edgehub::Ports { dialer: Arc::new(MemoryNetwork::default()) },
        edged: hollow(&EdgedConfig::default()),
    }
}

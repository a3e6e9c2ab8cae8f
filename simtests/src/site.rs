//! Where a process runs: what it is started with and what it leaves behind when it crashes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use beehive::{Bus, Catalog, Clock, Node, NodeOptions, Sections};
use cloudcore::{CloudPorts, RestPorts};
use edgecore::{EdgePorts, ServicePorts};
use node_config::Process as Kind;
use router::memory::MemoryRest;
use tokio::time::sleep;

use crate::api::{Api, Asker};
use crate::check::Invariant;
use crate::clock::SimClock;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::link::Network;
use crate::machine::Machine;
use crate::node::{Process, Window};
use crate::world::World;

/// The cloud's name.
pub(crate) const CLOUD: &str = "cloud";
/// After how long whoever watches over processes starts one again that has ended.
const RESTART_AFTER: Duration = Duration::from_secs(5);

type CloudCatalog = Rc<dyn Fn(CloudPorts) -> Catalog>;
type EdgeCatalog = Rc<dyn Fn(EdgePorts) -> Catalog>;

/// Reads a configuration as the process's `main` does.
fn sections(kind: Kind, catalog: &Catalog, yaml: &str) -> Result<Sections, Failure> {
    let file = Some(("the scenario's configuration", yaml));
    let loaded = node_config::load(kind, catalog, file, &Default::default());
    let mut sections = loaded.map_err(|error| Failure::Setup(error.to_string()))?.node_sections();
    sections.retain(|name, _| catalog.entries().iter().any(|entry| entry.section == name.as_str()));
    Ok(sections)
}

/// Runs modules until one is given up.
async fn serve(
    world: &World,
    name: &str,
    catalog: Catalog,
    sections: Sections,
    options: NodeOptions,
    window: &Window,
) {
    let launched = Node::launch(catalog, sections, options).await;
    let outcome = launched.as_ref().map_or_else(|error| Err(format!("{name}: {error:?}")), |_| Ok(()));
    world.ledger.check(Invariant::ProcessesStart, outcome);
    let Ok(node) = launched else { return };
    world.record(format_args!("process {name} serves"));
    window.show(Some(node.bus()));
    let failure = node.failed().await;
    window.show(None);
    world.record(format_args!("process {name} ends: {failure}"));
}

fn options(world: &World, name: &str, run: u64, clock: Arc<dyn Clock>) -> NodeOptions {
    NodeOptions {
        name: name.to_owned(),
        seed: world.derived_seed(name).wrapping_add(run),
        clock,
        trace: Some(world.recorder.clone()),
        buggify: Some(world.mischief.clone()),
        ..NodeOptions::default()
    }
}

/// An edge: its machine, and its process while it runs.
pub(crate) struct EdgeSite {
    name: Arc<str>,
    world: Arc<World>,
    network: Network,
    catalog: EdgeCatalog,
    sections: Sections,
    process: Option<Process>,
    runs: u64,
    pub(crate) machine: Rc<Machine>,
}

impl EdgeSite {
    pub(crate) fn new(
        name: &str,
        world: &Arc<World>,
        network: &Network,
        catalog: impl Fn(EdgePorts) -> Catalog + 'static,
    ) -> Self {
        let name: Arc<str> = name.into();
        let machine = Rc::new(Machine::new(&name, world));
        network.attach(&name, &machine.disk);
        Self {
            machine,
            name,
            world: world.clone(),
            network: network.clone(),
            catalog: Rc::new(catalog),
            sections: Sections::new(),
            process: None,
            runs: 0,
        }
    }

    pub(crate) fn configured(mut self, yaml: &str) -> Result<Self, Failure> {
        let catalog = (self.catalog)(edge_ports(&self.machine, &self.network));
        self.sections = sections(Kind::EdgeCore, &catalog, yaml)?;
        Ok(self)
    }

    pub(crate) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.runs += 1 << 16;
        let (name, world, network) = (self.name.clone(), self.world.clone(), self.network.clone());
        let (catalog, sections, machine) =
            (self.catalog.clone(), self.sections.clone(), self.machine.clone());
        let first = self.runs;
        let main = move |window: Window| {
            Box::pin(async move {
                for run in first.. {
                    world.record(format_args!("process {name} starts"));
                    let catalog = catalog(edge_ports(&machine, &network));
                    let options = options(&world, &name, run, machine.clock.clone());
                    serve(&world, &name, catalog, sections.clone(), options, &window).await;
                    sleep(RESTART_AFTER).await;
                }
            }) as std::pin::Pin<Box<dyn Future<Output = ()>>>
        };
        self.process = Some(Process::start(&self.name, &self.world, main));
    }

    pub(crate) fn crash(&mut self) {
        self.process = None;
        self.machine.disk.crash();
    }

    pub(crate) fn bus(&self) -> Option<Bus> {
        self.process.as_ref().and_then(Process::bus)
    }
}

fn edge_ports(machine: &Machine, network: &Network) -> EdgePorts {
    let store = machine.disk.open();
    EdgePorts {
        hub: edgehub::Ports { dialer: Arc::new(network.clone()), store: store.clone() },
        store,
        mqtt: Arc::new(machine.broker.clone()),
        broker: Arc::new(machine.broker.clone()),
        services: ServicePorts {
            client: Arc::new(machine.services.clone()),
            listener: Arc::new(machine.services.clone()),
        },
        mappers: Some(Arc::new(machine.mappers.clone())),
        edged: machine.edged_ports(),
    }
}

/// The cloud: its disk, and its process with the API server while it runs.
pub(crate) struct CloudSite {
    name: Arc<str>,
    world: Arc<World>,
    network: Network,
    api: Api,
    rest: MemoryRest,
    catalog: CloudCatalog,
    sections: Sections,
    process: Option<Process>,
    runs: u64,
    pub(crate) disk: Disk,
    pub(crate) clock: Arc<SimClock>,
}

impl CloudSite {
    pub(crate) fn new(
        world: &Arc<World>,
        network: &Network,
        api: &Api,
        rest: &MemoryRest,
        catalog: impl Fn(CloudPorts) -> Catalog + 'static,
    ) -> Self {
        let name: Arc<str> = CLOUD.into();
        Self {
            disk: Disk::new(&name, world),
            clock: Arc::new(SimClock::new(world.start)),
            name,
            world: world.clone(),
            network: network.clone(),
            api: api.clone(),
            rest: rest.clone(),
            catalog: Rc::new(catalog),
            sections: Sections::new(),
            process: None,
            runs: 0,
        }
    }

    pub(crate) async fn configured(mut self, yaml: &str) -> Result<Self, Failure> {
        // The catalog is only looked at: its API server is one in memory.
        let server = self.api.rehearse(self.clock.clone()).await;
        let server = server.map_err(|error| Failure::Setup(error.to_string()))?;
        let kube = self.api.client(Asker::Cloud);
        let rest = rest_ports(&self.rest);
        let listeners = Vec::new();
        let catalog = (self.catalog)(CloudPorts { kube, listeners, rest, api_server: Some(server) });
        self.sections = sections(Kind::CloudCore, &catalog, yaml)?;
        Ok(self)
    }

    pub(crate) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.runs += 1 << 16;
        let (world, network, api) = (self.world.clone(), self.network.clone(), self.api.clone());
        let (catalog, sections, rest) = (self.catalog.clone(), self.sections.clone(), self.rest.clone());
        let (disk, clock, first) = (self.disk.clone(), self.clock.clone(), self.runs);
        let main = move |window: Window| {
            Box::pin(async move {
                for run in first.. {
                    world.record(format_args!("process {CLOUD} starts"));
                    let ports = match cloud_ports(&network, &api, &rest, &disk, &clock, run).await {
                        Ok(ports) => ports,
                        Err(error) => {
                            world.record(format_args!("process {CLOUD} ends: {error}"));
                            sleep(RESTART_AFTER).await;
                            continue;
                        }
                    };
                    let options = options(&world, CLOUD, run, clock.clone());
                    serve(&world, CLOUD, catalog(ports), sections.clone(), options, &window).await;
                    api.close();
                    sleep(RESTART_AFTER).await;
                }
            }) as std::pin::Pin<Box<dyn Future<Output = ()>>>
        };
        self.process = Some(Process::start(&self.name, &self.world, main));
    }

    pub(crate) fn crash(&mut self) {
        self.process = None;
        self.api.close();
        self.disk.crash();
    }

    pub(crate) fn bus(&self) -> Option<Bus> {
        self.process.as_ref().and_then(Process::bus)
    }
}

fn rest_ports(rest: &MemoryRest) -> RestPorts {
    RestPorts { listener: Arc::new(rest.clone()), client: Arc::new(rest.clone()) }
}

async fn cloud_ports(
    network: &Network,
    api: &Api,
    rest: &MemoryRest,
    disk: &Disk,
    clock: &Arc<SimClock>,
    run: u64,
) -> Result<CloudPorts, apiserver::OpenError> {
    let server = api.open(disk.open(), clock.clone(), run).await?;
    Ok(CloudPorts {
        kube: api.client(Asker::Cloud),
        listeners: vec![Arc::new(network.clone())],
        rest: rest_ports(rest),
        api_server: Some(server),
    })
}

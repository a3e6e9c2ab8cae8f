//! What every exhibit needs: who plays in it, what it demands, and how its failure is told.

use std::rc::Rc;
use std::time::Duration;

use beehive::Catalog;
use cloudcore::CloudPorts;
use edgecore::EdgePorts;
use kube::Client;
use simtests::{Failure, Invariant, Sim, Violation, cluster};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Every exhibit is decided by this seed.
const SEED: u64 = 7;

/// A scenario of the museum.
pub(crate) type Scenario = fn(&mut Sim, &Cast) -> Result<(), Failure>;

/// Who plays in a scenario: what ships, or one faulty part among it.
#[derive(Clone)]
pub(crate) struct Cast {
    cloud_yaml: &'static str,
    edge_yaml: &'static str,
    cloud: Rc<dyn Fn(CloudPorts) -> Catalog>,
    edge: Rc<dyn Fn(EdgePorts) -> Catalog>,
    explained: Vec<&'static str>,
}

impl Cast {
    /// What ships, with the configuration that it has without a file.
    pub(crate) fn ours() -> Self {
        Self {
            cloud_yaml: "",
            edge_yaml: "",
            cloud: Rc::new(cloudcore::catalog),
            edge: Rc::new(edgecore::catalog),
            explained: Vec::new(),
        }
    }

    /// Gives the cloud a `cloudcore.yaml`.
    pub(crate) fn cloud_yaml(self, cloud_yaml: &'static str) -> Self {
        Self { cloud_yaml, ..self }
    }

    /// Gives every edge an `edgecore.yaml`.
    pub(crate) fn edge_yaml(self, edge_yaml: &'static str) -> Self {
        Self { edge_yaml, ..self }
    }

    /// Gives the cloud other modules, or its modules other ports.
    pub(crate) fn cloud(self, catalog: impl Fn(CloudPorts) -> Catalog + 'static) -> Self {
        Self { cloud: Rc::new(catalog), ..self }
    }

    /// Gives every edge other modules, or its modules other ports.
    pub(crate) fn edge(self, catalog: impl Fn(EdgePorts) -> Catalog + 'static) -> Self {
        Self { edge: Rc::new(catalog), ..self }
    }

    /// Lets a warning pass that only the faulty part brings about.
    pub(crate) fn explains(mut self, warning: &'static str) -> Self {
        self.explained.push(warning);
        self
    }

    /// Starts the cloud.
    pub(crate) fn start_cloud(&self, sim: &mut Sim) -> Result<Client, Failure> {
        self.explained.iter().for_each(|warning| sim.allow_log(warning));
        let catalog = Rc::clone(&self.cloud);
        sim.cloud_with(self.cloud_yaml, move |ports| catalog(ports))?;
        Ok(sim.kube())
    }

    /// Starts an edge.
    pub(crate) fn start_edge(&self, sim: &mut Sim, name: &str) -> Result<(), Failure> {
        let catalog = Rc::clone(&self.edge);
        sim.edge_with(name, self.edge_yaml, move |ports| catalog(ports))
    }

    /// Starts the cloud and edges, and waits until the edges are ready.
    pub(crate) fn start(&self, sim: &mut Sim, edges: &[&str]) -> Result<Client, Failure> {
        let kube = self.start_cloud(sim)?;
        for edge in edges {
            self.start_edge(sim, edge)?;
        }
        for edge in edges {
            is_ready(sim, &kube, edge, MINUTE)?;
        }
        Ok(kube)
    }
}

/// Waits until a node is `Ready`.
pub(crate) fn is_ready(sim: &mut Sim, kube: &Client, edge: &str, patience: Duration) -> Result<(), Failure> {
    let ready = async || cluster::node_is_ready(kube, edge).await;
    sim.until(&format!("{edge} is ready"), patience, ready)
}

/// Demands something that the scenario measured.
pub(crate) fn demand(is_met: bool, found: impl Into<String>) -> Result<(), Failure> {
    let violation = Violation { invariant: Invariant::DemandsAreMet, found: found.into() };
    if is_met { Ok(()) } else { Err(Failure::Correctness(violation)) }
}

/// Runs a scenario with a cast in which nothing is faulty: it holds, and in the same way each time.
pub(crate) fn holds(scenario: Scenario, cast: &Cast) {
    simtests::check(SEED, |sim| scenario(sim, cast));
}

/// Runs a scenario with a faulty cast and returns how it failed.
fn failure(scenario: Scenario, cast: &Cast) -> Failure {
    let outcome = simtests::run(SEED, |sim| scenario(sim, cast));
    let text = outcome.to_string();
    outcome.failure.unwrap_or_else(|| panic!("the faulty variant was not noticed: {text}"))
}

/// Runs a scenario with a faulty cast: something does not come true in time.
pub(crate) fn is_late(scenario: Scenario, cast: &Cast, expected: &str) {
    match failure(scenario, cast) {
        Failure::Liveness { what, .. } if what.contains(expected) => {}
        other => panic!("{expected:?} was to be late: {other}"),
    }
}

/// Runs a scenario with a faulty cast: an invariant is broken, and what is found says `expected`.
pub(crate) fn breaks(scenario: Scenario, cast: &Cast, invariant: Invariant, expected: &str) {
    match failure(scenario, cast) {
        Failure::Correctness(violation)
            if violation.invariant == invariant && violation.found.contains(expected) => {}
        other => panic!("{invariant} was to be broken with {expected:?}: {other}"),
    }
}

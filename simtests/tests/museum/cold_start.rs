//! #4210, #6414: after a loss of power without a network no pod starts on the node, since what it was told
//! is not there, or cannot be had without the cloud.
//!
//! Ours acknowledges a change when it is on disk, and starts pods from there.

use std::sync::Arc;

use edgecore::EdgePorts;
use simtests::{Failure, Invariant, Sim};
use store::MemoryStore;

use crate::exhibit::{self, Cast, MINUTE, breaks, demand};
use crate::things::{make_map, make_pod, running, runs};

/// A node that lost its power runs its pods again without its cloud.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_map(sim, &kube, "map", "text")?;
    make_pod(sim, &kube, "pod", "edge-01", &["map"])?;
    runs(sim, &kube, "pod", MINUTE)?;
    sim.allow_log("the cloud was not reached");
    sim.crash("cloud");
    sim.power_off("edge-01");
    sim.run_for(MINUTE)?;
    sim.restart("edge-01")?;
    sim.run_for(2 * MINUTE)?;
    let count = running(sim, "edge-01").len();
    demand(count == 1, format!("{count} containers run without a cloud"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

/// A store that says that something is kept before it is.
#[test]
fn fails_as_reported() {
    let cast = Cast::ours().edge(|mut ports: EdgePorts| {
        ports.store = Arc::new(MemoryStore::new());
        edgecore::catalog(ports)
    });
    breaks(scenario, &cast, Invariant::DemandsAreMet, "0 containers run without a cloud");
}

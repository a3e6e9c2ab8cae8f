//! #4441, #5802: a pod with a service account does not start on a node without its cloud, since its token's
//! time is over and nobody can issue another.
//!
//! Ours keeps tokens, and while the cloud is away gives old ones too, for as long as the operator allows.

use std::sync::Arc;

use edgecore::EdgePorts;
use edged::memory_files::MemoryFiles;
use simtests::{Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand};
use crate::things::{make_running, running};

/// Volumes with tokens are in memory: a loss of power takes them.
fn cast() -> Cast {
    Cast::ours().edge(|mut ports: EdgePorts| {
        ports.edged.files = Arc::new(MemoryFiles::new());
        edgecore::catalog(ports)
    })
}

/// A pod starts again on a node whose cloud has been away for longer than tokens last.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_running(sim, &kube, "edge-01", &["pod"])?;
    sim.allow_log("the cloud was not reached");
    sim.crash("cloud");
    sim.run_for(MINUTE)?;
    // A token lasts an hour. The node's clock goes on at once, so that the test need not.
    sim.jump_clock("edge-01", 70 * 60 * 1000);
    sim.run_for(MINUTE)?;
    sim.power_off("edge-01");
    sim.restart("edge-01")?;
    sim.run_for(5 * MINUTE)?;
    let count = running(sim, "edge-01").len();
    demand(count == 1, format!("{count} containers run without a cloud"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &cast());
}

#[test]
fn fails_as_reported() {
    let cast = cast().edge_yaml("modules: { metaManager: { tokenGracePeriod: 0s } }");
    let cast = cast.explains("the service account's token could not be had");
    breaks(scenario, &cast, Invariant::DemandsAreMet, "0 containers run without a cloud");
}

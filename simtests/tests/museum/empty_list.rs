//! Akin to #6641: the API server cannot be asked for a moment, that is taken for an empty answer, and the pods
//! of a node are killed.
//!
//! Ours concludes nothing from an answer that did not come: a list counts when all of it is there.

use cloudcore::CloudPorts;
use simtests::{ApiTrouble, Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand};
use crate::faulty::api::refusals_are_empty_lists;
use crate::things::{make_running, running};

/// Pods go on while clouds start whose API refuses half of what it is asked.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_running(sim, &kube, "edge-01", &["one", "two"])?;
    let before = running(sim, "edge-01");
    for explained in ["the cloud was not reached", "cannot watch the Kubernetes API", "was not served"] {
        sim.allow_log(explained);
    }
    let refused = ["the node's status was refused", "refused a request of a node"];
    for explained in refused.into_iter().chain(["the node is silent", "could not correct a node"]) {
        sim.allow_log(explained);
    }
    for _ in 0..5 {
        sim.crash("cloud");
        sim.trouble_api(ApiTrouble { unavailable: 0.5, ..ApiTrouble::default() });
        sim.restart("cloud")?;
        sim.run_for(MINUTE)?;
        sim.trouble_api(ApiTrouble::default());
        sim.run_for(MINUTE)?;
        let after = running(sim, "edge-01");
        demand(after == before, format!("{before:?} ran before and {after:?} run now"))?;
    }
    Ok(())
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    let cast = Cast::ours().cloud(|mut ports: CloudPorts| {
        ports.kube = refusals_are_empty_lists(ports.kube);
        cloudcore::catalog(ports)
    });
    breaks(scenario, &cast, Invariant::DemandsAreMet, "run now");
}

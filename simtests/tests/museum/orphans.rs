//! #6540: a node is shut down, its Node object and its pods are deleted meanwhile, and when it is back it runs
//! the old pods beside the new ones: the end of pods whose node is not known is ignored.
//!
//! Ours ends what a node holds and the API does not have, when the node connects.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::DeleteParams;
use simtests::{Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand};
use crate::faulty::cloud::{original_hub, simple_hub};
use crate::faulty::hub::Habit;
use crate::things::make_running;

/// Nothing runs on a node that came back but what the API has for it.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_running(sim, &kube, "edge-01", &["old"])?;
    // The node asks for what its old pod needs, before it knows of the pod's end.
    sim.allow_log("refused a request of a node");
    sim.power_off("edge-01");
    sim.run_for(MINUTE / 2)?;
    let (nodes, pods) = (Api::<Node>::all(kube.clone()), Api::<Pod>::default_namespaced(kube));
    let now = DeleteParams::default().grace_period(0);
    let deleted = sim.block_on(async {
        nodes.delete("edge-01", &now).await.map(drop)?;
        pods.delete("old", &now).await.map(drop)
    });
    deleted.map_err(|error| Failure::Setup(error.to_string()))?;
    sim.restart("edge-01")?;
    sim.run_for(2 * MINUTE)?;
    let left: Vec<String> = sim.containers("edge-01").into_iter().map(|sandbox| sandbox.pod.name).collect();
    demand(left.is_empty(), format!("the node runs {left:?}"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    exhibit::holds(scenario, &simple_hub());
    let cast = original_hub(Habit::Forgets);
    breaks(scenario, &cast, Invariant::DemandsAreMet, "the node runs [\"old\"");
}

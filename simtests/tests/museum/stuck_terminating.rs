//! #3736, #3460, #1127: a pod that is deleted while its node is cut off is `Terminating` for ever.
//!
//! Ours tells the node when it connects that the pod is to end, and the node repeats that the pod has
//! ended until the cloud has answered.

use simtests::{Direction, Failure, Sim, cluster};

use crate::exhibit::{self, Cast, MINUTE, is_late, is_ready};
use crate::faulty::cloud::{original_hub, simple_hub};
use crate::faulty::hub::Habit;
use crate::things::{delete_pod, make_running};

/// A pod that was deleted while its node was cut off is gone a minute after the node is back.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_running(sim, &kube, "edge-01", &["pod"])?;
    sim.allow_log("the cloud was not reached");
    sim.allow_log("the node is silent");
    Direction::BOTH.into_iter().for_each(|direction| sim.cut("edge-01", direction));
    delete_pod(sim, &kube, "pod")?;
    sim.run_for(2 * MINUTE)?;
    sim.heal_link("edge-01");
    is_ready(sim, &kube, "edge-01", MINUTE)?;
    sim.until("the pod is gone", MINUTE, async || cluster::pod_is_gone(&kube, "pod").await)
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    exhibit::holds(scenario, &simple_hub());
    let cast = original_hub(Habit::Forgets);
    is_late(scenario, &cast, "the pod is gone");
}

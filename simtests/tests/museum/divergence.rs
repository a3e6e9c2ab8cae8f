//! #4218, #4106, #3565, #3638: a node that was cut off for a while keeps old config maps and runs pods that
//! were deleted meanwhile: what was sent in vain is not sent again.
//!
//! Ours says what it holds when it connects, and is told the difference.

use simtests::{Direction, Failure, Sim};

use crate::exhibit::{self, Cast, MINUTE, demand, is_late, is_ready};
use crate::faulty::cloud::{original_hub, simple_hub};
use crate::faulty::hub::Habit;
use crate::things::{change_map, delete_pod, holds_text, make_map, make_pod, make_running, runs};

/// A node that was cut off holds what changed meanwhile, and nothing runs on it that was deleted.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_map(sim, &kube, "map", "before")?;
    make_pod(sim, &kube, "pod", "edge-01", &["map"])?;
    runs(sim, &kube, "pod", MINUTE)?;
    make_running(sim, &kube, "edge-01", &["ghost"])?;
    sim.allow_log("the cloud was not reached");
    sim.allow_log("the node is silent");
    Direction::BOTH.into_iter().for_each(|direction| sim.cut("edge-01", direction));
    change_map(sim, &kube, "map", "after")?;
    delete_pod(sim, &kube, "ghost")?;
    sim.run_for(2 * MINUTE)?;
    sim.heal_link("edge-01");
    is_ready(sim, &kube, "edge-01", MINUTE)?;
    holds_text(sim, "edge-01", "map", "after", MINUTE)?;
    sim.run_for(MINUTE)?;
    let left: Vec<String> = sim.containers("edge-01").into_iter().map(|sandbox| sandbox.pod.name).collect();
    demand(left == ["pod"], format!("the node runs {left:?}"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    exhibit::holds(scenario, &simple_hub());
    let cast = original_hub(Habit::Forgets);
    is_late(scenario, &cast, "edge-01 holds config map map");
}

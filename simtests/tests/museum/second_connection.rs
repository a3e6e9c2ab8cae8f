//! #4070, #1692: a node that lost its connection without a word comes again, and the cloud turns it away,
//! since it thinks that the node is connected.
//!
//! Ours lets the newest connection win and ends the older one.

use simtests::{Failure, Sim};

use crate::exhibit::{self, Cast, MINUTE, SECOND, is_late};
use crate::faulty::cloud::{original_hub, simple_hub};
use crate::faulty::hub::Habit;
use crate::things::{change_map, holds_text, make_map, make_pod, runs};

/// A node that lost its power is told what changed a few seconds after it is there again.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_map(sim, &kube, "map", "before")?;
    make_pod(sim, &kube, "pod", "edge-01", &["map"])?;
    runs(sim, &kube, "pod", MINUTE)?;
    sim.power_off("edge-01");
    change_map(sim, &kube, "map", "after")?;
    sim.restart("edge-01")?;
    holds_text(sim, "edge-01", "map", "after", 8 * SECOND)
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    exhibit::holds(scenario, &simple_hub());
    let cast = original_hub(Habit::FirstWins);
    is_late(scenario, &cast.explains("the cloud was not reached"), "edge-01 holds config map map");
}

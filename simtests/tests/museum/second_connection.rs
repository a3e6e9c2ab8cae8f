//! #4070, #1692: edgecore is started again, and the cloud loses the node's new connection with the old one:
//! nothing reaches the node until its next start.
//!
//! Ours numbers connections: the newest one of a node wins, and the end of an older one ends nothing else.

use simtests::{Failure, Sim};

use crate::exhibit::{self, Cast, MINUTE, SECOND, is_late};
use crate::faulty::cloud::{original_hub, simple_hub};
use crate::faulty::hub::Habit;
use crate::things::{change_map, holds_text, make_map, make_pod, runs};

/// A node that lost its power is told what changes after it is there again and its old connection is over.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_map(sim, &kube, "map", "before")?;
    make_pod(sim, &kube, "pod", "edge-01", &["map"])?;
    runs(sim, &kube, "pod", MINUTE)?;
    sim.power_off("edge-01");
    sim.restart("edge-01")?;
    sim.run_for(MINUTE)?;
    change_map(sim, &kube, "map", "after")?;
    holds_text(sim, "edge-01", "map", "after", 20 * SECOND)
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    exhibit::holds(scenario, &simple_hub());
    let cast = original_hub(Habit::OlderEndsNewer).explains("the node is silent");
    is_late(scenario, &cast, "edge-01 holds config map map");
}

//! #3153, #4512: what changes while a node is away piles up in its queue, and when the node is back all of it
//! is sent, the old states too, and the node is busy with that.
//!
//! Ours keeps nothing for a node that is away: it is told the difference between what it holds and the
//! newest states.

use simtests::{Direction, Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand};
use crate::faulty::cloud::{original_hub, simple_hub};
use crate::faulty::hub::Habit;
use crate::things::{change_map, holds_text, make_map, make_pod, runs};

/// How often a config map changes while its node is away, and its bytes.
const CHANGES: usize = 100;
const MAP_BYTES: usize = 4000;
/// What the node may be sent when it is back: some states, and what keeps the link alive.
const BYTES_MAX: u64 = 40_000;

/// A node that was away is sent the newest state of what changed, not all states.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_map(sim, &kube, "map", "before")?;
    make_pod(sim, &kube, "pod", "edge-01", &["map"])?;
    runs(sim, &kube, "pod", MINUTE)?;
    sim.allow_log("the cloud was not reached");
    sim.allow_log("the node is silent");
    Direction::BOTH.into_iter().for_each(|direction| sim.cut("edge-01", direction));
    sim.run_for(MINUTE)?;
    let text = |number: usize| format!("{number:04}").repeat(MAP_BYTES / 4);
    for number in 0..CHANGES {
        change_map(sim, &kube, "map", &text(number))?;
    }
    let [_, before] = sim.link_bytes("edge-01");
    sim.heal_link("edge-01");
    holds_text(sim, "edge-01", "map", &text(CHANGES - 1), MINUTE)?;
    let [_, after] = sim.link_bytes("edge-01");
    demand(after - before < BYTES_MAX, format!("the node was sent {} bytes", after - before))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    exhibit::holds(scenario, &simple_hub());
    let cast = original_hub(Habit::KeepsQueue);
    breaks(scenario, &cast, Invariant::DemandsAreMet, "the node was sent");
}

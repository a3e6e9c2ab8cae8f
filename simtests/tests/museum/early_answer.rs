//! Read in the original's code: the edge's database is opened with its defaults, and what it said to have
//! written is gone after a loss of power: the node acknowledged what it does not hold.
//!
//! Ours acknowledges a change when it is synced.

use edgecore::EdgePorts;
use simtests::{Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, SECOND, breaks};
use crate::faulty::store::hasty;
use crate::things::{change_map, holds_text, make_map, make_pod, runs};

/// A node that loses its power while it writes holds what it acknowledged when it is back.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_map(sim, &kube, "map", "before")?;
    make_pod(sim, &kube, "pod", "edge-01", &["map"])?;
    runs(sim, &kube, "pod", MINUTE)?;
    for round in 0..5 {
        sim.slow_disk("edge-01", 200);
        for number in 0..5 {
            change_map(sim, &kube, "map", &format!("text {round} {number}"))?;
            sim.run_for(SECOND / 5)?;
        }
        sim.power_off("edge-01");
        sim.heal_disk("edge-01");
        sim.restart("edge-01")?;
        holds_text(sim, "edge-01", "map", &format!("text {round} 4"), 30 * SECOND)?;
    }
    Ok(())
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    let cast = Cast::ours().edge(|mut ports: EdgePorts| {
        ports.store = hasty(ports.store);
        edgecore::catalog(ports)
    });
    breaks(scenario, &cast, Invariant::AcknowledgedChangesAreHeld, "configmap default/map");
}

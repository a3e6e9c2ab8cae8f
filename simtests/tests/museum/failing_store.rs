//! #4481, #4110, #3001: the edge's database cannot be written for a moment, and after three tries edgecore
//! panics.
//!
//! Ours acknowledges nothing that it could not keep, goes on with what runs, and is told again.

use edgecore::EdgePorts;
use simtests::{Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, SECOND, breaks, demand};
use crate::faulty::store::three_tries;
use crate::things::{change_map, holds_text, lines, make_map, make_pod, running, runs};

/// A node whose disk is full for a minute goes on, and then holds what changed meanwhile.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_map(sim, &kube, "map", "before")?;
    make_pod(sim, &kube, "pod", "edge-01", &["map"])?;
    runs(sim, &kube, "pod", MINUTE)?;
    let before = running(sim, "edge-01");
    for explained in ["could not be made durable", "was not kept", "did not keep a change"] {
        sim.allow_log(explained);
    }
    sim.fill_disk("edge-01");
    for number in 0..6 {
        change_map(sim, &kube, "map", &format!("text {number}"))?;
        sim.run_for(10 * SECOND)?;
    }
    sim.heal_disk("edge-01");
    holds_text(sim, "edge-01", "map", "text 5", MINUTE)?;
    let failures = lines(sim, &["bus edge-01", "Restarting"]);
    demand(failures == 0, format!("modules failed {failures} times"))?;
    let after = running(sim, "edge-01");
    demand(after == before, format!("{before:?} ran before and {after:?} run now"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    let cast = Cast::ours().edge(|mut ports: EdgePorts| {
        ports.store = three_tries(ports.store);
        edgecore::catalog(ports)
    });
    breaks(scenario, &cast, Invariant::NoUnexpectedWarning, "three tries failed");
}

//! #6179, #6491, #4624: a node with five pods on which nothing happens costs 150 megabytes a day.
//!
//! Ours sends what is small, packed against what was sent before, and no status that did not change.

use simtests::{Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand};
use crate::things::make_running;

/// What a node may cost in six minutes in which nothing happens, both ways.
const BYTES_MAX: u64 = 15_000;

/// A node on which nothing happens costs next to nothing.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_running(sim, &kube, "edge-01", &["one", "two", "three", "four", "five"])?;
    sim.run_for(MINUTE)?;
    let before: u64 = sim.link_bytes("edge-01").into_iter().sum();
    sim.run_for(6 * MINUTE)?;
    let after: u64 = sim.link_bytes("edge-01").into_iter().sum();
    demand(after - before < BYTES_MAX, format!("{} bytes in six minutes", after - before))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    let cast = Cast::ours().edge_yaml("modules: { edgeHub: { codec: kubeedge } }");
    breaks(scenario, &cast, Invariant::DemandsAreMet, "bytes in six minutes");
}

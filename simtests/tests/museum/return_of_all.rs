//! Read in the original's code, akin to #5557: after an outage all nodes come back at once, all of them are told
//! everything at once, and the cloud is busy with that and with nothing else.
//!
//! Ours takes all of them at once, and tells them what they must know in turn, so many a second.

use simtests::{Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, SECOND, breaks, demand, is_ready};
use crate::things::most_within;

const EDGES: usize = 16;
/// Sessions a second that begin to be told what their nodes must know.
const TURNS: usize = 2;

/// Nodes that come back together are told what they must know one after the other.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let names: Vec<String> = (0..EDGES).map(|number| format!("edge-{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let kube = cast.start(sim, &names)?;
    sim.allow_log("the cloud was not reached");
    sim.crash("cloud");
    sim.run_for(MINUTE / 6)?;
    let since = sim.elapsed();
    sim.restart("cloud")?;
    sim.run_for(MINUTE)?;
    for name in &names {
        is_ready(sim, &kube, name, MINUTE)?;
    }
    let most = most_within(sim, SECOND, since, "edgecontroller NodeConnected Handled");
    // A rate and a burst of the same size.
    demand(most <= 2 * TURNS, format!("{most} of {EDGES} nodes were told at once"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours().cloud_yaml("modules: { cloudHub: { resyncsPerSecond: 2 } }"));
}

#[test]
fn fails_as_reported() {
    let cast = Cast::ours().cloud_yaml("modules: { cloudHub: { resyncsPerSecond: 0 } }");
    breaks(scenario, &cast, Invariant::DemandsAreMet, "nodes were told at once");
}

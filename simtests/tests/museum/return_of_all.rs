//! #5557: after an outage all nodes come back at once, all of them are told everything at once, and the cloud
//! is busy with that and with nothing else.
//!
//! Ours takes all of them at once, and tells them what they must know in turn, so many a second.

use std::time::Duration;

use simtests::{Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand, is_ready};

const EDGES: usize = 16;
/// Sessions a second that begin to be told what their nodes must know.
const TURNS: usize = 2;

/// Returns the most nodes of which the edge controller heard in one second, after `since`, that they are
/// to be told what they must know.
fn most_in_a_second(sim: &Sim, since: Duration) -> usize {
    let trace = sim.trace();
    let told = trace.lines().filter(|line| line.contains("edgecontroller NodeConnected Handled"));
    let times: Vec<f64> = told.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    let times: Vec<f64> = times.into_iter().filter(|at| *at > since.as_secs_f64()).collect();
    let in_a_second = |from: &f64| times.iter().filter(|at| (*from..*from + 1.0).contains(*at)).count();
    times.iter().map(in_a_second).max().unwrap_or_default()
}

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
    let most = most_in_a_second(sim, since);
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

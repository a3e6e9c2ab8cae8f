//! #6876: one node joins, and others become `NotReady`: one dispatcher serves all nodes, one message after
//! the other, and waits for each acknowledgement.
//!
//! Ours has a queue and a task for each session.

use simtests::{Failure, Shape, Sim};

use crate::exhibit::{self, Cast, MINUTE, SECOND, is_late};
use crate::faulty::cloud::{original_hub, simple_hub};
use crate::faulty::hub::Habit;
use crate::things::{make_map, make_pod, runs};

/// Config maps of the node that joins, and their bytes.
const MAPS: usize = 25;
const MAP_BYTES: usize = 20_000;

/// A pod starts within seconds while another node, on a slow link, is told much.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-02"])?;
    let maps: Vec<String> = (0..MAPS).map(|number| format!("map-{number}")).collect();
    for map in &maps {
        make_map(sim, &kube, map, &map.repeat(MAP_BYTES / map.len()))?;
    }
    let maps: Vec<&str> = maps.iter().map(String::as_str).collect();
    make_pod(sim, &kube, "large", "edge-01", &maps)?;
    let shape = Shape { bytes_per_second: Some(10_000), ..Shape::default() };
    sim.shape_link("edge-01", shape);
    cast.start_edge(sim, "edge-01")?;
    sim.run_for(15 * SECOND)?;
    make_pod(sim, &kube, "small", "edge-02", &[])?;
    runs(sim, &kube, "small", 15 * SECOND)?;
    runs(sim, &kube, "large", 5 * MINUTE)
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    // With a queue for each node, only the slow one is slow.
    exhibit::holds(scenario, &simple_hub().explains("metamanager did not answer GetObject"));
    let cast = original_hub(Habit::OneDispatcher);
    is_late(scenario, &cast, "pod small runs");
}

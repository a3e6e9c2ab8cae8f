//! Links that are slow, stuck or half dead.

use std::time::Duration;

use simtests::{Direction, Failure, Shape, Sim, cluster};

const SECOND: Duration = Duration::from_secs(1);

fn ready(sim: &mut Sim, edge: &str) -> Result<(), Failure> {
    let kube = sim.kube();
    let is_ready = async || cluster::node_is_ready(&kube, edge).await;
    sim.until(&format!("{edge} is ready"), 120 * SECOND, is_ready)
}

fn start(sim: &mut Sim) -> Result<(), Failure> {
    sim.cloud("")?;
    sim.edge("edge-01", "")?;
    ready(sim, "edge-01")
}

/// Tells how often an edge has dialed so far.
fn dials(sim: &Sim) -> usize {
    sim.trace().lines().filter(|line| line.ends_with("link edge-01 dials")).count()
}

#[test]
fn a_connection_that_is_dead_without_a_word_is_replaced_within_seconds() {
    simtests::check(1, |sim| {
        start(sim)?;
        let before = dials(sim);
        sim.stick_links("edge-01");
        sim.run_for(11 * SECOND)?;
        assert!(dials(sim) > before, "the edge has noticed");
        ready(sim, "edge-01")?;
        sim.run_for(120 * SECOND)?;
        ready(sim, "edge-01")
    });
}

#[test]
fn a_way_that_is_cut_in_one_direction_only_is_seen_as_cut() {
    for direction in Direction::BOTH {
        simtests::check(2, |sim| {
            start(sim)?;
            sim.allow_log("the cloud was not reached");
            sim.allow_log("the node is silent");
            let kube = sim.kube();
            sim.cut("edge-01", direction);
            let silent = async || cluster::node_readiness(&kube, "edge-01").await == Some(false);
            sim.until("the node is not ready", 120 * SECOND, silent)?;
            sim.heal_link("edge-01");
            ready(sim, "edge-01")
        });
    }
}

#[test]
fn a_slow_way_is_slow_and_no_node_is_lost_on_it() {
    simtests::check(3, |sim| {
        start(sim)?;
        let shape = Shape { latency: SECOND, bytes_per_second: Some(20_000), ..Shape::default() };
        sim.shape_link("edge-01", shape);
        let kube = sim.kube();
        let end = sim.elapsed() + 300 * SECOND;
        while sim.elapsed() < end {
            sim.run_for(5 * SECOND)?;
            assert!(sim.block_on(cluster::node_is_ready(&kube, "edge-01")), "at {:?}", sim.elapsed());
        }
        Ok(())
    });
}

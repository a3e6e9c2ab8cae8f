//! The module in a simulated cluster, under faults that its author cannot produce at will.

use std::time::Duration;

use offline_alarm::OfflineAlarm;
use simtests::{Direction, Failure, Sim, cluster};

const SECOND: Duration = Duration::from_secs(1);

/// The process as `main` makes it, with a section of its own.
fn start(sim: &mut Sim) -> Result<(), Failure> {
    sim.cloud("")?;
    let yaml = "modules: { offlineAlarm: { after: 1m } }";
    sim.edge_with("edge-01", yaml, |ports| edgecore::catalog(ports).with::<OfflineAlarm>(()))?;
    let kube = sim.kube();
    sim.until("the node is ready", 60 * SECOND, async || cluster::node_is_ready(&kube, "edge-01").await)
}

/// Tells how often the alarm was given.
fn alarms(sim: &Sim) -> usize {
    sim.trace()
        .lines()
        .filter(|line| line.contains("the node has been without its cloud for too long"))
        .count()
}

#[test]
fn the_alarm_is_given_when_the_way_is_cut_in_silence_and_again_after_the_next_cut() {
    simtests::check(1, |sim| {
        start(sim)?;
        sim.allow_log("without its cloud for too long");
        sim.allow_log("the cloud was not reached");
        sim.allow_log("the node is silent");
        for round in 1..=2 {
            sim.cut("edge-01", Direction::Down);
            sim.run_for(60 * SECOND)?;
            assert_eq!(alarms(sim), round - 1, "nobody has told the edge yet that the way is cut");
            sim.run_for(20 * SECOND)?;
            assert_eq!(alarms(sim), round);
            sim.heal_link("edge-01");
            sim.run_for(120 * SECOND)?;
            assert_eq!(alarms(sim), round, "the link is up again");
        }
        Ok(())
    });
}

#[test]
fn a_crash_of_the_cloud_shorter_than_the_patience_gives_no_alarm() {
    simtests::check(2, |sim| {
        start(sim)?;
        sim.allow_log("the cloud was not reached");
        sim.crash("cloud");
        sim.run_for(20 * SECOND)?;
        sim.restart("cloud")?;
        sim.run_for(180 * SECOND)?;
        assert_eq!(alarms(sim), 0);
        Ok(())
    });
}

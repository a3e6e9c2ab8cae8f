//! What a seed does not decide is caught.

use std::time::Duration;

use beehive::{BuildError, Context, Failure, Group, Handler, Message, Module, ModuleName, Wiring};
use simtests::Sim;

/// Its timer is due.
#[derive(Debug, Clone, Message)]
struct Due;

/// A module that looks at something which no seed decides: the order of a hash map.
#[derive(Debug)]
struct Careless;

impl Module for Careless {
    const NAME: ModuleName = ModuleName::new("careless");
    const GROUP: Group = Group::new("careless");
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Due>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        #[expect(clippy::disallowed_types, reason = "this is the mistake that is to be caught")]
        let map: std::collections::HashMap<u64, ()> = (0..1000).map(|key| (key, ())).collect();
        if let Some(first) = map.keys().next() {
            cx.after(Duration::from_millis(*first), Due);
        }
        Ok(())
    }
}

impl Handler<Due> for Careless {
    async fn handle(&mut self, _: Due, _: &mut Context<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Runs an edge without a cloud for two seconds.
fn edge(sim: &mut Sim, has_module: bool) -> Result<(), simtests::Failure> {
    sim.allow_log("the cloud was not reached");
    sim.edge_with("edge-01", "", move |ports| {
        let catalog = edgecore::catalog(ports);
        if has_module { catalog.with::<Careless>(()) } else { catalog }
    })?;
    sim.run_for(Duration::from_secs(2))
}

#[test]
fn a_module_that_iterates_a_hash_map_is_caught() {
    // Both runs may begin with the same of a thousand keys, hardly ever three times in a row.
    let found = (0..3).find_map(|seed| simtests::verify(seed, |sim| edge(sim, true)).failure);
    let Some(simtests::Failure::Determinism(divergence)) = found else { panic!("{found:?}") };
    let lines = format!("{} {}", divergence.first, divergence.second);
    assert!(lines.contains("careless"), "the line names the module: {divergence}");
    assert_eq!(simtests::verify(0, |sim| edge(sim, false)).failure, None, "without it the runs are the same");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "this is the mistake that is to be caught")]
fn a_scenario_that_reads_the_machine_s_clock_is_caught() {
    let outcome = simtests::verify(1, |sim| {
        sim.note("the same in both runs");
        sim.note(&format!("{:?}", std::time::SystemTime::now()));
        Ok(())
    });
    let Some(simtests::Failure::Determinism(divergence)) = outcome.failure else { panic!("{outcome}") };
    assert_eq!(divergence.number, 2);
}

#[test]
fn another_seed_is_another_run() {
    let hash = |seed| simtests::verify(seed, |sim| edge(sim, false)).trace.hash();
    let hashes: std::collections::BTreeSet<u64> = (1..5).map(hash).collect();
    assert_eq!(hashes.len(), 4);
}

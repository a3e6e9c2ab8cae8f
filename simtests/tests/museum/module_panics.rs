//! #2036, #1571, #4829: something fails in the path of one node's request, and the whole cloudcore goes down
//! with it, with the connections of all nodes.
//!
//! Ours rebuilds the module that failed; the others, and the links, go on.

use beehive::{BuildError, Context, Group, Handler, Module, ModuleName, Wiring};
use protocol::cloud::NodeConnected;
use simtests::{Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand, is_ready};
use crate::faulty::cloud::cloud_with;
use crate::things::lines;

/// A module that panics when it hears of one node.
struct Fragile;

impl Module for Fragile {
    const NAME: ModuleName = ModuleName::new("fragile");
    const GROUP: Group = Group::new("fragile");
    type Config = ();
    type Ports = kube::Client;

    fn build((): (), _: kube::Client) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<NodeConnected>();
    }
}

impl Handler<NodeConnected> for Fragile {
    async fn handle(
        &mut self,
        connected: NodeConnected,
        _: &mut Context<Self>,
    ) -> Result<(), beehive::Failure> {
        assert_ne!(connected.node.as_str(), "edge-03", "a bug");
        Ok(())
    }
}

/// The links of other nodes do not notice that a module fails at one.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01", "edge-02"])?;
    for explained in ["a bug", "the cloud was not reached", "the module failed"] {
        sim.allow_log(explained);
    }
    cast.start_edge(sim, "edge-03")?;
    sim.run_for(MINUTE)?;
    for edge in ["edge-01", "edge-02", "edge-03"] {
        is_ready(sim, &kube, edge, MINUTE)?;
        let dials = lines(sim, &[&format!("link {edge} dials")]);
        demand(dials == 1, format!("{edge} had to dial {dials} times"))?;
    }
    Ok(())
}

#[test]
fn holds() {
    exhibit::holds(scenario, &cloud_with::<Fragile>());
}

/// Without supervision the first failure of a module is the last of the process.
#[test]
fn fails_as_reported() {
    let cast = cloud_with::<Fragile>().cloud_yaml("modules: { fragile: { restart: { when: never } } }");
    breaks(scenario, &cast, Invariant::DemandsAreMet, "edge-01 had to dial");
}

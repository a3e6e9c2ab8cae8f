//! #3567, #5557: what a node reports while it is cut off piles up in its hub, and when the node is back all of
//! it is sent at once; the channel that all nodes share is full, and other nodes become `NotReady`.
//!
//! Ours tells who reports that there is no link, and the newest state is reported when there is one.

use beehive::Catalog;
use edgecore::EdgePorts;
use edged::Edged;
use metamanager::MetaManager;
use simtests::{Direction, Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, SECOND, breaks, demand, is_ready};
use crate::faulty::edge_hub::PilingHub;
use crate::things::{lines, make_running};

/// What a node with three pods may ask of the cloud in the first seconds after it is back.
const REQUESTS_MAX: usize = 30;

/// A node that was cut off for twenty minutes asks the cloud for a few things when it is back.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_running(sim, &kube, "edge-01", &["one", "two", "three"])?;
    sim.allow_log("the cloud was not reached");
    sim.allow_log("the node is silent");
    Direction::BOTH.into_iter().for_each(|direction| sim.cut("edge-01", direction));
    for _ in 0..20 {
        sim.crash_container("edge-01");
        sim.run_for(MINUTE)?;
    }
    let served = |sim: &Sim| lines(sim, &["bus cloud", "edgecontroller ServeNode Asked"]);
    let before = served(sim);
    sim.heal_link("edge-01");
    is_ready(sim, &kube, "edge-01", MINUTE)?;
    sim.run_for(10 * SECOND)?;
    let requests = served(sim) - before;
    demand(requests <= REQUESTS_MAX, format!("the node asked {requests} things at once"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    let cast = Cast::ours().edge(|ports| {
        let EdgePorts { hub, edged, store, .. } = ports;
        Catalog::new().with::<MetaManager>(store).with::<PilingHub>(hub).with::<Edged>(edged)
    });
    breaks(scenario, &cast, Invariant::DemandsAreMet, "things at once");
}

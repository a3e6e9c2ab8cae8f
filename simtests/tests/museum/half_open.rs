//! #6965: after a node changed its network, its old connection is dead and nobody is told. The original
//! looks at nothing but failed writes: the node is `NotReady` for 15 to 20 minutes.
//!
//! Ours asks every three seconds whether the other end is alive and gives up after nine.

use simtests::{Failure, Sim};

use crate::exhibit::{self, Cast, MINUTE, SECOND, is_late};
use crate::things::{change_map, holds_text, make_map, make_pod, runs};

/// A change comes through half a minute after the connection died in silence.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_map(sim, &kube, "map", "before")?;
    make_pod(sim, &kube, "pod", "edge-01", &["map"])?;
    runs(sim, &kube, "pod", MINUTE)?;
    sim.stick_links("edge-01");
    change_map(sim, &kube, "map", "after")?;
    holds_text(sim, "edge-01", "map", "after", 30 * SECOND)
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

/// On KubeEdge's codec an edge has only its heartbeats, which nobody answers.
#[test]
fn fails_as_reported() {
    let cast = Cast::ours().edge_yaml("modules: { edgeHub: { codec: kubeedge } }");
    is_late(scenario, &cast, "edge-01 holds config map map");
}

//! Seen while the original ran (1): an answer that comes before its asker waits for it is dropped, and the
//! asker stalls for a whole minute.
//!
//! Ours makes the place for an answer before it asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use edgecore::EdgePorts;
use simtests::{Failure, Sim};
use wire::codec::CloudFrame;
use wire::{Downlink, Envelope};

use crate::exhibit::{self, Cast, SECOND, is_late};
use crate::faulty::tap::Tap;
use crate::things::{make_pod, runs};

/// How many answers are lost: of the node's registration, and of what its first pod needs.
const EARLY: u32 = 4;

/// The first pod of a node runs within five seconds of the node's first start.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start_cloud(sim)?;
    sim.run_for(SECOND)?;
    make_pod(sim, &kube, "pod", "edge-01", &[])?;
    cast.start_edge(sim, "edge-01")?;
    runs(sim, &kube, "pod", 5 * SECOND)
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

/// The first answers that a node gets come too early for those who asked.
#[test]
fn fails_as_reported() {
    let cast = Cast::ours().edge(|mut ports: EdgePorts| {
        let answers = AtomicU32::new(0);
        let is_early = move |frame: &CloudFrame| {
            let is_answer = matches!(frame, CloudFrame::Down(Envelope { body: Downlink::Reply { .. }, .. }));
            is_answer && answers.fetch_add(1, Ordering::Relaxed) < EARLY
        };
        let tap = Tap::new(ports.hub.dialer).down(move |frame| (!is_early(&frame)).then_some(frame));
        ports.hub.dialer = Arc::new(tap);
        edgecore::catalog(ports)
    });
    is_late(scenario, &cast, "pod pod runs");
}

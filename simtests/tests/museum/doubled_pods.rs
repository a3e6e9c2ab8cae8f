//! #6559: after a restart of edgecore a pod is there many times over: messages lack what their objects are, so
//! that what runs already is not known, and what is not known is started.
//!
//! Ours does nothing with containers before the runtime has listed them, and counts its pods' sandboxes by
//! what the runtime has, not by what it remembers.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use edgecore::EdgePorts;
use simtests::{Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand};
use crate::faulty::runtime::BlankAtFirst;
use crate::things::{make_running, running};

/// A node whose process was started again has the containers of before, each once.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_running(sim, &kube, "edge-01", &["one", "two"])?;
    let before = running(sim, "edge-01");
    sim.crash("edge-01");
    sim.restart("edge-01")?;
    sim.run_for(2 * MINUTE)?;
    let after = running(sim, "edge-01");
    demand(after == before, format!("{before:?} ran before and {after:?} run now"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

/// A runtime that shows nothing for a moment after the process began.
#[test]
fn fails_as_reported() {
    let made = Arc::new(AtomicU32::new(0));
    let cast = Cast::ours().edge(move |mut ports: EdgePorts| {
        let runtime = BlankAtFirst::new(ports.edged.runtime, 5, Arc::clone(&made));
        ports.edged.runtime = Arc::new(runtime);
        edgecore::catalog(ports)
    });
    breaks(scenario, &cast, Invariant::OneSandboxPerPod, "two ready sandboxes");
}

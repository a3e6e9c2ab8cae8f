//! #6181, #4850, #4431: after a loss of the network the node stays `NotReady` until edgecore is restarted,
//! since something of the old connection is in the way of a new one.
//!
//! Ours has a session as one task that owns all of its link, and makes every connection anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use edgecore::EdgePorts;
use simtests::{Failure, Sim};
use wire::link::{DialTo, Dialed, Dialer, LinkError};

use crate::exhibit::{self, Cast, MINUTE, is_late, is_ready};

/// A dialer that keeps something of its first link for ever: there is no second one.
struct FirstLinkOnly {
    dialer: Arc<dyn Dialer>,
    is_used: AtomicBool,
}

#[async_trait]
impl Dialer for FirstLinkOnly {
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError> {
        if self.is_used.load(Ordering::Relaxed) {
            return Err(LinkError::Transport("the connection is in use".to_owned()));
        }
        let dialed = self.dialer.dial(to).await;
        self.is_used.store(dialed.is_ok(), Ordering::Relaxed);
        dialed
    }
}

fn faulty() -> Cast {
    let catalog = |mut ports: EdgePorts| {
        let is_used = AtomicBool::new(false);
        ports.hub.dialer = Arc::new(FirstLinkOnly { dialer: ports.hub.dialer, is_used });
        edgecore::catalog(ports)
    };
    Cast::ours().edge(catalog).explains("the cloud was not reached").explains("the node is silent")
}

/// A node is ready two minutes after its connection broke.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    sim.reset_links("edge-01");
    sim.run_for(MINUTE)?;
    is_ready(sim, &kube, "edge-01", MINUTE)
}

/// So it is when its process was started again.
fn scenario_with_restart(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    sim.reset_links("edge-01");
    sim.run_for(MINUTE)?;
    sim.crash("edge-01");
    sim.restart("edge-01")?;
    is_ready(sim, &kube, "edge-01", MINUTE)
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    is_late(scenario, &faulty(), "edge-01 is ready");
    exhibit::holds(scenario_with_restart, &faulty());
}

//! #3941, #4048: a node is cut off for some minutes, the cloud evicts its pods, and when it is back they are
//! killed and made anew, though nothing was wrong with them.
//!
//! Ours marks a silent node, so that no more pods come to it, and leaves alone those that it has, unless they
//! say for how long they tolerate that.

use std::time::Duration;

use beehive::{BuildError, Context, Group, Handler, Message, Module, ModuleName, Wiring};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::ListParams;
use simtests::{Direction, Failure, Invariant, Sim, cluster};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand, is_ready};
use crate::faulty::cloud::cloud_with;
use crate::things::{make_running, running};

/// What Kubernetes does with the pods of a node that has been silent for five minutes.
struct Evictor {
    kube: kube::Client,
    silent_for: Duration,
}

/// It is time to look at the nodes.
#[derive(Debug, Clone, Message)]
struct Look;

const LOOK_PERIOD: Duration = Duration::from_secs(10);

impl Module for Evictor {
    const NAME: ModuleName = ModuleName::new("evictor");
    const GROUP: Group = Group::new("evictor");
    type Config = ();
    type Ports = kube::Client;

    fn build((): (), kube: kube::Client) -> Result<Self, BuildError> {
        Ok(Self { kube, silent_for: Duration::ZERO })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Look>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), beehive::Failure> {
        cx.every(LOOK_PERIOD, Look);
        Ok(())
    }
}

impl Handler<Look> for Evictor {
    async fn handle(&mut self, _: Look, _: &mut Context<Self>) -> Result<(), beehive::Failure> {
        let all = ListParams::default();
        let Ok(nodes) = Api::<Node>::all(self.kube.clone()).list(&all).await else { return Ok(()) };
        let names: Vec<String> = nodes.items.into_iter().filter_map(|node| node.metadata.name).collect();
        let mut is_silent = false;
        for name in &names {
            is_silent |= cluster::node_readiness(&self.kube, name).await == Some(false);
        }
        self.silent_for = if is_silent { self.silent_for + LOOK_PERIOD } else { Duration::ZERO };
        if self.silent_for >= 5 * MINUTE {
            let pods = Api::<Pod>::default_namespaced(self.kube.clone());
            let _deleted = pods.delete_collection(&Default::default(), &all).await;
        }
        Ok(())
    }
}

/// A node that was cut off for ten minutes has the containers of before.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_running(sim, &kube, "edge-01", &["one", "two"])?;
    let before = running(sim, "edge-01");
    sim.allow_log("the cloud was not reached");
    sim.allow_log("the node is silent");
    Direction::BOTH.into_iter().for_each(|direction| sim.cut("edge-01", direction));
    sim.run_for(10 * MINUTE)?;
    sim.heal_link("edge-01");
    is_ready(sim, &kube, "edge-01", MINUTE)?;
    sim.run_for(MINUTE)?;
    let after = running(sim, "edge-01");
    demand(after == before, format!("{before:?} ran before and {after:?} run now"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    breaks(scenario, &cloud_with::<Evictor>(), Invariant::DemandsAreMet, "run now");
}

//! #6615, with a status: what is reported while the link breaks does not reach the API, and it is not reported
//! again: `kubectl` shows what was.
//!
//! Ours repeats a status until the cloud has answered.

use std::sync::Arc;

use edgecore::EdgePorts;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use simtests::{Failure, Sim};

use crate::exhibit::{self, Cast, MINUTE, SECOND, is_late};
use crate::faulty::tap::Confident;
use crate::things::make_running;

/// Returns how often the API knows a pod's container to have been started again.
async fn restarts(kube: &Client, pod: &str) -> Option<i32> {
    let pod = Api::<Pod>::default_namespaced(kube.clone()).get(pod).await.ok()?;
    pod.status?.container_statuses?.first().map(|container| container.restart_count)
}

/// A container that ended while the link was dead is known to have been started again.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_running(sim, &kube, "edge-01", &["pod"])?;
    sim.run_for(10 * SECOND)?;
    sim.stick_links("edge-01");
    sim.crash_container("edge-01");
    let known = async || restarts(&kube, "pod").await == Some(1);
    sim.until("the API knows of the restart", 2 * MINUTE, known)
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    let cast = Cast::ours().edge(|mut ports: EdgePorts| {
        ports.hub.dialer = Arc::new(Confident(ports.hub.dialer));
        edgecore::catalog(ports)
    });
    is_late(scenario, &cast, "the API knows of the restart");
}

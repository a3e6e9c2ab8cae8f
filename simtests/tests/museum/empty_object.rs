//! #6641: an event comes that has nothing of its object in it, it is taken for the object's end, and a pod that
//! runs is killed.
//!
//! Ours takes a change only if it carries the object that it names; to end something it must be told so.

use std::sync::Arc;

use beehive::Catalog;
use edgecore::EdgePorts;
use edged::Edged;
use edgehub::EdgeHub;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use protocol::{ChangeKind, Object, ResourceType};
use serde_json::json;
use simtests::{Failure, Invariant, Sim};
use wire::codec::CloudFrame;
use wire::{Downlink, Envelope};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand};
use crate::faulty::meta::Credulous;
use crate::faulty::tap::Tap;
use crate::things::{make_running, running};

/// Takes everything out of an update of a pod.
fn emptied(frame: CloudFrame) -> CloudFrame {
    match frame {
        CloudFrame::Down(Envelope { id, timestamp_ms, body: Downlink::Change { source, mut change } }) => {
            if change.kind == ChangeKind::Update && change.key.resource == ResourceType::POD {
                change.object = Object::parse(r#"{"metadata":{}}"#).expect("an object");
            }
            CloudFrame::Down(Envelope { id, timestamp_ms, body: Downlink::Change { source, change } })
        }
        frame => frame,
    }
}

/// Empties the updates that come to an edge.
fn tapped(mut ports: EdgePorts) -> EdgePorts {
    ports.hub.dialer = Arc::new(Tap::new(ports.hub.dialer).down(|frame| Some(emptied(frame))));
    ports
}

/// A pod goes on whose updates are empty.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    for explained in ["carries another object", "did not keep a change"] {
        sim.allow_log(explained);
    }
    let kube = cast.start(sim, &["edge-01"])?;
    make_running(sim, &kube, "edge-01", &["pod"])?;
    let pods = Api::<Pod>::default_namespaced(kube);
    let label = Patch::Merge(json!({ "metadata": { "labels": { "app": "exhibit" } } }));
    let patched = sim.block_on(async { pods.patch("pod", &PatchParams::default(), &label).await });
    patched.map_err(|error| Failure::Setup(error.to_string()))?;
    sim.run_for(MINUTE)?;
    let count = running(sim, "edge-01").len();
    demand(count == 1, format!("{count} containers run"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours().edge(|ports| edgecore::catalog(tapped(ports))));
}

#[test]
fn fails_as_reported() {
    let cast = Cast::ours().edge(|ports| {
        let EdgePorts { hub, edged, .. } = tapped(ports);
        Catalog::new().with::<Credulous>(()).with::<EdgeHub>(hub).with::<Edged>(edged)
    });
    breaks(scenario, &cast, Invariant::DemandsAreMet, "0 containers run");
}

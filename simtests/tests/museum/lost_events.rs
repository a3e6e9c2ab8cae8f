//! #6615, #4995: what an edge sends while its link breaks is lost: the original logs the failed write,
//! connects anew and goes on with the next message.
//!
//! Ours keeps events on the edge's disk until the cloud has answered.

use std::sync::Arc;

use edgecore::EdgePorts;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use protocol::{NodeReply, NodeRequest};
use simtests::{Failure, Sim};

use crate::exhibit::{self, Cast, MINUTE, demand, is_late};
use crate::faulty::tap::Tap;
use crate::things::{ask_cloud, event};

const EVENTS: usize = 20;

/// Events that were told on a dead connection are in the API two minutes later.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    sim.stick_links("edge-01");
    for number in 0..EVENTS {
        let event = event("edge-01", &format!("exhibit-{number}"), 1);
        let answer = ask_cloud(sim, "edge-01", NodeRequest::RecordEvent(event))?;
        demand(answer == Ok(NodeReply::Done), format!("event {number} was not taken: {answer:?}"))?;
    }
    let events = Api::<Event>::default_namespaced(kube);
    let ours =
        |event: &Event| event.metadata.name.as_deref().is_some_and(|name| name.starts_with("exhibit-"));
    let all = async || {
        let listed = events.list(&ListParams::default()).await;
        listed.is_ok_and(|listed| listed.items.iter().filter(|event| ours(event)).count() == EVENTS)
    };
    sim.until("all events are in the API", 2 * MINUTE, all)
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

/// An edge that expects no answers to events: what it gave to the link it counts as told.
#[test]
fn fails_as_reported() {
    let cast = Cast::ours().edge(|mut ports: EdgePorts| {
        ports.hub.dialer = Arc::new(Tap::new(ports.hub.dialer));
        edgecore::catalog(ports)
    });
    is_late(scenario, &cast, "all events are in the API");
}

//! Seen while the original ran (5): whoever has any valid certificate speaks for any node, since the hub's
//! authorization is off where nobody turned it on.
//!
//! Ours serves a node's requests as those of the node that its certificate names.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use protocol::{NodeReply, NodeRequest, Object};
use serde_json::json;
use simtests::{Failure, Invariant, Sim};

use crate::exhibit::{self, Cast, breaks, demand};
use crate::faulty::cloud::{original_hub, simple_hub};
use crate::faulty::hub::Habit;
use crate::things::ask_cloud;

/// A node that labels another is refused.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01", "edge-02"])?;
    sim.allow_log("refused a request of a node");
    let other = json!({ "metadata": { "name": "edge-02", "labels": { "taken": "yes" } } });
    let other = Object::from_value(&other).expect("an object");
    let answer = ask_cloud(sim, "edge-01", NodeRequest::UpdateNode(other))?;
    let nodes = Api::<Node>::all(kube);
    let found = sim.block_on(async { nodes.get("edge-02").await });
    let labels = found.ok().and_then(|node| node.metadata.labels).unwrap_or_default();
    demand(!labels.contains_key("taken"), "edge-01 labelled edge-02")?;
    let is_refused = matches!(&answer, Ok(NodeReply::Refused(status)) if status.code == 403);
    demand(is_refused, format!("edge-01 was told {answer:?}"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    exhibit::holds(scenario, &simple_hub());
    let cast = original_hub(Habit::TrustsNames);
    breaks(scenario, &cast, Invariant::DemandsAreMet, "edge-01 labelled edge-02");
}

//! Pods of nodes that do not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{delete_all, objects, resource_of};
use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::storage::object::Stored;
use crate::verbs::delete::DeleteOptions;

const PODS: &str = "core/pods";

/// Deletes pods whose node is gone for longer than `patience`: nobody else would.
pub(super) async fn collect(
    call: &Call,
    missing: &mut BTreeMap<String, Timestamp>,
    patience: Duration,
) -> Result<(), ApiError> {
    let nodes: BTreeSet<String> = objects(call, "core/nodes", None, |_| true)
        .into_iter()
        .map(|(key, _)| key.name.to_string())
        .collect();
    let lost: Vec<_> = objects(call, PODS, None, |_| true)
        .into_iter()
        .filter_map(|(key, pod)| Some((node_of(&pod)?, key, pod)))
        .filter(|(node, _, _)| !nodes.contains(node))
        .collect();
    let names: BTreeSet<&String> = lost.iter().map(|(node, _, _)| node).collect();
    missing.retain(|node, _| names.contains(node));
    for node in names {
        missing.entry(node.clone()).or_insert(call.now);
    }
    let patience = SignedDuration::try_from(patience).unwrap_or(SignedDuration::MAX);
    let overdue: Vec<_> = lost
        .iter()
        .filter(|(node, _, _)| {
            missing.get(node).is_some_and(|since| call.now.duration_since(*since) > patience)
        })
        .map(|(_, key, pod)| (key.clone(), pod.clone()))
        .collect();
    let Some(resource) = resource_of(&call.registry, PODS) else { return Ok(()) };
    let options = DeleteOptions::at_once();
    delete_all(call, resource, &overdue, &options).await
}

fn node_of(pod: &Stored) -> Option<String> {
    pod.bare_value()["spec"]["nodeName"].as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

//! Whether nodes are alive, and what their conditions and taints must say about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use tokio::time::Instant;

/// The conditions that a node itself keeps, and that say nothing once it is silent.
const KEPT_BY_NODE: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The taints that stand for conditions that are true.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

pub(crate) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// What is to be written to a node, on top of exactly this version of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Correction {
    pub(crate) node: String,
    pub(crate) version: String,
    pub(crate) change: Change,
}

/// What is wrong with a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// It is silent: these conditions are not known.
    Silent(Vec<SilentCondition>),
    /// These are the taints that it must have.
    Taints(Vec<Taint>),
}

/// A condition that is not known, because its node is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SilentCondition {
    pub(crate) name: &'static str,
    /// Whether the node ever said it.
    pub(crate) was_known: bool,
}

#[derive(Debug)]
struct Known {
    node: Node,
    /// When the node was last seen to do anything, by our own clock: clocks of nodes differ.
    heard: Instant,
}

/// What is known of the life of nodes.
#[derive(Debug, Default)]
pub(crate) struct Vitality {
    nodes: BTreeMap<String, Known>,
    /// The last renewal of each lease, as the node wrote it.
    renewals: BTreeMap<String, Option<String>>,
}

impl Vitality {
    pub(crate) fn see_node(&mut self, node: Node, now: Instant) {
        let name = node.metadata.name.clone().unwrap_or_default();
        match self.nodes.get_mut(&name) {
            Some(known) => {
                if heartbeat(&known.node) != heartbeat(&node) {
                    known.heard = now;
                }
                known.node = node;
            }
            None => {
                self.nodes.insert(name, Known { node, heard: now });
            }
        }
    }

    pub(crate) fn forget_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    pub(crate) fn retain_nodes(&mut self, present: &BTreeSet<String>) {
        self.nodes.retain(|name, _| present.contains(name));
    }

    /// Gives every node its whole grace period again: what it did meanwhile could not be seen.
    pub(crate) fn begin_anew(&mut self, now: Instant) {
        for known in self.nodes.values_mut() {
            known.heard = now;
        }
    }

    /// Takes the renewal time of a node's lease.
    pub(crate) fn see_lease(&mut self, node: String, renewed: Option<String>, now: Instant) {
        let before = self.renewals.insert(node.clone(), renewed.clone());
        if before != Some(renewed)
            && let Some(known) = self.nodes.get_mut(&node)
        {
            known.heard = now;
        }
    }

    pub(crate) fn forget_lease(&mut self, node: &str) {
        self.renewals.remove(node);
    }

    /// Returns the taints that a node has.
    pub(crate) fn taints(&self, name: &str) -> &[Taint] {
        let spec = self.nodes.get(name).and_then(|known| known.node.spec.as_ref());
        spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    /// Returns what must be written, by node.
    pub(crate) fn corrections(&self, grace: Duration, now: Instant) -> Vec<Correction> {
        self.nodes.values().filter_map(|known| correct(known, grace, now)).collect()
    }
}

fn heartbeat(node: &Node) -> Option<String> {
    condition(node, "Ready")?.last_heartbeat_time.as_ref().map(|time| time.0.to_string())
}

fn condition<'a>(node: &'a Node, name: &str) -> Option<&'a NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == name)
}

fn correct(known: &Known, grace: Duration, now: Instant) -> Option<Correction> {
    let node = &known.node;
    let change = if now.saturating_duration_since(known.heard) > grace {
        silent(node).or_else(|| taints(node))
    } else {
        taints(node)
    }?;
    let name = node.metadata.name.clone()?;
    Some(Correction { node: name, version: node.metadata.resource_version.clone()?, change })
}

fn silent(node: &Node) -> Option<Change> {
    let unknown = |name: &&'static str| {
        let known = condition(node, name);
        let is_unknown = known.is_some_and(|condition| condition.status == "Unknown");
        (!is_unknown).then_some(SilentCondition { name, was_known: known.is_some() })
    };
    let conditions: Vec<_> = KEPT_BY_NODE.iter().filter_map(unknown).collect();
    (!conditions.is_empty()).then_some(Change::Silent(conditions))
}

/// Returns the taints that the node must have, if it has others.
fn taints(node: &Node) -> Option<Change> {
    let held = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let wanted = wanted_taints(node);
    let is_ours = |taint: &Taint| {
        let by_condition = PRESSURES.iter().any(|(_, key)| *key == taint.key) || taint.key == UNSCHEDULABLE;
        let by_silence = [NOT_READY, UNREACHABLE].contains(&taint.key.as_str());
        (by_condition && taint.effect == "NoSchedule") || (by_silence && taint.effect != "PreferNoSchedule")
    };
    let same = |a: &Taint, b: &Taint| a.key == b.key && a.effect == b.effect;
    let missing: Vec<Taint> =
        wanted.iter().filter(|wanted| !held.iter().any(|held| same(held, wanted))).cloned().collect();
    let kept: Vec<Taint> = held
        .iter()
        .filter(|held| !is_ours(held) || wanted.iter().any(|wanted| same(held, wanted)))
        .cloned()
        .collect();
    let unchanged = missing.is_empty() && kept.len() == held.len();
    (!unchanged).then(|| Change::Taints(kept.into_iter().chain(missing).collect()))
}

fn wanted_taints(node: &Node) -> Vec<Taint> {
    let taint = |key: &str, effect: &str| Taint {
        key: key.to_owned(),
        effect: effect.to_owned(),
        ..Taint::default()
    };
    let mut wanted = Vec::new();
    match condition(node, "Ready").map(|ready| ready.status.as_str()) {
        Some("False") => wanted.extend([taint(NOT_READY, "NoSchedule"), taint(NOT_READY, "NoExecute")]),
        Some("Unknown") => wanted.extend([taint(UNREACHABLE, "NoSchedule"), taint(UNREACHABLE, "NoExecute")]),
        _ => {}
    }
    for (name, key) in PRESSURES {
        if condition(node, name).is_some_and(|condition| condition.status == "True") {
            wanted.push(taint(key, "NoSchedule"));
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push(taint(UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const GRACE: Duration = Duration::from_secs(40);
    const SECOND: Duration = Duration::from_secs(1);

    fn node(spec: Value, conditions: Value, version: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": "n", "resourceVersion": version },
            "spec": spec, "status": { "conditions": conditions },
        }))
        .expect("a valid node")
    }

    fn said(name: &str, status: &str, at: &str) -> Value {
        json!({ "type": name, "status": status, "lastHeartbeatTime": at })
    }

    fn ready(status: &str, at: &str) -> Value {
        json!([
            said("Ready", status, at),
            said("MemoryPressure", "False", at),
            said("DiskPressure", "False", at),
            said("PIDPressure", "False", at),
        ])
    }

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const LATE: &str = "2026-01-01T00:05:00Z";

    fn is_silent(vitality: &Vitality, at: Instant) -> bool {
        let corrections = vitality.corrections(GRACE, at);
        corrections.iter().any(|correction| matches!(correction.change, Change::Silent(_)))
    }

    #[test]
    fn a_node_whose_lease_is_renewed_is_alive() {
        let (mut vitality, start) = (Vitality::default(), Instant::now());
        vitality.see_node(node(json!({}), ready("True", EARLY), "1"), start);
        vitality.see_lease("n".to_owned(), Some("1".to_owned()), start + 30 * SECOND);
        assert!(!is_silent(&vitality, start + 70 * SECOND));
        assert!(is_silent(&vitality, start + 71 * SECOND));
        vitality.see_lease("n".to_owned(), Some("1".to_owned()), start + 71 * SECOND);
        assert!(is_silent(&vitality, start + 71 * SECOND), "the same renewal says nothing");
        vitality.see_lease("n".to_owned(), Some("2".to_owned()), start + 71 * SECOND);
        assert!(!is_silent(&vitality, start + 72 * SECOND));
    }

    #[test]
    fn a_heartbeat_in_the_status_counts_like_a_renewal_and_other_changes_do_not() {
        let (mut vitality, start) = (Vitality::default(), Instant::now());
        vitality.see_node(node(json!({}), ready("True", EARLY), "1"), start);
        vitality
            .see_node(node(json!({ "unschedulable": true }), ready("True", EARLY), "2"), start + 30 * SECOND);
        assert!(is_silent(&vitality, start + 41 * SECOND));
        vitality.see_node(node(json!({}), ready("True", LATE), "3"), start + 42 * SECOND);
        assert!(!is_silent(&vitality, start + 80 * SECOND));
    }

    #[test]
    fn a_silent_node_is_marked_and_then_tainted() {
        let (mut vitality, start) = (Vitality::default(), Instant::now());
        vitality.see_node(node(json!({}), json!([said("Ready", "True", EARLY)]), "1"), start);
        let late = start + 41 * SECOND;
        let [correction] = &vitality.corrections(GRACE, late)[..] else { panic!("one correction") };
        let expected = KEPT_BY_NODE.map(|name| SilentCondition { name, was_known: name == "Ready" });
        assert_eq!(correction.change, Change::Silent(expected.to_vec()));
        assert_eq!(correction.version, "1");

        let unknown: Vec<Value> = KEPT_BY_NODE.iter().map(|name| said(name, "Unknown", EARLY)).collect();
        vitality.see_node(node(json!({}), json!(unknown), "2"), late);
        let [correction] = &vitality.corrections(GRACE, late)[..] else { panic!("one correction") };
        let Change::Taints(taints) = &correction.change else { panic!("it is tainted") };
        let effects: Vec<_> =
            taints.iter().map(|taint| (taint.key.as_str(), taint.effect.as_str())).collect();
        assert_eq!(effects, [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]);
    }

    #[test]
    fn taints_follow_conditions_and_leave_the_taints_of_others_alone() {
        let others = json!([
            { "key": "dedicated", "value": "x", "effect": "NoSchedule" },
            { "key": UNREACHABLE, "effect": "NoSchedule", "timeAdded": EARLY },
            { "key": UNREACHABLE, "effect": "NoExecute", "timeAdded": EARLY },
        ]);
        let check = |spec: Value, conditions: Value, expected: Option<&[(&str, &str)]>| {
            let (mut vitality, start) = (Vitality::default(), Instant::now());
            vitality.see_node(node(spec, conditions, "1"), start);
            let corrections = vitality.corrections(GRACE, start);
            let taints = corrections.first().map(|correction| match &correction.change {
                Change::Taints(taints) => taints.clone(),
                Change::Silent(_) => panic!("it is not silent"),
            });
            let taints = taints.map(|taints| {
                taints.iter().map(|taint| (taint.key.clone(), taint.effect.clone())).collect::<Vec<_>>()
            });
            let owned = |list: &[(&str, &str)]| {
                list.iter().map(|(key, effect)| ((*key).to_owned(), (*effect).to_owned())).collect::<Vec<_>>()
            };
            assert_eq!(taints, expected.map(owned));
        };
        check(json!({}), ready("True", EARLY), None);
        check(json!({ "taints": others }), ready("True", EARLY), Some(&[("dedicated", "NoSchedule")]));
        check(
            json!({ "taints": others }),
            ready("False", EARLY),
            Some(&[("dedicated", "NoSchedule"), (NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        );
        check(json!({ "taints": others }), ready("Unknown", EARLY), None);
        check(json!({ "unschedulable": true }), ready("True", EARLY), Some(&[(UNSCHEDULABLE, "NoSchedule")]));
        check(
            json!({}),
            json!([said("Ready", "True", EARLY), said("DiskPressure", "True", EARLY)]),
            Some(&[("node.kubernetes.io/disk-pressure", "NoSchedule")]),
        );
    }

    #[test]
    fn what_is_gone_is_not_corrected() {
        let (mut vitality, start) = (Vitality::default(), Instant::now());
        vitality.see_node(node(json!({}), ready("True", EARLY), "1"), start);
        vitality.retain_nodes(&BTreeSet::from(["n".to_owned()]));
        assert!(is_silent(&vitality, start + 41 * SECOND));
        vitality.begin_anew(start + 41 * SECOND);
        assert!(!is_silent(&vitality, start + 81 * SECOND));
        vitality.forget_node("n");
        assert_eq!(vitality.corrections(GRACE, start + 99 * SECOND), []);
    }
}

//! Whether a pod's selectors and tolerations fit a node.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration};

use crate::node::NodeFacts;
use crate::pod::PendingPod;

/// Tells whether the node selector and the required node affinity of a pod fit a node.
pub(crate) fn selects(pod: &PendingPod, node: &NodeFacts) -> bool {
    let labels_fit = pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let required = pod
        .node_affinity
        .as_ref()
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    labels_fit
        && required
            .is_none_or(|selector| selector.node_selector_terms.iter().any(|term| fits_term(term, node)))
}

/// Returns the sum of the weights of the preferred terms that fit a node.
pub(crate) fn preference(pod: &PendingPod, node: &NodeFacts) -> i64 {
    let preferred = pod
        .node_affinity
        .as_ref()
        .and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    preferred
        .into_iter()
        .flatten()
        .filter(|term| fits_term(&term.preference, node))
        .map(|term| i64::from(term.weight))
        .sum()
}

/// An empty term fits no node.
fn fits_term(term: &NodeSelectorTerm, node: &NodeFacts) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let field = |key: &str| (key == "metadata.name").then_some(node.name.as_str());
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|wanted| fits(wanted, node.labels.get(&wanted.key).map(String::as_str)))
        && fields.iter().all(|wanted| field(&wanted.key).is_some_and(|name| fits(wanted, Some(name))))
}

fn fits(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = |value: &str| values.iter().any(|wanted| wanted == value);
    let compared = |ordered: fn(&i64, &i64) -> bool| match (value.map(str::parse), values) {
        (Some(Ok(value)), [bound]) => bound.parse().is_ok_and(|bound| ordered(&value, &bound)),
        _ => false,
    };
    match wanted.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(i64::gt),
        "Lt" => compared(i64::lt),
        _ => false,
    }
}

/// Returns the first taint that keeps pods away and that nothing tolerates.
pub(crate) fn repelled_by<'a>(tolerations: &[Toleration], taints: &'a [Taint]) -> Option<&'a Taint> {
    taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .find(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

/// Counts the taints that pods had better avoid and that nothing tolerates.
pub(crate) fn dislikes(tolerations: &[Toleration], taints: &[Taint]) -> i64 {
    let disliked = taints
        .iter()
        .filter(|taint| taint.effect == "PreferNoSchedule")
        .filter(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)));
    i64::try_from(disliked.count()).unwrap_or(i64::MAX)
}

/// Tells whether a toleration covers a taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let effect_fits = given(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    let key = given(&toleration.key);
    let key_fits = key.as_ref().is_none_or(|key| *key == taint.key);
    let value = toleration.value.as_deref().unwrap_or_default();
    let tainted = taint.value.as_deref().unwrap_or_default();
    let value_fits = match given(&toleration.operator).as_deref() {
        Some("Exists") => true,
        None | Some("Equal") => key.is_some() && value == tainted,
        Some("Lt") => key.is_some() && compared(tainted, value, i64::lt),
        Some("Gt") => key.is_some() && compared(tainted, value, i64::gt),
        Some(_) => false,
    };
    effect_fits && key_fits && value_fits
}

fn compared(tainted: &str, tolerated: &str, ordered: fn(&i64, &i64) -> bool) -> bool {
    match (tainted.parse(), tolerated.parse()) {
        (Ok(tainted), Ok(tolerated)) => ordered(&tainted, &tolerated),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pod::Seen;

    fn node() -> NodeFacts {
        NodeFacts::of(
            &serde_json::from_value(json!({ "metadata": {
                "name": "n1", "labels": { "zone": "a", "disk": "ssd", "cores": "8" },
            } }))
            .expect("a valid node"),
        )
    }

    fn pod(spec: Value) -> PendingPod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod = json!({ "metadata": { "name": "p", "namespace": "d" }, "spec": spec });
        match Seen::read(&serde_json::from_value(pod).expect("a valid pod"), "default-scheduler") {
            Seen::Pending(pod) => *pod,
            other => panic!("{other:?} is not pending"),
        }
    }

    fn requires(terms: Value) -> PendingPod {
        pod(json!({ "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
        } } }))
    }

    #[test]
    fn a_node_selector_needs_every_label() {
        for (selector, expected) in [
            (json!({}), true),
            (json!({ "zone": "a" }), true),
            (json!({ "zone": "a", "disk": "ssd" }), true),
            (json!({ "zone": "b" }), false),
            (json!({ "zone": "a", "gpu": "" }), false),
        ] {
            assert_eq!(selects(&pod(json!({ "nodeSelector": selector })), &node()), expected, "{selector}");
        }
    }

    #[test]
    fn every_operator_of_node_affinity_decides() {
        let cases = [
            ("zone", "In", json!(["b", "a"]), true),
            ("zone", "In", json!(["b"]), false),
            ("gpu", "In", json!(["x"]), false),
            ("zone", "NotIn", json!(["b"]), true),
            ("zone", "NotIn", json!(["a"]), false),
            ("gpu", "NotIn", json!(["x"]), true),
            ("zone", "Exists", json!([]), true),
            ("gpu", "Exists", json!([]), false),
            ("gpu", "DoesNotExist", json!([]), true),
            ("zone", "DoesNotExist", json!([]), false),
            ("cores", "Gt", json!(["7"]), true),
            ("cores", "Gt", json!(["8"]), false),
            ("cores", "Lt", json!(["9"]), true),
            ("cores", "Lt", json!(["10", "11"]), false),
            ("zone", "Gt", json!(["1"]), false),
            ("gpu", "Lt", json!(["1"]), false),
            ("zone", "Matches", json!(["a"]), false),
        ];
        for (key, operator, values, expected) in cases {
            let term =
                json!([{ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] }]);
            assert_eq!(selects(&requires(term), &node()), expected, "{key} {operator} {values}");
        }
    }

    #[test]
    fn terms_are_alternatives_and_their_parts_are_not() {
        let wants = |zone: &str| json!({ "key": "zone", "operator": "In", "values": [zone] });
        let name = |name: &str| json!({ "key": "metadata.name", "operator": "In", "values": [name] });
        let cases = [
            (json!([{ "matchExpressions": [wants("b")] }, { "matchExpressions": [wants("a")] }]), true),
            (json!([{ "matchExpressions": [wants("a"), wants("b")] }]), false),
            (json!([{ "matchFields": [name("n1")] }]), true),
            (json!([{ "matchFields": [name("n2")] }]), false),
            (json!([{ "matchFields": [name("n1")], "matchExpressions": [wants("b")] }]), false),
            (json!([{ "matchFields": [{ "key": "spec.x", "operator": "NotIn", "values": ["n1"] }] }]), false),
            (json!([{}]), false),
            (json!([]), false),
        ];
        for (terms, expected) in cases {
            assert_eq!(selects(&requires(terms.clone()), &node()), expected, "{terms}");
        }
    }

    #[test]
    fn preferences_add_up() {
        let term = |weight: i32, zone: &str| {
            json!({ "weight": weight, "preference": { "matchExpressions": [
                { "key": "zone", "operator": "In", "values": [zone] }] } })
        };
        let pod = pod(json!({ "affinity": { "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [term(10, "a"), term(5, "b"), term(1, "a")],
        } } }));
        assert_eq!(preference(&pod, &node()), 11);
    }

    #[test]
    fn tolerations_cover_taints_as_kubernetes_says() {
        let cases = [
            (json!({ "key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule" }), true),
            (json!({ "key": "k", "value": "v" }), true),
            (json!({ "key": "k", "value": "w" }), false),
            (json!({ "key": "k", "operator": "Exists" }), true),
            (json!({ "key": "k", "operator": "Exists", "effect": "NoExecute" }), false),
            (json!({ "key": "j", "operator": "Exists" }), false),
            (json!({ "operator": "Exists" }), true),
            (json!({ "operator": "Exists", "effect": "NoSchedule" }), true),
            (json!({ "value": "v" }), false),
            (json!({ "key": "k", "operator": "Unknown", "value": "v" }), false),
        ];
        let taint: Taint =
            serde_json::from_value(json!({ "key": "k", "value": "v", "effect": "NoSchedule" }))
                .expect("a valid taint");
        for (toleration, expected) in cases {
            let parsed: Toleration = serde_json::from_value(toleration.clone()).expect("a valid toleration");
            assert_eq!(tolerates(&parsed, &taint), expected, "{toleration}");
        }
    }

    #[test]
    fn only_some_effects_keep_pods_away() {
        let taint = |effect: &str| -> Taint {
            serde_json::from_value(json!({ "key": "k", "effect": effect })).expect("a valid taint")
        };
        assert!(repelled_by(&[], &[taint("NoSchedule")]).is_some());
        assert!(repelled_by(&[], &[taint("NoExecute")]).is_some());
        assert!(repelled_by(&[], &[taint("PreferNoSchedule")]).is_none());
        assert_eq!(dislikes(&[], &[taint("PreferNoSchedule"), taint("NoSchedule")]), 1);
    }
}

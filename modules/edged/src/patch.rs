//! Patches of a status: strategic-merge patches with what changed.

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Lists that a strategic merge joins by `ip` instead of replacing them.
const LISTS_BY_IP: [&str; 2] = ["podIPs", "hostIPs"];

/// The fields of a pod's status that edged writes. Absent ones are taken away from the API.
const POD_FIELDS: [&str; 11] = [
    "phase",
    "reason",
    "message",
    "conditions",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "qosClass",
    "initContainerStatuses",
];

/// Makes the patch that brings a pod's status from `known` to `wanted`; `None` when nothing differs.
///
/// Conditions of others stay: the merge joins conditions by type, and only own ones are sent.
#[must_use]
pub fn pod_status(uid: &str, known: &Value, wanted: &Value) -> Option<Bytes> {
    let mut status = Map::new();
    for field in POD_FIELDS.into_iter().chain(["containerStatuses"]) {
        let (before, after) = (known.get(field), wanted.get(field));
        let change = match field {
            "conditions" => conditions(before, after),
            _ if before == after => None,
            _ if LISTS_BY_IP.contains(&field) => Some(list_by_ip(before, after)),
            _ => Some(after.cloned().unwrap_or(Value::Null)),
        };
        if let Some(change) = change {
            status.insert(field.to_owned(), change);
        }
    }
    if status.is_empty() {
        return None;
    }
    Some(Bytes::from(json!({ "metadata": { "uid": uid }, "status": status }).to_string()))
}

/// Tells whether the API's status changed from `before` to `after` in something of edged's that the patch from
/// `known` to `wanted` does not have: then `known` was not what the API showed.
#[must_use]
pub fn is_changed_beside(before: &Value, after: &Value, known: &Value, wanted: &Value) -> bool {
    let has_condition_changed = |condition: &Value| {
        let find = |status: &Value| {
            let conditions = status.get("conditions").and_then(Value::as_array);
            conditions.into_iter().flatten().find(|held| held["type"] == condition["type"]).cloned()
        };
        let is_sent = !find(known).is_some_and(|held| same_condition(&held, condition));
        !is_sent && !same_condition(&find(before).unwrap_or_default(), &find(after).unwrap_or_default())
    };
    POD_FIELDS.into_iter().chain(["containerStatuses"]).any(|field| match field {
        "conditions" => wanted[field].as_array().into_iter().flatten().any(has_condition_changed),
        _ => known.get(field) == wanted.get(field) && before.get(field) != after.get(field),
    })
}

/// Makes the patch that brings a pod's status to `wanted`, whatever edged's fields of it are before.
///
/// It is needed where a patch was sent and not answered: what is as it was before that may have changed.
#[must_use]
pub fn whole_pod_status(uid: &str, wanted: &Value) -> Bytes {
    let mut status = Map::new();
    for field in POD_FIELDS.into_iter().chain(["containerStatuses"]) {
        let change = match (field, wanted.get(field)) {
            ("conditions", after) => conditions(None, after).map(with_nulls).unwrap_or_else(|| json!([])),
            (_, Some(Value::Array(after))) if LISTS_BY_IP.contains(&field) => replacing(after),
            (_, after) => after.cloned().unwrap_or(Value::Null),
        };
        status.insert(field.to_owned(), change);
    }
    Bytes::from(json!({ "metadata": { "uid": uid }, "status": status }).to_string())
}

/// Takes away what a condition may have had.
fn with_nulls(mut conditions: Value) -> Value {
    for condition in conditions.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        for field in ["reason", "message"] {
            condition.entry(field).or_insert(Value::Null);
        }
    }
    conditions
}

/// Makes a merged list the whole list.
pub fn replacing(list: &[Value]) -> Value {
    list.iter().cloned().chain([json!({ "$patch": "replace" })]).collect()
}

/// Returns the conditions that differ, each whole, with `null` for what is to be taken away.
#[must_use]
pub fn conditions(before: Option<&Value>, after: Option<&Value>) -> Option<Value> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let known = list(before);
    let changed: Vec<Value> = list(after)
        .into_iter()
        .filter_map(|condition| {
            let held = known.iter().find(|held| held["type"] == condition["type"]);
            if held.is_some_and(|held| same_condition(held, &condition)) {
                return None;
            }
            let mut condition = condition;
            for field in ["reason", "message"] {
                let had = held.is_some_and(|held| held.get(field).is_some());
                if had && condition.get(field).is_none() {
                    condition[field] = Value::Null;
                }
            }
            Some(condition)
        })
        .collect();
    (!changed.is_empty()).then_some(Value::Array(changed))
}

fn same_condition(a: &Value, b: &Value) -> bool {
    let fields = ["status", "reason", "message", "lastTransitionTime", "lastHeartbeatTime"];
    fields.iter().all(|field| a.get(field).filter(|v| !v.is_null()) == b.get(field).filter(|v| !v.is_null()))
}

fn list_by_ip(before: Option<&Value>, after: Option<&Value>) -> Value {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let after = list(after);
    let mut patch = after.clone();
    for gone in list(before).into_iter().filter(|entry| !after.contains(entry)) {
        patch.push(json!({ "$patch": "delete", "ip": gone["ip"] }));
    }
    Value::Array(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(known: &Value, wanted: &Value) -> Option<Value> {
        pod_status("u", known, wanted).map(|bytes| serde_json::from_slice(&bytes).expect("JSON"))
    }

    #[test]
    fn an_equal_status_needs_no_patch() {
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(patch(&status, &status), None);
        let foreign = json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "x.io/Mine", "status": "True"}]});
        assert_eq!(patch(&foreign, &status), None);
    }

    #[test]
    fn what_is_gone_is_taken_away() {
        let known = json!({"phase": "Failed", "reason": "Evicted", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "False", "reason": "X", "message": "y"}]});
        let wanted = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.2"}],
            "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(
            patch(&known, &wanted),
            Some(json!({"metadata": {"uid": "u"}, "status": {
                "phase": "Running", "reason": null,
                "podIPs": [{"ip": "10.0.0.2"}, {"$patch": "delete", "ip": "10.0.0.1"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null, "message": null}]}}))
        );
    }

    #[test]
    fn what_others_changed_beside_a_patch_is_noticed() {
        let before = json!({"phase": "Running", "podIP": "10.0.0.1", "x": 1, "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "x.io/Mine", "status": "True"}]});
        let with = |change: fn(&mut Value)| {
            let mut status = before.clone();
            change(&mut status);
            status
        };
        let wanted = json!({"phase": "Running", "podIP": "10.0.0.2", "conditions": [
            {"type": "Ready", "status": "True"}]});
        let is_changed = |after: &Value| is_changed_beside(&before, after, &before, &wanted);
        assert!(!is_changed(&with(|it| it["podIP"] = json!("10.0.0.2"))));
        assert!(!is_changed(&with(|it| it["podIP"] = json!("10.0.0.3"))), "that was told");
        assert!(
            !is_changed(&with(|it| it["conditions"][1]["status"] = json!("False"))),
            "that is not edged's"
        );
        assert!(!is_changed(&with(|it| it["x"] = json!(2))), "that is not edged's");
        assert!(is_changed(&with(|it| it["phase"] = json!("Pending"))));
        assert!(is_changed(&with(|it| it["message"] = json!("m"))));
        assert!(is_changed(&with(|it| it["conditions"][0]["status"] = json!("False"))));
        let unready = with(|it| it["conditions"][0]["status"] = json!("False"));
        assert!(!is_changed_beside(&before, &before, &before, &unready));
        assert!(!is_changed_beside(&before, &unready, &before, &unready), "that was told");
    }

    #[test]
    fn a_status_in_doubt_is_sent_with_all_that_it_does_not_have() {
        let wanted = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.2"}],
            "conditions": [{"type": "Ready", "status": "True", "message": "m"}]});
        let patch: Value = serde_json::from_slice(&whole_pod_status("u", &wanted)).expect("JSON");
        let status = &patch["status"];
        assert_eq!(status["phase"], "Running");
        assert_eq!(status.as_object().map(Map::len), Some(POD_FIELDS.len() + 1));
        assert_eq!(status["podIPs"], json!([{"ip": "10.0.0.2"}, {"$patch": "replace"}]));
        let ready = json!([{"type": "Ready", "status": "True", "message": "m", "reason": null}]);
        assert_eq!(status["conditions"], ready);
        let absent = ["reason", "message", "hostIP", "hostIPs", "podIP", "startTime", "containerStatuses"];
        assert!(absent.iter().all(|field| status.get(field) == Some(&Value::Null)), "{status}");
    }

    #[test]
    fn a_first_status_is_sent_whole() {
        let wanted = json!({"phase": "Pending", "containerStatuses": []});
        assert_eq!(patch(&json!({}), &wanted), Some(json!({"metadata": {"uid": "u"}, "status": wanted})));
    }
}

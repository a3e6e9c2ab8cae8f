//! Between the versions of horizontal pod autoscalers, which are kept as `autoscaling/v2`.
//!
//! What `autoscaling/v1` has no field for stands in annotations there, as it does on a real server.

use serde_json::{Value, json};

use super::parts::{annotate, put, take, take_annotation};

/// Annotation, part of the object, field.
const KEPT: [(&str, &str, &str); 4] = [
    ("autoscaling.alpha.kubernetes.io/metrics", "spec", "metrics"),
    ("autoscaling.alpha.kubernetes.io/behavior", "spec", "behavior"),
    ("autoscaling.alpha.kubernetes.io/current-metrics", "status", "currentMetrics"),
    ("autoscaling.alpha.kubernetes.io/conditions", "status", "conditions"),
];
const TARGET: &str = "targetCPUUtilizationPercentage";
const CURRENT: &str = "currentCPUUtilizationPercentage";

/// Turns an `autoscaling/v2` object into one of `autoscaling/v1`.
pub(super) fn to_v1(object: &mut Value) {
    let metrics = take(object, "spec", "metrics");
    let (own, others) = divide(metrics);
    if let Some(target) = own.first().and_then(|metric| metric.pointer("/resource/target/averageUtilization"))
    {
        put(object, "spec", TARGET, target.clone());
    }
    if !others.is_empty() {
        annotate(object, KEPT[0].0, &Value::from(others));
    }
    if let Some(behavior) = take(object, "spec", "behavior") {
        annotate(object, KEPT[1].0, &behavior);
    }
    if let Some(current) = take(object, "status", "currentMetrics") {
        let used = current
            .as_array()
            .into_iter()
            .flatten()
            .filter(|metric| is_cpu(metric))
            .find_map(|metric| metric.pointer("/resource/current/averageUtilization"));
        if let Some(used) = used {
            put(object, "status", CURRENT, used.clone());
        }
        annotate(object, KEPT[2].0, &current);
    }
    if let Some(conditions) = take(object, "status", "conditions") {
        annotate(object, KEPT[3].0, &conditions);
    }
}

/// Turns an `autoscaling/v1` object into one of `autoscaling/v2`.
pub(super) fn to_v2(object: &mut Value) {
    for (annotation, part, field) in KEPT {
        if let Some(value) = take_annotation(object, annotation) {
            put(object, part, field, value);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.remove(CURRENT);
    }
    let others = match take(object, "spec", "metrics") {
        Some(Value::Array(others)) => others,
        _ => Vec::new(),
    };
    let target = take(object, "spec", TARGET).or_else(|| others.is_empty().then(|| json!(80)));
    let own = target.map(|target| {
        json!({"type": "Resource", "resource":
            {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}})
    });
    put(object, "spec", "metrics", own.into_iter().chain(others).collect());
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

/// Divides metrics into the one that `autoscaling/v1` has a field for, and all others.
fn divide(metrics: Option<Value>) -> (Vec<Value>, Vec<Value>) {
    let Some(Value::Array(metrics)) = metrics else { return (Vec::new(), Vec::new()) };
    let has_field =
        |metric: &Value| is_cpu(metric) && metric["resource"]["target"]["averageUtilization"].is_number();
    let first = metrics.iter().position(has_field);
    let (own, others): (Vec<_>, Vec<_>) =
        metrics.into_iter().enumerate().partition(|(at, _)| Some(*at) == first);
    let bare = |numbered: Vec<(usize, Value)>| numbered.into_iter().map(|(_, metric)| metric).collect();
    (bare(own), bare(others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_older_version_cannot_say_survives_the_way_there_and_back() {
        let cpu = json!({"type": "Resource", "resource":
            {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
        let memory = json!({"type": "Resource", "resource":
            {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
        let kept = json!({"metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "metrics": [cpu, memory], "behavior": {"scaleUp": {}}},
            "status": {"desiredReplicas": 1, "conditions": [{"type": "AbleToScale"}], "currentMetrics":
                [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}]}});
        let mut shown = kept.clone();
        to_v1(&mut shown);
        assert_eq!(shown["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}));
        assert_eq!(shown["status"], json!({"desiredReplicas": 1, "currentCPUUtilizationPercentage": 7}));
        to_v2(&mut shown);
        assert_eq!(shown, kept);
    }

    #[test]
    fn without_a_target_it_is_eighty_percent() {
        let mut object = json!({"metadata": {}, "spec": {"maxReplicas": 3}});
        to_v2(&mut object);
        assert_eq!(object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    }

    #[test]
    fn what_is_no_autoscaler_is_left_as_it_is() {
        for mut object in [json!({"metadata": [], "spec": "text", "status": 3}), json!([]), json!(null)] {
            let before = object.clone();
            to_v2(&mut object);
            to_v1(&mut object);
            assert_eq!(object, before);
        }
        let note = json!({"autoscaling.alpha.kubernetes.io/conditions": "[]"});
        let mut object = json!({"metadata": {"annotations": note}, "spec": "text", "status": "text"});
        to_v2(&mut object);
        assert_eq!((&object["spec"], &object["status"]), (&json!("text"), &json!("text")));
    }

    #[test]
    fn an_annotation_that_is_not_ours_stays() {
        let metadata = json!({"annotations": {"autoscaling.alpha.kubernetes.io/metrics": "none"}});
        let mut object = json!({"metadata": metadata, "spec": {"maxReplicas": 3}});
        to_v2(&mut object);
        assert_eq!(object["metadata"], metadata);
    }
}

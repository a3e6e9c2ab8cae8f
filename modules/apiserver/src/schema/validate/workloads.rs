//! Controllers of pods.

use serde_json::Value;

use super::{Check, field, names, pods};
use crate::schema::error::FieldError;

const STATEFUL: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
    'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
const STATEFUL_FREE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn deployment(check: &mut Check<'_>) {
    selected(check, "deployment");
    check.not_negative("/spec/replicas");
    check.not_negative("/spec/minReadySeconds");
    check.not_negative("/spec/revisionHistoryLimit");
    check.one_of("/spec/strategy/type", &["Recreate", "RollingUpdate"]);
    if check.text("/spec/strategy/type") == "Recreate" && check.at("/spec/strategy/rollingUpdate").is_some() {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        check.push(FieldError::forbidden("spec.strategy.rollingUpdate", detail));
    }
    let number = |pointer: &str| check.at(pointer).and_then(Value::as_i64);
    if let (Some(deadline), Some(ready)) =
        (number("/spec/progressDeadlineSeconds"), number("/spec/minReadySeconds").or(Some(0)))
        && deadline <= ready
    {
        let detail = "must be greater than minReadySeconds";
        check.push(FieldError::invalid("spec.progressDeadlineSeconds", &Value::from(deadline), detail));
    }
    immutable_selector(check);
}

pub(super) fn replica_set(check: &mut Check<'_>) {
    selected(check, "deployment");
    check.not_negative("/spec/replicas");
    check.not_negative("/spec/minReadySeconds");
    immutable_selector(check);
}

pub(super) fn replication_controller(check: &mut Check<'_>) {
    check.not_negative("/spec/replicas");
    let selector = check.at("/spec/selector").and_then(Value::as_object);
    if selector.is_none_or(serde_json::Map::is_empty) {
        check.push(FieldError::required("spec.selector", ""));
    }
    if check.at("/spec/template").is_none() {
        check.push(FieldError::required("spec.template", ""));
        return;
    }
    pods::template(check, "spec/template");
    let matches = selector.into_iter().flatten().all(|(key, value)| label(check, key) == Some(value));
    if !matches {
        mismatch(check);
    }
    always(check);
}

pub(super) fn stateful_set(check: &mut Check<'_>) {
    selected(check, "statefulset");
    check.not_negative("/spec/replicas");
    check.one_of("/spec/podManagementPolicy", &["OrderedReady", "Parallel"]);
    check.one_of("/spec/updateStrategy/type", &["RollingUpdate", "OnDelete"]);
    let without_free = |spec: Option<&Value>| {
        let mut spec = spec.and_then(Value::as_object).cloned().unwrap_or_default();
        spec.retain(|name, _| !STATEFUL_FREE.contains(&name.as_str()));
        spec
    };
    if check.old.is_some() && without_free(check.at("/spec")) != without_free(check.was("/spec")) {
        check.push(FieldError::forbidden("spec", STATEFUL));
    }
}

pub(super) fn daemon_set(check: &mut Check<'_>) {
    selected(check, "daemonset");
    check.one_of("/spec/updateStrategy/type", &["RollingUpdate", "OnDelete"]);
    immutable_selector(check);
}

pub(super) fn job(check: &mut Check<'_>) {
    for pointer in
        ["/spec/parallelism", "/spec/completions", "/spec/backoffLimit", "/spec/ttlSecondsAfterFinished"]
    {
        check.not_negative(pointer);
    }
    job_template(check, "spec/template");
    for pointer in ["/spec/template", "/spec/selector", "/spec/completionMode"] {
        if check.was(pointer).is_some() {
            check.immutable(pointer);
        }
    }
    if check.text("/spec/completionMode") != "Indexed" {
        check.immutable("/spec/completions");
    }
}

fn job_template(check: &mut Check<'_>, pointer: &str) {
    pods::template(check, pointer);
    let at = format!("/{pointer}/spec/restartPolicy");
    match check.text(&at) {
        "OnFailure" | "Never" => {}
        "" | "Always" => {
            let error = match check.text(&at) {
                "" => FieldError::required(field(&at), "valid values: \"OnFailure\", \"Never\""),
                always => {
                    FieldError::not_supported(field(&at), &Value::from(always), &["OnFailure", "Never"])
                }
            };
            check.push(error);
        }
        _ => {}
    }
}

pub(super) fn cron_job(check: &mut Check<'_>) {
    let name = check.text("/metadata/name");
    if name.len() > 52 && check.old.is_none() {
        check.push(FieldError::invalid(
            "metadata.name",
            &Value::from(name),
            "must be no more than 52 characters",
        ));
    }
    let schedule = check.text("/spec/schedule");
    let count = schedule.split_whitespace().count();
    if schedule.is_empty() {
        check.push(FieldError::required("spec.schedule", ""));
    } else if count != 5 && !schedule.starts_with('@') {
        let fields: Vec<&str> = schedule.split_whitespace().collect();
        let detail = format!("expected exactly 5 fields, found {count}: [{}]", fields.join(" "));
        check.push(FieldError::invalid("spec.schedule", &Value::from(schedule), &detail));
    }
    check.one_of("/spec/concurrencyPolicy", &["Allow", "Forbid", "Replace"]);
    job_template(check, "spec/jobTemplate/spec/template");
}

pub(super) fn autoscaler(check: &mut Check<'_>) {
    check.require("/spec/scaleTargetRef/kind");
    check.require("/spec/scaleTargetRef/name");
    let number = |pointer: &str| check.at(pointer).and_then(Value::as_i64).unwrap_or(0);
    let (least, most) = (number("/spec/minReplicas"), number("/spec/maxReplicas"));
    if most < 1 {
        let detail = "must be greater than 0";
        check.push(FieldError::invalid("spec.maxReplicas", &Value::from(most), detail));
    } else if most < least {
        let detail = "must be greater than or equal to `minReplicas`";
        check.push(FieldError::invalid("spec.maxReplicas", &Value::from(most), detail));
    }
}

pub(super) fn disruption_budget(check: &mut Check<'_>) {
    if check.at("/spec/minAvailable").is_some()
        && let Some(most) = check.at("/spec/maxUnavailable")
    {
        let shown = most.clone();
        check.push(FieldError::invalid("spec", &shown, "minAvailable and maxUnavailable cannot be both set"));
    }
    selector(check, "/spec/selector");
}

/// Checks a selector, the template, and that the one matches the other.
fn selected(check: &mut Check<'_>, kind: &str) {
    let Some(wanted) = check.at("/spec/selector") else {
        check.push(FieldError::required("spec.selector", ""));
        pods::template(check, "spec/template");
        return;
    };
    selector(check, "/spec/selector");
    let empty = wanted.as_object().is_none_or(|wanted| {
        wanted.values().all(|part| {
            part.as_object().is_none_or(serde_json::Map::is_empty)
                && part.as_array().is_none_or(Vec::is_empty)
        })
    });
    if empty {
        let detail = format!("empty selector is invalid for {kind}");
        check.push(FieldError::invalid("spec.selector", wanted, &detail));
    } else if !matches(check, wanted) {
        mismatch(check);
    }
    pods::template(check, "spec/template");
    always(check);
}

fn always(check: &mut Check<'_>) {
    let policy = check.text("/spec/template/spec/restartPolicy");
    if matches!(policy, "OnFailure" | "Never") {
        let field = "spec.template.spec.restartPolicy";
        check.push(FieldError::not_supported(field, &Value::from(policy), &["Always"]));
    }
}

fn label<'a>(check: &Check<'a>, key: &str) -> Option<&'a Value> {
    check.at("/spec/template/metadata/labels")?.get(key)
}

fn matches(check: &Check<'_>, selector: &Value) -> bool {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let by_labels = labels.into_iter().flatten().all(|(key, value)| label(check, key) == Some(value));
    let by_expressions = super::items(selector, "matchExpressions").iter().all(|expression| {
        let found = label(check, super::text(expression, "key"));
        let listed = found.is_some_and(|value| super::items(expression, "values").contains(value));
        match super::text(expression, "operator") {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => true,
        }
    });
    by_labels && by_expressions
}

fn mismatch(check: &mut Check<'_>) {
    let labels = check.at("/spec/template/metadata/labels");
    let shown = FieldError::invalid(
        "spec.template.metadata.labels",
        &Value::Null,
        "`selector` does not match template `labels`",
    );
    let message = format!("Invalid value: {}: `selector` does not match template `labels`", go_map(labels));
    check.push(FieldError { message, ..shown });
}

/// Writes labels as the messages of real servers show them.
fn go_map(labels: Option<&Value>) -> String {
    match labels.and_then(Value::as_object) {
        None => "map[string]string(nil)".to_owned(),
        Some(labels) => {
            let mut pairs: Vec<String> =
                labels.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
            pairs.sort();
            format!("map[string]string{{{}}}", pairs.join(", "))
        }
    }
}

fn immutable_selector(check: &mut Check<'_>) {
    let selector = "/spec/selector";
    if check.old.is_none() || check.at(selector) == check.was(selector) {
        return;
    }
    let labels = go_map(check.at("/spec/selector/matchLabels"));
    let value = format!(
        "v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}}"
    );
    let shown = FieldError::invalid("spec.selector", &Value::Null, "");
    check.push(FieldError { message: format!("Invalid value: {value}: field is immutable"), ..shown });
}

/// Checks a label selector.
fn selector(check: &mut Check<'_>, pointer: &str) {
    let Some(selector) = check.at(pointer) else { return };
    let at = field(pointer);
    super::metadata::labels(check, &format!("{pointer}/matchLabels"), &format!("{at}.matchLabels"));
    for (index, expression) in super::items(selector, "matchExpressions").iter().enumerate() {
        let at = format!("{at}.matchExpressions[{index}]");
        let key = super::text(expression, "key");
        for problem in names::qualified(key) {
            check.push(FieldError::invalid(format!("{at}.key"), &Value::from(key), &problem));
        }
        let has_values = !super::items(expression, "values").is_empty();
        match super::text(expression, "operator") {
            "In" | "NotIn" if !has_values => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                check.push(FieldError::required(format!("{at}.values"), detail));
            }
            "Exists" | "DoesNotExist" if has_values => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                check.push(FieldError::forbidden(format!("{at}.values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let detail = "not a valid selector operator";
                check.push(FieldError::invalid(format!("{at}.operator"), &Value::from(other), detail));
            }
        }
    }
}

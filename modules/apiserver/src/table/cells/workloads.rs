//! Controllers of pods, and what bounds them.

use serde_json::Value;

use super::{NONE, Row, UNSET, labels, selector, text};
use crate::table::age::{human, parse};

const CONTAINERS: &str = "/spec/template/spec/containers";

pub(super) fn deployment(row: &Row<'_>) -> Vec<Value> {
    let ready = format!("{}/{}", row.number("/status/readyReplicas"), row.number("/spec/replicas"));
    let mut cells = row.with_age(vec![
        Value::from(ready),
        Value::from(row.number("/status/updatedReplicas")),
        Value::from(row.number("/status/availableReplicas")),
    ]);
    cells.extend(row.containers(CONTAINERS));
    cells.push(Value::from(selector(row.at("/spec/selector"))));
    cells
}

/// Replica sets, and their ancestors with a plain map as selector.
pub(super) fn replicas(row: &Row<'_>, plain_selector: bool) -> Vec<Value> {
    let mut cells = row.with_age(vec![
        Value::from(row.number("/spec/replicas")),
        Value::from(row.number("/status/replicas")),
        Value::from(row.number("/status/readyReplicas")),
    ]);
    cells.extend(row.containers(CONTAINERS));
    let own = row.at("/spec/selector");
    cells.push(Value::from(if plain_selector { labels(own) } else { selector(own) }));
    cells
}

pub(super) fn daemon_set(row: &Row<'_>) -> Vec<Value> {
    let number = |name: &str| Value::from(row.number(&format!("/status/{name}")));
    let mut cells = row.with_age(vec![
        number("desiredNumberScheduled"),
        number("currentNumberScheduled"),
        number("numberReady"),
        number("updatedNumberScheduled"),
        number("numberAvailable"),
        Value::from(labels(row.at("/spec/template/spec/nodeSelector"))),
    ]);
    cells.extend(row.containers(CONTAINERS));
    cells.push(Value::from(selector(row.at("/spec/selector"))));
    cells
}

pub(super) fn stateful_set(row: &Row<'_>) -> Vec<Value> {
    let ready = format!("{}/{}", row.number("/status/readyReplicas"), row.number("/spec/replicas"));
    let mut cells = row.with_age(vec![Value::from(ready)]);
    cells.extend(row.containers(CONTAINERS));
    cells
}

pub(super) fn controller_revision(row: &Row<'_>) -> Vec<Value> {
    let controller = row
        .items("/metadata/ownerReferences")
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
        .map_or_else(
            || NONE.to_owned(),
            |owner| {
                let kind = text(owner, "kind").to_lowercase();
                match text(owner, "apiVersion").split_once('/') {
                    Some((group, _)) => format!("{kind}.{group}/{}", text(owner, "name")),
                    None => format!("{kind}/{}", text(owner, "name")),
                }
            },
        );
    row.with_age(vec![Value::from(controller), Value::from(row.number("/revision").to_string())])
}

pub(super) fn pod_template(row: &Row<'_>) -> Vec<Value> {
    let mut cells = vec![row.name()];
    cells.extend(row.containers("/template/spec/containers"));
    cells.push(Value::from(labels(row.at("/template/metadata/labels"))));
    cells
}

pub(super) fn job(row: &Row<'_>) -> Vec<Value> {
    let succeeded = row.number("/status/succeeded");
    let parallelism = row.number("/spec/parallelism");
    let completions = match row.at("/spec/completions").and_then(Value::as_i64) {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let duration = parse(row.at("/status/startTime")).map(|start| {
        let end = parse(row.at("/status/completionTime")).unwrap_or(row.now);
        human(end.as_second() - start.as_second())
    });
    let mut cells = row.with_age(vec![
        Value::from(job_status(row)),
        Value::from(completions),
        Value::from(duration.unwrap_or_default()),
    ]);
    cells.extend(row.containers(CONTAINERS));
    cells.push(Value::from(selector(row.at("/spec/selector"))));
    cells
}

fn job_status(row: &Row<'_>) -> &'static str {
    let is = |kind: &str| {
        row.items("/status/conditions")
            .iter()
            .any(|condition| text(condition, "type") == kind && text(condition, "status") == "True")
    };
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if row.is_deleting() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

pub(super) fn cron_job(row: &Row<'_>) -> Vec<Value> {
    let suspend = match row.at("/spec/suspend").and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => UNSET,
    };
    let last = match row.at("/status/lastScheduleTime") {
        Some(_) => row.since("/status/lastScheduleTime"),
        None => NONE.to_owned(),
    };
    let mut cells = row.with_age(vec![
        row.value("/spec/schedule", ""),
        row.value("/spec/timeZone", NONE),
        Value::from(suspend),
        row.count("/status/active"),
        Value::from(last),
    ]);
    cells.extend(row.containers("/spec/jobTemplate/spec/template/spec/containers"));
    cells.push(Value::from(selector(row.at("/spec/jobTemplate/spec/selector"))));
    cells
}

pub(super) fn disruption_budget(row: &Row<'_>) -> Vec<Value> {
    let amount = |pointer: &str| match row.at(pointer) {
        Some(Value::String(text)) => Value::from(text.clone()),
        Some(other) => Value::from(other.to_string()),
        None => Value::from("N/A"),
    };
    row.with_age(vec![
        amount("/spec/minAvailable"),
        amount("/spec/maxUnavailable"),
        Value::from(row.number("/status/disruptionsAllowed")),
    ])
}

pub(super) fn autoscaler(row: &Row<'_>) -> Vec<Value> {
    let reference =
        format!("{}/{}", row.text("/spec/scaleTargetRef/kind"), row.text("/spec/scaleTargetRef/name"));
    let minimum = match row.at("/spec/minReplicas") {
        Some(minimum) => minimum.to_string(),
        None => UNSET.to_owned(),
    };
    row.with_age(vec![
        Value::from(reference),
        Value::from(targets(row)),
        Value::from(minimum),
        Value::from(row.number("/spec/maxReplicas").to_string()),
        Value::from(row.number("/status/currentReplicas").to_string()),
    ])
}

fn targets(row: &Row<'_>) -> String {
    // The one target that the older version has.
    if let Some(target) = row.at("/spec/targetCPUUtilizationPercentage") {
        let current = row.at("/status/currentCPUUtilizationPercentage");
        let current = current.map_or_else(|| "<unknown>".to_owned(), |current| format!("{current}%"));
        return format!("cpu: {current}/{target}%");
    }
    let current = row.items("/status/currentMetrics");
    let shown: Vec<String> = row
        .items("/spec/metrics")
        .iter()
        .enumerate()
        .map(|(at, metric)| target(metric, current.get(at)))
        .collect();
    match shown.len() {
        0 => NONE.to_owned(),
        1 | 2 => shown.join(", "),
        more => format!("{} + {} more...", shown.get(..2).unwrap_or_default().join(", "), more - 2),
    }
}

fn target(metric: &Value, current: Option<&Value>) -> String {
    let kind = text(metric, "type");
    let mut source = kind.to_owned();
    if let Some(first) = source.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let amount = |value: Option<&Value>, key: &str| -> Option<String> {
        match value?.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(format!("{number}%")),
            _ => None,
        }
    };
    let present = current.and_then(|current| current.get(&source)?.get("current"));
    let wanted = metric.get(&source).and_then(|metric| metric.get("target"));
    let key = ["averageUtilization", "averageValue", "value"]
        .into_iter()
        .find(|key| amount(wanted, key).is_some())
        .unwrap_or("value");
    let present = amount(present, key).unwrap_or_else(|| "<unknown>".to_owned());
    let average = if key == "averageValue" && kind != "Resource" { " (avg)" } else { "" };
    let shown = format!("{present}/{}{average}", amount(wanted, key).unwrap_or_else(|| "<auto>".to_owned()));
    match metric.get(&source).map(|metric| text(metric, "name")) {
        Some(name) if !name.is_empty() => format!("{name}: {shown}"),
        _ => shown,
    }
}

//! Controllers of pods.

use serde_json::{Value, json};

use super::pods::template;
use super::small::claim;
use crate::schema::edit::{Object, each, existing, fill, fill_text, part, text};

pub(super) fn deployment(object: &mut Object) {
    let spec = part(object, "spec");
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    let strategy = part(spec, "strategy");
    fill_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = part(strategy, "rollingUpdate");
        fill(rolling, "maxUnavailable", "25%");
        fill(rolling, "maxSurge", "25%");
    }
    template(spec, "template");
}

pub(super) fn replica_set(object: &mut Object) {
    let spec = part(object, "spec");
    fill(spec, "replicas", 1);
    template(spec, "template");
}

pub(super) fn replication_controller(object: &mut Object) {
    let labels = object.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels")).cloned();
    let is_empty =
        |value: Option<&Value>| value.and_then(Value::as_object).is_none_or(serde_json::Map::is_empty);
    if let Some(labels) = labels.filter(|labels| !is_empty(Some(labels))) {
        let spec = part(object, "spec");
        if is_empty(spec.get("selector")) {
            spec.insert("selector".to_owned(), labels.clone());
        }
        let metadata = part(object, "metadata");
        if is_empty(metadata.get("labels")) {
            metadata.insert("labels".to_owned(), labels);
        }
    }
    let spec = part(object, "spec");
    fill(spec, "replicas", 1);
    if spec.contains_key("template") {
        template(spec, "template");
    }
}

pub(super) fn stateful_set(object: &mut Object) {
    let spec = part(object, "spec");
    fill_text(spec, "podManagementPolicy", "OrderedReady");
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    let strategy = part(spec, "updateStrategy");
    fill_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        fill(part(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = part(spec, "persistentVolumeClaimRetentionPolicy");
    fill_text(retention, "whenDeleted", "Retain");
    fill_text(retention, "whenScaled", "Retain");
    template(spec, "template");
    each(spec, "volumeClaimTemplates", |template| {
        fill(template, "apiVersion", "v1");
        fill(template, "kind", "PersistentVolumeClaim");
        claim(template);
        fill_text(part(template, "status"), "phase", "Pending");
    });
}

pub(super) fn daemon_set(object: &mut Object) {
    let spec = part(object, "spec");
    fill(spec, "revisionHistoryLimit", 10);
    let strategy = part(spec, "updateStrategy");
    fill_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = part(strategy, "rollingUpdate");
        fill(rolling, "maxUnavailable", 1);
        fill(rolling, "maxSurge", 0);
    }
    template(spec, "template");
}

pub(super) fn job(object: &mut Object) {
    let spec = part(object, "spec");
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let limit = if spec.contains_key("backoffLimitPerIndex") { i32::MAX } else { 6 };
    fill(spec, "backoffLimit", limit);
    fill_text(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", false);
    let replacement = if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    fill_text(spec, "podReplacementPolicy", replacement);
    if let Some(policy) = existing(spec, "podFailurePolicy") {
        each(policy, "rules", |rule| {
            each(rule, "onPodConditions", |condition| fill_text(condition, "status", "True"));
        });
    }
    template(spec, "template");
}

pub(super) fn cron_job(object: &mut Object) {
    let spec = part(object, "spec");
    fill_text(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    let job = part(spec, "jobTemplate");
    part(job, "metadata");
    template(part(job, "spec"), "template");
}

pub(super) fn autoscaler(object: &mut Object, version: &str) {
    let spec = part(object, "spec");
    fill(spec, "minReplicas", 1);
    if version == "v1" {
        return;
    }
    fill(
        spec,
        "metrics",
        json!([{"type": "Resource", "resource":
            {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]),
    );
}

//! Pods and the templates of pods.

use serde_json::{Value, json};

use crate::schema::edit::{Object, each, existing, fill, fill_number, fill_text, is_true, part, text};

/// Fills in a pod.
pub(super) fn pod(pod: &mut Object) {
    let spec = part(pod, "spec");
    fill(spec, "enableServiceLinks", true);
    for list in ["initContainers", "containers"] {
        each(spec, list, requests_from_limits);
    }
    pod_spec(spec);
}

/// Fills in the template of pods in a field.
pub(super) fn template(owner: &mut Object, field: &str) {
    let template = part(owner, field);
    part(template, "metadata");
    pod_spec(part(template, "spec"));
}

fn pod_spec(spec: &mut Object) {
    fill_text(spec, "dnsPolicy", "ClusterFirst");
    fill_text(spec, "restartPolicy", "Always");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "securityContext", json!({}));
    fill_text(spec, "schedulerName", "default-scheduler");
    let account = match text(spec, "serviceAccountName") {
        "" => text(spec, "serviceAccount").to_owned(),
        name => name.to_owned(),
    };
    if !account.is_empty() {
        spec.insert("serviceAccountName".to_owned(), Value::from(account.clone()));
        spec.insert("serviceAccount".to_owned(), Value::from(account));
    }
    let host_network = is_true(spec, "hostNetwork");
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, list, |container| {
            self::container(container, host_network);
            if list == "ephemeralContainers" {
                part(container, "resources");
            }
        });
    }
    each(spec, "volumes", volume);
}

fn requests_from_limits(container: &mut Object) {
    let resources = part(container, "resources");
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let requests = part(resources, "requests");
    for (name, limit) in limits {
        fill(requests, &name, limit);
    }
}

fn container(container: &mut Object, host_network: bool) {
    let policy = if follows_latest(text(container, "image")) { "Always" } else { "IfNotPresent" };
    fill_text(container, "imagePullPolicy", policy);
    fill_text(container, "terminationMessagePath", "/dev/termination-log");
    fill_text(container, "terminationMessagePolicy", "File");
    part(container, "resources");
    each(container, "ports", |port| {
        fill_text(port, "protocol", "TCP");
        if host_network && let Some(number) = port.get("containerPort").cloned() {
            fill_number(port, "hostPort", number.as_i64().unwrap_or(0));
        }
    });
    each(container, "env", |variable| {
        if let Some(from) = existing(variable, "valueFrom") {
            field_ref(from);
            if let Some(resource) = existing(from, "resourceFieldRef") {
                fill(resource, "divisor", "0");
            }
            if let Some(file) = existing(from, "fileKeyRef") {
                fill(file, "optional", false);
            }
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = existing(container, name) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = existing(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = existing(lifecycle, name) {
                http_get(handler);
            }
        }
    }
}

fn field_ref(source: &mut Object) {
    if let Some(reference) = existing(source, "fieldRef") {
        fill_text(reference, "apiVersion", "v1");
    }
}

/// Returns whether an image has no tag, or the one that moves.
fn follows_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => true,
    }
}

fn probe(probe: &mut Object) {
    fill_number(probe, "timeoutSeconds", 1);
    fill_number(probe, "periodSeconds", 10);
    fill_number(probe, "successThreshold", 1);
    fill_number(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = existing(probe, "grpc") {
        fill(grpc, "service", "");
    }
}

fn http_get(handler: &mut Object) {
    if let Some(get) = existing(handler, "httpGet") {
        fill_text(get, "path", "/");
        fill_text(get, "scheme", "HTTP");
    }
}

fn volume(volume: &mut Object) {
    if volume.keys().all(|key| key == "name") && volume.contains_key("name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = existing(volume, name) {
            fill(source, "defaultMode", 0o644);
        }
    }
    if let Some(path) = existing(volume, "hostPath") {
        fill(path, "type", "");
    }
    if let Some(downward) = existing(volume, "downwardAPI") {
        each(downward, "items", downward_item);
    }
    if let Some(projected) = existing(volume, "projected") {
        each(projected, "sources", |source| {
            if let Some(token) = existing(source, "serviceAccountToken") {
                fill(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = existing(source, "downwardAPI") {
                each(downward, "items", downward_item);
            }
        });
    }
    if let Some(ephemeral) = existing(volume, "ephemeral")
        && let Some(claim) = existing(ephemeral, "volumeClaimTemplate")
    {
        fill(part(claim, "spec"), "volumeMode", "Filesystem");
    }
    if let Some(iscsi) = existing(volume, "iscsi") {
        fill_text(iscsi, "iscsiInterface", "default");
    }
}

fn downward_item(item: &mut Object) {
    field_ref(item);
    if let Some(resource) = existing(item, "resourceFieldRef") {
        fill(resource, "divisor", "0");
    }
}

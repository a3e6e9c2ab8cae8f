//! What writers may not decide themselves: status on ordinary writes, everything else on status
//! writes, and the generation.

use serde_json::{Map, Value, json};

use super::edit::Object;
use crate::registry::Resource;

/// Groups of built-in kinds whose objects count their generations.
const COUNTED_GROUPS: [&str; 5] =
    ["apps", "batch", "policy", "networking.k8s.io", "admissionregistration.k8s.io"];

/// Takes back what the writer may not change. Without an old object this is a create.
pub fn prepare(resource: &Resource, old: Option<&Value>, new: &mut Value, subresource: &str) {
    let Value::Object(new) = new else { return };
    let Some(old) = old.and_then(Value::as_object) else {
        return create(resource, new);
    };
    match subresource {
        "" => update(resource, old, new),
        "status" => update_status(resource, old, new),
        "approval" => update_approval(old, new),
        "ephemeralcontainers" => update_ephemeral(old, new),
        _ => {}
    }
}

fn create(resource: &Resource, new: &mut Object) {
    let initial = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => Some(json!({"phase": "Pending", "qosClass": quality(new)})),
        ("", "namespaces") => Some(json!({"phase": "Active"})),
        ("", "persistentvolumes" | "persistentvolumeclaims") => Some(json!({"phase": "Pending"})),
        ("", "services") => Some(json!({"loadBalancer": {}})),
        ("", "nodes") => new.get("status").cloned(),
        ("apps", "deployments") | ("certificates.k8s.io", _) | ("batch", _) => Some(json!({})),
        ("apps", "replicasets" | "statefulsets") | ("", "replicationcontrollers") => {
            Some(json!({"replicas": 0}))
        }
        ("apps", "daemonsets") => Some(json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0,
            "numberMisscheduled": 0, "numberReady": 0})),
        ("policy", _) => Some(json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0,
            "expectedPods": 0})),
        ("networking.k8s.io", "ingresses") => Some(json!({"loadBalancer": {}})),
        _ => None,
    };
    if resource.has_status() {
        put(new, "status", initial.as_ref());
    }
    if resource.is("", "namespaces") {
        let spec = super::edit::part(new, "spec");
        spec.insert("finalizers".to_owned(), json!(["kubernetes"]));
    }
    if resource.is("batch", "jobs") {
        select_own_pods(new);
    }
    if counts_generations(resource) {
        set_generation(new, 1);
    } else {
        super::edit::part(new, "metadata").remove("generation");
    }
}

fn put(object: &mut Object, name: &str, value: Option<&Value>) {
    match value {
        Some(value) => drop(object.insert(name.to_owned(), value.clone())),
        None => drop(object.remove(name)),
    }
}

fn update(resource: &Resource, old: &Object, new: &mut Object) {
    if resource.has_status() {
        put(new, "status", old.get("status"));
    }
    if resource.is("", "namespaces")
        && let Some(finalizers) = old.get("spec").and_then(|spec| spec.get("finalizers"))
    {
        super::edit::part(new, "spec").insert("finalizers".to_owned(), finalizers.clone());
    }
    if resource.is("", "services") {
        keep_addresses(old, new);
    }
    if !counts_generations(resource) {
        return;
    }
    let generation = generation(old);
    let changed = if resource.is_custom() {
        content(resource, old) != content(resource, new)
    } else if resource.is("discovery.k8s.io", "endpointslices") {
        // Its controller tells by the generation whether what it reads is its own last write.
        content(resource, old) != content(resource, new) || labels(old) != labels(new)
    } else {
        old.get("spec") != new.get("spec") || old.get("webhooks") != new.get("webhooks")
    };
    set_generation(new, if changed { generation + 1 } else { generation });
}

/// Returns what a change of counts as a new generation.
fn content<'a>(resource: &Resource, object: &'a Object) -> Vec<(&'a String, &'a Value)> {
    let ignored = |name: &str| name == "metadata" || (name == "status" && resource.has_status());
    object.iter().filter(|(name, _)| !ignored(name)).collect()
}

fn labels(object: &Object) -> Option<&Value> {
    object.get("metadata").and_then(|metadata| metadata.get("labels"))
}

fn counts_generations(resource: &Resource) -> bool {
    resource.is_custom()
        || COUNTED_GROUPS.contains(&resource.group.as_str())
        || resource.is("", "replicationcontrollers")
        || resource.is("apiextensions.k8s.io", "customresourcedefinitions")
        || resource.is("discovery.k8s.io", "endpointslices")
        || resource.is("scheduling.k8s.io", "priorityclasses")
        || resource.is("", "pods")
}

fn generation(object: &Object) -> i64 {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get("generation"))
        .and_then(Value::as_i64)
        .unwrap_or(1)
}

fn set_generation(object: &mut Object, generation: i64) {
    super::edit::part(object, "metadata").insert("generation".to_owned(), Value::from(generation));
}

fn update_status(resource: &Resource, old: &Object, new: &mut Object) {
    let status = new.remove("status");
    let metadata = new.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut kept = old.clone();
    put(&mut kept, "status", status.as_ref());
    let own = super::edit::part(&mut kept, "metadata");
    let mut take = |name: &str| put(own, name, metadata.get(name));
    take("managedFields");
    take("resourceVersion");
    if !resource.is_custom() {
        take("annotations");
        take("finalizers");
    }
    if resource.is("", "pods") || resource.is("", "nodes") {
        take("labels");
    }
    *new = kept;
}

/// A signing request's approval is written through its conditions alone.
fn update_approval(old: &Object, new: &mut Object) {
    let conditions = new.get("status").and_then(|status| status.get("conditions")).cloned();
    let mut status = old.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
    put(&mut status, "conditions", conditions.as_ref());
    put(new, "spec", old.get("spec"));
    new.insert("status".to_owned(), Value::Object(status));
}

fn update_ephemeral(old: &Object, new: &mut Object) {
    let containers = new.get("spec").and_then(|spec| spec.get("ephemeralContainers")).cloned();
    let metadata = new.get("metadata").cloned();
    *new = old.clone();
    put(super::edit::part(new, "spec"), "ephemeralContainers", containers.as_ref());
    put(new, "metadata", metadata.as_ref());
}

/// Keeps the addresses and ports that a service was given when the update leaves them out.
fn keep_addresses(old: &Object, new: &mut Object) {
    let Some(old) = old.get("spec").and_then(Value::as_object) else { return };
    let Some(new) = super::edit::existing(new, "spec") else { return };
    let kind = |spec: &Object| super::edit::text(spec, "type").to_owned();
    if kind(new) == "ExternalName" || kind(old) == "ExternalName" {
        return;
    }
    for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = old.get(name) {
            super::edit::fill(new, name, value.clone());
        }
    }
    if !matches!(kind(new).as_str(), "NodePort" | "LoadBalancer") {
        return;
    }
    let old_ports = old.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
    super::edit::each(new, "ports", |port| {
        let same = |candidate: &&Value| {
            candidate.get("port") == port.get("port") && candidate.get("protocol") == port.get("protocol")
        };
        if let Some(number) = old_ports.iter().find(same).and_then(|port| port.get("nodePort")).cloned() {
            super::edit::fill(port, "nodePort", number);
        }
    });
}

/// Gives a job the labels and the selector that tell its pods from all others.
fn select_own_pods(job: &mut Object) {
    let text = |name: &str| {
        job.get("metadata").and_then(|metadata| metadata.get(name)).and_then(Value::as_str).map(str::to_owned)
    };
    let (Some(name), Some(uid)) = (text("name"), text("uid")) else { return };
    let spec = super::edit::part(job, "spec");
    if super::edit::is_true(spec, "manualSelector") {
        return;
    }
    let template = super::edit::part(spec, "template");
    let labels = super::edit::part(super::edit::part(template, "metadata"), "labels");
    for (key, value) in [
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/controller-uid", &uid),
    ] {
        labels.insert(key.to_owned(), Value::from(value.clone()));
    }
    let labels = super::edit::part(super::edit::part(spec, "selector"), "matchLabels");
    labels.insert("batch.kubernetes.io/controller-uid".to_owned(), Value::from(uid));
}

/// Returns the quality of service of a pod.
fn quality(pod: &Object) -> &'static str {
    let empty = Map::new();
    let mut any = false;
    let mut all_equal = true;
    let spec = pod.get("spec").and_then(Value::as_object).unwrap_or(&empty);
    let containers =
        ["initContainers", "containers"].into_iter().filter_map(|list| spec.get(list)?.as_array()).flatten();
    for container in containers {
        let amount = |kind: &str, name: &str| {
            let value = container.get("resources")?.get(kind)?.get(name)?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            super::quantity::Quantity::parse(&text).map(|amount| amount.nano()).filter(|amount| *amount != 0)
        };
        for name in ["cpu", "memory"] {
            let limit = amount("limits", name);
            let request = amount("requests", name).or(limit);
            any |= limit.is_some() || request.is_some();
            all_equal &= limit.is_some() && limit == request;
        }
    }
    match (any, all_equal) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn prepared(group: &str, plural: &str, old: Option<&Value>, mut new: Value, subresource: &str) -> Value {
        let registry = Registry::builtin();
        prepare(registry.find(group, "v1", plural).unwrap(), old, &mut new, subresource);
        new
    }

    #[test]
    fn a_new_object_has_no_history() {
        let pod = prepared(
            "",
            "pods",
            None,
            json!({"metadata": {}, "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"}}),
            "",
        );
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
        let deployment = prepared(
            "apps",
            "deployments",
            None,
            json!({"metadata": {"generation": 9}, "status": {"replicas": 3}}),
            "",
        );
        assert_eq!(deployment["metadata"]["generation"], 1);
        assert_eq!(deployment["status"], json!({}));
        let node =
            prepared("", "nodes", None, json!({"metadata": {}, "status": {"capacity": {"cpu": "1"}}}), "");
        assert_eq!(node["status"]["capacity"]["cpu"], "1", "nodes register with their status");
        let namespace = prepared("", "namespaces", None, json!({"metadata": {"name": "n"}}), "");
        assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    }

    #[test]
    fn the_quality_of_service_follows_requests_and_limits() {
        let check = |resources: Value, expected: &str| {
            let pod =
                json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources": resources}]}});
            assert_eq!(prepared("", "pods", None, pod, "")["status"]["qosClass"], expected);
        };
        check(json!({}), "BestEffort");
        check(json!({"requests": {"cpu": "1"}}), "Burstable");
        check(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed");
        check(
            json!({"limits": {"cpu": "1000m", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1024Mi"}}),
            "Guaranteed",
        );
        check(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}), "Burstable");
    }

    #[test]
    fn ordinary_writes_leave_the_status() {
        let old = json!({"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
        let same = prepared(
            "apps",
            "deployments",
            Some(&old),
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1}}),
            "",
        );
        assert_eq!(same["status"], old["status"]);
        assert_eq!(same["metadata"]["generation"], 2);
        let changed = prepared(
            "apps",
            "deployments",
            Some(&old),
            json!({"metadata": {}, "spec": {"replicas": 2}, "status": {}}),
            "",
        );
        assert_eq!(changed["metadata"]["generation"], 3);
        assert_eq!(changed["status"], old["status"]);
    }

    #[test]
    fn other_endpoints_or_labels_are_a_new_generation_of_a_slice() {
        let old = json!({"metadata": {"generation": 1, "labels": {"a": "b"}}, "endpoints": [{"addresses": ["10.0.0.1"]}]});
        for (metadata, address, generation) in [
            (json!({"labels": {"a": "b"}, "annotations": {"c": "d"}}), "10.0.0.1", 1),
            (json!({"labels": {"a": "c"}}), "10.0.0.1", 2),
            (json!({"labels": {"a": "b"}}), "10.0.0.2", 2),
        ] {
            let new = json!({"metadata": metadata, "endpoints": [{"addresses": [address]}]});
            let written = prepared("discovery.k8s.io", "endpointslices", Some(&old), new, "");
            assert_eq!(written["metadata"]["generation"], generation, "{written}");
        }
    }

    #[test]
    fn status_writes_leave_the_rest() {
        let old = json!({"metadata": {"generation": 2, "labels": {"a": "b"}}, "spec": {"replicas": 1}, "status": {}});
        let new = json!({"metadata": {"generation": 7, "labels": {}}, "spec": {"replicas": 9}, "status": {"replicas": 1}});
        let written = prepared("apps", "deployments", Some(&old), new, "status");
        assert_eq!(
            written,
            json!({"metadata": {"generation": 2, "labels": {"a": "b"}}, "spec": {"replicas": 1}, "status": {"replicas": 1}})
        );
    }

    #[test]
    fn a_service_keeps_its_address() {
        let old = json!({"metadata": {}, "spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}});
        let new =
            json!({"metadata": {}, "spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        assert_eq!(prepared("", "services", Some(&old), new, "")["spec"], old["spec"]);
    }

    #[test]
    fn a_job_selects_its_own_pods() {
        let job =
            prepared("batch", "jobs", None, json!({"metadata": {"name": "j", "uid": "u"}, "spec": {}}), "");
        assert_eq!(
            job["spec"]["selector"],
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}})
        );
        assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
    }
}

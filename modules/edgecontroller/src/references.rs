//! What a pod refers to.

use std::collections::BTreeSet;

use protocol::{Namespace, Object, ObjectKey, ObjectName, ResourceType};
use serde_json::Value;

/// What decides where a pod, or a device, belongs and what it needs there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodFacts {
    /// The node that it is bound to.
    pub(crate) node: Option<String>,
    /// The service account that it runs as.
    pub(crate) account: Option<String>,
    /// The config maps and secrets that it needs.
    pub(crate) needs: BTreeSet<ObjectKey>,
    /// The persistent volume claims that it mounts.
    pub(crate) claims: BTreeSet<ObjectKey>,
    /// The pod without its status and the metadata that each write changes.
    pub(crate) desired: u64,
}

impl PodFacts {
    /// Reads a pod. What is not of the expected shape refers to nothing.
    pub(crate) fn of(pod: &Object) -> Self {
        let Ok(value) = pod.value() else { return Self::default() };
        let spec = &value["spec"];
        let mut reader = Reader { namespace: namespace_of(pod), found: BTreeSet::new() };
        reader.read(spec);
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            node: text(&spec["nodeName"]),
            account: text(&spec["serviceAccountName"]).or_else(|| text(&spec["serviceAccount"])),
            claims: claims(pod, spec),
            needs: reader.found,
            desired: digest(value),
        }
    }
}

impl PodFacts {
    /// Reads a device: the node that it is on, and its model.
    pub(crate) fn of_device(device: &Object) -> Self {
        let Ok(value) = device.value() else { return Self::default() };
        let spec = &value["spec"];
        let mut reader = Reader { namespace: namespace_of(device), found: BTreeSet::new() };
        reader.refer(&ResourceType::DEVICE_MODEL, &spec["deviceModelRef"]["name"]);
        Self {
            node: spec["nodeName"].as_str().filter(|node| !node.is_empty()).map(str::to_owned),
            needs: reader.found,
            desired: digest(value),
            ..Self::default()
        }
    }
}

fn namespace_of(pod: &Object) -> Option<Namespace> {
    pod.meta().namespace.as_deref().and_then(|namespace| Namespace::parse(namespace).ok())
}

struct Reader {
    namespace: Option<Namespace>,
    found: BTreeSet<ObjectKey>,
}

impl Reader {
    fn read(&mut self, spec: &Value) {
        for volume in items(&spec["volumes"]) {
            self.volume(volume);
        }
        for kind in ["initContainers", "containers", "ephemeralContainers"] {
            for container in items(&spec[kind]) {
                self.container(container);
            }
        }
        for secret in items(&spec["imagePullSecrets"]) {
            self.refer(&ResourceType::SECRET, &secret["name"]);
        }
    }

    fn volume(&mut self, volume: &Value) {
        self.refer(&ResourceType::CONFIG_MAP, &volume["configMap"]["name"]);
        self.refer(&ResourceType::SECRET, &volume["secret"]["secretName"]);
        for source in items(&volume["projected"]["sources"]) {
            self.refer(&ResourceType::CONFIG_MAP, &source["configMap"]["name"]);
            self.refer(&ResourceType::SECRET, &source["secret"]["name"]);
        }
        for driver in ["cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"] {
            self.refer(&ResourceType::SECRET, &volume[driver]["secretRef"]["name"]);
        }
        self.refer(&ResourceType::SECRET, &volume["azureFile"]["secretName"]);
        self.refer(&ResourceType::SECRET, &volume["csi"]["nodePublishSecretRef"]["name"]);
    }

    fn container(&mut self, container: &Value) {
        for source in items(&container["envFrom"]) {
            self.refer(&ResourceType::CONFIG_MAP, &source["configMapRef"]["name"]);
            self.refer(&ResourceType::SECRET, &source["secretRef"]["name"]);
        }
        for variable in items(&container["env"]) {
            self.refer(&ResourceType::CONFIG_MAP, &variable["valueFrom"]["configMapKeyRef"]["name"]);
            self.refer(&ResourceType::SECRET, &variable["valueFrom"]["secretKeyRef"]["name"]);
        }
    }

    fn refer(&mut self, resource: &ResourceType, name: &Value) {
        if let Some(name) = name.as_str().and_then(|name| ObjectName::parse(name).ok()) {
            self.found.insert(ObjectKey {
                resource: resource.clone(),
                namespace: self.namespace.clone(),
                name,
            });
        }
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn claims(pod: &Object, spec: &Value) -> BTreeSet<ObjectKey> {
    let Ok(resource) = ResourceType::parse("persistentvolumeclaim") else { return BTreeSet::new() };
    items(&spec["volumes"])
        .iter()
        .filter_map(|volume| {
            let generic = volume["ephemeral"].is_object().then(|| volume["name"].as_str()).flatten();
            let claim = volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned);
            claim.or_else(|| generic.map(|volume| format!("{}-{volume}", pod.meta().name)))
        })
        .filter_map(|name| ObjectName::parse(&name).ok())
        .map(|name| ObjectKey { resource: resource.clone(), namespace: namespace_of(pod), name })
        .collect()
}

/// Returns a number that stays the same while only the pod's status changes.
fn digest(mut pod: Value) -> u64 {
    if let Some(pod) = pod.as_object_mut() {
        pod.remove("status");
    }
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        for field in ["resourceVersion", "generation", "managedFields"] {
            metadata.remove(field);
        }
    }
    fnv1a(pod.to_string().as_bytes())
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(pod: &Value) -> PodFacts {
        PodFacts::of(&Object::from_value(pod).expect("it is an object"))
    }

    fn names(keys: &BTreeSet<ObjectKey>) -> Vec<String> {
        keys.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_place_that_names_a_config_map_or_secret_is_read() {
        let container = |n: u8| {
            json!({ "name": "c",
                "envFrom": [{ "configMapRef": { "name": format!("from{n}") } }, { "secretRef": { "name": format!("sfrom{n}") } }],
                "env": [{ "name": "A", "valueFrom": { "configMapKeyRef": { "name": format!("key{n}"), "key": "k" } } },
                        { "name": "B", "valueFrom": { "secretKeyRef": { "name": format!("skey{n}"), "key": "k" } } },
                        { "name": "C", "value": "plain" }] })
        };
        let facts = facts(&json!({ "metadata": { "name": "p", "namespace": "ns" }, "spec": {
            "nodeName": "edge-1", "serviceAccountName": "sa",
            "containers": [container(1)], "initContainers": [container(2)], "ephemeralContainers": [container(3)],
            "imagePullSecrets": [{ "name": "pull" }],
            "volumes": [
                { "name": "a", "configMap": { "name": "vol" } },
                { "name": "b", "secret": { "secretName": "svol" } },
                { "name": "c", "projected": { "sources": [
                    { "configMap": { "name": "proj" } }, { "secret": { "name": "sproj" } },
                    { "serviceAccountToken": { "path": "token" } }] } },
                { "name": "d", "csi": { "driver": "x", "nodePublishSecretRef": { "name": "csi" } } },
                { "name": "e", "persistentVolumeClaim": { "claimName": "claim" } },
                { "name": "f", "ephemeral": { "volumeClaimTemplate": {} } },
                { "name": "g", "emptyDir": {} },
            ] } }));
        let maps = ["from1", "from2", "from3", "key1", "key2", "key3", "proj", "vol"];
        let secrets =
            ["csi", "pull", "sfrom1", "sfrom2", "sfrom3", "skey1", "skey2", "skey3", "sproj", "svol"];
        let expected: Vec<String> = maps
            .iter()
            .map(|name| format!("configmap ns/{name}"))
            .chain(secrets.iter().map(|name| format!("secret ns/{name}")))
            .collect();
        assert_eq!(names(&facts.needs), expected);
        assert_eq!(names(&facts.claims), ["persistentvolumeclaim ns/claim", "persistentvolumeclaim ns/p-f"]);
        assert_eq!((facts.node.as_deref(), facts.account.as_deref()), (Some("edge-1"), Some("sa")));
    }

    #[test]
    fn a_pod_of_a_strange_shape_refers_to_nothing() {
        for spec in
            [json!(null), json!([]), json!({ "volumes": {}, "containers": "x" }), json!({ "volumes": [1] })]
        {
            let facts = facts(&json!({ "metadata": { "name": "p", "namespace": "ns" }, "spec": spec }));
            assert_eq!(facts.needs, BTreeSet::new(), "{spec}");
        }
    }

    #[test]
    fn only_what_is_desired_changes_the_digest() {
        let pod = json!({
            "metadata": { "name": "p", "namespace": "ns", "resourceVersion": "1", "generation": 1 },
            "spec": { "containers": [] }, "status": { "phase": "Pending" },
        });
        let changed = |path: &str, value: Value| {
            let mut changed = pod.clone();
            *changed.pointer_mut(path).expect("a place in the pod") = value;
            facts(&changed).desired != facts(&pod).desired
        };
        assert!(!changed("/status", json!({ "phase": "Running" })));
        assert!(!changed("/metadata/resourceVersion", json!("2")));
        assert!(!changed("/metadata/generation", json!(2)));
        assert!(changed("/spec", json!({ "containers": [], "activeDeadlineSeconds": 1 })));
        assert!(changed("/metadata/name", json!("q")));
    }
}

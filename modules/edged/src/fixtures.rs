//! Pods for tests.

use protocol::Object;
use serde_json::{Value, json};

use crate::pod::Pod;

/// Makes a pod with one container `c`.
pub(crate) fn pod(name: &str) -> Pod {
    let spec = json!({ "containers": [{ "name": "c", "image": "busybox:1.36" }] });
    Pod::read(&pod_object(name, &format!("uid-{name}"), spec)).expect("a pod")
}

/// Makes a pod `p` of a spec.
pub(crate) fn pod_with(spec: Value) -> Pod {
    Pod::read(&pod_object("p", "uid-p", spec)).expect("a pod")
}

/// Makes a pod's object.
pub(crate) fn pod_object(name: &str, uid: &str, mut spec: Value) -> Object {
    spec["nodeName"] = json!("edge-1");
    let value = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "uid": uid, "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": spec,
        "status": { "phase": "Pending" },
    });
    Object::from_value(&value).expect("an object")
}

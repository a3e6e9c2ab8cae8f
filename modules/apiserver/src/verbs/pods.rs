//! What the server adds to new pods.

use serde_json::{Value, json};

use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::server::meta;
use crate::storage::Transaction;
use crate::storage::object::Key;
use crate::verbs::admission::ROOT_CA;

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// A token that is renewed before an hour has passed, plus a little for clocks that differ.
const TOKEN_SECONDS: u32 = 3607;
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Completes a new pod: service account, token volume, priority, tolerations, first status.
pub(crate) fn admit(
    call: &Call,
    namespace: &str,
    transaction: &Transaction<'_>,
    pod: &mut Value,
) -> Result<(), ApiError> {
    if !pod["spec"].is_object() {
        return Ok(());
    }
    if pod["metadata"]["annotations"][MIRROR].is_null() {
        bind_account(call, namespace, transaction, pod)?;
    }
    set_priority(transaction, pod)?;
    tolerate(pod);
    if pod["status"]["phase"].is_null() {
        pod["status"]["phase"] = "Pending".into();
    }
    Ok(())
}

fn bind_account(
    call: &Call,
    namespace: &str,
    transaction: &Transaction<'_>,
    pod: &mut Value,
) -> Result<(), ApiError> {
    let given = pod["spec"]["serviceAccountName"].as_str().filter(|name| !name.is_empty());
    let given = given.or_else(|| pod["spec"]["serviceAccount"].as_str().filter(|name| !name.is_empty()));
    let account = given.unwrap_or("default").to_owned();
    let Some(found) = transaction.get("core/serviceaccounts", &Key::new(namespace, &account)) else {
        let cause = format!(
            "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
        );
        return Err(ApiError::forbidden("", "pods", meta::text(pod, "name"), cause));
    };
    let found = found.bare_value();
    pod["spec"]["serviceAccountName"] = account.clone().into();
    pod["spec"]["serviceAccount"] = account.into();
    if pod["spec"]["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
        && found["imagePullSecrets"].is_array()
    {
        pod["spec"]["imagePullSecrets"] = found["imagePullSecrets"].clone();
    }
    let automount = &pod["spec"]["automountServiceAccountToken"];
    let automount = automount.as_bool().or(found["automountServiceAccountToken"].as_bool()).unwrap_or(true);
    if automount && call.server.0.options.pod_tokens {
        mount_token(call, &mut pod["spec"]);
    }
    Ok(())
}

/// Mounts a token of the account into every container that does not mount something there itself.
fn mount_token(call: &Call, spec: &mut Value) {
    let existing = spec["volumes"].as_array().into_iter().flatten();
    let existing = existing
        .filter_map(|volume| volume["name"].as_str())
        .find(|name| name.starts_with("kube-api-access-"));
    let name = existing.map(str::to_owned);
    let is_new = name.is_none();
    let name = name.unwrap_or_else(|| format!("kube-api-access-{}", call.server.new_suffix()));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter(|container| container.is_object())
        {
            let mounts = container["volumeMounts"].as_array();
            if mounts.into_iter().flatten().any(|mount| mount["mountPath"] == TOKEN_PATH) {
                continue;
            }
            let mut mounts = mounts.cloned().unwrap_or_default();
            mounts.push(json!({"name": name, "mountPath": TOKEN_PATH, "readOnly": true}));
            container["volumeMounts"] = mounts.into();
            mounted = true;
        }
    }
    if !mounted || !is_new {
        return;
    }
    let mut volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
    let namespace =
        json!({"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}});
    volumes.push(json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}}]}}));
    spec["volumes"] = volumes.into();
}

fn set_priority(transaction: &Transaction<'_>, pod: &mut Value) -> Result<(), ApiError> {
    const CLASSES: &str = "scheduling.k8s.io/priorityclasses";
    let class = match pod["spec"]["priorityClassName"].as_str().filter(|name| !name.is_empty()) {
        Some(name) => {
            let Some(class) = transaction.get(CLASSES, &Key::new("", name)) else {
                let cause = format!("no PriorityClass with name {name} was found");
                return Err(ApiError::forbidden("", "pods", meta::text(pod, "name"), cause));
            };
            Some(class.bare_value())
        }
        None => {
            let classes = transaction.list(CLASSES, None);
            classes.iter().map(|(_, class)| class.bare_value()).find(|class| class["globalDefault"] == true)
        }
    };
    let spec = &mut pod["spec"];
    let Some(class) = class else {
        spec["priority"] = 0.into();
        spec["preemptionPolicy"] = "PreemptLowerPriority".into();
        return Ok(());
    };
    spec["priorityClassName"] = class["metadata"]["name"].clone();
    spec["priority"] = class["value"].clone();
    let policy = &class["preemptionPolicy"];
    spec["preemptionPolicy"] =
        if policy.is_string() { policy.clone() } else { "PreemptLowerPriority".into() };
    Ok(())
}

/// Lets a pod stay on a node that stopped answering, if it does not say for how long: at the edge a
/// node that is cut off goes on with its work. A real API server lets it stay for five minutes.
fn tolerate(pod: &mut Value) {
    let mut tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    if pod["metadata"]["labels"]["app-offline.kubeedge.io"] == "autonomy" {
        // As KubeEdge's admission webhook does, whatever the pod says.
        tolerations.retain(|toleration| toleration["key"] != UNREACHABLE);
        tolerations.push(json!({"key": UNREACHABLE, "operator": "Exists"}));
    }
    for key in ["node.kubernetes.io/not-ready", UNREACHABLE] {
        let covers = |toleration: &Value| {
            let matches_key =
                toleration["key"] == key || toleration["key"].as_str().is_none_or(str::is_empty);
            let matches_effect =
                toleration["effect"].as_str().is_none_or(|effect| effect.is_empty() || effect == "NoExecute");
            matches_key && matches_effect
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute"}));
        }
    }
    pod["spec"]["tolerations"] = tolerations.into();
}

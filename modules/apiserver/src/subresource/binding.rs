//! Binding a pod to a node, as schedulers do.

use serde_json::{Value, json};

use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::server::meta;
use crate::server::reply::Reply;
use crate::storage::object::Key;
use crate::verbs::create::carry_out;

pub(crate) async fn bind(
    call: &Call,
    namespace: &str,
    pod: &str,
    binding: &Value,
) -> Result<Reply, ApiError> {
    let target = &binding["target"];
    let node = target["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() || !matches!(target["kind"].as_str(), None | Some("" | "Node")) {
        let problem = "Required value: a node is required";
        return Err(ApiError::invalid("", "Binding", pod, "FieldValueRequired", "target.name", problem));
    }
    let named = meta::text(binding, "name");
    if !named.is_empty() && named != pod {
        return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
    }
    let key = Key::new(namespace, pod);
    let uid = meta::text(binding, "uid").to_owned();
    let annotations = binding["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let dry = call.query.dry_run()?;
    carry_out(call, dry, |transaction| {
        let old = transaction.get("core/pods", &key).ok_or_else(|| ApiError::not_found("", "pods", pod))?;
        let conflict = |cause: String| Err(ApiError::conflict("", "pods/binding", pod, cause));
        if !uid.is_empty() && uid != old.uid {
            return conflict(format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                old.uid
            ));
        }
        if old.deleting {
            return conflict(format!("pod {pod} is being deleted, cannot be assigned to a host"));
        }
        let mut value = old.bare_value();
        if let Some(bound) = value["spec"]["nodeName"].as_str().filter(|bound| !bound.is_empty()) {
            return conflict(format!("pod {pod} is already assigned to node {bound:?}"));
        }
        value["spec"]["nodeName"] = node.into();
        for (name, text) in annotations {
            value["metadata"]["annotations"][name] = text;
        }
        mark_scheduled(call, &mut value);
        transaction.put(&"core/pods".into(), key.clone(), value)
    })
    .await?;
    Ok(Reply::created())
}

fn mark_scheduled(call: &Call, pod: &mut Value) {
    let mut conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
                           "lastTransitionTime": meta::time(call.now)}));
    pod["status"]["conditions"] = conditions.into();
}

//! What the scheduler and the node lifecycle controller write to the Kubernetes API.

use std::time::{Duration, SystemTime};

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::pod::PodKey;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// Says why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The API server refused.
    #[error("{0}")]
    Refused(Box<kube::core::Status>),
    /// The API server cannot be reached.
    #[error("the Kubernetes API cannot be reached")]
    Unreachable(#[source] kube::Error),
    /// The API server did not answer in time.
    #[error("the Kubernetes API did not answer in time")]
    TimedOut,
    /// The request could not be made.
    #[error("the request is not valid")]
    Invalid(#[from] http::Error),
}

impl CallError {
    pub(crate) fn has_code(&self, code: u16) -> bool {
        matches!(self, Self::Refused(status) if status.code == code)
    }
}

pub(crate) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";

/// Makes one call.
pub(crate) async fn call(
    client: &kube::Client,
    method: Method,
    path: &str,
    content_type: &str,
    body: &Value,
) -> Result<(), CallError> {
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, content_type);
    let request = request.body(body.to_string().into_bytes())?;
    match tokio::time::timeout(CALL, client.request_text(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) => Err(CallError::Refused(status)),
        Ok(Err(error)) => Err(CallError::Unreachable(error)),
        Err(_elapsed) => Err(CallError::TimedOut),
    }
}

/// Writes a time as Kubernetes does.
pub(crate) fn timestamp(now: SystemTime) -> String {
    let now = jiff::Timestamp::try_from(now).unwrap_or_default();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or_default().to_string()
}

fn pod_path(key: &PodKey) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", key.namespace, key.name)
}

/// Binds a pod to a node.
pub(crate) async fn bind(
    client: &kube::Client,
    key: &PodKey,
    uid: &str,
    node: &str,
) -> Result<(), CallError> {
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": { "name": key.name, "namespace": key.namespace, "uid": uid },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    call(client, Method::POST, &format!("{}/binding", pod_path(key)), "application/json", &binding).await
}

/// Says in a pod's status why it has no node. `began` is when that began, if this is the beginning.
pub(crate) async fn explain(
    client: &kube::Client,
    key: &PodKey,
    uid: &str,
    why: &str,
    began: Option<&str>,
) -> Result<(), CallError> {
    let mut condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why, "lastProbeTime": null,
    });
    if let Some(began) = began {
        condition["lastTransitionTime"] = began.into();
    }
    let patch = json!({ "metadata": { "uid": uid }, "status": { "conditions": [condition] } });
    call(client, Method::PATCH, &format!("{}/status", pod_path(key)), STRATEGIC_PATCH, &patch).await
}

/// Deletes a pod, with the grace that it asks for, and says first why.
pub(crate) async fn evict(client: &kube::Client, key: &PodKey, uid: &str, at: &str) -> Result<(), CallError> {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": at,
    });
    let patch = json!({ "metadata": { "uid": uid }, "status": { "conditions": [condition] } });
    call(client, Method::PATCH, &format!("{}/status", pod_path(key)), STRATEGIC_PATCH, &patch).await?;
    let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": uid } });
    call(client, Method::DELETE, &pod_path(key), "application/json", &options).await
}

/// Something that people should see with `kubectl describe`.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) pod: PodKey,
    pub(crate) uid: String,
    pub(crate) kind: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// How often this was said.
    pub(crate) count: u32,
    /// Who says it.
    pub(crate) by: String,
    pub(crate) at: String,
}

/// Records a notice as an event of the pod; said again, it is the same event with a higher count.
pub(crate) async fn record(client: &kube::Client, notice: &Notice) -> Result<(), CallError> {
    let events = format!("/api/v1/namespaces/{}/events", notice.pod.namespace);
    let name = event_name(notice);
    if notice.count > 1 {
        let patch = json!({ "count": notice.count, "lastTimestamp": notice.at });
        match call(client, Method::PATCH, &format!("{events}/{name}"), STRATEGIC_PATCH, &patch).await {
            Err(error) if error.has_code(404) => {}
            answer => return answer,
        }
    }
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": name, "namespace": notice.pod.namespace },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod",
            "namespace": notice.pod.namespace, "name": notice.pod.name, "uid": notice.uid,
        },
        "type": notice.kind, "reason": notice.reason, "message": notice.message, "count": notice.count,
        "firstTimestamp": notice.at, "lastTimestamp": notice.at,
        "source": { "component": notice.by }, "reportingComponent": notice.by, "reportingInstance": "",
    });
    match call(client, Method::POST, &events, "application/json", &event).await {
        Err(error) if error.has_code(409) => Ok(()),
        answer => answer,
    }
}

/// Names the event so that the same notice of one pod always has the same name.
fn event_name(notice: &Notice) -> String {
    let hash = [&notice.uid, notice.reason, &notice.message]
        .into_iter()
        .flat_map(str::bytes)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let room = 253 - 17;
    let pod: String = notice.pod.name.chars().take(room).collect();
    format!("{pod}.{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_kubernetes_does() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_999);
        assert_eq!(timestamp(at), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn the_same_notice_has_the_same_name_and_another_has_not() {
        let notice = |uid: &str, message: &str| Notice {
            pod: PodKey { namespace: "d".to_owned(), name: "p".repeat(253) },
            uid: uid.to_owned(),
            kind: "Warning",
            reason: "FailedScheduling",
            message: message.to_owned(),
            count: 1,
            by: "default-scheduler".to_owned(),
            at: String::new(),
        };
        let name = event_name(&notice("u", "m"));
        assert_eq!(name, event_name(&Notice { count: 2, ..notice("u", "m") }));
        assert_ne!(name, event_name(&notice("v", "m")));
        assert_ne!(name, event_name(&notice("u", "n")));
        assert!(name.len() <= 253);
    }
}

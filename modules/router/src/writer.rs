//! Writing statuses.

use std::time::Duration;

use api::rules::RULE;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::json;

use crate::board::Job;
use crate::watch::resource;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// Makes the status of a rule show what was counted. Tells whether that is settled: it is, too, when the
/// rule is gone or is another one by now.
pub(crate) async fn write(client: kube::Client, job: Job) -> bool {
    let Job { key: (namespace, name), uid, status } = job;
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource(RULE));
    // The kind has no subresource for it: KubeEdge's definition has none.
    let patch = Patch::Merge(json!({ "metadata": { "uid": uid }, "status": status }));
    let params = PatchParams::default();
    let written = tokio::time::timeout(CALL, api.patch(&name, &params, &patch)).await;
    match written {
        Ok(Ok(_)) => true,
        Ok(Err(kube::Error::Api(refused))) if matches!(refused.code, 404 | 409 | 422) => {
            tracing::debug!(
                namespace,
                name,
                problem = refused.message,
                "the status of a rule was not written"
            );
            true
        }
        Ok(Err(error)) => {
            tracing::warn!(namespace, name, %error, "the status of a rule was not written; it is tried again");
            false
        }
        Err(_elapsed) => {
            tracing::warn!(
                namespace,
                name,
                "the Kubernetes API did not answer in time for the status of a rule"
            );
            false
        }
    }
}

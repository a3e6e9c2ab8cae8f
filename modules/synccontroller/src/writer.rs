//! Writing records.

use std::time::Duration;

use api::reliablesyncs::{ObjectSyncStatus, SyncName};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use serde_json::json;

use crate::book::{Act, Job, Outcome};
use crate::record::{self, Scope, Subject};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// Does a job.
pub(crate) async fn write(client: kube::Client, job: &Job) -> Outcome {
    let Ok(name) = SyncName::new(job.node.as_str(), job.uid.as_str()) else { return Outcome::Refused };
    let name = name.to_string();
    let api = api_of(client, &job.subject);
    let written = match &job.act {
        Act::Create(version) => create(&api, &name, &job.subject, version).await,
        Act::Update(version) => update(&api, &name, version).await,
        Act::Delete => delete(&api, &name).await,
    };
    written.unwrap_or_else(|failed| {
        tracing::debug!(record = name, error = %failed.0, "a record was not written");
        failed.1
    })
}

/// A call that failed, and what follows.
struct Failed(String, Outcome);

fn api_of(client: kube::Client, subject: &Subject) -> Api<DynamicObject> {
    let resource = subject.scope().api_resource();
    match &subject.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace.as_str(), &resource),
        None => Api::all_with(client, &resource),
    }
}

/// Makes a record and gives it its status, which a creation does not.
async fn create(
    api: &Api<DynamicObject>,
    name: &str,
    subject: &Subject,
    version: &str,
) -> Result<Outcome, Failed> {
    let mut record = DynamicObject::new(name, &subject.scope().api_resource());
    record.metadata.namespace = subject.namespace.as_ref().map(ToString::to_string);
    record.data = json!({ "spec": subject.spec });
    match call(api.create(&PostParams::default(), &record)).await? {
        // Another one was faster, or an earlier try was not answered.
        Answer::Done(_) | Answer::Conflict => update(api, name, version).await,
        Answer::NotFound => Ok(Outcome::Refused),
    }
}

async fn update(api: &Api<DynamicObject>, name: &str, version: &str) -> Result<Outcome, Failed> {
    let status = ObjectSyncStatus { object_resource_version: version.to_owned() };
    let patch = Patch::Merge(json!({ "status": status }));
    match call(api.patch_status(name, &PatchParams::default(), &patch)).await? {
        Answer::Done(record) => Ok(Outcome::Written(record::written(&record))),
        Answer::NotFound => Ok(Outcome::Absent),
        Answer::Conflict => Ok(Outcome::Failed),
    }
}

async fn delete(api: &Api<DynamicObject>, name: &str) -> Result<Outcome, Failed> {
    let at_once = DeleteParams::default().grace_period(0);
    match call(api.delete(name, &at_once)).await? {
        Answer::Done(_) | Answer::NotFound => Ok(Outcome::Absent),
        Answer::Conflict => Ok(Outcome::Failed),
    }
}

enum Answer<T> {
    Done(T),
    NotFound,
    Conflict,
}

async fn call<T>(call: impl Future<Output = kube::Result<T>>) -> Result<Answer<T>, Failed> {
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(answer)) => Ok(Answer::Done(answer)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(Answer::NotFound),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Ok(Answer::Conflict),
        Ok(Err(kube::Error::Api(status))) if is_final(status.code) => {
            Err(Failed(status.to_string(), Outcome::Refused))
        }
        Ok(Err(error)) => Err(Failed(error.to_string(), Outcome::Failed)),
        Err(_elapsed) => Err(Failed("the Kubernetes API did not answer in time".to_owned(), Outcome::Failed)),
    }
}

/// Tells whether the same call would be answered so again.
fn is_final(code: u16) -> bool {
    (400..500).contains(&code) && ![408, 429].contains(&code)
}

/// Tells whether the API server has the kinds of record.
pub(crate) async fn has_definitions(client: &kube::Client) -> kube::Result<bool> {
    let [kind, _] = Scope::ALL.map(Scope::kind);
    match client.list_api_group_resources(&kind.api_version()).await {
        Ok(list) => Ok(Scope::ALL
            .iter()
            .all(|scope| list.resources.iter().any(|resource| resource.name == scope.kind().plural))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

//! Everyone else, for edged's tests: a store, a cloud, and a machine with the hollow runtime.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use beehive::{Clock, NodeOptions, Probe};
use protocol::edge::{
    AskCloud, CloudError, GetError, GetObject, GetToken, LinkUp, ListObjects, MetaError, ObjectChanged,
    TokenError,
};
use protocol::{
    ApiStatus, ChangeKind, Lease, NodeReply, NodeRequest, Object, ObjectChange, ObjectKey, ResourceType,
    group,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ample_machine::AmpleMachine;
use crate::fixtures::pod_object;
use crate::hollow::{HollowProber, HollowRuntime, WallClock};
use crate::memory_files::MemoryFiles;
use crate::ports::{Prober, Runtime, RuntimeError, Sandbox};
use crate::{Edged, EdgedConfig, EdgedPorts};

#[derive(Clone)]
struct TestClock(WallClock);

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        (self.0)()
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Default)]
pub(super) enum Fate {
    #[default]
    Answered,
    /// It is done, and the answer is lost.
    Lost,
    /// It is refused.
    Refused,
}

/// The cloud and the store, as the tests set and read them.
#[derive(Default)]
pub(super) struct Outside {
    /// What the API has, by type, namespace and name.
    pub(super) api: BTreeMap<String, Object>,
    /// What the node's store has.
    pub(super) store: BTreeMap<ObjectKey, Object>,
    /// The token of every service account, and when its time is over; none if it cannot be had.
    pub(super) token: Option<(&'static str, &'static str)>,
    /// Whether the store fails.
    pub(super) store_is_broken: bool,
    /// Whether the cloud answers.
    pub(super) connected: bool,
    /// What becomes of reports of a status.
    pub(super) statuses: Fate,
    /// All that was asked of the cloud while it was connected.
    pub(super) asked: Vec<NodeRequest>,
    version: u64,
}

impl Outside {
    fn stamp(&mut self, mut value: Value) -> Object {
        self.version += 1;
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        Object::from_value(&value).expect("an object")
    }

    fn serve(&mut self, request: NodeRequest) -> Result<NodeReply, CloudError> {
        let is_status =
            matches!(request, NodeRequest::PatchPodStatus { .. } | NodeRequest::PatchNodeStatus { .. });
        match self.statuses {
            Fate::Refused if is_status => {
                Ok(NodeReply::Refused(ApiStatus::new(429, "TooManyRequests", "not now")))
            }
            Fate::Lost if is_status => self.answer(request).and(Err(CloudError::NoAnswer)),
            _ => self.answer(request),
        }
    }

    fn answer(&mut self, request: NodeRequest) -> Result<NodeReply, CloudError> {
        if !self.connected {
            return Err(CloudError::Disconnected);
        }
        self.asked.push(request.clone());
        let missing = |what: &str| Ok(NodeReply::Refused(ApiStatus::new(404, "NotFound", what)));
        match request {
            NodeRequest::RegisterNode(node) => {
                if self.api.contains_key("node") {
                    let refusal = ApiStatus::new(409, "AlreadyExists", "nodes \"edge-1\" already exists");
                    return Ok(NodeReply::Refused(refusal));
                }
                let mut value = node.value().expect("JSON");
                value["metadata"]["uid"] = json!("node-uid");
                Ok(self.keep("node", value))
            }
            NodeRequest::PatchNodeStatus { patch, .. } => match self.api.get("node").cloned() {
                None => missing("nodes \"edge-1\" not found"),
                Some(node) => {
                    let value = patched(&node, &patch);
                    Ok(self.keep("node", value))
                }
            },
            NodeRequest::PatchPodStatus { namespace, pod, patch } => {
                let key = format!("pod {namespace}/{pod}");
                let Some(held) = self.api.get(&key).cloned() else { return missing("pods not found") };
                let wanted: Value = serde_json::from_slice(&patch).expect("JSON");
                if wanted["metadata"]["uid"].as_str() != held.meta().uid.as_deref() {
                    let refusal = ApiStatus::new(409, "Conflict", "Precondition failed: UID in precondition");
                    return Ok(NodeReply::Refused(refusal));
                }
                let value = patched(&held, &patch);
                Ok(self.keep(&key, value))
            }
            NodeRequest::DeletePod { namespace, pod, .. } => {
                match self.api.remove(&format!("pod {namespace}/{pod}")) {
                    Some(_) => Ok(NodeReply::Done),
                    None => missing("pods not found"),
                }
            }
            NodeRequest::Query(key) => {
                let name = if key.resource == ResourceType::NODE { "node" } else { "lease" };
                self.api.get(name).cloned().map_or_else(|| missing("not found"), |o| Ok(NodeReply::Object(o)))
            }
            NodeRequest::Lease(Lease::Create(lease) | Lease::Update(lease)) => {
                let value = lease.value().expect("JSON");
                Ok(self.keep("lease", value))
            }
            _ => Ok(NodeReply::Done),
        }
    }

    pub(super) fn keep(&mut self, key: &str, value: Value) -> NodeReply {
        let object = self.stamp(value);
        self.api.insert(key.to_owned(), object.clone());
        NodeReply::Object(object)
    }
}

/// Applies a strategic-merge patch of a status, as far as edged's own patches go.
fn patched(object: &Object, patch: &[u8]) -> Value {
    let mut value = object.value().expect("JSON");
    let patch: Value = serde_json::from_slice(patch).expect("JSON");
    for (field, change) in patch["status"].as_object().expect("a status") {
        let merged = match field.as_str() {
            "conditions" => merge_list(&value["status"][field], change, "type"),
            "podIPs" | "hostIPs" => merge_list(&value["status"][field], change, "ip"),
            _ => change.clone(),
        };
        value["status"][field] = merged;
    }
    if let Some(status) = value["status"].as_object_mut() {
        status.retain(|_, value| !value.is_null());
    }
    value
}

fn merge_list(held: &Value, change: &Value, key: &str) -> Value {
    let mut list = held.as_array().cloned().unwrap_or_default();
    for entry in change.as_array().into_iter().flatten() {
        list.retain(|held| held[key] != entry[key]);
        if entry["$patch"] == "replace" {
            // It speaks of the list, and the entries before it are all that it shall have.
            let new: Vec<&Value> = change.as_array().into_iter().flatten().map(|entry| &entry[key]).collect();
            list.retain(|held| new.contains(&&held[key]));
        } else if entry["$patch"] != "delete" {
            let mut entry = entry.clone();
            if let Some(fields) = entry.as_object_mut() {
                fields.retain(|name, value| !value.is_null() || name == "lastProbeTime");
            }
            list.push(entry);
        }
    }
    Value::Array(list)
}

/// A machine and its surroundings, which outlive edged.
pub(super) struct World {
    pub(super) runtime: HollowRuntime,
    pub(super) files: MemoryFiles,
    pub(super) outside: Rc<RefCell<Outside>>,
    pub(super) mood: Arc<Mood>,
    clock: WallClock,
    pub(super) config: EdgedConfig,
    pub(super) prober: Arc<dyn Prober>,
}

impl World {
    pub(super) fn new() -> Self {
        let began = Instant::now();
        let clock: WallClock =
            Arc::new(move || UNIX_EPOCH + Duration::from_secs(1_800_000_000) + began.elapsed());
        let outside = Outside { connected: true, ..Outside::default() };
        let files = MemoryFiles::new();
        Self {
            runtime: HollowRuntime::new(Arc::clone(&clock), files.clone()),
            files,
            outside: Rc::new(RefCell::new(outside)),
            mood: Arc::default(),
            clock,
            config: EdgedConfig { report_event: true, ..EdgedConfig::default() },
            prober: Arc::new(HollowProber),
        }
    }

    /// Starts edged on this machine.
    pub(super) async fn start(&self) -> Probe<Edged> {
        let ports = EdgedPorts {
            runtime: Arc::new(Moody { inner: self.runtime.clone(), mood: Arc::clone(&self.mood) }),
            files: Arc::new(self.files.clone()),
            node: Arc::new(AmpleMachine::named("edge-1")),
            prober: Arc::clone(&self.prober),
        };
        let options =
            NodeOptions { clock: Arc::new(TestClock(Arc::clone(&self.clock))), ..NodeOptions::default() };
        let (cloud, list) = (Rc::clone(&self.outside), Rc::clone(&self.outside));
        let (get, tokens) = (Rc::clone(&self.outside), Rc::clone(&self.outside));
        Probe::<Edged>::new(self.config.clone(), ports)
            .options(options)
            .serve::<AskCloud>(group::HUB, move |ask| cloud.borrow_mut().serve(ask.0))
            .serve::<ListObjects>(group::META, move |ask| {
                let outside = list.borrow();
                if outside.store_is_broken {
                    return Err(MetaError("disk".to_owned()));
                }
                let of_type = outside.store.iter().filter(|(key, _)| key.resource == ask.0);
                Ok(of_type.map(|(_, object)| object.clone()).collect())
            })
            .serve::<GetToken>(group::META, move |ask| {
                let Some((token, ends)) = tokens.borrow().token else {
                    return Err(TokenError::Unavailable(CloudError::Disconnected));
                };
                let mut filled = ask.request.value().expect("JSON");
                filled["status"] = json!({ "token": token, "expirationTimestamp": ends });
                Ok(Object::from_value(&filled).expect("an object"))
            })
            .serve::<GetObject>(group::META, move |ask| {
                let outside = get.borrow();
                if let Some(object) = outside.store.get(&ask.0) {
                    return Ok(object.clone());
                }
                match (outside.connected, outside.api.get(&ask.0.to_string())) {
                    (false, _) => Err(GetError::Unavailable { key: ask.0, cause: CloudError::Disconnected }),
                    (true, Some(object)) => Ok(object.clone()),
                    (true, None) => Err(GetError::NotFound(ask.0)),
                }
            })
            .start()
            .await
    }

    /// Puts a pod into the API and the store, as the metadata manager does before it tells.
    pub(super) fn put_pod(&self, name: &str, uid: &str, spec: Value, annotations: Value) -> ObjectChange {
        let mut value = pod_object(name, uid, spec).value().expect("JSON");
        value["metadata"]["annotations"] = annotations;
        self.put(value, ResourceType::POD)
    }

    /// Puts an object into the API and the store.
    pub(super) fn put(&self, value: Value, resource: ResourceType) -> ObjectChange {
        let mut outside = self.outside.borrow_mut();
        let object = outside.stamp(value);
        let key = object.key(resource).expect("a key");
        outside.api.insert(key.to_string(), object.clone());
        outside.store.insert(key.clone(), object.clone());
        ObjectChange { kind: ChangeKind::Update, key, object }
    }

    /// Takes an object from the store, as a delete from the cloud does.
    pub(super) fn delete(&self, key: &str) -> ObjectChange {
        let mut outside = self.outside.borrow_mut();
        let (key, object) = outside
            .store
            .iter()
            .find(|(held, _)| held.to_string() == key)
            .map(|(key, object)| (key.clone(), object.clone()))
            .expect("the object is held");
        outside.api.remove(&key.to_string());
        outside.store.remove(&key);
        ObjectChange { kind: ChangeKind::Delete, key, object }
    }

    /// Brings the store up to the API's state of an object, as the cloud's updates do.
    pub(super) fn store_what_the_api_has(&self, key: &str) {
        let mut outside = self.outside.borrow_mut();
        let object = outside.api[key].clone();
        let key = object.key(ResourceType::POD).expect("a key");
        outside.store.insert(key, object);
    }

    /// Loses all that the runtime has.
    pub(super) fn lose_power(&mut self) {
        self.runtime = HollowRuntime::new(Arc::clone(&self.clock), self.files.clone());
    }

    /// Asks for a pod's graceful deletion, as the API server does.
    pub(super) fn begin_deletion(&self, key: &str, grace_s: u64) -> ObjectChange {
        let mut value = self.outside.borrow().api[key].value().expect("JSON");
        value["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z");
        value["metadata"]["deletionGracePeriodSeconds"] = json!(grace_s);
        self.put(value, ResourceType::POD)
    }

    /// Returns a pod's status as the API has it.
    pub(super) fn status(&self, key: &str) -> Value {
        let outside = self.outside.borrow();
        outside.api.get(key).map(|pod| pod.value().expect("JSON")["status"].take()).unwrap_or_default()
    }

    /// Returns the first container's status of a pod as the API has it.
    pub(super) fn container(&self, key: &str) -> Value {
        self.status(key)["containerStatuses"][0].take()
    }

    /// Returns what the runtime has.
    pub(super) async fn sandboxes(&self) -> Vec<Sandbox> {
        self.runtime.list().await.expect("the hollow runtime lists")
    }

    /// Returns the ids of all containers.
    pub(super) async fn container_ids(&self) -> Vec<String> {
        let sandboxes = self.sandboxes().await;
        sandboxes.iter().flat_map(|sandbox| &sandbox.containers).map(|c| c.id.to_string()).collect()
    }

    /// Breaks or mends the link to the cloud.
    pub(super) async fn connect(&self, edged: &Probe<Edged>, connected: bool) {
        self.outside.borrow_mut().connected = connected;
        if connected {
            edged.send(LinkUp).await;
        }
    }

    /// Returns the reasons of the events that the cloud was told of a pod.
    pub(super) fn events(&self) -> Vec<String> {
        let outside = self.outside.borrow();
        let events = outside.asked.iter().filter_map(|request| match request {
            NodeRequest::RecordEvent(event) => event.value().ok(),
            _ => None,
        });
        events.map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Returns how often something was asked of the cloud.
    pub(super) fn count(&self, wanted: impl Fn(&NodeRequest) -> bool) -> usize {
        self.outside.borrow().asked.iter().filter(|request| wanted(request)).count()
    }
}

/// Tells edged of a change.
pub(super) async fn tell(edged: &Probe<Edged>, change: ObjectChange) {
    edged.send(ObjectChanged(change)).await;
}

/// Lets seconds pass.
pub(super) async fn pass(edged: &Probe<Edged>, seconds: u64) {
    edged.advance(Duration::from_secs(seconds)).await;
}

/// What the runtime refuses, and what it did.
#[derive(Debug, Default)]
pub(super) struct Mood {
    /// It cannot list.
    pub(super) broken: AtomicBool,
    /// It is stuck in starting containers: none starts, and none goes.
    pub(super) starting: AtomicBool,
    /// Whether kubelet made what it has.
    pub(super) by_kubelet: AtomicBool,
    /// How many containers it was told to make.
    pub(super) creations: AtomicUsize,
}

/// The hollow runtime in a mood.
#[derive(Debug)]
struct Moody {
    inner: HollowRuntime,
    mood: Arc<Mood>,
}

impl Moody {
    fn is_not_starting(&self, what: &str) -> Result<(), RuntimeError> {
        match self.mood.starting.load(Ordering::Relaxed) {
            true => Err(RuntimeError::Failed(format!("container is in starting state, {what}"))),
            false => Ok(()),
        }
    }
}

mod moody {
    use crate::ports::{
        ContainerId, ContainerSpec, ExecOutput, Image, ImageCredentials, ImageId, RuntimeStatus,
        RuntimeVersion, SandboxId, SandboxSpec,
    };

    use super::*;

    #[async_trait]
    impl Runtime for Moody {
        async fn version(&self) -> Result<RuntimeVersion, RuntimeError> {
            self.inner.version().await
        }
        async fn status(&self) -> Result<RuntimeStatus, RuntimeError> {
            self.inner.status().await
        }
        async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError> {
            if self.mood.broken.load(Ordering::Relaxed) {
                return Err(RuntimeError::Unavailable("connection refused".to_owned()));
            }
            let mut sandboxes = self.inner.list().await?;
            if self.mood.by_kubelet.load(Ordering::Relaxed) {
                for sandbox in &mut sandboxes {
                    sandbox.labels.remove(crate::spec::mark::NODE);
                }
            }
            Ok(sandboxes)
        }
        async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxId, RuntimeError> {
            self.inner.run_sandbox(spec).await
        }
        async fn stop_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
            self.inner.stop_sandbox(id).await
        }
        async fn remove_sandbox(&self, id: &SandboxId) -> Result<(), RuntimeError> {
            self.inner.remove_sandbox(id).await
        }
        async fn create_container(
            &self,
            id: &SandboxId,
            sandbox: &SandboxSpec,
            spec: &ContainerSpec,
        ) -> Result<ContainerId, RuntimeError> {
            self.mood.creations.fetch_add(1, Ordering::Relaxed);
            self.inner.create_container(id, sandbox, spec).await
        }
        async fn start_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
            self.is_not_starting("can't be started")?;
            self.inner.start_container(id).await
        }
        async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
            self.inner.stop_container(id, grace).await
        }
        async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
            self.is_not_starting("can't be removed")?;
            self.inner.remove_container(id).await
        }
        async fn reopen_log(&self, id: &ContainerId) -> Result<(), RuntimeError> {
            self.inner.reopen_log(id).await
        }
        async fn exec(
            &self,
            id: &ContainerId,
            command: &[String],
            timeout: Duration,
        ) -> Result<ExecOutput, RuntimeError> {
            self.inner.exec(id, command, timeout).await
        }
        async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError> {
            self.inner.image(reference).await
        }
        async fn images(&self) -> Result<Vec<Image>, RuntimeError> {
            self.inner.images().await
        }
        async fn pull_image(
            &self,
            reference: &str,
            credentials: &[ImageCredentials],
            sandbox: &SandboxSpec,
        ) -> Result<ImageId, RuntimeError> {
            self.inner.pull_image(reference, credentials, sandbox).await
        }
        async fn remove_image(&self, id: &ImageId) -> Result<(), RuntimeError> {
            self.inner.remove_image(id).await
        }
    }
}

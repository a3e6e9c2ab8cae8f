//! What edged has around it: a metadata manager and a cloud, played by two modules over one state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use beehive::{BuildError, Context, Failure, Group, Handler, Module, ModuleName, Wiring};
use protocol::edge::{
    AskCloud, CloudError, GetError, GetObject, GetToken, ListObjects, MetaError, TokenError,
};
use protocol::{Lease, NodeReply, NodeRequest, Object, ObjectKey, ResourceType, group};
use serde_json::Value;

/// The objects of the cluster, and the pods whose end the node reported.
#[derive(Debug, Clone, Default)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<ObjectKey, Object>,
    ended: Vec<String>,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the world")
    }

    /// Puts an object into the cluster; returns its key.
    pub(crate) fn put(&self, resource: ResourceType, value: &Value) -> (ObjectKey, Object) {
        let object = Object::from_value(value).expect("an object");
        let key = object.key(resource).expect("a valid name");
        self.state().objects.insert(key.clone(), object.clone());
        (key, object)
    }

    /// Returns a pod as the cluster has it, status included.
    pub(crate) fn pod(&self, name: &str) -> Value {
        let state = self.state();
        let found = state
            .objects
            .iter()
            .find(|(key, _)| key.resource == ResourceType::POD && key.name.as_str() == name);
        found.expect("the pod is there").1.value().expect("JSON")
    }

    /// Tells whether the node reported a pod's end.
    pub(crate) fn has_ended(&self, name: &str) -> bool {
        self.state().ended.iter().any(|ended| ended == name)
    }

    fn answer(&self, request: NodeRequest) -> Result<NodeReply, CloudError> {
        match request {
            NodeRequest::RegisterNode(node) => {
                let key = node.key(ResourceType::NODE).expect("a valid name");
                self.state().objects.insert(key, node.clone());
                Ok(NodeReply::Object(node))
            }
            NodeRequest::PatchNodeStatus { node, .. } => {
                let state = self.state();
                let found = state.objects.iter().find(|(key, _)| key.name.as_str() == node.as_str());
                Ok(found.map_or(NodeReply::Done, |(_, node)| NodeReply::Object(node.clone())))
            }
            NodeRequest::PatchPodStatus { namespace, pod, patch } => {
                let key = ObjectKey { resource: ResourceType::POD, namespace: Some(namespace), name: pod };
                let patch: Value = serde_json::from_slice(&patch).expect("edged writes JSON");
                let mut state = self.state();
                let held = state.objects.get(&key).expect("edged knows only pods of the world");
                let mut value = held.value().expect("JSON");
                merge_status(&mut value["status"], &patch["status"]);
                let merged = Object::from_value(&value).expect("an object");
                state.objects.insert(key, merged.clone());
                Ok(NodeReply::Object(merged))
            }
            NodeRequest::DeletePod { pod, .. } => {
                self.state().ended.push(pod.to_string());
                Ok(NodeReply::Done)
            }
            NodeRequest::Lease(Lease::Create(lease) | Lease::Update(lease)) => Ok(NodeReply::Object(lease)),
            NodeRequest::UpdateNode(_) | NodeRequest::RecordEvent(_) | NodeRequest::PatchEvent { .. } => {
                Ok(NodeReply::Done)
            }
            other => Err(CloudError::Unsupported(format!("{other:?}"))),
        }
    }
}

/// Merges as the API server does, as far as edged's patches need it.
fn merge_status(status: &mut Value, patch: &Value) {
    for (field, change) in patch.as_object().into_iter().flatten() {
        if field != "conditions" {
            status[field] = change.clone();
            continue;
        }
        let mut conditions = status[field].as_array().cloned().unwrap_or_default();
        for condition in change.as_array().into_iter().flatten() {
            conditions.retain(|held| held["type"] != condition["type"]);
            conditions.push(condition.clone());
        }
        status[field] = Value::Array(conditions);
    }
}

/// Plays the metadata manager.
#[derive(Debug)]
pub(crate) struct Meta(World);

impl Module for Meta {
    const NAME: ModuleName = ModuleName::new("meta-of-the-test");
    const GROUP: Group = group::META;
    type Config = ();
    type Ports = World;

    fn build((): (), world: World) -> Result<Self, BuildError> {
        Ok(Self(world))
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<GetObject>().handles::<GetToken>().handles::<ListObjects>();
    }
}

impl Handler<GetObject> for Meta {
    async fn handle(
        &mut self,
        request: GetObject,
        _: &mut Context<Self>,
    ) -> Result<Result<Object, GetError>, Failure> {
        let found = self.0.state().objects.get(&request.0).cloned();
        Ok(found.ok_or(GetError::NotFound(request.0)))
    }
}

impl Handler<GetToken> for Meta {
    async fn handle(
        &mut self,
        _: GetToken,
        _: &mut Context<Self>,
    ) -> Result<Result<Object, TokenError>, Failure> {
        Ok(Err(TokenError::Unavailable(CloudError::Disconnected)))
    }
}

impl Handler<ListObjects> for Meta {
    async fn handle(
        &mut self,
        request: ListObjects,
        _: &mut Context<Self>,
    ) -> Result<Result<Vec<Object>, MetaError>, Failure> {
        let state = self.0.state();
        let listed = state.objects.iter().filter(|(key, _)| key.resource == request.0);
        Ok(Ok(listed.map(|(_, object)| object.clone()).collect()))
    }
}

/// Plays the hub, with the cloud behind it.
#[derive(Debug)]
pub(crate) struct Hub(World);

impl Module for Hub {
    const NAME: ModuleName = ModuleName::new("hub-of-the-test");
    const GROUP: Group = group::HUB;
    type Config = ();
    type Ports = World;

    fn build((): (), world: World) -> Result<Self, BuildError> {
        Ok(Self(world))
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<AskCloud>();
    }
}

impl Handler<AskCloud> for Hub {
    async fn handle(
        &mut self,
        request: AskCloud,
        _: &mut Context<Self>,
    ) -> Result<Result<NodeReply, CloudError>, Failure> {
        Ok(self.0.answer(request.0))
    }
}

//! Serving one request of a node.

use bytes::Bytes;
use protocol::{
    ApiStatus, Lease, Namespace, NodeName, NodeReply, NodeRequest, Object, ObjectKey, ObjectName,
    ResourceType,
};
use serde_json::{Value, json};

use crate::api::{Call, Caller, MERGE_PATCH, STRATEGIC_PATCH};
use crate::grants::{self, Grant, REQUESTED_BY};
use crate::kinds::Kind;
use crate::raw;
use crate::references::PodFacts;

/// How often a lease is renewed on top of what someone else wrote.
const CONFLICTS_MAX: u32 = 3;

/// Serves a request that was granted, perhaps on a condition.
pub(crate) async fn serve(
    mut caller: Caller,
    node: &NodeName,
    request: NodeRequest,
    grant: Grant,
) -> NodeReply {
    let server = Server { caller: &mut caller, node };
    match server.serve(request, grant).await {
        Ok(reply) => reply,
        Err(status) => NodeReply::Refused(status),
    }
}

struct Server<'a> {
    caller: &'a mut Caller,
    node: &'a NodeName,
}

impl Server<'_> {
    async fn serve(mut self, request: NodeRequest, grant: Grant) -> Result<NodeReply, ApiStatus> {
        if let Some(reply) = self.check(&request, &grant).await? {
            return Ok(reply);
        }
        match request {
            NodeRequest::RegisterNode(node) => self.create(ResourceType::NODE, &node).await,
            NodeRequest::UpdateNode(node) => self.update_node(&node).await,
            NodeRequest::PatchNodeStatus { node, patch } => {
                let key =
                    ObjectKey { resource: ResourceType::NODE, namespace: None, name: name(node.as_str())? };
                self.patch_status(&key, patch).await
            }
            NodeRequest::PatchPodStatus { namespace, pod, patch } => {
                self.patch_status(&pod_key(namespace, pod), patch).await
            }
            NodeRequest::CreatePod(pod) => self.create(ResourceType::POD, &pod).await,
            NodeRequest::DeletePod { namespace, pod, options } => {
                self.delete_pod(&pod_key(namespace, pod), options).await
            }
            NodeRequest::Query(key) => self.query(&key, &grant).await,
            NodeRequest::Lease(Lease::Create(lease)) => self.create(ResourceType::LEASE, &lease).await,
            NodeRequest::Lease(Lease::Update(lease)) => self.renew(&lease).await,
            NodeRequest::Token { namespace, account, request } => {
                self.token(namespace, account, &request).await
            }
            NodeRequest::CreateCsr(csr) => self.create_csr(&csr).await,
            NodeRequest::RecordEvent(event) => self.record(&event).await,
            NodeRequest::PatchEvent { event, patch } => self.patch_event(&event, patch).await,
            NodeRequest::KubernetesCa => self.kubernetes_ca().await,
            NodeRequest::ReportTwins { .. } | NodeRequest::ReportDeviceState { .. } => {
                Err(ApiStatus::new(400, "BadRequest", "the device controller takes reports of devices"))
            }
            NodeRequest::Upload { .. } | NodeRequest::CallUrl { .. } => {
                Err(ApiStatus::new(400, "BadRequest", "the router takes what rules route"))
            }
        }
    }

    /// Checks what could not be decided without the API; a reply ends the matter.
    async fn check(&mut self, request: &NodeRequest, grant: &Grant) -> Result<Option<NodeReply>, ApiStatus> {
        match grant {
            Grant::IfBound { pod, runs_as } => {
                let deletes = matches!(request, NodeRequest::DeletePod { .. });
                let found = match self.caller.get(pod).await {
                    Ok(found) => found,
                    Err(status) if deletes && status.is_not_found() => return Ok(Some(NodeReply::Done)),
                    Err(status) => return Err(status),
                };
                let facts = PodFacts::of(&found);
                let bound = facts.node.as_deref() == Some(self.node.as_str());
                let runs = runs_as.as_ref().is_none_or(|(account, uid)| {
                    grants::is_run_as(&found, facts.account.as_deref(), account, uid)
                });
                if bound && runs { Ok(None) } else { Err(self.stranger(pod)) }
            }
            Grant::IfNeeded(key) => {
                let pods = self.caller.pods_of(self.node.as_str()).await?;
                let needed = pods
                    .iter()
                    .map(PodFacts::of)
                    .any(|pod| pod.needs.contains(key) || pod.claims.contains(key));
                if needed { Ok(None) } else { Err(self.stranger(key)) }
            }
            Grant::Granted | Grant::IfClaimed(_) | Grant::IfAttached | Grant::IfRequested => Ok(None),
        }
    }

    fn stranger(&self, key: &ObjectKey) -> ApiStatus {
        let cause = format!("no relationship found between node {:?} and this object", self.node.as_str());
        grants::forbidden(&key.resource, key.name.as_str(), &cause)
    }

    async fn query(&mut self, key: &ObjectKey, grant: &Grant) -> Result<NodeReply, ApiStatus> {
        let object = self.caller.get(key).await?;
        let value = object.value().unwrap_or_default();
        let allowed = match grant {
            Grant::IfClaimed(claims) => {
                claim_of(&value["spec"]["claimRef"]).is_some_and(|claim| claims.contains(&claim))
            }
            Grant::IfAttached => value["spec"]["nodeName"] == self.node.as_str(),
            Grant::IfRequested => value["metadata"]["annotations"][REQUESTED_BY] == self.node.as_str(),
            Grant::Granted | Grant::IfBound { .. } | Grant::IfNeeded(_) => true,
        };
        if allowed { Ok(NodeReply::Object(object)) } else { Err(self.stranger(key)) }
    }

    async fn create(&mut self, resource: ResourceType, object: &Object) -> Result<NodeReply, ApiStatus> {
        let kind = known(&resource)?;
        let object = typed(object, kind)?;
        let path = kind.collection(object.meta().namespace.as_deref());
        self.caller.object(&Call::post(path, &object), kind).await.map(NodeReply::Object)
    }

    /// Merges labels and annotations, and nothing else, into the node.
    async fn update_node(&mut self, node: &Object) -> Result<NodeReply, ApiStatus> {
        let meta = node.meta();
        let patch = json!({ "metadata": { "labels": meta.labels, "annotations": meta.annotations } });
        let kind = known(&ResourceType::NODE)?;
        let path = kind.path(&key_of(node, ResourceType::NODE)?);
        self.caller.call(&Call::patch(path, MERGE_PATCH, patch.to_string().into())).await?;
        Ok(NodeReply::Done)
    }

    async fn patch_status(&mut self, key: &ObjectKey, patch: Bytes) -> Result<NodeReply, ApiStatus> {
        let kind = known(&key.resource)?;
        let path = format!("{}/status", kind.path(key));
        self.caller.object(&Call::patch(path, STRATEGIC_PATCH, patch), kind).await.map(NodeReply::Object)
    }

    /// Deletes a pod. That it is gone, or that another has its name, is what the node wanted.
    async fn delete_pod(&mut self, key: &ObjectKey, options: Bytes) -> Result<NodeReply, ApiStatus> {
        let path = known(&key.resource)?.path(key);
        let wanted: Value = serde_json::from_slice(&options).unwrap_or_default();
        let options =
            if wanted.is_object() { options } else { json!({ "gracePeriodSeconds": 0 }).to_string().into() };
        match self.caller.call(&Call::delete(path, options)).await {
            Ok(_) => Ok(NodeReply::Done),
            Err(status) if status.is_not_found() => Ok(NodeReply::Done),
            Err(status) if status.code == 409 => match self.caller.get(key).await {
                Ok(pod) if pod.meta().uid.as_deref() == wanted["preconditions"]["uid"].as_str() => {
                    Err(status)
                }
                Ok(_) => Ok(NodeReply::Done),
                Err(gone) if gone.is_not_found() => Ok(NodeReply::Done),
                Err(_) => Err(status),
            },
            Err(status) => Err(status),
        }
    }

    /// Renews the node's lease. Nobody else holds it, so a conflict only means that the node does
    /// not know the newest version.
    async fn renew(&mut self, lease: &Object) -> Result<NodeReply, ApiStatus> {
        let kind = known(&ResourceType::LEASE)?;
        let key = key_of(lease, ResourceType::LEASE)?;
        let path = kind.path(&key);
        let mut body = typed(lease, kind)?.raw().clone();
        let mut conflicts = 0;
        loop {
            match self.caller.object(&Call::put(path.clone(), body), kind).await {
                Err(status) if status.code == 409 && conflicts < CONFLICTS_MAX => conflicts += 1,
                answer => return answer.map(NodeReply::Object),
            }
            let mut newest = self.caller.get(&key).await?.value().unwrap_or_default();
            newest["spec"] = lease.value().unwrap_or_default()["spec"].clone();
            body = newest.to_string().into();
        }
    }

    async fn token(
        &mut self,
        namespace: Namespace,
        account: ObjectName,
        request: &Object,
    ) -> Result<NodeReply, ApiStatus> {
        let resource = ResourceType::parse("serviceaccount").map_err(|error| invalid(&error))?;
        let accounts = known(&resource)?;
        let path = format!(
            "{}/token",
            accounts.path(&ObjectKey { resource, namespace: Some(namespace), name: account })
        );
        let request = typed(request, &Kind::TOKEN_REQUEST)?;
        self.caller.object(&Call::post(path, &request), &Kind::TOKEN_REQUEST).await.map(NodeReply::Object)
    }

    async fn create_csr(&mut self, csr: &Object) -> Result<NodeReply, ApiStatus> {
        let resource = ResourceType::parse("certificatesigningrequest").map_err(|error| invalid(&error))?;
        let mut value = csr.value().map_err(|error| invalid(&error))?;
        value["metadata"]["annotations"][REQUESTED_BY] = self.node.as_str().into();
        let csr = Object::from_value(&value).map_err(|error| invalid(&error))?;
        self.create(resource, &csr).await
    }

    async fn record(&mut self, event: &Object) -> Result<NodeReply, ApiStatus> {
        match self.create(ResourceType::EVENT, &event_in_namespace(event)?).await {
            Err(status) if status.is_already_exists() => Ok(NodeReply::Done),
            answer => answer.map(|_| NodeReply::Done),
        }
    }

    /// Patches an event, and records it anew if it has expired.
    async fn patch_event(&mut self, event: &Object, patch: Bytes) -> Result<NodeReply, ApiStatus> {
        let event = event_in_namespace(event)?;
        let path = known(&ResourceType::EVENT)?.path(&key_of(&event, ResourceType::EVENT)?);
        match self.caller.call(&Call::patch(path, STRATEGIC_PATCH, patch)).await {
            Err(status) if status.is_not_found() => self.record(&event).await,
            answer => answer.map(|_| NodeReply::Done),
        }
    }

    /// Reads the CA that every namespace is given.
    async fn kubernetes_ca(&mut self) -> Result<NodeReply, ApiStatus> {
        let key = ObjectKey {
            resource: ResourceType::CONFIG_MAP,
            namespace: Namespace::parse("kube-system").ok(),
            name: name("kube-root-ca.crt")?,
        };
        let value = self.caller.get(&key).await?.value().unwrap_or_default();
        match value["data"]["ca.crt"].as_str() {
            Some(pem) => Ok(NodeReply::Text(pem.to_owned())),
            None => Err(ApiStatus::new(404, "NotFound", format!("{key} has no ca.crt"))),
        }
    }
}

fn known(resource: &ResourceType) -> Result<&'static Kind, ApiStatus> {
    Kind::of(resource)
        .ok_or_else(|| ApiStatus::new(404, "NotFound", format!("{resource} is no known resource")))
}

fn typed(object: &Object, kind: &Kind) -> Result<Object, ApiStatus> {
    raw::with_type(object.raw().clone(), kind).map_err(|error| invalid(&error))
}

fn key_of(object: &Object, resource: ResourceType) -> Result<ObjectKey, ApiStatus> {
    object.key(resource).map_err(|error| invalid(&error))
}

fn name(text: &str) -> Result<ObjectName, ApiStatus> {
    ObjectName::parse(text).map_err(|error| invalid(&error))
}

fn invalid(error: &dyn std::fmt::Display) -> ApiStatus {
    ApiStatus::new(400, "BadRequest", error.to_string())
}

fn pod_key(namespace: Namespace, pod: ObjectName) -> ObjectKey {
    ObjectKey { resource: ResourceType::POD, namespace: Some(namespace), name: pod }
}

fn claim_of(reference: &Value) -> Option<ObjectKey> {
    Some(ObjectKey {
        resource: ResourceType::parse("persistentvolumeclaim").ok()?,
        namespace: Some(Namespace::parse(reference["namespace"].as_str()?).ok()?),
        name: ObjectName::parse(reference["name"].as_str()?).ok()?,
    })
}

/// An event of a cluster-scoped object, such as a node, lies in `default`.
fn event_in_namespace(event: &Object) -> Result<Object, ApiStatus> {
    if event.meta().namespace.as_deref().is_some_and(|namespace| !namespace.is_empty()) {
        return Ok(event.clone());
    }
    let mut value = event.value().map_err(|error| invalid(&error))?;
    value["metadata"]["namespace"] = "default".into();
    Object::from_value(&value).map_err(|error| invalid(&error))
}

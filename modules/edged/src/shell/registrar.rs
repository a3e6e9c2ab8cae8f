//! The node in the API: registration, status, lease.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use protocol::{Lease, Namespace, NodeReply, NodeRequest, Object, ObjectKey, ObjectName, ResourceType};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::events::Severity;
use crate::node::{self, Machine};
use crate::ports::NodeFacts;
use crate::shell::Shared;
use crate::shell::doors::CloudTrouble;
use crate::shell::report::wait_for_link;
use crate::time::since;

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Looks at the machine and its runtime.
pub(crate) async fn look(shared: &Shared, before: &NodeFacts) -> Machine {
    let ports = &shared.ports;
    let facts = match ports.node.facts().await {
        Ok(facts) => facts,
        Err(error) => {
            tracing::warn!(%error, "the machine's facts cannot be read; those known before are told");
            before.clone()
        }
    };
    let usage = match ports.node.usage().await {
        Ok(usage) => Some(usage),
        Err(error) => {
            tracing::warn!(%error, "the machine's usage cannot be read");
            None
        }
    };
    let status = match shared.view.trouble() {
        Some(why) => Err(why),
        None => ports.runtime.status().await.map_err(|error| error.to_string()),
    };
    let images_wanted = shared.config.tailored_kubelet_config.node_status_max_images != 0;
    let images = if images_wanted { ports.runtime.images().await.unwrap_or_default() } else { Vec::new() };
    Machine { facts, usage, runtime: ports.runtime.version().await.ok(), runtime_status: status, images }
}

/// Takes what concerns pods from the machine's facts.
pub(crate) fn remember(shared: &Shared, facts: &NodeFacts) {
    let mut node = shared.node.borrow_mut();
    node.host_ips = node::addresses(&shared.config, facts);
    node.allocatable = node::allocatable(&shared.config, facts);
    node.side.memory_bytes = facts.memory_bytes;
    node.side.dns.node = facts.resolv_conf.clone();
}

struct Registrar {
    shared: Rc<Shared>,
    /// The status that the API has, as far as it was acknowledged.
    known: RefCell<Value>,
    uid: RefCell<Option<String>>,
    /// Until when the cloud may have changed the status: it does when leases do not arrive.
    doubted_until: Cell<Option<Instant>>,
}

/// Registers the node and keeps its status and lease, for ever.
pub(crate) async fn run(shared: Rc<Shared>, facts: NodeFacts) {
    let registrar = Registrar {
        shared,
        known: RefCell::new(json!({})),
        uid: RefCell::new(None),
        doubted_until: Cell::new(None),
    };
    let mut facts = facts;
    loop {
        if registrar.shared.config.tailored_kubelet_config.register_node {
            registrar.register(&mut facts).await;
        }
        let node_is_gone = tokio::select! { biased;
            gone = registrar.keep_status(&mut facts) => gone,
            () = registrar.keep_lease() => false,
        };
        if node_is_gone {
            tracing::warn!(node = %registrar.shared.name, "the API does not have this node any more; registering again");
            registrar.known.replace(json!({}));
        }
    }
}

impl Registrar {
    async fn register(&self, facts: &mut NodeFacts) {
        let shared = &self.shared;
        let mut delay = RETRY_MIN;
        loop {
            let machine = look(shared, facts).await;
            facts.clone_from(&machine.facts);
            remember(shared, facts);
            match self.register_once(&machine).await {
                Ok(()) => {
                    tracing::info!(node = %shared.name, "the node is registered");
                    return;
                }
                Err(error @ CloudTrouble::Refused(_)) => {
                    tracing::warn!(node = %shared.name, %error, "the node was not registered; trying again");
                }
                Err(error) => tracing::debug!(node = %shared.name, %error, "the node's registration waits"),
            }
            wait_for_link(shared, delay).await;
            delay = (delay * 2).min(RETRY_MAX);
        }
    }

    async fn register_once(&self, machine: &Machine) -> Result<(), CloudTrouble> {
        let shared = &self.shared;
        let name = shared.name.as_str();
        let status = node::status(name, &shared.config, machine, &json!({}), shared.now());
        let object = node::object(name, &shared.config, machine, &status);
        let object = Object::from_value(&object).map_err(|error| CloudTrouble::Away(error.to_string()))?;
        let registered = shared.doors.cloud(NodeRequest::RegisterNode(object.clone())).await;
        match registered {
            Ok(NodeReply::Object(made)) => {
                self.hear(&made);
                let message = format!("Node {name} status is now: NodeRegistered");
                shared.node_event(Severity::Normal, "Starting", message);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(CloudTrouble::Refused(refusal)) if refusal.is_already_exists() => {
                shared.doors.cloud(NodeRequest::UpdateNode(object)).await?;
                if let Ok(NodeReply::Object(held)) = shared.doors.cloud(self.query()).await {
                    self.hear(&held);
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn query(&self) -> NodeRequest {
        let name = ObjectName::parse(self.shared.name.as_str()).expect("a node's name is an object's name");
        NodeRequest::Query(ObjectKey { resource: ResourceType::NODE, namespace: None, name })
    }

    fn hear(&self, object: &Object) {
        if let Some(uid) = &object.meta().uid {
            self.uid.replace(Some(uid.clone()));
        }
        if let Some(status) = object.value().ok().and_then(|mut node| node.get_mut("status").map(Value::take))
            && status.is_object()
        {
            self.known.replace(status);
        }
    }

    /// Keeps the node's status. Returns true when the API does not have the node.
    async fn keep_status(&self, facts: &mut NodeFacts) -> bool {
        let shared = &self.shared;
        let kubelet = &shared.config.tailored_kubelet_config;
        let mut sent_at = None;
        // Whether a patch was sent of which is not known what became.
        let mut doubted = false;
        let mut link = shared.link.subscribe();
        loop {
            let machine = look(shared, facts).await;
            facts.clone_from(&machine.facts);
            remember(shared, facts);
            if self.settle_doubt().await {
                return true;
            }
            let known = self.known.borrow().clone();
            let now = shared.now();
            let status = node::status(shared.name.as_str(), &shared.config, &machine, &known, now);
            let due =
                doubted || sent_at.is_none_or(|at| since(now, at) >= kubelet.node_status_report_frequency);
            let patch = if due || node::differs(&known, &status) {
                let from = if doubted { node::doubted_status() } else { known };
                node::status_patch(&from, &status)
            } else {
                None
            };
            if let Some(patch) = patch {
                let request = NodeRequest::PatchNodeStatus { node: shared.name.clone(), patch };
                match shared.doors.cloud(request).await {
                    Ok(_) => {
                        self.known.replace(status);
                        (sent_at, doubted) = (Some(now), false);
                    }
                    Err(CloudTrouble::Refused(refusal)) if refusal.is_not_found() => return true,
                    Err(error) => {
                        doubted = doubted || error.is_doubtful();
                        match error {
                            CloudTrouble::Refused(_) => {
                                tracing::warn!(%error, "the node's status was refused; trying again");
                            }
                            CloudTrouble::Away(_) => tracing::debug!(%error, "the node's status waits"),
                        }
                    }
                }
            }
            tokio::select! { biased;
                Ok(()) = link.changed() => sent_at = None,
                () = tokio::time::sleep(kubelet.node_status_update_frequency) => {}
            }
        }
    }

    /// Asks for the status as the API has it while the cloud may have changed it. Returns true when the
    /// API does not have the node: its lease went with it, and its pods will soon.
    async fn settle_doubt(&self) -> bool {
        let Some(until) = self.doubted_until.get() else { return false };
        match self.shared.doors.cloud(self.query()).await {
            Ok(NodeReply::Object(held)) => {
                self.hear(&held);
                if Instant::now() > until {
                    self.doubted_until.set(None);
                }
                false
            }
            Err(CloudTrouble::Refused(refusal)) => refusal.is_not_found(),
            Ok(_) | Err(_) => false,
        }
    }

    /// Keeps the node's lease, for ever.
    async fn keep_lease(&self) {
        let shared = &self.shared;
        let kubelet = &shared.config.tailored_kubelet_config;
        // A quarter of the lease's life, as kubelet does.
        let life = Duration::from_secs(u64::from(kubelet.node_lease_duration_seconds));
        let period = life / 4;
        let mut known: Option<Value> = None;
        let mut delay = RETRY_MIN;
        loop {
            match self.renew(known.as_ref()).await {
                Ok(lease) => {
                    known = lease;
                    delay = RETRY_MIN;
                    wait_for_link(shared, period).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "the node's lease waits");
                    self.doubted_until.set(Some(Instant::now() + life));
                    known = None;
                    wait_for_link(shared, delay).await;
                    delay = (delay * 2).min(period.max(RETRY_MIN));
                }
            }
        }
    }

    async fn renew(&self, known: Option<&Value>) -> Result<Option<Value>, CloudTrouble> {
        let shared = &self.shared;
        let found = match known {
            Some(lease) => Some(lease.clone()),
            None => self.find_lease().await?,
        };
        let seconds = shared.config.tailored_kubelet_config.node_lease_duration_seconds;
        let uid = self.uid.borrow().clone();
        let name = shared.name.as_str();
        let wanted = node::lease(name, uid.as_deref(), found.as_ref(), seconds, shared.now());
        let object = Object::from_value(&wanted).map_err(|error| CloudTrouble::Away(error.to_string()))?;
        let lease = if found.is_some() { Lease::Update(object) } else { Lease::Create(object) };
        match shared.doors.cloud(NodeRequest::Lease(lease)).await? {
            NodeReply::Object(object) => Ok(object.value().ok()),
            _ => Ok(None),
        }
    }

    async fn find_lease(&self) -> Result<Option<Value>, CloudTrouble> {
        let name = ObjectName::parse(self.shared.name.as_str()).expect("a node's name is an object's name");
        let namespace = Namespace::parse(node::LEASE_NAMESPACE).expect("a constant that is valid");
        let key = ObjectKey { resource: ResourceType::LEASE, namespace: Some(namespace), name };
        match self.shared.doors.cloud(NodeRequest::Query(key)).await {
            Ok(NodeReply::Object(object)) => Ok(object.value().ok()),
            Ok(_) => Ok(None),
            Err(CloudTrouble::Refused(refusal)) if refusal.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

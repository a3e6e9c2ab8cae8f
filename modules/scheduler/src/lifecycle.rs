//! Marks nodes that fell silent, keeps the taints that follow from conditions, and deletes pods that
//! must leave tainted nodes.

use std::collections::{BTreeMap, BTreeSet};

use beehive::{BuildError, Context, Failure, Group, Handler, Me, Message, Module, ModuleName, Wiring};
use http::Method;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::Api;
use kube::runtime::watcher::Event;
use kube_watch::Told;
use protocol::group;
use serde_json::{Value, json};

use crate::calls::{self, MERGE_PATCH, STRATEGIC_PATCH};
use crate::config::NodeLifecycleConfig;
use crate::eviction::{Eviction, Residents};
use crate::pod::PodKey;
use crate::vitality::{Change, Correction, SilentCondition, Vitality};
use crate::watch;

/// The namespace in which nodes keep their leases.
const LEASES: &str = "kube-node-lease";

/// The node lifecycle controller: a node that neither renews its lease nor reports its status for
/// the grace period gets `Ready=Unknown` and the taints that keep pods from being scheduled there.
///
/// Pods that run on such a node are left alone, but for those that say for how long they tolerate it:
/// an edge node that is cut off goes on with its work. A pod that is deleted meanwhile stays until its
/// node has ended it.
pub struct NodeLifecycle {
    config: NodeLifecycleConfig,
    client: kube::Client,
    vitality: Vitality,
    listed: Option<BTreeSet<String>>,
    /// Whether all nodes, and all leases, are known at present. Else their silence says nothing.
    nodes_known: bool,
    leases_known: bool,
    /// Nodes that are being corrected, by the version that is corrected.
    correcting: BTreeMap<String, String>,
    residents: Residents,
    /// The uids of pods that are being deleted.
    evicting: BTreeSet<String>,
}

/// Nodes or leases changed.
#[derive(Debug, Message)]
enum Changed {
    NodesBegin,
    NodeSeen(Box<Node>),
    NodeGone(String),
    NodesEnd,
    LeaseSeen(String, Option<String>),
    LeaseGone(String),
    LeasesEnd,
    NodesLost,
    LeasesLost,
    PodsBegin,
    PodSeen(Box<Pod>),
    PodGone(PodKey),
    PodsEnd,
    PodsLost,
}

/// It is time to look at all nodes.
#[derive(Debug, Clone, Message)]
struct Look;

/// A correction was written, or not.
#[derive(Debug, Message)]
struct Corrected(String);

/// A pod was deleted, or not.
#[derive(Debug, Message)]
struct Evicted(String);

impl Module for NodeLifecycle {
    const NAME: ModuleName = ModuleName::new("nodelifecycle");
    const GROUP: Group = group::SCHEDULER;
    const SECTION: &'static str = "nodeLifecycle";
    type Config = NodeLifecycleConfig;
    type Ports = kube::Client;

    fn build(config: NodeLifecycleConfig, client: kube::Client) -> Result<Self, BuildError> {
        Ok(Self {
            config,
            client,
            vitality: Vitality::default(),
            listed: None,
            nodes_known: false,
            leases_known: false,
            correcting: BTreeMap::new(),
            residents: Residents::default(),
            evicting: BTreeSet::new(),
        })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Changed>().handles::<Look>().handles::<Corrected>().handles::<Evicted>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let nodes = Api::<Node>::all(self.client.clone());
        let leases = Api::<Lease>::namespaced(self.client.clone(), LEASES);
        let nodes = watch(nodes, "nodes", cx);
        let me = cx.me();
        cx.spawn(nodes.run(async move |told| tell(&me, node_change(told)).await));
        let leases = watch(leases, "leases", cx);
        let me = cx.me();
        cx.spawn(leases.run(async move |told| tell(&me, lease_change(told)).await));
        let pods = watch(Api::<Pod>::all(self.client.clone()), "pods on nodes", cx);
        let me = cx.me();
        cx.spawn(pods.run(async move |told| tell(&me, pod_change(told)).await));
        cx.every(self.config.node_monitor_period, Look);
        Ok(())
    }
}

async fn tell(me: &Me<NodeLifecycle>, change: Changed) -> bool {
    me.send(change).await.is_ok()
}

fn node_change(told: Told<Node>) -> Changed {
    let Told::Event(event) = told else { return Changed::NodesLost };
    match event {
        Event::Init => Changed::NodesBegin,
        Event::InitDone => Changed::NodesEnd,
        Event::Apply(node) | Event::InitApply(node) => Changed::NodeSeen(Box::new(node)),
        Event::Delete(node) => Changed::NodeGone(node.metadata.name.unwrap_or_default()),
    }
}

fn lease_change(told: Told<Lease>) -> Changed {
    let Told::Event(event) = told else { return Changed::LeasesLost };
    match event {
        Event::Init => Changed::LeasesLost,
        Event::InitDone => Changed::LeasesEnd,
        Event::Apply(lease) | Event::InitApply(lease) => {
            let renewed = lease.spec.and_then(|spec| spec.renew_time).map(|time| time.0.to_string());
            Changed::LeaseSeen(lease.metadata.name.unwrap_or_default(), renewed)
        }
        Event::Delete(lease) => Changed::LeaseGone(lease.metadata.name.unwrap_or_default()),
    }
}

fn pod_change(told: Told<Pod>) -> Changed {
    let Told::Event(event) = told else { return Changed::PodsLost };
    match event {
        Event::Init => Changed::PodsBegin,
        Event::InitDone => Changed::PodsEnd,
        Event::Apply(pod) | Event::InitApply(pod) => Changed::PodSeen(Box::new(pod)),
        Event::Delete(pod) => Changed::PodGone(PodKey::of(&pod)),
    }
}

impl Handler<Changed> for NodeLifecycle {
    async fn handle(&mut self, change: Changed, cx: &mut Context<Self>) -> Result<(), Failure> {
        let now = cx.now();
        match change {
            Changed::NodesBegin => {
                self.nodes_known = false;
                self.listed = Some(BTreeSet::new());
            }
            Changed::NodeSeen(node) => {
                let name = node.metadata.name.clone().unwrap_or_default();
                self.listed.as_mut().map(|listed| listed.insert(name));
                self.vitality.see_node(*node, now);
                self.correct(cx);
            }
            Changed::NodeGone(name) => self.vitality.forget_node(&name),
            Changed::NodesEnd => {
                self.vitality.retain_nodes(&self.listed.take().unwrap_or_default());
                self.nodes_known = true;
                self.vitality.begin_anew(now);
                self.residents.begin_anew();
                self.correct(cx);
            }
            Changed::LeaseSeen(node, renewed) => self.vitality.see_lease(node, renewed, now),
            Changed::LeaseGone(node) => self.vitality.forget_lease(&node),
            Changed::LeasesEnd => {
                self.leases_known = true;
                self.vitality.begin_anew(now);
            }
            Changed::NodesLost => self.nodes_known = false,
            Changed::LeasesLost => self.leases_known = false,
            Changed::PodsBegin => self.residents.begin(),
            Changed::PodSeen(pod) => self.residents.see(&pod),
            Changed::PodGone(pod) => self.residents.forget(&pod),
            Changed::PodsEnd => self.residents.end(),
            Changed::PodsLost => self.residents.lose(),
        }
        Ok(())
    }
}

impl Handler<Look> for NodeLifecycle {
    async fn handle(&mut self, _: Look, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.correct(cx);
        self.evict(cx);
        Ok(())
    }
}

impl Handler<Evicted> for NodeLifecycle {
    async fn handle(&mut self, Evicted(uid): Evicted, _: &mut Context<Self>) -> Result<(), Failure> {
        self.evicting.remove(&uid);
        Ok(())
    }
}

impl Handler<Corrected> for NodeLifecycle {
    async fn handle(&mut self, Corrected(node): Corrected, _: &mut Context<Self>) -> Result<(), Failure> {
        self.correcting.remove(&node);
        Ok(())
    }
}

impl NodeLifecycle {
    /// Writes what is wrong with nodes: one correction of each at a time, and each only on top of
    /// the version that it was made for. What the API server refuses is looked at again later.
    fn correct(&mut self, cx: &mut Context<Self>) {
        if !self.nodes_known || !self.leases_known {
            return;
        }
        let at = calls::timestamp(cx.wall_clock());
        for correction in self.vitality.corrections(self.config.node_monitor_grace_period, cx.now()) {
            if self.correcting.contains_key(&correction.node) {
                continue;
            }
            self.correcting.insert(correction.node.clone(), correction.version.clone());
            if let Change::Silent(_) = correction.change {
                tracing::warn!(node = %correction.node, "the node is silent: its conditions are not known");
            }
            let (client, me, at) = (self.client.clone(), cx.me(), at.clone());
            cx.spawn(async move {
                write(&client, &correction, &at).await;
                if me.send(Corrected(correction.node)).await.is_err() {
                    tracing::debug!("the node lifecycle controller stopped while it corrected a node");
                }
            });
        }
    }
}

/// How many pods are deleted at once.
const EVICTIONS_MAX: usize = 16;

impl NodeLifecycle {
    /// Deletes pods whose time on a tainted node is over. What the API server refuses is tried again
    /// at the next look.
    fn evict(&mut self, cx: &mut Context<Self>) {
        if !self.nodes_known || !self.leases_known {
            return;
        }
        let at = calls::timestamp(cx.wall_clock());
        let Self { vitality, residents, evicting, client, .. } = self;
        for Eviction { pod, uid, node } in residents.overdue(|node| vitality.taints(node), cx.now()) {
            if evicting.len() >= EVICTIONS_MAX {
                return;
            }
            if !evicting.insert(uid.clone()) {
                continue;
            }
            tracing::info!(%pod, node, "the pod is deleted: it does not tolerate a taint of its node any longer");
            let (client, me, at) = (client.clone(), cx.me(), at.clone());
            cx.spawn(async move {
                if let Err(error) = calls::evict(&client, &pod, &uid, &at).await {
                    tracing::debug!(%pod, %error, "a pod was not deleted; trying again");
                }
                if me.send(Evicted(uid)).await.is_err() {
                    tracing::debug!("the node lifecycle controller stopped while it deleted a pod");
                }
            });
        }
    }
}

async fn write(client: &kube::Client, correction: &Correction, at: &str) {
    let Correction { node, version, change } = correction;
    let path = format!("/api/v1/nodes/{node}");
    let answer = match change {
        Change::Silent(conditions) => {
            let patch = silent_patch(conditions, version, at);
            calls::call(client, Method::PATCH, &format!("{path}/status"), STRATEGIC_PATCH, &patch).await
        }
        Change::Taints(taints) => {
            let patch = taints_patch(taints, version, at);
            calls::call(client, Method::PATCH, &path, MERGE_PATCH, &patch).await
        }
    };
    match answer {
        Ok(()) => tracing::debug!(node, "corrected a node"),
        Err(error) if error.has_code(409) || error.has_code(404) => {
            tracing::debug!(node, %error, "the node changed before it could be corrected");
        }
        Err(error) => tracing::warn!(node, %error, "could not correct a node; trying again"),
    }
}

fn silent_patch(conditions: &[SilentCondition], version: &str, at: &str) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|condition| {
            let (reason, message) = if condition.was_known {
                ("NodeStatusUnknown", "Kubelet stopped posting node status.")
            } else {
                ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
            };
            json!({
                "type": condition.name, "status": "Unknown", "reason": reason, "message": message,
                "lastTransitionTime": at,
            })
        })
        .collect();
    json!({ "metadata": { "resourceVersion": version }, "status": { "conditions": conditions } })
}

fn taints_patch(taints: &[Taint], version: &str, at: &str) -> Value {
    let taints: Vec<Value> = taints
        .iter()
        .filter_map(|taint| serde_json::to_value(taint).ok())
        .map(|mut taint| {
            if taint["timeAdded"].is_null() {
                taint["timeAdded"] = at.into();
            }
            taint
        })
        .collect();
    json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_node_is_marked_in_kubernetes_words() {
        let conditions = [
            SilentCondition { name: "Ready", was_known: true },
            SilentCondition { name: "PIDPressure", was_known: false },
        ];
        let expected = json!({
            "metadata": { "resourceVersion": "7" },
            "status": { "conditions": [
                { "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
                  "message": "Kubelet stopped posting node status.", "lastTransitionTime": "now" },
                { "type": "PIDPressure", "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                  "message": "Kubelet never posted node status.", "lastTransitionTime": "now" },
            ] },
        });
        assert_eq!(silent_patch(&conditions, "7", "now"), expected);
    }

    #[test]
    fn a_taint_keeps_the_time_at_which_it_was_added() {
        let taint = |value: Value| serde_json::from_value::<Taint>(value).expect("a valid taint");
        let taints = [
            taint(json!({ "key": "a", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z" })),
            taint(json!({ "key": "b", "effect": "NoExecute" })),
        ];
        let patch = taints_patch(&taints, "7", "2026-02-02T00:00:00Z");
        assert_eq!(patch["spec"]["taints"][0]["timeAdded"], "2026-01-01T00:00:00Z");
        assert_eq!(patch["spec"]["taints"][1]["timeAdded"], "2026-02-02T00:00:00Z");
    }
}

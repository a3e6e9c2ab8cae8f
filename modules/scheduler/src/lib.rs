//! Binds pods to nodes, and tells which nodes are alive.
//!
//! Two modules for a cluster whose API server is the embedded one; a real cluster has
//! kube-scheduler and kube-controller-manager. [`Scheduler`] binds each pod that has no node;
//! [`NodeLifecycle`] marks and taints nodes that fell silent, and deletes the pods that must leave
//! tainted nodes.

mod calls;
mod cluster;
mod config;
mod desk;
mod eviction;
mod lifecycle;
mod matching;
mod node;
mod pod;
mod quantity;
mod schedule;
mod trying;
mod vitality;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use beehive::{
    BuildError, Context, Failure, Group, Handler, Me, Message, Module, ModuleName, TimerKey, Wiring,
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Resource};
use kube_watch::{Resume, Told, Watch};
use protocol::group;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use crate::config::{NodeLifecycleConfig, SchedulerConfig};
use crate::desk::Desk;
pub use crate::lifecycle::NodeLifecycle;
use crate::node::NodeFacts;
use crate::pod::{PodKey, Seen};

/// How many calls are before the API server at once.
const CALLS_AT_ONCE: usize = 32;
/// How often pods without a node are tried again though nothing changed.
const RETRY_ALL: Duration = Duration::from_secs(300);

/// The scheduler.
pub struct Scheduler {
    config: SchedulerConfig,
    client: kube::Client,
    calls: Arc<Semaphore>,
    desk: Desk,
    nodes: Listing<String>,
    pods: Listing<PodKey>,
    /// What was said last of pods without a node, and how often.
    said: BTreeMap<PodKey, (String, u32)>,
    timer: Option<TimerKey>,
}

/// How far the list of a type was received, and what it contained so far.
struct Listing<K> {
    received: bool,
    present: Option<BTreeSet<K>>,
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self { received: false, present: None }
    }
}

/// The cluster changed.
#[derive(Debug, Message)]
enum Changed {
    NodesBegin,
    NodeSeen(NodeFacts),
    NodeGone(String),
    NodesEnd,
    PodsBegin,
    PodSeen(PodKey, Seen),
    PodGone(PodKey),
    PodsEnd,
    Nothing,
}

/// It is time to try pods.
#[derive(Debug, Clone, Message)]
struct Try;

/// It is time to try all pods again.
#[derive(Debug, Clone, Message)]
struct TryAll;

/// The API server answered to a binding.
#[derive(Debug, Message)]
struct Bound {
    key: PodKey,
    uid: String,
    bound: bool,
}

impl Module for Scheduler {
    const NAME: ModuleName = ModuleName::new("scheduler");
    const GROUP: Group = group::SCHEDULER;
    type Config = SchedulerConfig;
    type Ports = kube::Client;

    fn build(config: SchedulerConfig, client: kube::Client) -> Result<Self, BuildError> {
        Ok(Self {
            config,
            client,
            calls: Arc::new(Semaphore::new(CALLS_AT_ONCE)),
            desk: Desk::default(),
            nodes: Listing::default(),
            pods: Listing::default(),
            said: BTreeMap::new(),
            timer: None,
        })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Changed>().handles::<Try>().handles::<TryAll>().handles::<Bound>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let (pods, nodes) = (Api::<Pod>::all(self.client.clone()), Api::<Node>::all(self.client.clone()));
        let pods = watch(pods, "pods", cx);
        let (me, name) = (cx.me(), self.config.scheduler_name.clone());
        cx.spawn(pods.run(async move |told| tell(&me, pod_change(told, &name)).await));
        let nodes = watch(nodes, "nodes", cx);
        let me = cx.me();
        cx.spawn(nodes.run(async move |told| tell(&me, node_change(told)).await));
        cx.every(RETRY_ALL, TryAll);
        Ok(())
    }
}

/// Makes a watch that lists all anew after a failure: only a list says again that all is known.
fn watch<K, M: Module>(api: Api<K>, what: &str, cx: &mut Context<M>) -> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    Watch::new(api, Config::default(), what, Resume::Anew, cx.uuid())
}

async fn tell(me: &Me<Scheduler>, change: Changed) -> bool {
    me.send(change).await.is_ok()
}

fn pod_change(told: Told<Pod>, scheduler: &str) -> Changed {
    let Told::Event(event) = told else { return Changed::Nothing };
    match event {
        Event::Init => Changed::PodsBegin,
        Event::InitDone => Changed::PodsEnd,
        Event::Apply(pod) | Event::InitApply(pod) => {
            Changed::PodSeen(PodKey::of(&pod), Seen::read(&pod, scheduler))
        }
        Event::Delete(pod) => Changed::PodGone(PodKey::of(&pod)),
    }
}

fn node_change(told: Told<Node>) -> Changed {
    let Told::Event(event) = told else { return Changed::Nothing };
    match event {
        Event::Init => Changed::NodesBegin,
        Event::InitDone => Changed::NodesEnd,
        Event::Apply(node) | Event::InitApply(node) => Changed::NodeSeen(NodeFacts::of(&node)),
        Event::Delete(node) => Changed::NodeGone(node.metadata.name.unwrap_or_default()),
    }
}

impl Handler<Changed> for Scheduler {
    async fn handle(&mut self, change: Changed, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.take(change, cx.now());
        self.run(cx);
        Ok(())
    }
}

impl Handler<Try> for Scheduler {
    async fn handle(&mut self, _: Try, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.run(cx);
        Ok(())
    }
}

impl Handler<TryAll> for Scheduler {
    async fn handle(&mut self, _: TryAll, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.desk.retry_all(cx.now());
        self.run(cx);
        Ok(())
    }
}

impl Handler<Bound> for Scheduler {
    async fn handle(
        &mut self,
        Bound { key, uid, bound }: Bound,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.desk.settle(&key, &uid, bound, cx.now());
        self.run(cx);
        Ok(())
    }
}

impl Scheduler {
    fn take(&mut self, change: Changed, now: Instant) {
        match change {
            Changed::Nothing => {}
            Changed::NodesBegin => self.nodes.present = Some(BTreeSet::new()),
            Changed::NodeSeen(facts) => {
                self.nodes.present.as_mut().map(|present| present.insert(facts.name.clone()));
                self.desk.see_node(facts, now);
            }
            Changed::NodeGone(name) => self.desk.forget_node(&name),
            Changed::NodesEnd => {
                self.desk.retain_nodes(&self.nodes.present.take().unwrap_or_default());
                self.nodes.received = true;
            }
            Changed::PodsBegin => self.pods.present = Some(BTreeSet::new()),
            Changed::PodSeen(key, seen) => {
                self.pods.present.as_mut().map(|present| present.insert(key.clone()));
                if !matches!(seen, Seen::Pending(_)) {
                    self.said.remove(&key);
                }
                self.desk.see_pod(key, seen, now);
            }
            Changed::PodGone(key) => {
                self.said.remove(&key);
                self.desk.forget_pod(&key, now);
            }
            Changed::PodsEnd => {
                let present = self.pods.present.take().unwrap_or_default();
                self.said.retain(|key, _| present.contains(key));
                self.desk.retain_pods(&present, now);
                self.pods.received = true;
                tracing::debug!(waiting = self.desk.waiting(), "received all pods");
            }
        }
    }
}

//! What edged's tasks share: the ports, the bus, the clock, the pods. All of it lives on the
//! module's thread.

pub(crate) mod boot;
pub(crate) mod doors;
pub(crate) mod effects;
pub(crate) mod hooks;
pub(crate) mod housekeeping;
pub(crate) mod mounts;
pub(crate) mod probes;
pub(crate) mod registrar;
pub(crate) mod report;
pub(crate) mod slot;
pub(crate) mod start;
pub(crate) mod terminate;
pub(crate) mod view;
pub(crate) mod worker;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::SystemTime;

use beehive::latest;
use protocol::NodeName;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;

use crate::config::EdgedConfig;
use crate::events::{About, EventLog, Happening, Record, Severity};
use crate::fields::Surroundings;
use crate::net::NodeDns;
use crate::node::Allocatable;
use crate::pod::Pod;
use crate::ports::EdgedPorts;
use crate::shell::doors::Doors;
use crate::shell::slot::Slot;
use crate::shell::view::View;
use crate::spec::NodeSide;

/// How many containers are started at once.
const STARTS_MAX: usize = 8;

/// How many requests of pods wait for the cloud at once.
const CLOUD_MAX: usize = 8;

/// The node's wall clock, as last told by the bus and carried on by its monotonic clock.
#[derive(Debug)]
pub(crate) struct Clock {
    anchor: Cell<(Instant, SystemTime)>,
}

impl Clock {
    pub(crate) fn new(instant: Instant, wall: SystemTime) -> Self {
        Self { anchor: Cell::new((instant, wall)) }
    }

    pub(crate) fn set(&self, instant: Instant, wall: SystemTime) {
        self.anchor.set((instant, wall));
    }

    pub(crate) fn now(&self) -> SystemTime {
        let (instant, wall) = self.anchor.get();
        wall + instant.elapsed()
    }
}

/// What is learnt of the node when edged starts, and again as it changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeState {
    pub(crate) side: NodeSide,
    pub(crate) host_ips: Vec<IpAddr>,
    pub(crate) allocatable: Allocatable,
    pub(crate) runtime: String,
}

impl NodeState {
    pub(crate) fn new(name: &NodeName, config: &EdgedConfig) -> Self {
        let kubelet = &config.tailored_kubelet_config;
        let side = NodeSide {
            node_name: name.to_string(),
            dns: NodeDns {
                cluster_servers: kubelet.cluster_dns.clone(),
                cluster_domain: kubelet.cluster_domain.clone(),
                ..NodeDns::default()
            },
            memory_bytes: 0,
            seccomp_default: config.seccomp_default || kubelet.seccomp_default,
            seccomp_root: config.root_directory.join("seccomp"),
            cpu_quota: kubelet.cpu_cfs_quota,
        };
        Self { side, ..Self::default() }
    }
}

/// All that edged's tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: NodeName,
    pub(crate) config: EdgedConfig,
    pub(crate) ports: EdgedPorts,
    pub(crate) doors: Doors,
    pub(crate) clock: Clock,
    pub(crate) node: RefCell<NodeState>,
    pub(crate) pods: RefCell<BTreeMap<String, Rc<Slot>>>,
    /// Uids of pods that were deleted before the first listing came: it may still hold them.
    pub(crate) deleted_early: RefCell<BTreeSet<String>>,
    /// Whether the first listing came.
    pub(crate) listed: Cell<bool>,
    pub(crate) view: View,
    /// Grows with each link to the cloud.
    pub(crate) link: latest::Sender<u64>,
    pub(crate) pulls: Semaphore,
    pub(crate) starts: Semaphore,
    pub(crate) asks: Semaphore,
    events: RefCell<EventLog>,
    event_queue: mpsc::Sender<Record>,
    /// New pods, for the task that owns their workers: never more than there are pods.
    pub(crate) newcomers: RefCell<Vec<Rc<Slot>>>,
    /// Tells that task of them.
    pub(crate) arrival: Notify,
}

/// How many events wait for the cloud.
const EVENTS_MAX: usize = 256;

impl Shared {
    pub(crate) fn new(
        name: NodeName,
        config: EdgedConfig,
        ports: EdgedPorts,
        doors: Doors,
        clock: Clock,
        node: NodeState,
    ) -> (Rc<Self>, mpsc::Receiver<Record>) {
        let kubelet = &config.tailored_kubelet_config;
        let events = EventLog::new(name.as_str(), kubelet.event_record_qps, kubelet.event_burst);
        let pulls = if kubelet.serialize_image_pulls { 1 } else { STARTS_MAX };
        let (event_queue, event_receiver) = mpsc::channel(EVENTS_MAX);
        let shared = Self {
            name,
            config,
            ports,
            doors,
            clock,
            node: RefCell::new(node),
            pods: RefCell::default(),
            deleted_early: RefCell::default(),
            listed: Cell::new(false),
            view: View::default(),
            link: latest::Sender::new(0),
            pulls: Semaphore::new(pulls),
            starts: Semaphore::new(STARTS_MAX),
            asks: Semaphore::new(CLOUD_MAX),
            events: RefCell::new(events),
            event_queue,
            newcomers: RefCell::default(),
            arrival: Notify::new(),
        };
        (Rc::new(shared), event_receiver)
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn slot(&self, uid: &str) -> Option<Rc<Slot>> {
        self.pods.borrow().get(uid).cloned()
    }

    pub(crate) fn around(&self, pod_ips: Vec<IpAddr>) -> Surroundings {
        let node = self.node.borrow();
        Surroundings {
            node_name: self.name.to_string(),
            host_ips: node.host_ips.clone(),
            pod_ips,
            cpu_millis: node.allocatable.cpu_millis,
            memory_bytes: node.allocatable.memory_bytes,
            storage_bytes: node.allocatable.storage_bytes,
        }
    }

    /// Reports an event of a pod or one of its containers. Best effort.
    pub(crate) fn event(
        &self,
        pod: &Pod,
        container: Option<&str>,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let message = message.into();
        tracing::debug!(pod = %pod.name, namespace = %pod.namespace, container, reason, %message, "pod event");
        self.record(Happening {
            about: About::pod(pod, container),
            severity,
            reason: reason.to_owned(),
            message,
        });
    }

    /// Reports an event of the node. Best effort.
    pub(crate) fn node_event(&self, severity: Severity, reason: &str, message: impl Into<String>) {
        self.record(Happening {
            about: About::node(self.name.as_str()),
            severity,
            reason: reason.to_owned(),
            message: message.into(),
        });
    }

    fn record(&self, happening: Happening) {
        if !self.config.report_event {
            return;
        }
        let now = self.now();
        if let Some(record) = self.events.borrow_mut().take(happening, now)
            && self.event_queue.try_send(record).is_err()
        {
            tracing::debug!("an event was dropped: too many wait for the cloud");
        }
    }
}

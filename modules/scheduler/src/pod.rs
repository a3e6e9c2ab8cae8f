//! What the scheduler knows of a pod.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{Container, NodeAffinity, Pod, PodSpec, ResourceRequirements, Toleration};

use crate::quantity::{self, Amount, Resources, UNIT};

/// Names a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl PodKey {
    pub(crate) fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
        }
    }
}

/// A port that a pod takes on its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort {
    pub(crate) port: i32,
    pub(crate) protocol: String,
    /// The address, empty for all.
    pub(crate) address: String,
}

impl HostPort {
    /// Tells whether two ports cannot be on one node.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || self.address.is_empty() || other.address.is_empty())
    }
}

/// What a pod takes of its node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Demand {
    /// What the node must have left.
    pub(crate) requests: Resources,
    /// The same for scoring: a pod that asks for nothing counts a little.
    pub(crate) weight: Weight,
    pub(crate) host_ports: Vec<HostPort>,
}

/// The cpu and memory that a pod counts for when nodes are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) cpu: Amount,
    pub(crate) memory: Amount,
}

/// What a container without requests counts for, as in kube-scheduler: 100m and 200 MB.
const WEIGHT_DEFAULT: Weight = Weight { cpu: UNIT / 10, memory: 200 * 1024 * 1024 * UNIT };

impl Demand {
    pub(crate) fn of(spec: &PodSpec) -> Self {
        let requests = requests(spec, container_requests);
        let weights = self::requests(spec, |container| weighed(container_requests(container)));
        let weight = Weight {
            cpu: weights.get("cpu").copied().unwrap_or_default(),
            memory: weights.get("memory").copied().unwrap_or_default(),
        };
        Self { requests, weight, host_ports: host_ports(spec) }
    }
}

fn container_requests(container: &Container) -> Resources {
    let Some(ResourceRequirements { requests, limits, .. }) = &container.resources else {
        return Resources::new();
    };
    let mut amounts = quantity::parse_list(limits.as_ref());
    amounts.extend(quantity::parse_list(requests.as_ref()));
    amounts
}

fn weighed(mut requests: Resources) -> Resources {
    requests.entry("cpu".to_owned()).or_insert(WEIGHT_DEFAULT.cpu);
    requests.entry("memory".to_owned()).or_insert(WEIGHT_DEFAULT.memory);
    requests
}

/// Sums what a pod asks for: its containers run together with its sidecars, its other init
/// containers one after the other before that, each beside the sidecars that were started before it.
fn requests(spec: &PodSpec, of: impl Fn(&Container) -> Resources) -> Resources {
    let mut running = Resources::new();
    for container in &spec.containers {
        add(&mut running, &of(container));
    }
    let mut sidecars = Resources::new();
    let mut starting = Resources::new();
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        let mut beside = sidecars.clone();
        add(&mut beside, &own);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut running, &own);
            sidecars.clone_from(&beside);
        }
        raise(&mut starting, &beside);
    }
    raise(&mut running, &starting);
    if let Some(whole) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        let whole = quantity::parse_list(Some(whole));
        running.extend(whole.into_iter().filter(|(name, _)| is_pod_level(name)));
    }
    add(&mut running, &quantity::parse_list(spec.overhead.as_ref()));
    running
}

/// Tells whether a pod can ask for the resource as a whole.
fn is_pod_level(name: &str) -> bool {
    name == "cpu" || name == "memory" || name.starts_with("hugepages-")
}

pub(crate) fn add(sum: &mut Resources, more: &Resources) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_default() += amount;
    }
}

fn raise(most: &mut Resources, other: &Resources) {
    for (name, amount) in other {
        let held = most.entry(name.clone()).or_default();
        *held = (*held).max(*amount);
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let mut ports: Vec<HostPort> = containers
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let host_port = match port.host_port {
                None | Some(0) if spec.host_network == Some(true) => port.container_port,
                None | Some(0) => return None,
                Some(host_port) => host_port,
            };
            let address =
                port.host_ip.clone().filter(|address| !["0.0.0.0", "::"].contains(&address.as_str()));
            Some(HostPort {
                port: host_port,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                address: address.unwrap_or_default(),
            })
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}

/// A pod that is to be bound, with all that decides where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PendingPod {
    pub(crate) key: PodKey,
    pub(crate) uid: String,
    pub(crate) priority: i32,
    /// When it was created, RFC 3339: older pods of one priority come first.
    pub(crate) created: String,
    pub(crate) demand: Demand,
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) node_affinity: Option<NodeAffinity>,
    pub(crate) tolerations: Vec<Toleration>,
    /// The text of its condition `PodScheduled`, if that is false.
    pub(crate) told: Option<String>,
}

impl PendingPod {
    fn of(pod: &Pod, spec: &PodSpec) -> Self {
        let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        Self {
            key: PodKey::of(pod),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or_default(),
            created: pod
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0.to_string())
                .unwrap_or_default(),
            demand: Demand::of(spec),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            node_affinity: spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone()),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            told: conditions
                .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
                .map(|condition| condition.message.clone().unwrap_or_default())
                .next(),
        }
    }
}

/// A pod that takes its share of a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlacedPod {
    pub(crate) uid: String,
    pub(crate) node: String,
    pub(crate) demand: Demand,
}

/// What a state of a pod means to the scheduler.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// It is to be bound by this scheduler.
    Pending(Box<PendingPod>),
    /// It takes its share of a node.
    Placed(PlacedPod),
    /// It takes nothing: it has ended, is leaving unbound, is held back by a gate, or is another scheduler's.
    Nothing,
}

impl Seen {
    /// Reads a pod for the scheduler that is called `scheduler`.
    pub(crate) fn read(pod: &Pod, scheduler: &str) -> Self {
        let Some(spec) = &pod.spec else { return Self::Nothing };
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return Self::Nothing;
        }
        if let Some(node) = spec.node_name.as_ref().filter(|node| !node.is_empty()) {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            return Self::Placed(PlacedPod { uid, node: node.clone(), demand: Demand::of(spec) });
        }
        let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
        let theirs = spec.scheduler_name.as_deref().unwrap_or("default-scheduler") != scheduler;
        if gated || theirs || pod.metadata.deletion_timestamp.is_some() {
            return Self::Nothing;
        }
        Self::Pending(Box::new(PendingPod::of(pod, spec)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn demand(spec: Value) -> Demand {
        Demand::of(&serde_json::from_value(spec).expect("a valid spec"))
    }

    fn asks(requests: Value) -> Value {
        json!({ "name": "c", "resources": { "requests": requests } })
    }

    fn sidecar(requests: Value) -> Value {
        let mut container = asks(requests);
        container["restartPolicy"] = json!("Always");
        container
    }

    #[test]
    fn requests_follow_the_rule_of_init_containers() {
        let cpu = |amount: &str| asks(json!({ "cpu": amount }));
        let cases = [
            ("containers add up", json!({ "containers": [cpu("100m"), cpu("200m")] }), "300m"),
            (
                "the largest init container counts when it is more",
                json!({ "containers": [cpu("100m")], "initContainers": [cpu("500m"), cpu("400m")] }),
                "500m",
            ),
            (
                "a smaller init container does not count",
                json!({ "containers": [cpu("100m")], "initContainers": [cpu("50m")] }),
                "100m",
            ),
            (
                "a sidecar adds to the containers",
                json!({ "containers": [cpu("100m")], "initContainers": [sidecar(json!({ "cpu": "50m" }))] }),
                "150m",
            ),
            (
                "an init container runs beside the sidecars before it",
                json!({ "containers": [cpu("100m")],
                        "initContainers": [sidecar(json!({ "cpu": "50m" })), cpu("200m")] }),
                "250m",
            ),
            (
                "an init container does not run beside the sidecars behind it",
                json!({ "containers": [cpu("100m")],
                        "initContainers": [cpu("200m"), sidecar(json!({ "cpu": "50m" }))] }),
                "200m",
            ),
            ("overhead adds", json!({ "containers": [cpu("1")], "overhead": { "cpu": "10m" } }), "1010m"),
            (
                "what the pod asks for as a whole replaces the sum",
                json!({ "containers": [cpu("1")], "resources": { "requests": { "cpu": "3" } } }),
                "3",
            ),
            (
                "a limit stands in for a missing request",
                json!({ "containers": [{ "name": "c", "resources": { "limits": { "cpu": "2" } } }] }),
                "2",
            ),
        ];
        for (what, spec, expected) in cases {
            let expected = quantity::parse(expected).expect("a quantity");
            assert_eq!(demand(spec).requests.get("cpu").copied(), Some(expected), "{what}");
        }
    }

    #[test]
    fn a_pod_without_requests_weighs_something_but_needs_nothing() {
        let demand = demand(json!({ "containers": [{ "name": "a" }, { "name": "b" }] }));
        assert_eq!(demand.requests, Resources::new());
        assert_eq!(demand.weight.cpu, 2 * WEIGHT_DEFAULT.cpu);
        assert_eq!(demand.weight.memory, 2 * WEIGHT_DEFAULT.memory);
    }

    #[test]
    fn host_ports_collide_by_port_protocol_and_address() {
        let port = |port, protocol: &str, address: &str| HostPort {
            port,
            protocol: protocol.to_owned(),
            address: address.to_owned(),
        };
        let spec = json!({ "containers": [{ "name": "c", "ports": [
            { "containerPort": 80, "hostPort": 8080 },
            { "containerPort": 81 },
            { "containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "0.0.0.0" },
        ] }] });
        assert_eq!(demand(spec.clone()).host_ports, [port(53, "UDP", ""), port(8080, "TCP", "")]);
        let mut own_network = spec;
        own_network["hostNetwork"] = json!(true);
        assert_eq!(demand(own_network).host_ports.len(), 3);

        assert!(port(80, "TCP", "").collides(&port(80, "TCP", "10.0.0.1")));
        assert!(port(80, "TCP", "10.0.0.1").collides(&port(80, "TCP", "10.0.0.1")));
        assert!(!port(80, "TCP", "10.0.0.2").collides(&port(80, "TCP", "10.0.0.1")));
        assert!(!port(80, "TCP", "").collides(&port(80, "UDP", "")));
        assert!(!port(80, "TCP", "").collides(&port(81, "TCP", "")));
    }

    #[test]
    fn only_an_unbound_pod_of_ours_is_pending() {
        let read = |metadata: Value, spec: Value, phase: &str| {
            let pod = json!({ "metadata": metadata, "spec": spec, "status": { "phase": phase } });
            match Seen::read(&serde_json::from_value(pod).expect("a valid pod"), "default-scheduler") {
                Seen::Pending(_) => "pending",
                Seen::Placed(_) => "placed",
                Seen::Nothing => "nothing",
            }
        };
        let spec = |more: Value| {
            let mut spec = json!({ "containers": [] });
            spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            spec
        };
        let leaving = json!({ "name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let cases = [
            ("unbound", json!({}), spec(json!({})), "Pending", "pending"),
            (
                "ours by name",
                json!({}),
                spec(json!({ "schedulerName": "default-scheduler" })),
                "Pending",
                "pending",
            ),
            (
                "another scheduler's",
                json!({}),
                spec(json!({ "schedulerName": "other" })),
                "Pending",
                "nothing",
            ),
            ("bound", json!({}), spec(json!({ "nodeName": "n" })), "Pending", "placed"),
            ("bound and leaving", leaving.clone(), spec(json!({ "nodeName": "n" })), "Running", "placed"),
            ("ended", json!({}), spec(json!({ "nodeName": "n" })), "Succeeded", "nothing"),
            ("unbound and leaving", leaving, spec(json!({})), "Pending", "nothing"),
            ("gated", json!({}), spec(json!({ "schedulingGates": [{ "name": "g" }] })), "Pending", "nothing"),
        ];
        for (what, metadata, spec, phase, expected) in cases {
            assert_eq!(read(metadata, spec, phase), expected, "{what}");
        }
    }
}

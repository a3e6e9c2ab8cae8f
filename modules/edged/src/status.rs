//! The status of a pod as the API shows it, in kubelet's words.

mod container;

use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::observed::{Memory, Observed};
use crate::pod::{ContainerView, Pod, RestartPolicy};
use crate::qos;
use crate::status::container::Shown;
use crate::time::rfc3339;

/// What a status is made of.
#[derive(Debug, Clone, Copy)]
pub struct StatusInput<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What the runtime has of it.
    pub observed: Observed<'a>,
    /// What is remembered of it.
    pub memory: &'a Memory,
    /// The status before this one, for times and addresses that stay.
    pub before: &'a Value,
    /// The node's addresses.
    pub host_ips: &'a [IpAddr],
    /// The runtime's name, which prefixes container ids.
    pub runtime: &'a str,
    /// Whether all of the pod has ended or was ended.
    pub ended: bool,
    /// The time.
    pub now: SystemTime,
}

/// Makes the status.
#[must_use]
pub fn status(input: &StatusInput<'_>) -> Value {
    let pod = input.pod;
    let init: Vec<Shown> = shown(input, &pod.spec.init_containers);
    let main: Vec<Shown> = shown(input, &pod.spec.containers);
    let phase = phase(input, &init, &main);
    let mut status = Map::new();
    status.insert("phase".to_owned(), json!(phase));
    if let Some(verdict) = &input.memory.verdict {
        status.insert("reason".to_owned(), json!(verdict.reason));
        status.insert("message".to_owned(), json!(verdict.message));
    } else if pod.is_known_ended() {
        for key in ["reason", "message"] {
            if let Some(value) = pod.status.get(key) {
                status.insert(key.to_owned(), value.clone());
            }
        }
    }
    status.insert("conditions".to_owned(), Value::Array(conditions(input, &init, &main, phase)));
    if let Some(first) = input.host_ips.first() {
        status.insert("hostIP".to_owned(), json!(first.to_string()));
        status.insert("hostIPs".to_owned(), ip_list(input.host_ips));
    }
    addresses(input, &mut status);
    if let Some(started_at) = input.memory.started_at {
        status.insert("startTime".to_owned(), json!(rfc3339(started_at)));
    }
    status.insert("qosClass".to_owned(), json!(qos::class(pod).as_str()));
    if !init.is_empty() {
        let list = init.into_iter().map(Shown::into_value).collect();
        status.insert("initContainerStatuses".to_owned(), Value::Array(list));
    }
    let list = main.into_iter().map(Shown::into_value).collect();
    status.insert("containerStatuses".to_owned(), Value::Array(list));
    Value::Object(status)
}

fn ip_list(ips: &[IpAddr]) -> Value {
    Value::Array(ips.iter().map(|ip| json!({ "ip": ip.to_string() })).collect())
}

fn addresses(input: &StatusInput<'_>, status: &mut Map<String, Value>) {
    let observed = input.observed.newest().map(|sandbox| sandbox.ips.as_slice()).unwrap_or_default();
    let ips = match (input.pod.spec.host_network, input.observed.newest()) {
        (true, Some(_)) => input.host_ips,
        (true, None) => &[],
        (false, _) => observed,
    };
    if let Some(first) = ips.first() {
        status.insert("podIP".to_owned(), json!(first.to_string()));
        status.insert("podIPs".to_owned(), ip_list(ips));
    } else if input.ended {
        for key in ["podIP", "podIPs"] {
            if let Some(value) = input.before.get(key) {
                status.insert(key.to_owned(), value.clone());
            }
        }
    }
}

fn shown(input: &StatusInput<'_>, containers: &[ContainerView]) -> Vec<Shown> {
    let init_done = init_done(input);
    containers.iter().map(|container| container::show(input, container, init_done)).collect()
}

/// Tells whether nothing of the init containers holds the others back.
fn init_done(input: &StatusInput<'_>) -> bool {
    let init = &input.pod.spec.init_containers;
    let others = &input.pod.spec.containers;
    let began = others.iter().any(|c| !input.observed.runs(&c.name).is_empty());
    init.is_empty()
        || (began && input.observed.ready().is_some())
        || init.iter().all(|c| container::show(input, c, false).initialised(c))
}

fn phase(input: &StatusInput<'_>, init: &[Shown], main: &[Shown]) -> &'static str {
    // A pod that the API knows to have ended has ended, whoever said so.
    match input.pod.known_phase() {
        "Succeeded" => return "Succeeded",
        "Failed" => return "Failed",
        _ => {}
    }
    if input.memory.verdict.is_some() {
        return "Failed";
    }
    let policy = input.pod.spec.restart_policy;
    let pairs = || input.pod.spec.init_containers.iter().zip(init);
    let init_failed = pairs().any(|(view, shown)| !view.is_sidecar() && shown.failed());
    if init_failed && policy == RestartPolicy::Never {
        return "Failed";
    }
    let running = main.iter().filter(|shown| shown.running).count();
    let stopped = main.iter().filter(|shown| shown.exit_code.is_some() && !shown.running).count();
    let succeeded = main.iter().filter(|shown| !shown.running && shown.exit_code == Some(0)).count();
    if input.ended && running == 0 {
        return if succeeded == main.len() { "Succeeded" } else { "Failed" };
    }
    let init_pending = pairs().any(|(view, shown)| !shown.initialised(view));
    let main_began = running + stopped > 0;
    if (init_pending && !main_began) || running + stopped < main.len() {
        return "Pending";
    }
    if running > 0 || policy == RestartPolicy::Always {
        return "Running";
    }
    match (succeeded == main.len(), policy) {
        (true, _) => "Succeeded",
        (false, RestartPolicy::Never) => "Failed",
        (false, _) => "Running",
    }
}

fn conditions(input: &StatusInput<'_>, init: &[Shown], main: &[Shown], phase: &str) -> Vec<Value> {
    let names = |list: Vec<&str>| list.join(" ");
    let incomplete: Vec<&str> = input
        .pod
        .spec
        .init_containers
        .iter()
        .zip(init)
        .filter(|(view, shown)| !shown.initialised(view))
        .map(|(view, _)| view.name.as_str())
        .collect();
    let main_began = main.iter().any(|shown| shown.running || shown.exit_code.is_some());
    let sandbox = input.observed.ready();
    let network = sandbox.is_some_and(|s| input.pod.spec.host_network || !s.ips.is_empty());
    let initialized = if phase == "Succeeded" {
        Claim::holds_because("PodCompleted")
    } else if incomplete.is_empty() || main_began {
        Claim::holds()
    } else {
        Claim::fails(
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{}]", names(incomplete)),
        )
    };
    let sidecars = input.pod.spec.init_containers.iter().zip(init).filter(|(view, _)| view.is_sidecar());
    let unready: Vec<&str> = sidecars
        .chain(input.pod.spec.containers.iter().zip(main))
        .filter(|(_, shown)| !shown.ready)
        .map(|(view, _)| view.name.as_str())
        .collect();
    let containers_ready = match phase {
        "Succeeded" => Claim::fails("PodCompleted", String::new()),
        "Failed" => Claim::fails("PodFailed", String::new()),
        _ if unready.is_empty() => Claim::holds(),
        _ => Claim::fails(
            "ContainersNotReady",
            format!("containers with unready status: [{}]", names(unready)),
        ),
    };
    let ready = gates(input, &containers_ready);
    let ready_to_start = if network { Claim::holds() } else { Claim::fails("", String::new()) };
    [
        ("PodReadyToStartContainers", ready_to_start),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", Claim::holds()),
    ]
    .into_iter()
    .map(|(kind, claim)| claim.into_condition(kind, input))
    .collect()
}

fn gates(input: &StatusInput<'_>, containers_ready: &Claim) -> Claim {
    if !containers_ready.holds {
        return containers_ready.clone();
    }
    let held = input.pod.status.get("conditions").and_then(Value::as_array);
    let problems: Vec<String> = input
        .pod
        .spec
        .readiness_gates
        .iter()
        .filter_map(|gate| {
            let kind = gate.condition_type.as_str();
            let found = held.into_iter().flatten().find(|condition| condition["type"] == kind);
            match found.map(|condition| &condition["status"]) {
                Some(status) if status == "True" => None,
                Some(_) => {
                    Some(format!("the status of pod readiness gate {kind:?} is not \"True\", but False"))
                }
                None => {
                    Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist."))
                }
            }
        })
        .collect();
    if problems.is_empty() {
        Claim::holds()
    } else {
        Claim::fails("ReadinessGatesNotReady", problems.join(", "))
    }
}

#[derive(Debug, Clone)]
struct Claim {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Claim {
    fn holds() -> Self {
        Self::holds_because("")
    }

    fn holds_because(reason: &'static str) -> Self {
        Self { holds: true, reason, message: String::new() }
    }

    fn fails(reason: &'static str, message: String) -> Self {
        Self { holds: false, reason, message }
    }

    fn into_condition(self, kind: &str, input: &StatusInput<'_>) -> Value {
        let status = if self.holds { "True" } else { "False" };
        let held = input.before.get("conditions").and_then(Value::as_array);
        let before = held.into_iter().flatten().find(|condition| condition["type"] == kind);
        let since = before
            .filter(|condition| condition["status"] == status)
            .and_then(|condition| condition["lastTransitionTime"].as_str())
            .map_or_else(|| rfc3339(input.now), ToOwned::to_owned);
        let mut condition = json!({
            "type": kind,
            "status": status,
            "lastProbeTime": null,
            "lastTransitionTime": since,
        });
        if !self.reason.is_empty() {
            condition["reason"] = json!(self.reason);
        }
        if !self.message.is_empty() {
            condition["message"] = json!(self.message);
        }
        condition
    }
}

#[cfg(test)]
mod tests;

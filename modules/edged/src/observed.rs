//! What the runtime has of one pod, and what edged remembers of it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::backoff::Backoff;
use crate::pod::Pod;
use crate::ports::{Container, ContainerId, ContainerState, Exit, Sandbox, SandboxState};
use crate::probe::ProbeResults;

/// Why a container does not run, as its status says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// One word.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Waiting {
    /// Makes a reason.
    #[must_use]
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }
}

/// Why a pod was ended for good, by edged itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// One word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// What edged remembers of a pod beside what the runtime knows. A restart of edged loses it, and
/// nothing that matters with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Delays between runs, by container.
    pub crashes: BTreeMap<String, Backoff>,
    /// Delays between pulls, by image.
    pub pulls: BTreeMap<String, (Backoff, SystemTime, String)>,
    /// Delays between attempts to set up: sandbox (key empty) or container.
    pub setups: BTreeMap<String, (Backoff, SystemTime)>,
    /// Why containers do not run.
    pub waiting: BTreeMap<String, Waiting>,
    /// What probes found, by container id.
    pub probes: BTreeMap<ContainerId, ProbeResults>,
    /// Last words, by container id.
    pub messages: BTreeMap<ContainerId, String>,
    /// Containers that the API says have run and that the runtime does not have: their last restart
    /// count and end.
    pub lost: BTreeMap<String, (u32, Exit)>,
    /// Set when the pod was ended for good.
    pub verdict: Option<Verdict>,
    /// When the pod was taken up.
    pub started_at: Option<SystemTime>,
}

/// One run of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run<'a> {
    /// Its restart count.
    pub attempt: u32,
    /// What it does.
    pub state: ContainerState,
    /// The runtime's record and its sandbox; `None` for a lost one.
    pub held: Option<(&'a Sandbox, &'a Container)>,
}

impl Run<'_> {
    /// Returns how it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<&Exit> {
        match &self.state {
            ContainerState::Exited(exit) => Some(exit),
            _ => None,
        }
    }

    /// Tells whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }
}

/// The sandboxes of one pod, newest first.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    sandboxes: &'a [Sandbox],
}

impl<'a> Observed<'a> {
    /// Wraps sandboxes that [`sort`] has put in order.
    #[must_use]
    pub fn new(sandboxes: &'a [Sandbox]) -> Self {
        Self { sandboxes }
    }

    /// Returns all sandboxes, newest first.
    #[must_use]
    pub fn sandboxes(&self) -> &'a [Sandbox] {
        self.sandboxes
    }

    /// Returns the newest sandbox.
    #[must_use]
    pub fn newest(&self) -> Option<&'a Sandbox> {
        self.sandboxes.first()
    }

    /// Returns the newest sandbox if it is ready.
    #[must_use]
    pub fn ready(&self) -> Option<&'a Sandbox> {
        self.newest().filter(|sandbox| sandbox.state == SandboxState::Ready)
    }

    /// Returns all runs of a container that the runtime has, newest first.
    #[must_use]
    pub fn runs(&self, name: &str) -> Vec<Run<'a>> {
        let mut runs: Vec<Run<'a>> = self
            .containers()
            .filter(|(_, container)| container.name == name)
            .map(|(sandbox, container)| Run {
                attempt: container.attempt,
                state: container.state.clone(),
                held: Some((sandbox, container)),
            })
            .collect();
        runs.sort_by_key(|run| {
            let created = run.held.map(|(_, container)| container.created_at);
            std::cmp::Reverse((run.attempt, created))
        });
        runs
    }

    /// Returns the newest run of a container, a lost one included.
    #[must_use]
    pub fn latest(&self, name: &str, memory: &Memory) -> Option<Run<'a>> {
        self.runs(name).into_iter().next().or_else(|| {
            let (attempt, exit) = memory.lost.get(name)?;
            Some(Run { attempt: *attempt, state: ContainerState::Exited(exit.clone()), held: None })
        })
    }

    /// Returns all containers with their sandboxes.
    pub fn containers(&self) -> impl Iterator<Item = (&'a Sandbox, &'a Container)> + use<'a> {
        self.sandboxes
            .iter()
            .flat_map(|sandbox| sandbox.containers.iter().map(move |container| (sandbox, container)))
    }

    /// Tells whether any container runs, or may.
    #[must_use]
    pub fn any_running(&self) -> bool {
        self.containers().any(|(_, container)| {
            matches!(container.state, ContainerState::Running { .. } | ContainerState::Unknown)
        })
    }
}

/// Puts sandboxes of one pod in order, newest first.
pub fn sort(sandboxes: &mut [Sandbox]) {
    sandboxes.sort_by(|a, b| (b.pod.attempt, b.created_at, &b.id).cmp(&(a.pod.attempt, a.created_at, &a.id)));
}

/// Takes up what the API says that probes have found of containers which still run, so that a
/// restart of edged makes no ready container unready.
#[must_use]
pub fn known_probes(pod: &Pod, observed: Observed<'_>, runtime: &str) -> BTreeMap<ContainerId, ProbeResults> {
    let mut results = BTreeMap::new();
    for list in ["containerStatuses", "initContainerStatuses"] {
        let statuses = pod.status.get(list).and_then(serde_json::Value::as_array);
        for status in statuses.into_iter().flatten() {
            let held = observed.containers().map(|(_, held)| &held.id).find(|id| {
                status.get("containerID").and_then(serde_json::Value::as_str)
                    == Some(format!("{runtime}://{id}").as_str())
            });
            let is = |key: &str| status.get(key).and_then(serde_json::Value::as_bool).unwrap_or(false);
            if let Some(id) = held {
                let found = ProbeResults { started: is("started"), ready: is("ready"), fatal: None };
                results.insert(id.clone(), found);
            }
        }
    }
    results
}

/// Finds the containers that the API says have run and that the runtime does not have.
#[must_use]
pub fn lost(pod: &Pod, observed: Observed<'_>, now: SystemTime) -> BTreeMap<String, (u32, Exit)> {
    let mut lost = BTreeMap::new();
    for list in ["containerStatuses", "initContainerStatuses"] {
        let statuses = pod.status.get(list).and_then(serde_json::Value::as_array);
        for status in statuses.into_iter().flatten() {
            let name = status.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
            let ran = status.get("containerID").and_then(serde_json::Value::as_str);
            if ran.is_none_or(str::is_empty) || !observed.runs(name).is_empty() {
                continue;
            }
            let count = status.get("restartCount").and_then(serde_json::Value::as_u64).unwrap_or(0);
            let attempt = u32::try_from(count).unwrap_or(u32::MAX);
            lost.insert(name.to_owned(), (attempt, lost_exit(status, now)));
        }
    }
    lost
}

fn lost_exit(status: &serde_json::Value, now: SystemTime) -> Exit {
    let text = |path: &str| status.pointer(path).and_then(serde_json::Value::as_str);
    let time = |path: &str| text(path).and_then(crate::time::parse_rfc3339);
    if let Some(code) = status.pointer("/state/terminated/exitCode").and_then(serde_json::Value::as_i64) {
        return Exit {
            code: i32::try_from(code).unwrap_or(1),
            reason: text("/state/terminated/reason").unwrap_or_default().to_owned(),
            message: text("/state/terminated/message").unwrap_or_default().to_owned(),
            started_at: time("/state/terminated/startedAt"),
            finished_at: time("/state/terminated/finishedAt").unwrap_or(now),
        };
    }
    Exit {
        code: 137,
        reason: "ContainerStatusUnknown".to_owned(),
        message: "The container could not be located when the pod was terminated".to_owned(),
        started_at: time("/state/running/startedAt"),
        finished_at: now,
    }
}

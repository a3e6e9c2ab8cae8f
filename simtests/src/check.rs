//! What must hold: named invariants, how often each was checked, and where one was broken.

pub(crate) mod acknowledged;
pub(crate) mod cluster;
pub(crate) mod containers;
pub(crate) mod listed;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use edged::ports::Sandbox;
use protocol::Held;
use wire::Codec;
use wire::link::Frame;

use crate::link::Direction;
use acknowledged::Acknowledged;

/// Something that must hold in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// An object whose write the API server acknowledged is there, with that write or a newer one.
    AcknowledgedWritesAreKept,
    /// A node holds every change that it acknowledged to the cloud, whenever it connects.
    AcknowledgedChangesAreHeld,
    /// A pod has at most one sandbox that is ready.
    OneSandboxPerPod,
    /// A pod has at most one running container of a name.
    OneContainerPerName,
    /// After convergence nothing of a deleted pod is left on its node.
    NothingIsLeftBehind,
    /// A node that nothing happened to is never `NotReady`.
    UndisturbedNodesStayReady,
    /// After convergence statuses say what the runtimes have.
    StatusesAreTrue,
    /// After convergence volumes have the content of their objects.
    VolumesAreCurrent,
    /// A value that a device reported is not replaced by an older one, in the API.
    DeviceReportsStayInOrder,
    /// No module fails and none is stuck, unless the scenario allows it.
    NoUnexpectedWarning,
    /// Processes start.
    ProcessesStart,
    /// What a scenario itself demands of what it measured.
    DemandsAreMet,
}

impl Invariant {
    /// Returns the name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcknowledgedWritesAreKept => "acknowledged-writes-are-kept",
            Self::AcknowledgedChangesAreHeld => "acknowledged-changes-are-held",
            Self::OneSandboxPerPod => "one-sandbox-per-pod",
            Self::OneContainerPerName => "one-container-per-name",
            Self::NothingIsLeftBehind => "nothing-is-left-behind",
            Self::UndisturbedNodesStayReady => "undisturbed-nodes-stay-ready",
            Self::StatusesAreTrue => "statuses-are-true",
            Self::VolumesAreCurrent => "volumes-are-current",
            Self::DeviceReportsStayInOrder => "device-reports-stay-in-order",
            Self::NoUnexpectedWarning => "no-unexpected-warning",
            Self::ProcessesStart => "processes-start",
            Self::DemandsAreMet => "demands-are-met",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.found)
    }
}

#[derive(Debug, Default)]
struct State {
    checked: BTreeMap<Invariant, u64>,
    violation: Option<Violation>,
    allowed: Vec<String>,
    acknowledged: BTreeMap<String, Acknowledged>,
}

/// Counts checks and keeps the first violation of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one check; the first that failed is kept.
    pub(crate) fn check(&self, invariant: Invariant, outcome: Result<(), String>) {
        let mut state = self.lock();
        *state.checked.entry(invariant).or_default() += 1;
        if let Err(found) = outcome {
            state.violation.get_or_insert(Violation { invariant, found });
        }
    }

    /// Returns the first violation.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.lock().violation.clone()
    }

    /// Returns how often each invariant was checked.
    pub(crate) fn checked(&self) -> BTreeMap<&'static str, u64> {
        self.lock().checked.iter().map(|(invariant, count)| (invariant.name(), *count)).collect()
    }

    /// Lets log lines pass that contain a text.
    pub(crate) fn allow(&self, text: &str) {
        self.lock().allowed.push(text.to_owned());
    }

    /// Takes a warning or an error of a node.
    pub(crate) fn logged(&self, line: &str) {
        let is_allowed = self.lock().allowed.iter().any(|text| line.contains(text.as_str()));
        let outcome = if is_allowed { Ok(()) } else { Err(line.to_owned()) };
        self.check(Invariant::NoUnexpectedWarning, outcome);
    }

    /// Takes what one end of a link sent. `held` reads what the node has on its disk.
    pub(crate) fn frame_sent(
        &self,
        node: &str,
        codec: Codec,
        direction: Direction,
        frame: &Frame,
        held: impl FnOnce() -> Vec<Held>,
    ) {
        let outcome = {
            let mut state = self.lock();
            let acknowledged = state.acknowledged.entry(node.to_owned()).or_default();
            acknowledged.take(codec, direction, frame, held)
        };
        if let Some(outcome) = outcome {
            self.check(
                Invariant::AcknowledgedChangesAreHeld,
                outcome.map_err(|found| format!("{node}: {found}")),
            );
        }
    }

    /// Takes what a runtime has after a change.
    pub(crate) fn containers_changed(&self, node: &str, sandboxes: &[Sandbox]) {
        let named = |outcome: Result<(), String>| outcome.map_err(|found| format!("{node}: {found}"));
        self.check(Invariant::OneSandboxPerPod, named(containers::one_sandbox_per_pod(sandboxes)));
        self.check(Invariant::OneContainerPerName, named(containers::one_container_per_name(sandboxes)));
    }
}

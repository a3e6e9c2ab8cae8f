//! Probes: when the next one is due and what a row of results means.

use std::time::Duration;

use crate::pod::{ContainerView, ProbeView};

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Holds the others back until it succeeds.
    Startup,
    /// Ends the container when it fails.
    Liveness,
    /// Says whether the container may be used.
    Readiness,
}

impl ProbeKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// Returns the word of kubelet's events.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// Returns a container's probe of this kind.
    #[must_use]
    pub fn of(self, container: &ContainerView) -> Option<&ProbeView> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// The numbers of a probe, defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Before the first.
    pub delay: Duration,
    /// Between two.
    pub period: Duration,
    /// For one.
    pub timeout: Duration,
    /// Successes in a row that count.
    pub successes: u32,
    /// Failures in a row that count.
    pub failures: u32,
}

impl Schedule {
    /// Returns a probe's schedule.
    #[must_use]
    pub fn of(probe: &ProbeView) -> Self {
        let seconds = |value: Option<u64>, default: u64| {
            Duration::from_secs(value.filter(|value| *value > 0).unwrap_or(default))
        };
        let count = |value: Option<u32>, default: u32| value.filter(|value| *value > 0).unwrap_or(default);
        Self {
            delay: Duration::from_secs(probe.initial_delay_seconds),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
        }
    }
}

/// What the probes of one container have found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProbeResults {
    /// Whether the startup probe has succeeded once.
    pub started: bool,
    /// Whether the readiness probe succeeds.
    pub ready: bool,
    /// Which probe asks for the container's end.
    pub fatal: Option<ProbeKind>,
}

/// A row of equal results of one probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row {
    last: Option<bool>,
    length: u32,
}

impl Row {
    /// Adds a result. Returns what the row means from here on, or `None` while it is too short.
    pub fn add(&mut self, success: bool, schedule: &Schedule) -> Option<bool> {
        if self.last == Some(success) {
            self.length = self.length.saturating_add(1);
        } else {
            (self.last, self.length) = (Some(success), 1);
        }
        let enough = if success { schedule.successes } else { schedule.failures };
        (self.length >= enough).then_some(success)
    }
}

/// Applies what a row of a probe means. Returns whether anything changed.
pub fn apply(results: &mut ProbeResults, kind: ProbeKind, success: bool) -> bool {
    let before = *results;
    match (kind, success) {
        (ProbeKind::Startup, true) => results.started = true,
        (ProbeKind::Readiness, ready) => results.ready = ready,
        (ProbeKind::Startup | ProbeKind::Liveness, false) => results.fatal = Some(kind),
        (ProbeKind::Liveness, true) => {}
    }
    *results != before
}

/// Tells whether a running container has started: its startup probe, if any, has succeeded.
#[must_use]
pub fn has_started(container: &ContainerView, results: Option<&ProbeResults>) -> bool {
    container.startup_probe.is_none() || results.is_some_and(|results| results.started)
}

/// Tells whether a running container is ready.
#[must_use]
pub fn is_ready(container: &ContainerView, results: Option<&ProbeResults>) -> bool {
    has_started(container, results)
        && (container.readiness_probe.is_none() || results.is_some_and(|results| results.ready))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_once_it_is_long_enough() {
        let schedule = Schedule { successes: 2, ..Schedule::of(&ProbeView::default()) };
        let mut row = Row::default();
        let results: Vec<_> = [false, false, false, false, true, true, false]
            .into_iter()
            .map(|success| row.add(success, &schedule))
            .collect();
        assert_eq!(results, [None, None, Some(false), Some(false), None, Some(true), None]);
    }

    #[test]
    fn readiness_waits_for_the_startup_probe() {
        let container = ContainerView {
            startup_probe: Some(ProbeView::default()),
            readiness_probe: Some(ProbeView::default()),
            ..ContainerView::default()
        };
        let mut results = ProbeResults::default();
        assert!(apply(&mut results, ProbeKind::Readiness, true));
        assert!(!is_ready(&container, Some(&results)));
        assert!(apply(&mut results, ProbeKind::Startup, true));
        assert!(is_ready(&container, Some(&results)));
        assert!(!is_ready(&container, None));
        assert!(is_ready(&ContainerView::default(), None));
    }

    #[test]
    fn a_failed_liveness_probe_is_fatal() {
        let mut results = ProbeResults::default();
        assert!(!apply(&mut results, ProbeKind::Liveness, true));
        assert!(apply(&mut results, ProbeKind::Liveness, false));
        assert_eq!(results.fatal, Some(ProbeKind::Liveness));
    }
}

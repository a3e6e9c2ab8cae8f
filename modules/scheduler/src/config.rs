//! The sections `scheduler` and `nodeLifecycle` of the configuration.

use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

/// Configures the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SchedulerConfig {
    /// Pods with this `spec.schedulerName` are scheduled.
    pub scheduler_name: String,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self { scheduler_name: "default-scheduler".to_owned() }
    }
}

impl ModuleConfig for SchedulerConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.scheduler_name.is_empty() {
            problems.push("schedulerName", "must not be empty");
        }
    }
}

/// Configures the node lifecycle controller.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeLifecycleConfig {
    /// How long a node may be silent before it counts as unreachable.
    #[serde(with = "beehive::config::duration")]
    pub node_monitor_grace_period: Duration,
    /// How often nodes are looked at.
    #[serde(with = "beehive::config::duration")]
    pub node_monitor_period: Duration,
}

impl Default for NodeLifecycleConfig {
    fn default() -> Self {
        Self {
            node_monitor_grace_period: Duration::from_secs(40),
            node_monitor_period: Duration::from_secs(5),
        }
    }
}

impl ModuleConfig for NodeLifecycleConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.node_monitor_period.is_zero() {
            problems.push("nodeMonitorPeriod", "must be more than 0");
        }
        if self.node_monitor_grace_period <= self.node_monitor_period {
            problems.push("nodeMonitorGracePeriod", "must be longer than nodeMonitorPeriod");
        }
    }
}

//! The section `edgeController` of the configuration.

use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

/// Configures the edge controller.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EdgeControllerConfig {
    /// How long the Kubernetes API is tried for one request of a node.
    #[serde(with = "beehive::config::duration")]
    pub request_timeout: Duration,
    /// How many requests of all nodes are before the Kubernetes API at once. Leases do not count.
    pub requests_at_once: u32,
    /// How often what the node of a living session holds is compared with what it must know.
    #[serde(with = "beehive::config::duration")]
    pub compare_period: Duration,
    /// Mebibytes of changes that may wait here for one node, before its session ends.
    pub node_queue_mib: u32,
}

impl Default for EdgeControllerConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            requests_at_once: 100,
            compare_period: Duration::from_secs(900),
            node_queue_mib: 16,
        }
    }
}

impl EdgeControllerConfig {
    pub(crate) fn node_queue_bytes(&self) -> usize {
        usize::try_from(self.node_queue_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20)
    }
}

impl ModuleConfig for EdgeControllerConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.request_timeout.is_zero() {
            problems.push("requestTimeout", "must be more than 0");
        }
        if self.compare_period.is_zero() {
            problems.push("comparePeriod", "must be more than 0");
        }
        for (path, number) in
            [("requestsAtOnce", self.requests_at_once), ("nodeQueueMib", self.node_queue_mib)]
        {
            if number == 0 {
                problems.push(path, "must be at least 1");
            }
        }
    }
}

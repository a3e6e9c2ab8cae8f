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
}

impl Default for EdgeControllerConfig {
    fn default() -> Self {
        Self { request_timeout: Duration::from_secs(30), requests_at_once: 100 }
    }
}

impl ModuleConfig for EdgeControllerConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.request_timeout.is_zero() {
            problems.push("requestTimeout", "must be more than 0");
        }
        if self.requests_at_once == 0 {
            problems.push("requestsAtOnce", "must be at least 1");
        }
    }
}

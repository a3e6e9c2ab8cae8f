//! The module's section of the YAML.

use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

/// How the embedded API server keeps its objects in order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiServerConfig {
    /// How long after a change objects are looked after: garbage collection, the end of namespaces. All
    /// changes of that time share one look. Default 500 ms.
    #[serde(with = "beehive::config::duration")]
    pub upkeep_period: Duration,
    /// How long events are kept. Default one hour.
    #[serde(with = "beehive::config::duration")]
    pub event_ttl: Duration,
    /// How long pods are kept whose node does not exist. Default 40 s.
    #[serde(with = "beehive::config::duration")]
    pub lost_pod_patience: Duration,
}

impl Default for ApiServerConfig {
    fn default() -> Self {
        Self {
            upkeep_period: Duration::from_millis(500),
            event_ttl: Duration::from_secs(3600),
            lost_pod_patience: Duration::from_secs(40),
        }
    }
}

impl ModuleConfig for ApiServerConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.upkeep_period < Duration::from_millis(10) {
            problems.push("upkeepPeriod", "must be at least 10ms");
        }
        if self.event_ttl < Duration::from_secs(1) {
            problems.push("eventTtl", "must be at least 1s");
        }
    }
}

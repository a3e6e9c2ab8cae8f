//! The section `syncController` of the configuration.

use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

/// Configures the sync controller.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncControllerConfig {
    /// How many records are written per second, at most.
    pub writes_per_second: u32,
    /// How long a record that was written is left alone, however often its object changes.
    #[serde(with = "beehive::config::duration")]
    pub record_interval: Duration,
}

impl Default for SyncControllerConfig {
    fn default() -> Self {
        Self { writes_per_second: 20, record_interval: Duration::from_secs(30) }
    }
}

impl ModuleConfig for SyncControllerConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.writes_per_second == 0 {
            problems.push("writesPerSecond", "must be at least 1");
        }
    }
}

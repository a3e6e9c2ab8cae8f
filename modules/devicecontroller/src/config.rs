//! The section `deviceController` of the configuration.

use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

/// Configures the device controller.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceControllerConfig {
    /// The shortest time between two writes of the status of one device, however often it reports.
    #[serde(with = "beehive::config::duration")]
    pub status_interval: Duration,
    /// How many statuses are written in a second, of all devices together. When more devices report, they
    /// take turns, and each is shown less often.
    pub writes_per_second: u32,
    /// How many statuses are being written at a time.
    pub writes_at_once: u32,
}

impl Default for DeviceControllerConfig {
    fn default() -> Self {
        Self { status_interval: Duration::from_secs(1), writes_per_second: 200, writes_at_once: 16 }
    }
}

impl ModuleConfig for DeviceControllerConfig {
    fn validate(&self, problems: &mut Problems) {
        for (field, value) in
            [("writesPerSecond", self.writes_per_second), ("writesAtOnce", self.writes_at_once)]
        {
            if value == 0 {
                problems.push(field, "must be at least 1");
            }
        }
    }
}

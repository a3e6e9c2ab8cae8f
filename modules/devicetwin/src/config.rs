//! The section `deviceTwin` of the configuration.
//!
//! `dmiSockPath`, KubeEdge's key for mappers, is not one of ours: nothing listens there.

use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

/// The shortest interval between reports: an API server is no place for telemetry.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Configures the device twins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceTwinConfig {
    /// How much time lies at least between two reports of one device to the cloud.
    #[serde(with = "beehive::config::duration")]
    pub report_interval: Duration,
}

impl Default for DeviceTwinConfig {
    fn default() -> Self {
        Self { report_interval: Duration::from_secs(1) }
    }
}

impl ModuleConfig for DeviceTwinConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.report_interval < INTERVAL_MIN {
            problems.push("reportInterval", "must be at least 100ms");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_read_as_people_write_it_and_has_a_least() {
        let read = |text: &str| {
            beehive::section::parse::<DeviceTwinConfig>(
                &serde_json::json!({ "reportInterval": text }),
                "modules.deviceTwin",
            )
        };
        assert_eq!(read("2s").expect("a section").report_interval, Duration::from_secs(2));
        for (text, problem) in [("1ms", "must be at least 100ms"), ("soon", "is no duration")] {
            let problems = read(text).expect_err(text).to_string();
            assert!(problems.starts_with("modules.deviceTwin.reportInterval: "), "{problems}");
            assert!(problems.contains(problem), "{problems}");
        }
        let none =
            beehive::section::parse::<DeviceTwinConfig>(&serde_json::Value::Null, "modules.deviceTwin");
        assert_eq!(none.expect("a section"), DeviceTwinConfig::default());
    }
}

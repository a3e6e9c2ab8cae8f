//! The section `dmi` of the configuration.
//!
//! Where the socket is says KubeEdge's key `deviceTwin.dmiSockPath`, and without the device twins nobody is
//! listened to: in KubeEdge, DMI is a part of that module and has no section.

use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

/// Configures how mappers are served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DmiConfig {
    /// How many reports a second one mapper may send. Beyond, it is told to wait.
    ///
    /// KubeEdge's edgecore takes one a second of all mappers together.
    pub reports_per_second: u32,
    /// How many reports a mapper may send at once after it was quiet.
    pub report_burst: u32,
    /// How long a mapper may take to answer a call.
    #[serde(with = "beehive::config::duration")]
    pub call_timeout: Duration,
}

impl Default for DmiConfig {
    fn default() -> Self {
        Self { reports_per_second: 1000, report_burst: 2000, call_timeout: Duration::from_secs(10) }
    }
}

impl ModuleConfig for DmiConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.reports_per_second == 0 {
            problems.push("reportsPerSecond", "must be at least 1");
        }
        if self.report_burst == 0 {
            problems.push("reportBurst", "must be at least 1");
        }
        if self.call_timeout < Duration::from_millis(100) || self.call_timeout > Duration::from_secs(600) {
            problems.push("callTimeout", "must be between 100ms and 10m");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_has_defaults_and_each_problem_is_told() {
        let read = |value: serde_json::Value| beehive::section::parse::<DmiConfig>(&value, "modules.dmi");
        assert_eq!(read(serde_json::Value::Null).expect("a section"), DmiConfig::default());
        let wrong = serde_json::json!({ "reportsPerSecond": 0, "reportBurst": 0, "callTimeout": "1h" });
        let problems = read(wrong).expect_err("all is wrong").to_string();
        for key in ["reportsPerSecond", "reportBurst", "callTimeout"] {
            assert!(problems.contains(&format!("modules.dmi.{key}: must be ")), "{problems}");
        }
    }
}

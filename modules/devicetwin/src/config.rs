//! The section `deviceTwin` of the configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

/// The shortest interval between reports: an API server is no place for telemetry.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Where KubeEdge's edgecore listens for mappers.
const DMI_DIRECTORY: &str = "/etc/kubeedge/";
/// The name of the socket, as in KubeEdge always this one.
const DMI_SOCKET: &str = "dmi.sock";

/// Configures the device twins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceTwinConfig {
    /// How much time lies at least between two reports of one device to the cloud.
    #[serde(with = "beehive::config::duration")]
    pub report_interval: Duration,
    /// The directory of the socket `dmi.sock`, on which the edge listens for mappers. Of a path that ends in
    /// `.sock` only the directory counts, as in KubeEdge.
    pub dmi_sock_path: String,
}

impl DeviceTwinConfig {
    /// Returns where the edge listens for mappers. The process gives that to DMI's adapter.
    #[must_use]
    pub fn dmi_socket(&self) -> PathBuf {
        let given = if self.dmi_sock_path.is_empty() { DMI_DIRECTORY } else { &self.dmi_sock_path };
        let path = Path::new(given);
        let directory = if given.ends_with(".sock") { path.parent().unwrap_or(Path::new("/")) } else { path };
        directory.join(DMI_SOCKET)
    }
}

impl Default for DeviceTwinConfig {
    fn default() -> Self {
        Self { report_interval: Duration::from_secs(1), dmi_sock_path: DMI_DIRECTORY.to_owned() }
    }
}

impl ModuleConfig for DeviceTwinConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.report_interval < INTERVAL_MIN {
            problems.push("reportInterval", "must be at least 100ms");
        }
        if !self.dmi_sock_path.is_empty() && !self.dmi_sock_path.starts_with('/') {
            problems.push("dmiSockPath", "must be an absolute path");
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
    #[test]
    fn the_socket_of_mappers_is_where_kubeedge_has_it() {
        for (given, expect) in [
            ("", "/etc/kubeedge/dmi.sock"),
            ("/etc/kubeedge/", "/etc/kubeedge/dmi.sock"),
            ("/run/edge", "/run/edge/dmi.sock"),
            ("/run/edge/other.sock", "/run/edge/dmi.sock"),
        ] {
            let config = DeviceTwinConfig { dmi_sock_path: given.to_owned(), ..DeviceTwinConfig::default() };
            assert_eq!(config.dmi_socket(), Path::new(expect), "{given}");
        }
        let relative = serde_json::json!({ "dmiSockPath": "run/edge" });
        let problems = beehive::section::parse::<DeviceTwinConfig>(&relative, "modules.deviceTwin");
        let problems = problems.expect_err("it is relative").to_string();
        assert_eq!(problems, "modules.deviceTwin.dmiSockPath: must be an absolute path");
    }
}

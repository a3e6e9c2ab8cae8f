//! How a runtime arranges cgroups, and how a pod's parent is written for it.

use std::time::Duration;

use edged::ports::RuntimeError;
use serde_json::Value;
use tonic::transport::Channel;

use super::connection::Connection;
use super::proto;
use super::proto::runtime_service_client::RuntimeServiceClient;

/// Who makes a runtime's cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// The runtime itself, by making directories.
    Cgroupfs,
    /// systemd, which wants slices.
    Systemd,
}

impl CgroupDriver {
    /// Returns its name in configurations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }

    /// Writes a parent that is given as a path of cgroups, such as `/kubepods/burstable/pod1-2`, as
    /// this driver wants it, such as `kubepods-burstable-pod1_2.slice`.
    pub(super) fn parent(self, path: &str) -> String {
        match self {
            Self::Systemd if path.is_empty() => "kubepods.slice".to_owned(),
            Self::Systemd if !path.ends_with(".slice") => {
                let parts: Vec<String> = path
                    .split('/')
                    .filter(|part| !part.is_empty())
                    .map(|part| part.replace('-', "_"))
                    .collect();
                format!("{}.slice", parts.join("-"))
            }
            Self::Systemd | Self::Cgroupfs => path.to_owned(),
        }
    }
}

/// Asks the runtime for its driver: by the call made for it, or out of the configuration that
/// containerd shows when it is older than that call.
pub(super) async fn ask_driver(
    runtime: &Connection<RuntimeServiceClient<Channel>>,
    deadline: Duration,
) -> Result<CgroupDriver, RuntimeError> {
    let message = proto::RuntimeConfigRequest {};
    let answer = runtime
        .ask("runtime config", deadline, message, async |mut client, request| {
            client.runtime_config(request).await
        })
        .await;
    match answer {
        Ok(reply) => {
            let systemd = proto::CgroupDriver::Systemd;
            return Ok(match reply.linux {
                Some(linux) if linux.cgroup_driver() == systemd => CgroupDriver::Systemd,
                _ => CgroupDriver::Cgroupfs,
            });
        }
        Err(lost @ (RuntimeError::Unavailable(_) | RuntimeError::TimedOut(_))) => return Err(lost),
        Err(_older) => {}
    }
    let message = proto::StatusRequest { verbose: true };
    let reply = runtime
        .ask("status", deadline, message, async |mut client, request| client.status(request).await)
        .await?;
    Ok(reply.info.get("config").map_or(CgroupDriver::Cgroupfs, |config| driver_in_config(config)))
}

/// Reads the driver from containerd's CRI configuration, as its status shows it.
fn driver_in_config(config: &str) -> CgroupDriver {
    let systemd = || {
        let config: Value = serde_json::from_str(config).ok()?;
        let containerd = config.get("containerd")?;
        let default = containerd.get("defaultRuntimeName")?.as_str()?;
        let options = containerd.get("runtimes")?.get(default)?.get("options")?;
        options.get("SystemdCgroup")?.as_bool()
    };
    match systemd() {
        Some(true) => CgroupDriver::Systemd,
        Some(false) | None => CgroupDriver::Cgroupfs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_becomes_a_slice_for_systemd_only() {
        let check = |driver: CgroupDriver, path, expect| assert_eq!(driver.parent(path), expect);
        check(CgroupDriver::Cgroupfs, "/kubepods/burstable/pod1-2", "/kubepods/burstable/pod1-2");
        check(CgroupDriver::Cgroupfs, "", "");
        check(CgroupDriver::Systemd, "/kubepods/burstable/pod1-2", "kubepods-burstable-pod1_2.slice");
        check(CgroupDriver::Systemd, "kubepods-pod1.slice", "kubepods-pod1.slice");
        check(CgroupDriver::Systemd, "", "kubepods.slice");
    }

    #[test]
    fn the_driver_is_found_in_containerds_configuration() {
        let check = |config: &str, expect| assert_eq!(driver_in_config(config), expect, "{config}");
        let config = |options| {
            format!(
                r#"{{"containerd":{{"defaultRuntimeName":"runc","runtimes":{{"runc":{{"options":{options}}}}}}}}}"#
            )
        };
        check(&config(r#"{"SystemdCgroup":true}"#), CgroupDriver::Systemd);
        check(&config(r#"{"SystemdCgroup":false}"#), CgroupDriver::Cgroupfs);
        check(&config("null"), CgroupDriver::Cgroupfs);
        check("not json", CgroupDriver::Cgroupfs);
    }
}

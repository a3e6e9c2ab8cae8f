//! Whether the kernel's cgroups can hold pods.

use std::path::Path;

use edgecore::cri::CgroupDriver;

use crate::finding::Finding;
use crate::world::{RuntimeSeen, World};

const CHECK: &str = "cgroups";
/// What limits of pods need.
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];

/// Reads which controllers are there, and whether the runtime's driver fits.
pub(crate) fn look(world: &dyn World, runtime: Option<&RuntimeSeen>) -> Finding {
    let (version, controllers) = match controllers(world) {
        Ok(found) => found,
        Err(finding) => return finding,
    };
    let missing: Vec<&str> =
        WANTED.into_iter().filter(|wanted| !controllers.iter().any(|found| found == wanted)).collect();
    if !missing.is_empty() {
        return Finding::failed(
            CHECK,
            format!("{version}, without {}", missing.join(", ")),
            "turn them on at the kernel's command line, such as cgroup_enable=memory cgroup_memory=1, and reboot",
        );
    }
    let driver = runtime.and_then(|runtime| runtime.driver);
    let systemd_runs = world.read(Path::new("/proc/1/comm")).is_ok_and(|name| name.trim() == "systemd");
    if driver == Some(CgroupDriver::Systemd) && !systemd_runs {
        return Finding::failed(
            CHECK,
            format!("{version}; the runtime wants slices of systemd, which is not this machine's init"),
            "set SystemdCgroup = false in /etc/containerd/config.toml and restart containerd",
        );
    }
    let driver = driver.map(|driver| format!("; the runtime uses {}", driver.as_str())).unwrap_or_default();
    Finding::ok(CHECK, format!("{version} with {}{driver}", WANTED.join(", ")))
}

fn controllers(world: &dyn World) -> Result<(&'static str, Vec<String>), Finding> {
    if let Ok(text) = world.read(Path::new("/sys/fs/cgroup/cgroup.controllers")) {
        return Ok(("cgroups v2", text.split_whitespace().map(str::to_owned).collect()));
    }
    let table = Path::new("/proc/cgroups");
    let text = world.read(table).map_err(|error| {
        Finding::failed(CHECK, format!("{}: {error}", table.display()), "use a kernel with cgroups")
    })?;
    let enabled = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [name, _, _, "1"] => Some(name.to_owned()),
            _ => None,
        }
    });
    Ok(("cgroups v1", enabled.collect()))
}

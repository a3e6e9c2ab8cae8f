//! The machine that the node is, as its kernel and its files describe it.

mod describe;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use edged::ports::{FileError, NodeFacts, NodeInfo, NodeUsage};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::statvfs::statvfs;

use describe::{
    count_cpus, go_architecture, memory_bytes, os_release_name, processes, resolv_conf, route_interface,
};

/// The machine of this process.
#[derive(Debug, Clone)]
pub struct Machine {
    storage: PathBuf,
    resolv_conf: PathBuf,
    interface: Option<String>,
}

impl Machine {
    /// Describes the machine. `storage` is on the file system whose space counts, `resolv_conf` is
    /// the resolver configuration that pods inherit, and an `interface`, if given, is the one
    /// whose addresses come first.
    #[must_use]
    pub fn new(storage: PathBuf, resolv_conf: PathBuf, interface: Option<String>) -> Self {
        Self { storage, resolv_conf, interface }
    }

    fn read_facts(&self) -> Result<NodeFacts, FileError> {
        let machine_id = first_line(&["/etc/machine-id", "/var/lib/dbus/machine-id"]);
        let system_uuid = first_line(&["/sys/class/dmi/id/product_uuid"]);
        let storage = self.space()?;
        Ok(NodeFacts {
            hostname: host_name()?,
            addresses: self.addresses()?,
            cpu_millis: count_cpus(&read("/sys/devices/system/cpu/online").unwrap_or_default()) * 1000,
            memory_bytes: memory_bytes(&read("/proc/meminfo")?, "MemTotal"),
            storage_bytes: storage.bytes,
            os_image: os_image(),
            operating_system: std::env::consts::OS.to_owned(),
            kernel_version: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            architecture: go_architecture(std::env::consts::ARCH).to_owned(),
            system_uuid: if system_uuid.is_empty() { machine_id.clone() } else { system_uuid },
            machine_id,
            boot_id: read("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            resolv_conf: resolv_conf(&fs::read_to_string(&self.resolv_conf).unwrap_or_default()),
        })
    }

    fn read_usage(&self) -> Result<NodeUsage, FileError> {
        let storage = self.space()?;
        let pids_max = read("/proc/sys/kernel/pid_max")?.trim().parse::<u64>().unwrap_or_default();
        Ok(NodeUsage {
            memory_available_bytes: memory_bytes(&read("/proc/meminfo")?, "MemAvailable"),
            storage_available_bytes: storage.bytes_available,
            storage_bytes: storage.bytes,
            inodes_available: storage.inodes_available,
            inodes: storage.inodes,
            pids_available: pids_max.saturating_sub(processes(&read("/proc/loadavg")?)),
        })
    }

    /// Lists the addresses that others can use: those of the chosen or the default route's
    /// interface first, and IPv4 before IPv6 among them.
    fn addresses(&self) -> Result<Vec<IpAddr>, FileError> {
        let first = self.interface.clone().or_else(|| route_interface(&read("/proc/net/route").ok()?));
        let interfaces =
            getifaddrs().map_err(|errno| failed("list the addresses of", Path::new("/"), errno.into()))?;
        let mut found: Vec<(bool, bool, IpAddr)> = Vec::new();
        for interface in interfaces {
            let up = interface.flags.contains(InterfaceFlags::IFF_UP);
            let Some(address) = interface.address.filter(|_| up) else { continue };
            let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) => IpAddr::V6(v6.ip()),
                _ => continue,
            };
            if is_reachable(address) {
                let other = first.as_deref() != Some(interface.interface_name.as_str());
                found.push((other, address.is_ipv6(), address));
            }
        }
        found.sort_by_key(|(other, v6, _)| (*other, *v6));
        Ok(found.into_iter().map(|(_, _, address)| address).collect())
    }

    /// Measures the file system of the nearest directory that exists.
    fn space(&self) -> Result<Space, FileError> {
        let existing = self.storage.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let stat =
            statvfs(existing).map_err(|errno| failed("measure the space of", existing, errno.into()))?;
        let unit = stat.fragment_size();
        Ok(Space {
            bytes: stat.blocks().saturating_mul(unit),
            bytes_available: stat.blocks_available().saturating_mul(unit),
            inodes: stat.files(),
            inodes_available: stat.files_available(),
        })
    }
}

/// Returns the machine's host name in lower case, which is its node's name unless another is chosen.
///
/// # Errors
///
/// When the kernel does not say.
pub fn host_name() -> Result<String, FileError> {
    let name = nix::unistd::gethostname()
        .map_err(|errno| failed("read the host name of", Path::new("/"), errno.into()))?;
    Ok(name.to_string_lossy().trim().to_lowercase())
}

struct Space {
    bytes: u64,
    bytes_available: u64,
    inodes: u64,
    inodes_available: u64,
}

#[async_trait]
impl NodeInfo for Machine {
    async fn facts(&self) -> Result<NodeFacts, FileError> {
        let machine = self.clone();
        aside(move || machine.read_facts()).await
    }

    async fn usage(&self) -> Result<NodeUsage, FileError> {
        let machine = self.clone();
        aside(move || machine.read_usage()).await
    }
}

/// Asks the kernel from another thread: a file system may be on a network that hangs.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(FileError::Invalid(format!("the machine could not be read: {error}"))))
}

fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

fn os_image() -> String {
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| read(path).ok());
    text.and_then(|text| os_release_name(&text)).unwrap_or_else(|| "Linux".to_owned())
}

fn first_line(paths: &[&str]) -> String {
    let text = paths.iter().find_map(|path| read(path).ok());
    text.and_then(|text| text.lines().next().map(|line| line.trim().to_owned())).unwrap_or_default()
}

fn read(path: &str) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|error| failed("read", Path::new(path), error))
}

fn failed(action: &'static str, path: &Path, error: io::Error) -> FileError {
    FileError::Io { action, path: path.to_owned(), cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_is_described() {
        let machine = Machine::new("/var/lib/nothing-is-here".into(), "/etc/resolv.conf".into(), None);
        let facts = machine.facts().await.expect("this is a machine");
        assert!(!facts.hostname.is_empty() && facts.hostname == facts.hostname.to_lowercase());
        assert!(facts.cpu_millis >= 1000 && facts.memory_bytes > 1 << 26 && facts.storage_bytes > 1 << 26);
        assert!(!facts.kernel_version.is_empty() && facts.boot_id.len() == 36, "{facts:?}");
        assert!(facts.addresses.iter().all(|address| !address.is_loopback()));
        let usage = machine.usage().await.expect("this is a machine");
        assert!(usage.memory_available_bytes <= facts.memory_bytes && usage.memory_available_bytes > 0);
        assert!(usage.storage_available_bytes <= usage.storage_bytes);
        assert!(usage.pids_available > 0 && usage.inodes_available <= usage.inodes);
    }
}

//! The machine that keadm runs on.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use beehive::{Clock, SystemClock};
use edgecore::cri::{SocketEndpoint, probe, probe_cgroup_driver};
use edgecore::enrol::{RequestError, Survey, survey};
use nix::sys::statvfs::statvfs;
use node_config::{Causes, Process};
use protocol::NodeName;
use store_sled::{OpenError, examine};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{ProcessSeen, RuntimeSeen, Space, StoreSeen, World};
use crate::kubernetes;

/// Files of the system are short.
const FILE_BYTES_MAX: u64 = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KUBE_TIMEOUT: Duration = Duration::from_secs(15);
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Larger stores are not copied to be read.
const STORE_BYTES_MAX: u64 = 1 << 30;

/// The machine that keadm runs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThisMachine;

#[async_trait]
impl World for ThisMachine {
    fn now(&self) -> SystemTime {
        SystemClock.now()
    }

    fn is_root(&self) -> bool {
        nix::unistd::geteuid().is_root()
    }

    fn host_name(&self) -> Result<String, String> {
        edgecore::machine::host_name().map_err(|error| error.to_string())
    }

    fn program(&self, process: Process) -> Option<PathBuf> {
        let name = process.name();
        let beside = std::env::current_exe().ok().and_then(|keadm| Some(keadm.parent()?.join(name)));
        let installed = ["/usr/local/bin", "/usr/bin"].map(|directory| Path::new(directory).join(name));
        installed.into_iter().chain(beside).find(|path| path.is_file())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let mut text = String::new();
        File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        fs::metadata(path).ok().map(|found| found.permissions().mode())
    }

    fn processes(&self) -> Vec<ProcessSeen> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let seen = entries.flatten().filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            Some(ProcessSeen { id, name: name.trim().to_owned() })
        });
        seen.collect()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let stat = statvfs(existing)?;
        let unit = stat.fragment_size();
        Ok(Space {
            bytes: stat.blocks().saturating_mul(unit),
            bytes_available: stat.blocks_available().saturating_mul(unit),
            inodes: stat.files(),
            inodes_available: stat.files_available(),
        })
    }

    fn is_free(&self, address: SocketAddr) -> io::Result<()> {
        TcpListener::bind(address).map(drop)
    }

    async fn store(&self, directory: &Path) -> StoreSeen {
        let directory = directory.to_owned();
        let read = tokio::task::spawn_blocking(move || read_store(&directory)).await;
        read.unwrap_or_else(|error| StoreSeen::Broken { cause: error.to_string() })
    }

    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = timeout(RESOLVE_TIMEOUT, lookup_host((host, 0))).await.map_err(io::Error::from)??;
        Ok(found.map(|address| address.ip()).collect())
    }

    async fn connect(&self, server: &str) -> io::Result<()> {
        timeout(CONNECT_TIMEOUT, TcpStream::connect(server)).await.map_err(io::Error::from)?.map(drop)
    }

    async fn survey(&self, url: &str, node: &NodeName) -> Result<Survey, RequestError> {
        survey(url, node).await
    }

    async fn kube(&self, kubeconfig: &Path) -> Result<String, String> {
        let version = async {
            let client = kubernetes::client(kubeconfig).await.map_err(|error| Causes(&error).to_string())?;
            client.apiserver_version().await.map_err(|error| error.to_string())
        };
        let version = timeout(KUBE_TIMEOUT, version).await;
        version.map_err(|_| format!("no answer within {KUBE_TIMEOUT:?}"))?.map(|version| version.git_version)
    }

    async fn runtime(&self, endpoint: &SocketEndpoint) -> Result<RuntimeSeen, String> {
        let probed = probe(endpoint).await.map_err(|error| error.to_string())?;
        let driver = probe_cgroup_driver(endpoint).await.ok();
        Ok(RuntimeSeen { version: probed.version, status: probed.status, driver })
    }
}

fn read_store(directory: &Path) -> StoreSeen {
    let broken = |cause: String| StoreSeen::Broken { cause };
    match bytes_below(directory) {
        Ok(bytes) if bytes > STORE_BYTES_MAX => return StoreSeen::Large { bytes },
        Ok(_) => {}
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return StoreSeen::Missing,
        Err(error) => return broken(error.to_string()),
    }
    let scratch = match tempfile::tempdir() {
        Ok(scratch) => scratch,
        Err(error) => return broken(format!("there is no room to read a copy: {error}")),
    };
    match examine(directory, scratch.path()) {
        Ok(Some(examined)) => StoreSeen::Read(examined),
        Ok(None) => StoreSeen::Missing,
        Err(OpenError::InUse { holder, .. }) => StoreSeen::InUse { holder },
        Err(error) => broken(Causes(&error).to_string()),
    }
}

fn bytes_below(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file() {
                bytes = bytes.saturating_add(entry.metadata()?.len());
            }
        }
    }
    Ok(bytes)
}

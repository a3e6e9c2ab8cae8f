//! A machine, a network and a manager of services that do as a test says.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use edgecore::cri::{CgroupDriver, SocketEndpoint};
use edgecore::enrol::{Registration, RequestError, Survey};
use edged::ports::{RuntimeStatus, RuntimeVersion};
use node_config::Process;
use protocol::NodeName;

use crate::services::{ServiceError, Services};
use crate::world::{ProcessSeen, RuntimeSeen, Space, StoreSeen, ThisMachine, World};

/// How a played cloud answers.
pub(crate) type Answer = Box<dyn Fn() -> Result<Survey, RequestError> + Send + Sync>;

/// A machine in good order, whose fields a test changes.
pub(crate) struct Played {
    pub(crate) now: SystemTime,
    pub(crate) is_root: bool,
    /// Files of the system; others are read from the disk.
    pub(crate) files: BTreeMap<PathBuf, String>,
    /// Files of the system that are not there.
    pub(crate) missing: BTreeSet<PathBuf>,
    pub(crate) programs: bool,
    pub(crate) processes: Vec<ProcessSeen>,
    pub(crate) space: Space,
    pub(crate) taken: BTreeSet<u16>,
    pub(crate) store: StoreSeen,
    pub(crate) runtime: Result<RuntimeSeen, String>,
    /// Answers in place of the network.
    pub(crate) cloud: Option<Answer>,
    /// Servers that nobody reaches.
    pub(crate) unreachable: BTreeSet<String>,
    pub(crate) hosts: BTreeMap<String, IpAddr>,
    pub(crate) kube: Result<String, String>,
}

impl Played {
    /// Makes a machine in good order with a cloud whose authority is `fingerprint`.
    pub(crate) fn new() -> Self {
        let file = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
        Self {
            now: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            is_root: true,
            files: BTreeMap::from([
                file("/etc/resolv.conf", "nameserver 192.0.2.53\n"),
                file("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n"),
                file("/proc/1/comm", "systemd\n"),
                file("/proc/filesystems", "nodev\ttmpfs\nnodev\toverlay\n\text4\n"),
                file("/proc/sys/kernel/osrelease", "6.1.0\n"),
                file("/proc/sys/net/ipv4/ip_forward", "1\n"),
                file("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n"),
            ]),
            missing: BTreeSet::new(),
            programs: true,
            processes: Vec::new(),
            space: Space { bytes: 100 << 30, bytes_available: 50 << 30, inodes: 1000, inodes_available: 900 },
            taken: BTreeSet::new(),
            store: StoreSeen::Missing,
            runtime: Ok(runtime()),
            cloud: None,
            unreachable: BTreeSet::new(),
            hosts: BTreeMap::new(),
            kube: Ok("v1.32.0".to_owned()),
        }
    }

    /// Lets a process run.
    pub(crate) fn runs(&mut self, name: &str) {
        let id = u32::try_from(self.processes.len()).expect("there are few") + 100;
        self.processes.push(ProcessSeen { id, name: name.to_owned() });
    }
}

/// Returns a runtime in good order.
pub(crate) fn runtime() -> RuntimeSeen {
    RuntimeSeen {
        version: RuntimeVersion { name: "containerd".to_owned(), version: "1.6.20".to_owned() },
        status: RuntimeStatus::default(),
        driver: Some(CgroupDriver::Systemd),
    }
}

/// Returns what a cloud in good order says at a time by its clock.
pub(crate) fn survey(fingerprint: &str, now: SystemTime, node: Registration) -> Survey {
    let now = jiff::Timestamp::try_from(now).expect("a time");
    Survey {
        fingerprint: fingerprint.to_owned(),
        authority: None,
        certificate: None,
        date: Some(now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        node: Ok(node),
    }
}

#[async_trait]
impl World for Played {
    fn now(&self) -> SystemTime {
        self.now
    }

    fn is_root(&self) -> bool {
        self.is_root
    }

    fn host_name(&self) -> Result<String, String> {
        Ok("machine-1".to_owned())
    }

    fn program(&self, process: Process) -> Option<PathBuf> {
        self.programs.then(|| Path::new("/usr/local/bin").join(process.name()))
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        if self.missing.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        match self.files.get(path) {
            Some(text) => Ok(text.clone()),
            None => ThisMachine.read(path),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        !self.missing.contains(path) && (self.files.contains_key(path) || path.exists())
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        ThisMachine.mode(path)
    }

    fn processes(&self) -> Vec<ProcessSeen> {
        self.processes.clone()
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(self.space)
    }

    fn is_free(&self, address: SocketAddr) -> io::Result<()> {
        if self.taken.contains(&address.port()) { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(()) }
    }

    async fn store(&self, _: &Path) -> StoreSeen {
        self.store.clone()
    }

    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.hosts.get(host).map(|address| vec![*address]).ok_or_else(|| io::Error::other("no such host"))
    }

    async fn connect(&self, server: &str) -> io::Result<()> {
        if self.unreachable.contains(server) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if self.cloud.is_some() { Ok(()) } else { ThisMachine.connect(server).await }
    }

    async fn survey(&self, url: &str, node: &NodeName) -> Result<Survey, RequestError> {
        match &self.cloud {
            Some(answer) => answer(),
            None => ThisMachine.survey(url, node).await,
        }
    }

    async fn kube(&self, _: &Path) -> Result<String, String> {
        self.kube.clone()
    }

    async fn runtime(&self, _: &SocketEndpoint) -> Result<RuntimeSeen, String> {
        self.runtime.clone()
    }
}

/// A machine without systemd.
pub(crate) struct NoServices;

#[async_trait]
impl Services for NoServices {
    fn is_there(&self) -> bool {
        false
    }

    async fn is_active(&self, _: Process) -> bool {
        false
    }

    async fn start(&self, process: Process) -> Result<(), ServiceError> {
        panic!("there is nothing that could start {}", process.name())
    }

    async fn stop(&self, process: Process) -> Result<(), ServiceError> {
        panic!("there is nothing that could stop {}", process.name())
    }

    async fn reload(&self) -> Result<(), ServiceError> {
        panic!("there is nothing to reload")
    }
}

/// A systemd that does nothing and notes what it was asked.
#[derive(Default)]
pub(crate) struct NotingServices(Mutex<Vec<String>>);

impl NotingServices {
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.lock().expect("no test panics while it holds it").clone()
    }

    fn note(&self, what: &str) {
        self.0.lock().expect("no test panics while it holds it").push(what.to_owned());
    }
}

#[async_trait]
impl Services for NotingServices {
    fn is_there(&self) -> bool {
        true
    }

    async fn is_active(&self, _: Process) -> bool {
        true
    }

    async fn start(&self, process: Process) -> Result<(), ServiceError> {
        self.note(&format!("start {}", process.name()));
        Ok(())
    }

    async fn stop(&self, process: Process) -> Result<(), ServiceError> {
        self.note(&format!("stop {}", process.name()));
        Ok(())
    }

    async fn reload(&self) -> Result<(), ServiceError> {
        self.note("reload");
        Ok(())
    }
}

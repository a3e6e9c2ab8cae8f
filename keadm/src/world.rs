//! What keadm asks of the machine and of the network. Tests play it.

mod machine;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use edgecore::cri::{CgroupDriver, SocketEndpoint};
use edgecore::enrol::{RequestError, Survey};
use edged::ports::{RuntimeStatus, RuntimeVersion};
use node_config::Process;
use protocol::NodeName;
use store_sled::Examined;

pub(crate) use machine::ThisMachine;

/// A container runtime that answered.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeSeen {
    pub(crate) version: RuntimeVersion,
    pub(crate) status: RuntimeStatus,
    /// Who makes its cgroups, if it says.
    pub(crate) driver: Option<CgroupDriver>,
}

/// A process of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessSeen {
    pub(crate) id: u32,
    pub(crate) name: String,
}

/// The file system around a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) bytes: u64,
    pub(crate) bytes_available: u64,
    pub(crate) inodes: u64,
    pub(crate) inodes_available: u64,
}

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreSeen {
    /// There is none.
    Missing,
    /// A process has it open.
    InUse { holder: String },
    /// It was read to its end.
    Read(Examined),
    /// It was not read, since it is that large.
    Large { bytes: u64 },
    /// It is damaged, or could not be read.
    Broken { cause: String },
}

/// The machine and the network.
#[async_trait]
pub(crate) trait World: Send + Sync {
    /// Returns the time by this machine's clock.
    fn now(&self) -> SystemTime;

    /// Tells whether the user is root.
    fn is_root(&self) -> bool;

    /// Returns the machine's host name.
    fn host_name(&self) -> Result<String, String>;

    /// Finds a program: installed, else beside keadm.
    fn program(&self, process: Process) -> Option<PathBuf>;

    /// Reads a file of the system.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Tells whether a path exists.
    fn exists(&self, path: &Path) -> bool;

    /// Returns the permissions of a file, if it is there.
    fn mode(&self, path: &Path) -> Option<u32>;

    /// Lists the running processes.
    fn processes(&self) -> Vec<ProcessSeen>;

    /// Measures the file system of the nearest directory that exists.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Tells whether nobody listens at an address, so that a process could.
    fn is_free(&self, address: SocketAddr) -> io::Result<()>;

    /// Reads all of the store in a directory, without a change to it.
    async fn store(&self, directory: &Path) -> StoreSeen;

    /// Resolves a host name.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// Connects to `host:port` and hangs up.
    async fn connect(&self, server: &str) -> io::Result<()>;

    /// Asks a cloud's server of certificates.
    async fn survey(&self, url: &str, node: &NodeName) -> Result<Survey, RequestError>;

    /// Asks the cluster of a kubeconfig for its version.
    async fn kube(&self, kubeconfig: &Path) -> Result<String, String>;

    /// Asks a container runtime.
    async fn runtime(&self, endpoint: &SocketEndpoint) -> Result<RuntimeSeen, String>;
}

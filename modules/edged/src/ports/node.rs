//! The ports that tell about the machine and that knock at containers' ports.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

/// What a machine is. Changes rarely: a changed size or address is reported when it is seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The host name, lower case.
    pub hostname: String,
    /// Addresses that others reach the node by, the default route's first.
    pub addresses: Vec<IpAddr>,
    /// CPU cores in thousandths.
    pub cpu_millis: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// The size of the file system that volumes and images are on.
    pub storage_bytes: u64,
    /// The operating system's name, such as `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// `linux`.
    pub operating_system: String,
    /// The kernel's release.
    pub kernel_version: String,
    /// The processor architecture in Go's spelling, such as `amd64`.
    pub architecture: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The firmware's id of the machine, or its machine id.
    pub system_uuid: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// The search domains and name servers of the node's `resolv.conf`.
    pub resolv_conf: super::DnsConfig,
}

/// What is left of a machine at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeUsage {
    /// Memory that can be had without swapping.
    pub memory_available_bytes: u64,
    /// Space left on the file system that volumes and images are on.
    pub storage_available_bytes: u64,
    /// Its size.
    pub storage_bytes: u64,
    /// Inodes left on it.
    pub inodes_available: u64,
    /// Its inodes.
    pub inodes: u64,
    /// Processes that can still be made.
    pub pids_available: u64,
}

/// Knows the machine.
#[async_trait]
pub trait NodeInfo: fmt::Debug + Send + Sync + 'static {
    /// Returns what the machine is.
    async fn facts(&self) -> Result<NodeFacts, super::FileError>;

    /// Returns what is left of it.
    async fn usage(&self) -> Result<NodeUsage, super::FileError>;
}

/// How a probe speaks HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProbeScheme {
    /// In clear.
    #[default]
    Http,
    /// Over TLS; the certificate is not checked.
    Https,
}

/// An HTTP probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// Scheme.
    pub scheme: ProbeScheme,
    /// The host: the pod's address unless the pod says otherwise.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path and query.
    pub path: String,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
}

/// Knocks at containers' ports.
#[async_trait]
pub trait Prober: fmt::Debug + Send + Sync + 'static {
    /// Opens a TCP connection and closes it. The error is for people.
    async fn tcp(&self, host: &str, port: u16, timeout: Duration) -> Result<(), String>;

    /// Asks by HTTP GET, without following redirects to other hosts. Returns the status code.
    /// The error is for people.
    async fn http(&self, probe: &HttpProbe, timeout: Duration) -> Result<u16, String>;
}

//! The port of the node's files: volumes, the files that pods share with the node, and logs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::edge::{LogError, LogStream};

/// Says why a file operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// What was asked for is not allowed or not possible, whatever the disk's state.
    #[error("{0}")]
    Invalid(String),
    /// The file system said no.
    #[error("{action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
}

/// Whose directory is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodDir {
    /// The pod's uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// The kinds of volumes that live in a pod's directory, as kubelet names their directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeKind {
    /// `kubernetes.io~configmap`.
    ConfigMap,
    /// `kubernetes.io~secret`.
    Secret,
    /// `kubernetes.io~downward-api`.
    DownwardApi,
    /// `kubernetes.io~projected`.
    Projected,
}

impl VolumeKind {
    /// Returns the name of the directory that holds volumes of this kind.
    #[must_use]
    pub fn dir_name(self) -> &'static str {
        match self {
            Self::ConfigMap => "kubernetes.io~configmap",
            Self::Secret => "kubernetes.io~secret",
            Self::DownwardApi => "kubernetes.io~downward-api",
            Self::Projected => "kubernetes.io~projected",
        }
    }
}

/// Where an empty directory's content lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Medium {
    /// On disk.
    #[default]
    Disk,
    /// In memory (tmpfs).
    Memory,
}

/// An `emptyDir` volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmptyDir {
    /// Its medium.
    pub medium: Medium,
    /// Its bound, enforced for memory only.
    pub size_limit_bytes: Option<u64>,
}

/// One file of a volume whose content comes from the API. `Debug` never prints content.
#[derive(Clone, PartialEq, Eq)]
pub struct VolumeFile {
    /// The path below the volume, checked to stay there.
    pub path: String,
    /// The content.
    pub content: Bytes,
    /// Permission bits.
    pub mode: u32,
}

impl fmt::Debug for VolumeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:o}, {} bytes)", self.path, self.mode, self.content.len())
    }
}

/// Who a volume's files belong to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VolumeOwner {
    /// The pod's `fsGroup`: group of all files, which it may read (and write, where the mode lets
    /// the owner write).
    pub group: Option<i64>,
}

/// What a `hostPath` volume must be, as its `type` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HostPathKind {
    /// Anything; made a directory by the runtime if missing.
    #[default]
    Unchecked,
    /// A directory, made if missing.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file, made if missing.
    FileOrCreate,
    /// A file.
    File,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on as the log grows, until the container has ended.
    pub follow: bool,
    /// At most this many lines from the end.
    pub tail_lines: Option<u64>,
    /// Only lines at or after this time.
    pub since: Option<SystemTime>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
}

/// The node's files, below one data directory and one log directory, laid out as kubelet's:
/// `<data>/pods/<uid>/volumes/<kind>/<name>`, `<data>/pods/<uid>/etc-hosts`,
/// `<data>/pods/<uid>/containers/<container>/<attempt>`, and
/// `<logs>/<namespace>_<name>_<uid>/<container>/<attempt>.log`.
///
/// Implementations block no caller's thread. Every name is checked: none may step out of its
/// directory.
#[async_trait]
pub trait PodFiles: fmt::Debug + Send + Sync + 'static {
    /// Returns the directory of the pod's logs, which `make_pod` makes.
    fn log_dir(&self, pod: &PodDir) -> PathBuf;

    /// Makes the pod's directories; they may be there already.
    async fn make_pod(&self, pod: &PodDir) -> Result<(), FileError>;

    /// Makes an empty directory volume, keeping its content if it is there already.
    async fn empty_dir(
        &self,
        pod: &PodDir,
        volume: &str,
        spec: EmptyDir,
        owner: VolumeOwner,
    ) -> Result<PathBuf, FileError>;

    /// Makes the volume hold exactly `files`, all changed at one moment, and nothing touched if it
    /// holds them already. Readers see the old or the new files, never a mixture.
    async fn write_volume(
        &self,
        pod: &PodDir,
        kind: VolumeKind,
        volume: &str,
        files: &[VolumeFile],
        owner: VolumeOwner,
    ) -> Result<PathBuf, FileError>;

    /// Returns where a volume is that was written before, or `None` if it never was.
    async fn written_volume(
        &self,
        pod: &PodDir,
        kind: VolumeKind,
        volume: &str,
    ) -> Result<Option<PathBuf>, FileError>;

    /// Checks that a path of the node is what the pod says, and makes it where its kind allows.
    async fn host_path(&self, path: &Path, kind: HostPathKind) -> Result<PathBuf, FileError>;

    /// Resolves `sub_path` below `root` without leaving it through links, and makes a directory of
    /// it if missing.
    async fn sub_path(&self, root: &Path, sub_path: &str) -> Result<PathBuf, FileError>;

    /// Writes the pod's `/etc/hosts`.
    async fn write_hosts(&self, pod: &PodDir, content: &str) -> Result<PathBuf, FileError>;

    /// Reads the node's own `/etc/hosts`, for pods with the host's network.
    async fn node_hosts(&self) -> Result<String, FileError>;

    /// Makes the empty file that a container's termination message is written to, and its log's
    /// directory.
    async fn make_container(&self, pod: &PodDir, container: &str, attempt: u32)
    -> Result<PathBuf, FileError>;

    /// Reads at most `bytes_max` of a container's termination message; empty if there is none.
    async fn termination_message(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        bytes_max: usize,
    ) -> Result<String, FileError>;

    /// Reads the end of a container's log as text: at most `lines_max` lines and `bytes_max` bytes.
    async fn log_tail(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        lines_max: usize,
        bytes_max: usize,
    ) -> Result<String, FileError>;

    /// Opens a container's log. `ended` turns true (or its sender goes) when the container has
    /// ended: following stops once the file is read to its end after that.
    async fn open_log(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        query: LogQuery,
        ended: tokio::sync::watch::Receiver<bool>,
    ) -> Result<LogStream, LogError>;

    /// Renames a container's log if it is larger than `bytes_max`, keeping at most `files_max`
    /// files. Returns whether it did; the runtime must then open the log again.
    async fn rotate_log(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        bytes_max: u64,
        files_max: u32,
    ) -> Result<bool, FileError>;

    /// Removes what belongs to one instance of a container, its log included.
    async fn remove_container(&self, pod: &PodDir, container: &str, attempt: u32) -> Result<(), FileError>;

    /// Removes all that belongs to a pod: volumes (unmounting what is mounted), files and logs.
    async fn remove_pod(&self, pod: &PodDir) -> Result<(), FileError>;

    /// Lists the pods that have a directory of volumes or logs.
    async fn pods(&self) -> Result<Vec<PodDir>, FileError>;
}

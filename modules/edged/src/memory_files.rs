//! The files port in memory: for hollow nodes, whose containers read no files, and for simulation.

mod log;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use log::Log;
use protocol::edge::{LogError, LogStream};

use crate::ports::{
    EmptyDir, FileError, HostPathKind, LogQuery, PodDir, PodFiles, VolumeFile, VolumeKind, VolumeOwner,
};

/// Files of pods, in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    pods: Arc<Mutex<BTreeMap<PodDir, PodTree>>>,
}

#[derive(Debug, Default)]
struct PodTree {
    volumes: BTreeMap<String, Vec<VolumeFile>>,
    hosts: String,
    messages: BTreeMap<(String, u32), String>,
    logs: BTreeMap<(String, u32), Log>,
}

impl MemoryFiles {
    /// Makes an empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn pods_of(&self) -> MutexGuard<'_, BTreeMap<PodDir, PodTree>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the files of a pod's volume.
    #[must_use]
    pub fn volume(&self, uid: &str, volume: &str) -> Option<Vec<VolumeFile>> {
        let pods = self.pods_of();
        let (_, tree) = pods.iter().find(|(pod, _)| pod.uid == uid)?;
        tree.volumes.get(volume).cloned()
    }

    /// Loses the content of all volumes, as a loss of power does to those that lie in memory.
    pub fn lose_volumes(&self) {
        self.pods_of().values_mut().for_each(|tree| tree.volumes.clear());
    }

    /// Returns a pod's hosts file.
    #[must_use]
    pub fn hosts(&self, uid: &str) -> Option<String> {
        self.pods_of().iter().find(|(pod, _)| pod.uid == uid).map(|(_, tree)| tree.hosts.clone())
    }

    /// Sets a container's last words, as the container would write them.
    pub fn set_termination_message(&self, pod: &PodDir, container: &str, attempt: u32, text: &str) {
        let mut pods = self.pods_of();
        let tree = pods.entry(pod.clone()).or_default();
        tree.messages.insert((container.to_owned(), attempt), text.to_owned());
    }

    /// Adds a line to a container's log, as the runtime would. A pod that was removed stays so.
    pub fn append_log(&self, pod: &PodDir, container: &str, attempt: u32, at: SystemTime, line: &str) {
        if let Some(tree) = self.pods_of().get_mut(pod) {
            tree.logs.entry((container.to_owned(), attempt)).or_default().append(at, line);
        }
    }

    /// Ends a container's log: those who follow it are let go.
    pub fn end_log(&self, pod: &PodDir, container: &str, attempt: u32) {
        let mut pods = self.pods_of();
        let tree = pods.get_mut(pod);
        if let Some(log) = tree.and_then(|tree| tree.logs.get_mut(&(container.to_owned(), attempt))) {
            log.end();
        }
    }

    fn dir(pod: &PodDir, rest: &str) -> PathBuf {
        Path::new("/hollow/pods").join(&pod.uid).join(rest)
    }
}

#[async_trait]
impl PodFiles for MemoryFiles {
    fn log_dir(&self, pod: &PodDir) -> PathBuf {
        Self::dir(pod, "logs")
    }

    async fn make_pod(&self, pod: &PodDir) -> Result<(), FileError> {
        self.pods_of().entry(pod.clone()).or_default();
        Ok(())
    }

    async fn empty_dir(
        &self,
        pod: &PodDir,
        volume: &str,
        _spec: EmptyDir,
        _owner: VolumeOwner,
    ) -> Result<PathBuf, FileError> {
        let mut pods = self.pods_of();
        pods.entry(pod.clone()).or_default().volumes.entry(volume.to_owned()).or_default();
        Ok(Self::dir(pod, volume))
    }

    async fn write_volume(
        &self,
        pod: &PodDir,
        kind: VolumeKind,
        volume: &str,
        files: &[VolumeFile],
        _owner: VolumeOwner,
    ) -> Result<PathBuf, FileError> {
        let mut pods = self.pods_of();
        pods.entry(pod.clone()).or_default().volumes.insert(volume.to_owned(), files.to_vec());
        Ok(Self::dir(pod, kind.dir_name()).join(volume))
    }

    async fn written_volume(
        &self,
        pod: &PodDir,
        kind: VolumeKind,
        volume: &str,
    ) -> Result<Option<PathBuf>, FileError> {
        let pods = self.pods_of();
        let held = pods.get(pod).is_some_and(|tree| tree.volumes.contains_key(volume));
        Ok(held.then(|| Self::dir(pod, kind.dir_name()).join(volume)))
    }

    async fn host_path(&self, path: &Path, _kind: HostPathKind) -> Result<PathBuf, FileError> {
        Ok(path.to_owned())
    }

    async fn sub_path(&self, root: &Path, sub_path: &str) -> Result<PathBuf, FileError> {
        Ok(root.join(sub_path))
    }

    async fn write_hosts(&self, pod: &PodDir, content: &str) -> Result<PathBuf, FileError> {
        content.clone_into(&mut self.pods_of().entry(pod.clone()).or_default().hosts);
        Ok(Self::dir(pod, "etc-hosts"))
    }

    async fn node_hosts(&self) -> Result<String, FileError> {
        Ok("127.0.0.1\tlocalhost\n".to_owned())
    }

    async fn make_container(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
    ) -> Result<PathBuf, FileError> {
        Ok(Self::dir(pod, container).join(attempt.to_string()))
    }

    async fn termination_message(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        bytes_max: usize,
    ) -> Result<String, FileError> {
        let pods = self.pods_of();
        let text = pods.get(pod).and_then(|tree| tree.messages.get(&(container.to_owned(), attempt)));
        Ok(text.map(|text| text.chars().take(bytes_max).collect()).unwrap_or_default())
    }

    async fn log_tail(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        lines_max: usize,
        _bytes_max: usize,
    ) -> Result<String, FileError> {
        let pods = self.pods_of();
        let log = pods.get(pod).and_then(|tree| tree.logs.get(&(container.to_owned(), attempt)));
        Ok(log.map(|log| log.tail(lines_max)).unwrap_or_default())
    }

    async fn open_log(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        query: LogQuery,
        ended: tokio::sync::watch::Receiver<bool>,
    ) -> Result<LogStream, LogError> {
        let mut pods = self.pods_of();
        let log = pods.get_mut(pod).and_then(|tree| tree.logs.get_mut(&(container.to_owned(), attempt)));
        let log = log.ok_or_else(|| LogError::Failed(format!("container {container} has no log here")))?;
        // Its writer ends a log in time; what edged saw before this call counts as well.
        let follow = query.follow && !*ended.borrow();
        log.open(&LogQuery { follow, ..query })
    }

    async fn rotate_log(
        &self,
        _pod: &PodDir,
        _container: &str,
        _attempt: u32,
        _bytes_max: u64,
        _files_max: u32,
    ) -> Result<bool, FileError> {
        Ok(false)
    }

    async fn remove_container(&self, pod: &PodDir, container: &str, attempt: u32) -> Result<(), FileError> {
        if let Some(tree) = self.pods_of().get_mut(pod) {
            tree.logs.remove(&(container.to_owned(), attempt));
            tree.messages.remove(&(container.to_owned(), attempt));
        }
        Ok(())
    }

    async fn remove_pod(&self, pod: &PodDir) -> Result<(), FileError> {
        self.pods_of().remove(pod);
        Ok(())
    }

    async fn pods(&self) -> Result<Vec<PodDir>, FileError> {
        Ok(self.pods_of().keys().cloned().collect())
    }
}

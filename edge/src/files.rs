//! The files of pods on the node's disk, laid out as kubelet's.

mod hostpath;
mod layout;
mod log;
mod mounts;
mod stream;
mod volume;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use edged::ports::{
    EmptyDir, FileError, HostPathKind, LogQuery, Medium, PodDir, PodFiles, VolumeFile, VolumeKind,
    VolumeOwner,
};
use protocol::edge::{LogError, LogStream};

pub use mounts::unmount_below;

use layout::Layout;

/// Files below a data directory and a log directory.
#[derive(Debug, Clone)]
pub struct DiskFiles {
    layout: Layout,
}

impl DiskFiles {
    /// Keeps pods' files below `data` (`rootDirectory`) and their logs below `logs`
    /// (`podLogsDir`). Nothing is made yet.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, logs: impl Into<PathBuf>) -> Self {
        Self { layout: Layout { data: data.into(), logs: logs.into() } }
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(Layout) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let layout = self.layout.clone();
        let done = tokio::task::spawn_blocking(move || work(layout)).await;
        done.unwrap_or_else(|error| Err(FileError::Invalid(format!("a file operation broke: {error}"))))
    }
}

#[async_trait]
impl PodFiles for DiskFiles {
    fn log_dir(&self, pod: &PodDir) -> PathBuf {
        self.layout.log_dir(pod)
    }

    async fn make_pod(&self, pod: &PodDir) -> Result<(), FileError> {
        let pod = pod.clone();
        self.aside(move |layout| {
            layout.check(&pod)?;
            make_dir(&layout.pod(&pod).join("volumes"), 0o750)?;
            make_dir(&layout.pod(&pod).join("containers"), 0o750)?;
            layout.write_owner(&pod)?;
            make_dir(&layout.log_dir(&pod), 0o755)
        })
        .await
    }

    async fn empty_dir(
        &self,
        pod: &PodDir,
        volume: &str,
        spec: EmptyDir,
        owner: VolumeOwner,
    ) -> Result<PathBuf, FileError> {
        let (pod, volume) = (pod.clone(), volume.to_owned());
        self.aside(move |layout| {
            let path = layout.volume(&pod, "kubernetes.io~empty-dir", &volume)?;
            make_dir(&path, 0o777)?;
            if spec.medium == Medium::Memory {
                mounts::ensure_tmpfs(&path, spec.size_limit_bytes)?;
            }
            volume::own_dir(&path, 0o777, owner)?;
            Ok(path)
        })
        .await
    }

    async fn write_volume(
        &self,
        pod: &PodDir,
        kind: VolumeKind,
        volume: &str,
        files: &[VolumeFile],
        owner: VolumeOwner,
    ) -> Result<PathBuf, FileError> {
        let (pod, volume, files) = (pod.clone(), volume.to_owned(), files.to_vec());
        self.aside(move |layout| {
            let path = layout.volume(&pod, kind.dir_name(), &volume)?;
            make_dir(&path, 0o755)?;
            if matches!(kind, VolumeKind::Secret | VolumeKind::Projected) {
                mounts::prefer_tmpfs(&path);
            }
            volume::write(&path, &files, owner)?;
            Ok(path)
        })
        .await
    }

    async fn written_volume(
        &self,
        pod: &PodDir,
        kind: VolumeKind,
        volume: &str,
    ) -> Result<Option<PathBuf>, FileError> {
        let (pod, volume) = (pod.clone(), volume.to_owned());
        self.aside(move |layout| {
            let path = layout.volume(&pod, kind.dir_name(), &volume)?;
            Ok(volume::is_written(&path).then_some(path))
        })
        .await
    }

    async fn host_path(&self, path: &Path, kind: HostPathKind) -> Result<PathBuf, FileError> {
        let path = path.to_owned();
        self.aside(move |_| hostpath::check(&path, kind).map(|()| path)).await
    }

    async fn sub_path(&self, root: &Path, sub_path: &str) -> Result<PathBuf, FileError> {
        let (root, sub_path) = (root.to_owned(), sub_path.to_owned());
        self.aside(move |_| hostpath::below(&root, &sub_path)).await
    }

    async fn write_hosts(&self, pod: &PodDir, content: &str) -> Result<PathBuf, FileError> {
        let (pod, content) = (pod.clone(), content.to_owned());
        self.aside(move |layout| {
            layout.check(&pod)?;
            make_dir(&layout.pod(&pod), 0o750)?;
            let path = layout.pod(&pod).join("etc-hosts");
            // Written in place: containers have this very file mounted.
            if fs::read(&path).ok().as_deref() != Some(content.as_bytes()) {
                fs::write(&path, content).map_err(|error| failed("write", &path, &error))?;
                set_mode(&path, 0o644)?;
            }
            Ok(path)
        })
        .await
    }

    async fn node_hosts(&self) -> Result<String, FileError> {
        self.aside(|_| read_text(Path::new("/etc/hosts"), 1 << 20)).await
    }

    async fn make_container(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
    ) -> Result<PathBuf, FileError> {
        let (pod, container) = (pod.clone(), container.to_owned());
        self.aside(move |layout| {
            let path = layout.message(&pod, &container, attempt)?;
            let log = layout.log(&pod, &container, attempt)?;
            for directory in [path.parent(), log.parent()].into_iter().flatten() {
                make_dir(directory, 0o755)?;
            }
            let opened = fs::File::options().create(true).append(true).mode(0o666).open(&path);
            opened.map_err(|error| failed("make", &path, &error))?;
            set_mode(&path, 0o666)?;
            Ok(path)
        })
        .await
    }

    async fn termination_message(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        bytes_max: usize,
    ) -> Result<String, FileError> {
        let (pod, container) = (pod.clone(), container.to_owned());
        self.aside(move |layout| {
            let path = layout.message(&pod, &container, attempt)?;
            match path.symlink_metadata() {
                // A container could put a link here, to a file of the node.
                Ok(metadata) if metadata.is_file() => read_text(&path, bytes_max),
                Ok(_) => Err(FileError::Invalid("the termination message is no file".to_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                Err(error) => Err(failed("read", &path, &error)),
            }
        })
        .await
    }

    async fn log_tail(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        lines_max: usize,
        bytes_max: usize,
    ) -> Result<String, FileError> {
        let (pod, container) = (pod.clone(), container.to_owned());
        self.aside(move |layout| {
            let path = layout.log(&pod, &container, attempt)?;
            log::tail(&path, lines_max, bytes_max).map_err(|error| failed("read", &path, &error))
        })
        .await
    }

    async fn open_log(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        query: LogQuery,
        ended: tokio::sync::watch::Receiver<bool>,
    ) -> Result<LogStream, LogError> {
        let path = self.layout.log(pod, container, attempt);
        let path = path.map_err(|error| LogError::BadRequest(error.to_string()))?;
        stream::open(path, query, ended).await
    }

    async fn rotate_log(
        &self,
        pod: &PodDir,
        container: &str,
        attempt: u32,
        bytes_max: u64,
        files_max: u32,
    ) -> Result<bool, FileError> {
        let (pod, container) = (pod.clone(), container.to_owned());
        self.aside(move |layout| {
            let path = layout.log(&pod, &container, attempt)?;
            log::rotate(&path, bytes_max, files_max).map_err(|error| failed("rotate", &path, &error))
        })
        .await
    }

    async fn remove_container(&self, pod: &PodDir, container: &str, attempt: u32) -> Result<(), FileError> {
        let (pod, container) = (pod.clone(), container.to_owned());
        self.aside(move |layout| {
            let message = layout.message(&pod, &container, attempt)?;
            remove_file(&message)?;
            let log = layout.log(&pod, &container, attempt)?;
            for path in log::with_rotated(&log).map_err(|error| failed("list", &log, &error))? {
                remove_file(&path)?;
            }
            Ok(())
        })
        .await
    }

    async fn remove_pod(&self, pod: &PodDir) -> Result<(), FileError> {
        let pod = pod.clone();
        self.aside(move |layout| layout.remove(&pod)).await
    }

    async fn pods(&self) -> Result<Vec<PodDir>, FileError> {
        self.aside(|layout| layout.pods()).await
    }
}

fn failed(action: &'static str, path: &Path, error: &io::Error) -> FileError {
    FileError::Io { action, path: path.to_owned(), cause: error.to_string() }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), FileError> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|error| failed("make", path, &error))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), FileError> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.map_err(|error| failed("set the mode of", path, &error))
}

fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Reads at most so many bytes; what is no UTF-8 is replaced.
fn read_text(path: &Path, bytes_max: usize) -> Result<String, FileError> {
    let file = fs::File::open(path).map_err(|error| failed("read", path, &error))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| failed("read", path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;

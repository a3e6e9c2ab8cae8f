//! Where everything is. Every name that comes from outside is checked here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use edged::ports::{FileError, PodDir};

use super::{failed, mounts};

/// Beside a pod's volumes: its namespace and name, which its uid does not tell.
const OWNER_FILE: &str = "beehive-pod";

#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) data: PathBuf,
    pub(super) logs: PathBuf,
}

impl Layout {
    pub(super) fn pod(&self, pod: &PodDir) -> PathBuf {
        self.data.join("pods").join(&pod.uid)
    }

    pub(super) fn log_dir(&self, pod: &PodDir) -> PathBuf {
        self.logs.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
    }

    pub(super) fn check(&self, pod: &PodDir) -> Result<(), FileError> {
        [&pod.uid, &pod.namespace, &pod.name].into_iter().try_for_each(|name| check_name(name))
    }

    pub(super) fn volume(&self, pod: &PodDir, kind: &str, volume: &str) -> Result<PathBuf, FileError> {
        self.check(pod)?;
        check_name(volume)?;
        Ok(self.pod(pod).join("volumes").join(kind).join(volume))
    }

    pub(super) fn message(&self, pod: &PodDir, container: &str, attempt: u32) -> Result<PathBuf, FileError> {
        self.check(pod)?;
        check_name(container)?;
        Ok(self.pod(pod).join("containers").join(container).join(attempt.to_string()))
    }

    pub(super) fn log(&self, pod: &PodDir, container: &str, attempt: u32) -> Result<PathBuf, FileError> {
        self.check(pod)?;
        check_name(container)?;
        Ok(self.log_dir(pod).join(container).join(format!("{attempt}.log")))
    }

    pub(super) fn write_owner(&self, pod: &PodDir) -> Result<(), FileError> {
        let path = self.pod(pod).join(OWNER_FILE);
        let content = format!("{}\n{}\n", pod.namespace, pod.name);
        fs::write(&path, content).map_err(|error| failed("write", &path, &error))
    }

    /// Removes a pod's files. What is mounted below them is unmounted first, and nothing is
    /// removed while anything still is: it would be emptied.
    pub(super) fn remove(&self, pod: &PodDir) -> Result<(), FileError> {
        check_name(&pod.uid)?;
        let directory = self.pod(pod);
        mounts::unmount_below(&directory)?;
        remove_dir(&directory)?;
        if self.check(pod).is_ok() { remove_dir(&self.log_dir(pod)) } else { Ok(()) }
    }

    /// Lists the pods that have files. A pod whose record is lost has only its uid.
    pub(super) fn pods(&self) -> Result<Vec<PodDir>, FileError> {
        let mut found: Vec<PodDir> = Vec::new();
        for name in names(&self.logs)? {
            if let [namespace, pod, uid] = name.split('_').collect::<Vec<_>>()[..] {
                let (namespace, name) = (namespace.to_owned(), pod.to_owned());
                found.push(PodDir { uid: uid.to_owned(), namespace, name });
            }
        }
        for uid in names(&self.data.join("pods"))? {
            if found.iter().any(|pod| pod.uid == uid) {
                continue;
            }
            let owner = fs::read_to_string(self.data.join("pods").join(&uid).join(OWNER_FILE));
            let owner = owner.unwrap_or_default();
            let mut lines = owner.lines().map(str::to_owned);
            let namespace = lines.next().unwrap_or_default();
            found.push(PodDir { uid, namespace, name: lines.next().unwrap_or_default() });
        }
        found.sort();
        Ok(found)
    }
}

/// Accepts what can stand as one segment of a path.
fn check_name(name: &str) -> Result<(), FileError> {
    let fine = !name.is_empty()
        && name.len() <= 253
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if fine { Ok(()) } else { Err(FileError::Invalid(format!("{name:?} cannot be a file's name"))) }
}

fn names(directory: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", directory, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("list", directory, &error))?;
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
}

fn remove_dir(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

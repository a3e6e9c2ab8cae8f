//! Paths that pods name.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use edged::ports::{FileError, HostPathKind};

use super::{failed, make_dir, set_mode};

/// Checks that a path of the node is of the kind that the pod says, and makes it where that is part
/// of the kind. The texts are kubelet's.
pub(super) fn check(path: &Path, kind: HostPathKind) -> Result<(), FileError> {
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(FileError::Invalid(format!("{} is no absolute path without ..", path.display())));
    }
    let found = match fs::metadata(path) {
        Ok(metadata) => Some(metadata.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("look at", path, &error)),
    };
    let (fits, wanted) = match (kind, found) {
        (HostPathKind::Unchecked, _) => return Ok(()),
        (HostPathKind::DirectoryOrCreate, None) => return make_dir(path, 0o755),
        (HostPathKind::FileOrCreate, None) => {
            fs::write(path, []).map_err(|error| failed("make", path, &error))?;
            return set_mode(path, 0o644);
        }
        (HostPathKind::Directory | HostPathKind::DirectoryOrCreate, found) => {
            (found.is_some_and(|found| found.is_dir()), "directory")
        }
        (HostPathKind::File | HostPathKind::FileOrCreate, found) => {
            (found.is_some_and(|found| found.is_file()), "file")
        }
        (HostPathKind::Socket, found) => (found.is_some_and(|found| found.is_socket()), "socket"),
        (HostPathKind::CharDevice, found) => {
            (found.is_some_and(|found| found.is_char_device()), "character device")
        }
        (HostPathKind::BlockDevice, found) => {
            (found.is_some_and(|found| found.is_block_device()), "block device")
        }
    };
    let refused =
        || FileError::Invalid(format!("hostPath type check failed: {} is not a {wanted}", path.display()));
    if fits { Ok(()) } else { Err(refused()) }
}

/// Resolves `sub_path` below `root`. Links may lead about below `root`, never out of it.
pub(super) fn below(root: &Path, sub_path: &str) -> Result<PathBuf, FileError> {
    let root = fs::canonicalize(root).map_err(|error| failed("resolve", root, &error))?;
    let outside = || FileError::Invalid(format!("subPath {sub_path:?} leads out of its volume"));
    let mut at = root.clone();
    for part in Path::new(sub_path).components() {
        match part {
            Component::CurDir => continue,
            Component::Normal(name) => at.push(name),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
        if at.symlink_metadata().is_err() {
            make_dir(&at, 0o750)?;
        }
        at = fs::canonicalize(&at).map_err(|error| failed("resolve", &at, &error))?;
        if !at.starts_with(&root) {
            return Err(outside());
        }
    }
    Ok(at)
}

//! Files that keadm writes: whole or not at all, the one before kept beside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that could not be written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub(crate) struct FileError {
    action: &'static str,
    path: PathBuf,
    #[source]
    cause: io::Error,
}

impl FileError {
    pub(crate) fn new(action: &'static str, path: &Path, cause: io::Error) -> Self {
        Self { action, path: path.to_owned(), cause }
    }
}

/// Reads a file, if it is there.
pub(crate) fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FileError::new("read", path, cause)),
    }
}

/// Writes a file with the permissions `mode`; what was there is kept beside with `.old` at its end.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), FileError> {
    let failed = |cause| FileError::new("write", path, cause);
    if read(path)?.as_deref() == Some(text) {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(failed)?;
    let next = ending(path, ".tmp");
    remove(&next)?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&next)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if path.exists() {
            fs::rename(path, ending(path, ".old"))?;
        }
        fs::rename(&next, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(failed)
}

/// Removes a file, if it is there; tells whether it was.
pub(crate) fn remove(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(FileError::new("remove", path, cause)),
    }
}

/// Moves a file aside, if it is there, and returns where it is.
pub(crate) fn move_aside(path: &Path) -> Result<Option<PathBuf>, FileError> {
    let aside = ending(path, ".old");
    match fs::rename(path, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FileError::new("move aside", path, cause)),
    }
}

/// What is not there before something is tried that may fail, and is to be gone again after it failed.
#[derive(Debug)]
pub(crate) struct Absent {
    files: Vec<PathBuf>,
    /// From the outermost to the innermost.
    directories: Vec<PathBuf>,
}

impl Absent {
    /// Notes which of these files, and of the directories around them, are not there.
    pub(crate) fn of(paths: &[&Path]) -> Self {
        let missing = |path: &&&Path| !path.exists();
        let files: Vec<PathBuf> = paths.iter().filter(missing).map(|path| path.to_path_buf()).collect();
        let around = paths.iter().flat_map(|path| path.ancestors().skip(1));
        let mut directories: Vec<PathBuf> =
            around.filter(|path| !path.exists()).map(Path::to_path_buf).collect();
        directories.sort();
        directories.dedup();
        Self { files, directories }
    }

    /// Removes what came since.
    pub(crate) fn restore(&self) -> Result<(), FileError> {
        for path in &self.files {
            remove(path)?;
        }
        for path in self.directories.iter().rev().filter(|path| path.exists()) {
            fs::remove_dir(path).map_err(|cause| FileError::new("remove", path, cause))?;
        }
        Ok(())
    }
}

fn ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_the_one_before_is_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a/b.yaml");
        for text in ["1", "2", "2"] {
            write(&path, text, 0o600).expect("it is writable");
        }
        assert_eq!(read(&path).expect("readable").as_deref(), Some("2"));
        let old = directory.path().join("a/b.yaml.old");
        assert_eq!(read(&old).expect("readable").as_deref(), Some("1"));
        assert!(remove(&path).expect("removable") && !remove(&path).expect("gone"));
        let fresh = directory.path().join("x/y/z");
        let absent = Absent::of(&[&path, &fresh]);
        for path in [&path, &fresh] {
            write(path, "1", 0o600).expect("it is writable");
        }
        absent.restore().expect("it is removable");
        assert!(!path.exists() && !directory.path().join("x").exists());
        assert!(path.parent().is_some_and(Path::exists), "it was there before");
        let blocked = path.join("c");
        write(&path, "3", 0o600).expect("writable");
        let error = write(&blocked, "4", 0o600).expect_err("it is below a file");
        assert!(error.to_string().contains("b.yaml/c"), "{error}");
    }
}

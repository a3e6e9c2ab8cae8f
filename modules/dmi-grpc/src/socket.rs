//! The socket that a service listens on.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// How long whoever listens already may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The bytes that a socket's path may have: those of `sockaddr_un` without its last zero.
pub(crate) const PATH_BYTES_MAX: usize = 107;

/// Says why a socket cannot be listened on.
#[derive(Debug)]
pub enum BindError {
    /// Another process listens there.
    InUse(PathBuf),
    /// Something else has its name.
    NoSocket(PathBuf),
    /// The path does not fit into a socket's address.
    TooLong(PathBuf),
    /// The system refused.
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(path) => write!(f, "another process listens on {}", path.display()),
            Self::NoSocket(path) => write!(f, "{} exists and is no socket", path.display()),
            Self::TooLong(path) => {
                write!(f, "the path {} is longer than a socket's {PATH_BYTES_MAX} bytes", path.display())
            }
            Self::Io { action, path, error } => write!(f, "cannot {action} {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for BindError {}

/// A socket that only its own user may connect to. Its file goes with it.
#[derive(Debug)]
pub struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// Device and number of its file.
    file: Option<(u64, u64)>,
}

impl Socket {
    /// Begins to listen. Directories that are missing are made; a file that a process left behind is
    /// replaced, one that is listened on is not.
    ///
    /// The socket is made with mode 0600 in a directory that is closed to others, and then moved to its
    /// place: at no time may anybody else connect.
    ///
    /// # Errors
    ///
    /// When another process listens there, or the system refuses.
    pub async fn bind(path: &Path) -> Result<Self, BindError> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(BindError::NoSocket(path.to_owned()));
        };
        let closed = directory.join(format!(".{}", std::process::id()));
        let made = closed.join("s");
        if path.as_os_str().len().max(made.as_os_str().len()) > PATH_BYTES_MAX || name.is_empty() {
            return Err(BindError::TooLong(path.to_owned()));
        }
        fs::create_dir_all(directory).map_err(|error| failed("create the directory", directory, error))?;
        check_free(path).await?;
        remove(&closed, &made);
        DirBuilder::new()
            .mode(0o700)
            .create(&closed)
            .map_err(|error| failed("create a directory in", directory, error))?;
        let bound = listen(&made, path);
        remove(&closed, &made);
        let listener = bound?;
        let file = fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()));
        Ok(Self { listener, path: path.to_owned(), file })
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path).ok().map(|file| (file.dev(), file.ino()));
        if now.is_some() && now == self.file {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn listen(made: &Path, path: &Path) -> Result<UnixListener, BindError> {
    let listener = UnixListener::bind(made).map_err(|error| failed("listen on", made, error))?;
    fs::set_permissions(made, Permissions::from_mode(0o600))
        .map_err(|error| failed("close to others", made, error))?;
    fs::rename(made, path).map_err(|error| failed("move the socket to", path, error))?;
    Ok(listener)
}

async fn check_free(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path, error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    match timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(_)) => Ok(()),
        // One that is there and too busy to accept is there all the same.
        Ok(Ok(_)) | Err(_) => Err(BindError::InUse(path.to_owned())),
    }
}

/// Removes what an earlier attempt may have left behind.
fn remove(closed: &Path, made: &Path) {
    drop(fs::remove_file(made));
    drop(fs::remove_dir(closed));
}

fn failed(action: &'static str, path: &Path, error: io::Error) -> BindError {
    BindError::Io { action, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_its_user_may_connect_and_its_file_goes_with_it() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("new/dmi.sock");
        let socket = Socket::bind(&path).await.expect("it can be bound");
        assert_eq!(fs::symlink_metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("new")).expect("a directory").count(), 1);
        UnixStream::connect(&path).await.expect("it is listened on");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("dmi.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("it can be bound"));
        assert!(path.exists(), "a listener of the standard library leaves its file behind");
        let socket = Socket::bind(&path).await.expect("nobody listens");
        let error = Socket::bind(&path).await.expect_err("somebody listens");
        assert_eq!(error.to_string(), format!("another process listens on {}", path.display()));
        drop(socket);
        fs::write(&path, "text").expect("a file");
        let error = Socket::bind(&path).await.expect_err("it is a file");
        assert_eq!(error.to_string(), format!("{} exists and is no socket", path.display()));
        assert_eq!(fs::read(&path).expect("it is still there"), b"text");
    }

    #[tokio::test]
    async fn where_it_cannot_be_the_error_says_why() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("a file");
        let error = Socket::bind(&file.join("dmi.sock")).await.expect_err("no directory");
        assert!(error.to_string().starts_with("cannot create the directory "), "{error}");
        let long = folder.path().join("x".repeat(120));
        let error = Socket::bind(&long).await.expect_err("too long");
        assert!(error.to_string().contains("is longer than a socket's 107 bytes"), "{error}");
    }
}

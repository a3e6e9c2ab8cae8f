//! Where an installation is: below `/`, or below another directory.

use std::path::{Path, PathBuf};

use node_config::Process;

/// The directory below which everything is kept. Files that are written name it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct Root {
    /// Keeps everything below this directory instead of /, for images and to try; nothing is started.
    #[arg(long = "root", value_name = "DIR", default_value = "/")]
    directory: PathBuf,
}

impl Root {
    /// Tells whether it is this machine's own.
    pub(crate) fn is_machine(&self) -> bool {
        self.directory == Path::new("/")
    }

    /// Returns where an absolute path is.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.directory.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Returns where the configuration of a process is.
    pub(crate) fn config(&self, process: Process) -> PathBuf {
        self.at(process.default_file())
    }

    /// Returns where the unit of a process is.
    pub(crate) fn unit(&self, process: Process) -> PathBuf {
        self.at(format!("/etc/systemd/system/{}.service", process.name()))
    }

    /// Makes it absolute, so that the files that are written do not depend on where they are read.
    pub(crate) fn absolute(mut self) -> std::io::Result<Self> {
        self.directory = std::path::absolute(&self.directory)?;
        Ok(self)
    }
}

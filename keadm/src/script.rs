//! Scripts of the operator that run before and after.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use tokio::process::Command;

/// A script that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    #[error("the script {} could not be run", path.display())]
    Run {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the script {} ended with {status}", path.display())]
    Failed { path: PathBuf, status: ExitStatus },
}

/// Runs a script with bash, as KubeEdge's keadm does.
pub(crate) async fn run(path: &Path) -> Result<(), ScriptError> {
    let failed = |cause| ScriptError::Run { path: path.to_owned(), cause };
    if !path.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "there is no such file")));
    }
    let status = Command::new("/bin/bash").arg(path).status().await.map_err(failed)?;
    if status.success() { Ok(()) } else { Err(ScriptError::Failed { path: path.to_owned(), status }) }
}

//! The end of a node's pods.

use std::path::{Path, PathBuf};

use edgecore::cri::{Cri, CriOptions, EndpointError, SocketEndpoint};
use edged::ports::{Runtime, RuntimeError};

use super::ResetError;
use crate::say::{say, warn};

/// What runs the pods of a node, and where their volumes are.
#[derive(Debug, Clone)]
pub(crate) struct NodePods {
    pub(crate) root_directory: PathBuf,
    /// The runtime's socket; none when pods are played.
    pub(crate) endpoint: Option<String>,
}

/// Says why pods could not be ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("the pod {pod} does not end")]
    Pod {
        pod: String,
        #[source]
        cause: RuntimeError,
    },
    #[error(transparent)]
    Runtime(RuntimeError),
}

/// Ends all pods that the runtime has of Kubernetes. Where the runtime is gone, so are they.
pub(crate) async fn end_pods(node: &NodePods, given: Option<&str>) -> Result<(), PodError> {
    let Some(endpoint) = given.or(node.endpoint.as_deref()) else { return Ok(()) };
    let endpoint = SocketEndpoint::parse(endpoint)?;
    if !endpoint.path().exists() {
        warn(&format!("{endpoint} is not there: its pods, if there are any, stay as they are"));
        return Ok(());
    }
    let runtime = Cri::new(CriOptions::new(endpoint));
    for sandbox in runtime.list().await.map_err(PodError::Runtime)? {
        let pod = format!("{}/{}", sandbox.pod.namespace, sandbox.pod.name);
        let failed = |cause| PodError::Pod { pod: pod.clone(), cause };
        gone(runtime.stop_sandbox(&sandbox.id).await).map_err(failed)?;
        for container in &sandbox.containers {
            gone(runtime.remove_container(&container.id).await).map_err(failed)?;
        }
        gone(runtime.remove_sandbox(&sandbox.id).await).map_err(failed)?;
        say(&format!("the pod {pod} has ended"));
    }
    Ok(())
}

fn gone(outcome: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match outcome {
        Err(RuntimeError::NotFound(_)) => Ok(()),
        other => other,
    }
}

/// Unmounts the volumes of pods: what is mounted from elsewhere must not be removed.
pub(crate) fn unmount(directory: &Path) -> Result<(), ResetError> {
    if !directory.exists() {
        return Ok(());
    }
    edgecore::files::unmount_below(directory)
        .map_err(|error| ResetError::Mounted(format!("{}: {error}", directory.display())))
}

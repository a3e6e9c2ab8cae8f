//! Ends what containerd has forgotten that it began.
//!
//! When the caller of `StartContainer` goes away in the middle of it, as an edge that is killed does,
//! containerd 1.6 may count the container as ended although its task was made. It then answers every
//! attempt to stop the container with success and refuses for good to remove it. The call that removes
//! the task is not in CRI but in containerd's own API, which the same socket serves.

use std::time::Duration;

use edged::ports::RuntimeError;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use super::SocketEndpoint;
use super::connection::Connection;
use super::failure::gone_is_done;
use super::proto::tasks::tasks_client::TasksClient;
use super::proto::tasks::{DeleteTaskRequest, KillRequest};

/// The namespace in which containerd keeps all that comes through CRI.
const NAMESPACE: &str = "k8s.io";
/// What containerd says when a task is in the way.
const MARK: &str = "cannot delete running task";
const SIGKILL: u32 = 9;
/// How often the end of a killed task is looked for, and how often at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 50;

/// Tells whether a removal was refused because of a task that should not be there.
pub(super) fn is_in_the_way(error: &RuntimeError) -> bool {
    matches!(error, RuntimeError::Failed(why) if why.contains(MARK))
}

/// The tasks that a runtime may have left over.
pub(super) struct Leftovers {
    tasks: Connection<TasksClient<Channel>>,
    deadline: Duration,
}

impl Leftovers {
    pub(super) fn new(endpoint: SocketEndpoint, deadline: Duration) -> Self {
        Self { tasks: Connection::open(endpoint, TasksClient::new), deadline }
    }

    /// Kills and removes the task of a container or sandbox that CRI says has ended.
    pub(super) async fn end(&self, id: &str) -> Result<(), RuntimeError> {
        tracing::warn!(id, "the runtime kept a process of an ended container; it is killed");
        gone_is_done(self.kill(id).await)?;
        // A task can be deleted once the runtime has noticed the end of its process.
        let mut deleted = self.delete(id).await;
        for _ in 1..LOOKS_MAX {
            if deleted.is_ok() {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            deleted = self.delete(id).await;
        }
        deleted
    }

    async fn kill(&self, id: &str) -> Result<(), RuntimeError> {
        let message = KillRequest { container_id: id.to_owned(), signal: SIGKILL, all: true };
        self.tasks
            .ask("kill task", self.deadline, message, async |mut client, request| {
                client.kill(in_namespace(request)).await
            })
            .await
            .map(drop)
    }

    async fn delete(&self, id: &str) -> Result<(), RuntimeError> {
        let message = DeleteTaskRequest { container_id: id.to_owned() };
        let deleted = self
            .tasks
            .ask("delete task", self.deadline, message, async |mut client, request| {
                client.delete(in_namespace(request)).await
            })
            .await;
        gone_is_done(deleted.map(drop))
    }
}

fn in_namespace<M>(mut request: Request<M>) -> Request<M> {
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    request
}

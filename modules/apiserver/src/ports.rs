//! What the API server needs from outside.

use std::fmt;

use futures::future::BoxFuture;
use protocol::NodeName;
use protocol::edge::{LogError, LogStream, ReadPodLog};

/// Reads container logs from the nodes, for the `log` subresource of pods.
pub trait NodeLogs: fmt::Debug + Send + Sync + 'static {
    /// Opens a log on a node; `None` when nodes cannot be reached from here.
    fn read(
        &self,
        node: &NodeName,
        request: ReadPodLog,
    ) -> Option<BoxFuture<'static, Result<LogStream, LogError>>>;
}

/// Stands where no way to the nodes exists.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNodeLogs;

impl NodeLogs for NoNodeLogs {
    fn read(&self, _: &NodeName, _: ReadPodLog) -> Option<BoxFuture<'static, Result<LogStream, LogError>>> {
        None
    }
}

//! The way from the API server to the nodes of this process, for container logs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apiserver::NodeLogs;
use beehive::Bus;
use futures::future::BoxFuture;
use protocol::edge::{LogError, LogStream, ReadPodLog};
use protocol::{NodeName, group};

const PATIENCE: Duration = Duration::from_secs(30);

/// The nodes of this process. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct LocalNodes {
    buses: Arc<Mutex<BTreeMap<NodeName, Bus>>>,
}

impl LocalNodes {
    /// Makes a node reachable.
    pub(crate) fn add(&self, node: NodeName, bus: Bus) {
        self.buses.lock().unwrap_or_else(PoisonError::into_inner).insert(node, bus);
    }
}

impl fmt::Debug for LocalNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.buses.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(nodes.keys()).finish()
    }
}

impl NodeLogs for LocalNodes {
    fn read(
        &self,
        node: &NodeName,
        request: ReadPodLog,
    ) -> Option<BoxFuture<'static, Result<LogStream, LogError>>> {
        let bus = self.buses.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()?;
        Some(Box::pin(async move {
            let answer = bus.to(group::EDGED).ask(request).within(PATIENCE).await;
            answer.unwrap_or_else(|error| Err(LogError::Failed(format!("the node did not answer: {error}"))))
        }))
    }
}

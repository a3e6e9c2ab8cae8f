//! The requests of one node: bounded in number, asked in the order in which they came.

use std::collections::VecDeque;
use std::time::Duration;

use beehive::{AskError, Bus};
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use protocol::cloud::ServeNode;
use protocol::{ApiStatus, NodeName, NodeReply, NodeRequest, group};
use wire::ReplyTo;

/// Requests of one node that are being served at a time, and those that wait beside them.
pub(crate) const SERVING_MAX: usize = 16;
const WAITING_MAX: usize = 48;
/// The longest time that serving one request may take. The node waits for 60 seconds.
const SERVE_TIMEOUT: Duration = Duration::from_secs(30);

/// A message that asks: one request, or those that an old edge's report amounts to.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) to: ReplyTo,
    pub(crate) requests: Vec<NodeRequest>,
}

/// An answer, if the message has one.
pub(crate) type Answer = Option<(ReplyTo, NodeReply)>;

pub(crate) struct Requests {
    node: NodeName,
    bus: Bus,
    waiting: VecDeque<Work>,
    serving: FuturesUnordered<LocalBoxFuture<'static, Answer>>,
}

impl Requests {
    pub(crate) fn new(node: NodeName, bus: Bus) -> Self {
        Self { node, bus, waiting: VecDeque::new(), serving: FuturesUnordered::new() }
    }

    /// Tells whether the node may send more. While it may not, nothing is read from its link.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    pub(crate) fn push(&mut self, work: Work) {
        self.waiting.push_back(work);
    }

    /// Begins to serve what may be served.
    pub(crate) fn advance(&mut self) {
        while self.serving.len() < SERVING_MAX {
            let Some(work) = self.waiting.pop_front() else { return };
            self.serving.push(Box::pin(serve(self.bus.clone(), self.node.clone(), work)));
        }
    }

    /// Returns the next answer; never when nothing is being served.
    pub(crate) async fn answer(&mut self) -> Answer {
        match self.serving.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

async fn serve(bus: Bus, node: NodeName, Work { to, requests }: Work) -> Answer {
    let is_answered = requests.iter().all(NodeRequest::is_answered);
    let mut reply = NodeReply::Done;
    for request in requests {
        let ask = bus.to(group::EDGECONTROLLER).ask(ServeNode { node: node.clone(), request });
        reply = match ask.within(SERVE_TIMEOUT).await {
            Ok(reply) => reply,
            Err(error) => NodeReply::Refused(unavailable(&error)),
        };
        if matches!(reply, NodeReply::Refused(_)) {
            break;
        }
    }
    is_answered.then_some((to, reply))
}

/// What the node is told when nobody served its request: try again.
fn unavailable(error: &AskError) -> ApiStatus {
    tracing::warn!(%error, "a node's request was not served");
    match error {
        AskError::TimedOut { .. } => {
            ApiStatus::new(504, "Timeout", "the cloud did not serve the request in time")
        }
        _ => ApiStatus::new(503, "ServiceUnavailable", "the cloud cannot serve requests at the moment"),
    }
}

//! The requests of one node: bounded in number, asked by lane and in the order in which they came.

use std::collections::VecDeque;
use std::time::Duration;

use beehive::{AskError, Bus};
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use protocol::cloud::ServeNode;
use protocol::{ApiStatus, Lease, NodeName, NodeReply, NodeRequest, group};
use tokio::time::sleep;
use wire::ReplyTo;
use wire::session::Lane;

/// Requests of one node that are being served at a time; requests for its lease have their own places.
pub(crate) const SERVING_MAX: usize = 16;
pub(crate) const LEASES_MAX: usize = 4;
/// Bulk leaves places free for what is more urgent.
const BULK_MAX: usize = SERVING_MAX / 2;
/// Requests that wait beside them, and their bytes. While there are more, nothing is read from the
/// link, so that even a lease would wait: a native edge leaves fewer unanswered, and upstream's needs
/// half a minute for so many.
const WAITING_MAX: usize = 1024;
const WAITING_BYTES_MAX: usize = 8 << 20;
/// The longest time that serving one request may take. The node waits for 60 seconds.
const SERVE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a simulation may let a request wait.
const SLOW: Duration = Duration::from_secs(8);

/// A message that asks: one request, or those that an old edge's report amounts to.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) to: ReplyTo,
    pub(crate) lane: Lane,
    pub(crate) requests: Vec<NodeRequest>,
}

impl Work {
    fn bytes(&self) -> usize {
        self.requests.iter().map(bytes).sum()
    }
}

/// Returns how many bytes of foreign making a request has.
fn bytes(request: &NodeRequest) -> usize {
    match request {
        NodeRequest::RegisterNode(object)
        | NodeRequest::UpdateNode(object)
        | NodeRequest::CreatePod(object)
        | NodeRequest::CreateCsr(object)
        | NodeRequest::RecordEvent(object)
        | NodeRequest::Token { request: object, .. }
        | NodeRequest::Lease(Lease::Create(object) | Lease::Update(object)) => object.raw().len(),
        NodeRequest::PatchEvent { event, patch } => event.raw().len() + patch.len(),
        NodeRequest::PatchNodeStatus { patch, .. } | NodeRequest::PatchPodStatus { patch, .. } => patch.len(),
        NodeRequest::DeletePod { options, .. } => options.len(),
        NodeRequest::ReportTwins { report, .. } | NodeRequest::ReportDeviceState { report, .. } => {
            report.len()
        }
        NodeRequest::Query(_) | NodeRequest::KubernetesCa => 0,
    }
}

/// An answer, if the message has one.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) to: ReplyTo,
    pub(crate) lane: Lane,
    pub(crate) reply: Option<NodeReply>,
}

pub(crate) struct Requests {
    node: NodeName,
    session: u64,
    bus: Bus,
    /// Whether the node wants to know of every request what became of it.
    confirms: bool,
    waiting: [VecDeque<Work>; Lane::ALL.len()],
    waiting_bytes: usize,
    serving: FuturesUnordered<LocalBoxFuture<'static, Answer>>,
    leases: usize,
}

impl Requests {
    pub(crate) fn new(node: NodeName, session: u64, bus: Bus, confirms: bool) -> Self {
        Self {
            session,
            node,
            bus,
            confirms,
            waiting: Default::default(),
            waiting_bytes: 0,
            serving: FuturesUnordered::new(),
            leases: 0,
        }
    }

    /// Tells whether the node may send more. While it may not, nothing is read from its link.
    pub(crate) fn has_room(&self) -> bool {
        let waiting: usize = self.waiting.iter().map(VecDeque::len).sum();
        waiting < WAITING_MAX && self.waiting_bytes < WAITING_BYTES_MAX
    }

    pub(crate) fn push(&mut self, work: Work) {
        self.waiting_bytes += work.bytes();
        self.waiting[work.lane as usize].push_back(work);
    }

    /// Begins to serve what may be served: where the answer has room in its lane.
    pub(crate) fn advance(&mut self, has_room: impl Fn(Lane) -> bool) {
        for lane in Lane::ALL {
            while has_room(lane) && self.has_place(lane) {
                let Some(work) = self.waiting[lane as usize].pop_front() else { break };
                self.waiting_bytes -= work.bytes();
                self.leases += usize::from(lane == Lane::Liveness);
                let answers = self.confirms || work.requests.iter().all(NodeRequest::is_answered);
                // KubeEdge's edge takes any answer to a report of a device for its confirmation, and says
                // again what was not answered.
                let is_report = work.requests.iter().any(|request| request.device().is_some());
                let hides = !self.confirms && is_report;
                let serving = serve(self.bus.clone(), self.node.clone(), self.session, work);
                self.serving.push(Box::pin(async move {
                    let answer = serving.await;
                    let is_told = |reply: &NodeReply| !hides || !matches!(reply, NodeReply::Refused(_));
                    Answer { reply: answer.reply.filter(|_| answers).filter(is_told), ..answer }
                }));
            }
        }
    }

    fn has_place(&self, lane: Lane) -> bool {
        match lane {
            Lane::Liveness => self.leases < LEASES_MAX,
            Lane::Status | Lane::Sync => self.serving.len() - self.leases < SERVING_MAX,
            Lane::Bulk => self.serving.len() - self.leases < BULK_MAX,
        }
    }

    /// Returns the next answer; never when nothing is being served.
    pub(crate) async fn answer(&mut self) -> Answer {
        match self.serving.next().await {
            Some(answer) => {
                self.leases -= usize::from(answer.lane == Lane::Liveness);
                answer
            }
            None => std::future::pending().await,
        }
    }
}

async fn serve(bus: Bus, node: NodeName, session: u64, Work { to, lane, requests }: Work) -> Answer {
    let mut reply = NodeReply::Done;
    for request in requests {
        let server = if request.device().is_some() { group::DEVICECONTROLLER } else { group::EDGECONTROLLER };
        let ask = bus.to(server).ask(ServeNode { node: node.clone(), session, request });
        reply = match ask.within(SERVE_TIMEOUT).await {
            Ok(reply) => reply,
            Err(error) => NodeReply::Refused(unavailable(&error)),
        };
        if matches!(reply, NodeReply::Refused(_)) {
            break;
        }
    }
    // Not before it is served: what a node asks about one object is served in the order of arrival.
    if lane != Lane::Liveness && bus.buggify("cloudhub.slow-serving") {
        sleep(SLOW).await;
    }
    Answer { to, lane, reply: Some(reply) }
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

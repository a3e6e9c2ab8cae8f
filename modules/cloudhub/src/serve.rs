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
/// What rules route waits for endpoints that may be slow, and has its own places.
pub(crate) const ROUTING_MAX: usize = 8;
/// The queue of what rules route, beside those of the lanes.
const ROUTING: usize = Lane::ALL.len();
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

    fn is_for_rules(&self) -> bool {
        self.requests.iter().any(NodeRequest::is_for_rules)
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
        NodeRequest::Upload { topic: text, payload: body } | NodeRequest::CallUrl { url: text, body } => {
            text.len() + body.len()
        }
        NodeRequest::Query(_) | NodeRequest::KubernetesCa => 0,
    }
}

/// An answer, if the message has one.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) to: ReplyTo,
    pub(crate) lane: Lane,
    is_for_rules: bool,
    pub(crate) reply: Option<NodeReply>,
}

pub(crate) struct Requests {
    node: NodeName,
    session: u64,
    bus: Bus,
    /// Whether the node wants to know of every request what became of it.
    confirms: bool,
    waiting: [VecDeque<Work>; ROUTING + 1],
    waiting_bytes: usize,
    serving: FuturesUnordered<LocalBoxFuture<'static, Answer>>,
    leases: usize,
    routing: usize,
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
            routing: 0,
        }
    }

    /// Tells whether the node may send more. While it may not, nothing is read from its link.
    pub(crate) fn has_room(&self) -> bool {
        let waiting: usize = self.waiting.iter().map(VecDeque::len).sum();
        waiting < WAITING_MAX && self.waiting_bytes < WAITING_BYTES_MAX
    }

    pub(crate) fn push(&mut self, work: Work) {
        self.waiting_bytes += work.bytes();
        let queue = if work.is_for_rules() { ROUTING } else { work.lane as usize };
        self.waiting[queue].push_back(work);
    }

    /// Begins to serve what may be served: where the answer has room in its lane.
    pub(crate) fn advance(&mut self, has_room: impl Fn(Lane) -> bool) {
        let queues = Lane::ALL.into_iter().map(|lane| (lane as usize, lane)).chain([(ROUTING, Lane::Bulk)]);
        for (queue, lane) in queues {
            while has_room(lane) && self.has_place(queue, lane) {
                let Some(work) = self.waiting[queue].pop_front() else { break };
                self.waiting_bytes -= work.bytes();
                self.leases += usize::from(lane == Lane::Liveness);
                self.routing += usize::from(queue == ROUTING);
                let answers = self.confirms || work.requests.iter().all(NodeRequest::is_answered);
                // KubeEdge's edge takes any answer to a report of a device for its confirmation, and says
                // again what was not answered.
                let is_report = work.requests.iter().any(|request| request.device().is_some());
                let hides = !self.confirms && (is_report || work.is_for_rules());
                let serving = serve(self.bus.clone(), self.node.clone(), self.session, work);
                self.serving.push(Box::pin(async move {
                    let answer = serving.await;
                    let is_told = |reply: &NodeReply| !hides || !is_own_refusal(reply);
                    Answer { reply: answer.reply.filter(|_| answers).filter(is_told), ..answer }
                }));
            }
        }
    }

    fn has_place(&self, queue: usize, lane: Lane) -> bool {
        let others = self.serving.len() - self.leases - self.routing;
        match lane {
            _ if queue == ROUTING => self.routing < ROUTING_MAX,
            Lane::Liveness => self.leases < LEASES_MAX,
            Lane::Status | Lane::Sync => others < SERVING_MAX,
            Lane::Bulk => others < BULK_MAX,
        }
    }

    /// Returns the next answer; never when nothing is being served.
    pub(crate) async fn answer(&mut self) -> Answer {
        match self.serving.next().await {
            Some(answer) => {
                self.leases -= usize::from(answer.lane == Lane::Liveness);
                self.routing -= usize::from(answer.is_for_rules);
                answer
            }
            None => std::future::pending().await,
        }
    }
}

/// Tells whether a reply says that something failed here. What an endpoint of a rule answered is none.
fn is_own_refusal(reply: &NodeReply) -> bool {
    matches!(reply, NodeReply::Refused(status) if status.reason != protocol::rules::ENDPOINT_ANSWERED)
}

async fn serve(bus: Bus, node: NodeName, session: u64, work: Work) -> Answer {
    let is_for_rules = work.is_for_rules();
    let Work { to, lane, requests } = work;
    let mut reply = NodeReply::Done;
    for request in requests {
        let server = match &request {
            request if request.device().is_some() => group::DEVICECONTROLLER,
            request if request.is_for_rules() => group::ROUTER,
            _ => group::EDGECONTROLLER,
        };
        let ask = bus.to(server).ask(ServeNode { node: node.clone(), session, request });
        reply = match ask.within(SERVE_TIMEOUT).await {
            Ok(reply) => reply,
            Err(AskError::NobodyServes { .. }) if is_for_rules => NodeReply::Refused(no_router()),
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
    Answer { to, lane, is_for_rules, reply: Some(reply) }
}

/// What the node is told of what would need rules: it is of no use to try again.
fn no_router() -> ApiStatus {
    ApiStatus::new(404, "NotFound", "the cloud has no rules: modules.router.enable is false there")
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

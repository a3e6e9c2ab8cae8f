//! Records which version of each object each node has acknowledged, as KubeEdge's users know it:
//! `kubectl get objectsyncs`.
//!
//! The records are for people and their tools; what our nodes are told does not depend on them. So they
//! are written behind what happens and at a bounded rate, of each object only the newest version.
//! What was not written yet when the cloud crashes is known again when a node's next session begins.
//!
//! Only of an edge that cannot say what it holds, as KubeEdge's, the records are asked: what it may
//! hold and nobody needs any more, it is told to drop.

mod book;
mod config;
mod record;
mod watch;
mod writer;

use std::time::Duration;

use beehive::{
    BuildError, Context, Defer, Failure, Group, Handler, Me, Message, Module, ModuleName, Responder,
    TimerKey, Wiring,
};
use protocol::cloud::{ChangesAcknowledged, NodeSettled, ReadRecords};
use protocol::{Held, NodeName, Uid, group};
use tokio::time::Instant;

use crate::book::{Book, Job, Outcome};
pub use crate::config::SyncControllerConfig;
use crate::record::{Found, Scope};

/// The time of one round of writes.
const ROUND: Duration = Duration::from_secs(1);

/// The module.
pub struct SyncController {
    config: SyncControllerConfig,
    client: kube::Client,
    book: Book,
    /// When the last round of writes began.
    round: Option<Instant>,
    is_writing: bool,
    timer: Option<(Instant, TimerKey)>,
    /// Who waits for the records to be known.
    readers: Vec<(NodeName, Responder<Vec<Held>>)>,
}

/// Records or nodes changed.
#[derive(Debug, Message)]
enum Seen {
    NodesBegin,
    Node(NodeName),
    NodeGone(NodeName),
    NodesEnd,
    RecordsBegin(Scope),
    Record(Found),
    RecordGone(Found),
    RecordsEnd(Scope),
}

/// It is time to write what is due.
#[derive(Debug, Clone, Message)]
struct Write;

/// A round of writes ended.
#[derive(Debug, Message)]
struct RoundEnded(Vec<(NodeName, Uid, Outcome)>);

impl Module for SyncController {
    const NAME: ModuleName = ModuleName::new("synccontroller");
    const GROUP: Group = group::SYNCCONTROLLER;
    const SECTION: &'static str = "syncController";
    type Config = SyncControllerConfig;
    type Ports = kube::Client;

    fn build(config: SyncControllerConfig, client: kube::Client) -> Result<Self, BuildError> {
        let book = Book::new(config.record_interval);
        Ok(Self { config, client, book, round: None, is_writing: false, timer: None, readers: Vec::new() })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<ChangesAcknowledged>().handles::<NodeSettled>();
        wiring.defers::<ReadRecords>();
        wiring.handles::<Seen>().handles::<Write>().handles::<RoundEnded>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let random = [cx.uuid(), cx.uuid(), cx.uuid(), cx.uuid()];
        cx.spawn(see(self.client.clone(), cx.me(), random));
        Ok(())
    }
}

/// Watches records and nodes, once the API server has the kinds of record.
async fn see(client: kube::Client, me: Me<SyncController>, random: [[u8; 16]; 4]) {
    let [of_definitions, of_nodes, of_namespaced, of_cluster] = random;
    watch::definitions(&client, of_definitions).await;
    let nodes = watch::nodes(client.clone(), of_nodes);
    let nodes = nodes.run(async |told| watch::tell(&me, watch::node_seen(told)).await);
    let records = |scope, random| {
        let (watch, me) = (watch::records(client.clone(), scope, random), &me);
        watch.run(async move |told| watch::tell(me, watch::record_seen(told, scope)).await)
    };
    let (namespaced, cluster) =
        (records(Scope::Namespaced, of_namespaced), records(Scope::Cluster, of_cluster));
    tokio::join!(biased; nodes, namespaced, cluster);
}

impl Handler<ChangesAcknowledged> for SyncController {
    async fn handle(&mut self, heard: ChangesAcknowledged, cx: &mut Context<Self>) -> Result<(), Failure> {
        let ChangesAcknowledged { node, session, changes } = heard;
        for change in changes {
            self.book.acknowledged(&node, session, change, cx.now());
        }
        self.plan(cx);
        Ok(())
    }
}

impl Handler<NodeSettled> for SyncController {
    async fn handle(&mut self, settled: NodeSettled, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.book.settled(settled, cx.now());
        self.plan(cx);
        Ok(())
    }
}

impl Handler<Seen> for SyncController {
    async fn handle(&mut self, seen: Seen, cx: &mut Context<Self>) -> Result<(), Failure> {
        let (book, now) = (&mut self.book, cx.now());
        match seen {
            Seen::NodesBegin => book.begin_nodes(),
            Seen::Node(node) => book.see_node(node, now),
            Seen::NodeGone(node) => book.lose_node(&node, now),
            Seen::NodesEnd => book.end_nodes(now),
            Seen::RecordsBegin(scope) => book.begin_records(scope),
            Seen::Record(found) => book.see_record(found, now),
            Seen::RecordGone(found) => book.lose_record(&found, now),
            Seen::RecordsEnd(scope) => book.end_records(scope, now),
        }
        self.answer_readers();
        self.plan(cx);
        Ok(())
    }
}

impl Handler<Write> for SyncController {
    async fn handle(&mut self, _: Write, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.timer = None;
        let jobs = self.book.take(self.config.writes_per_second, cx.now());
        if jobs.is_empty() {
            self.plan(cx);
            return Ok(());
        }
        self.round = Some(cx.now());
        self.is_writing = true;
        cx.spawn(write_all(self.client.clone(), jobs, cx.me()));
        Ok(())
    }
}

impl Handler<RoundEnded> for SyncController {
    async fn handle(
        &mut self,
        RoundEnded(outcomes): RoundEnded,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.is_writing = false;
        for (node, uid, outcome) in outcomes {
            self.book.done(&node, &uid, outcome, cx.now());
        }
        self.plan(cx);
        Ok(())
    }
}

impl Defer<ReadRecords> for SyncController {
    async fn handle(
        &mut self,
        ReadRecords { node }: ReadRecords,
        responder: Responder<Vec<Held>>,
        _: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.readers.retain(|(_, waiting)| !waiting.is_closed());
        self.readers.push((node, responder));
        self.answer_readers();
        Ok(())
    }
}

impl SyncController {
    /// Tells those who asked what the records say, once they are known. Until then they wait no longer
    /// than they said.
    fn answer_readers(&mut self) {
        if !self.book.is_known() {
            return;
        }
        for (node, responder) in self.readers.drain(..) {
            responder.reply(self.book.list(&node));
        }
    }

    /// Sets the timer for what is due next, no earlier than the next round.
    fn plan(&mut self, cx: &mut Context<Self>) {
        let due = self.book.next_due().filter(|_| !self.is_writing);
        let due = due.map(|due| self.round.map_or(due, |round| due.max(round + ROUND)));
        if due == self.timer.as_ref().map(|(at, _)| *at) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            cx.cancel(timer);
        }
        self.timer = due.map(|due| (due, cx.after(due.saturating_duration_since(cx.now()), Write)));
    }
}

/// Does jobs one after the other.
async fn write_all(client: kube::Client, jobs: Vec<Job>, me: Me<SyncController>) {
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        let outcome = writer::write(client.clone(), &job).await;
        outcomes.push((job.node, job.uid, outcome));
    }
    if me.send(RoundEnded(outcomes)).await.is_err() {
        tracing::debug!("the sync controller stopped while it wrote records");
    }
}

//! One connection of a node.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use beehive::{Bus, Me, Message};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use protocol::cloud::{Holdings, NodeArrived, NodeConnected, NodeDisconnected, ServeNode};
use protocol::{Held, NodeName, NodeRequest, group};
use rand::Rng as _;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use wire::codec::{CloudFrame, EdgeFrame, Features, NATIVE_VERSION};
use wire::link::{Frame, FrameWriter, Link, LinkError};
use wire::{Codec, Downlink, Envelope, MessageId, ReplyShape, ReplyTo, Uplink};

use super::{Fifo, Habit, Item, Left, OriginalHub, Shared};

/// After so much silence a node counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a request may wait for its worker, where there are several.
const WORK_MAX: Duration = Duration::from_secs(1);
/// The longest that a request may take to be served.
const SERVE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Session {
    pub(super) node: NodeName,
    pub(super) number: u64,
    pub(super) connection: u64,
    pub(super) codec: Codec,
    pub(super) bus: Bus,
    pub(super) habit: Option<Habit>,
    pub(super) shared: Rc<Shared>,
    pub(super) queue: Rc<Fifo>,
    /// Whether others are told that the session begins, and that it ends.
    pub(super) begins: bool,
    pub(super) ends: bool,
    pub(super) frames: mpsc::Sender<CloudFrame>,
    pub(super) work: FuturesUnordered<Pin<Box<dyn Future<Output = Option<Item>>>>>,
    pub(super) rng: beehive::Rng,
}

impl Session {
    /// Serves the connection to its end.
    pub(super) async fn serve(
        mut self,
        mut link: Link,
        outgoing: mpsc::Receiver<CloudFrame>,
        me: Me<OriginalHub>,
    ) {
        let (node, number, connection) = (self.node.clone(), self.number, self.connection);
        let held = self.hello(&mut link).await.unwrap_or_default();
        if self.begins {
            self.announce(NodeArrived { node: node.clone(), session: number }).await;
            let holds = held.map_or_else(|| Holdings::Remembered(Vec::new()), Holdings::Said);
            self.announce(NodeConnected { node: node.clone(), session: number, holds }).await;
        }
        let (ends, bus) = (self.ends, self.bus.clone());
        self.run(link, outgoing).await;
        if ends {
            let _told = bus.publish(NodeDisconnected { node: node.clone(), session: number }).await;
        }
        let _told = me.send(Left { node, connection }).await;
    }

    async fn announce<E: Message + Clone>(&self, event: E) {
        let _told = self.bus.publish(event).await;
    }

    async fn hello(&self, link: &mut Link) -> Option<Option<Vec<Held>>> {
        if self.codec == Codec::KubeEdge {
            return None;
        }
        let frame = link.reader.next().await.ok()?;
        let Ok(EdgeFrame::Hello(hello)) = self.codec.decode_edge(&frame) else { return None };
        let features = Features::default();
        let welcome = CloudFrame::Welcome { version: NATIVE_VERSION, session: self.number, features };
        link.writer.send(self.codec.encode_cloud(welcome)?).await.ok()?;
        Some(hello.held)
    }

    async fn run(&mut self, mut link: Link, outgoing: mpsc::Receiver<CloudFrame>) {
        let mut writing = pin!(write(self.codec, link.writer, outgoing));
        loop {
            tokio::select! {
                biased;
                () = &mut writing => return,
                heard = timeout(SILENCE_MAX, link.reader.next()) => {
                    let Ok(Ok(frame)) = heard else { return };
                    self.hear(&frame);
                }
                Some(answer) = self.work.next(), if !self.work.is_empty() => {
                    answer.into_iter().for_each(|answer| self.queue.push(answer));
                }
            }
        }
    }

    fn hear(&mut self, frame: &Frame) {
        match self.codec.decode_edge(frame) {
            Ok(EdgeFrame::Ping(number)) => {
                // A peer that takes no pong has not been waiting for one.
                let _sent = self.frames.try_send(CloudFrame::Pong(number));
            }
            Ok(EdgeFrame::Up(Envelope { id, body, .. })) => self.receive(id, body),
            _ => {}
        }
    }

    fn receive(&mut self, id: MessageId, body: Uplink) {
        match body {
            Uplink::Ack { parent, .. } => {
                self.shared.acknowledged.borrow_mut().insert(parent);
                self.shared.came.notify_waiters();
            }
            Uplink::Request { path, request } => {
                let to = ReplyTo { parent: id, path, shape: ReplyShape::of(&request) };
                let waits = if self.habit == Some(Habit::ManyWorkers) {
                    self.rng.random_range(Duration::ZERO..WORK_MAX)
                } else {
                    Duration::ZERO
                };
                let is_answered = request.is_answered();
                let (node, session) = self.speaker(&request);
                let serve = ServeNode { node, session, request };
                let (bus, node, id) = (self.bus.clone(), self.node.clone(), self.shared.next_id());
                self.work.push(Box::pin(async move {
                    sleep(waits).await;
                    let reply = bus.to(group::EDGECONTROLLER).ask(serve).within(SERVE_TIMEOUT).await;
                    let reply = reply.ok().filter(|_| is_answered)?;
                    Some(Item { node, id, body: Downlink::Reply { to, reply } })
                }));
            }
            _ => {}
        }
    }
}

impl Session {
    /// Returns in whose name a request is served, and for which session.
    fn speaker(&self, request: &NodeRequest) -> (NodeName, u64) {
        let named = named(request).filter(|_| self.habit == Some(Habit::TrustsNames));
        let other = named.and_then(|node| self.shared.way(&node).map(|way| (node, way.number)));
        other.unwrap_or_else(|| (self.node.clone(), self.number))
    }
}

/// Returns the node that a request names.
fn named(request: &NodeRequest) -> Option<NodeName> {
    match request {
        NodeRequest::PatchNodeStatus { node, .. } => Some(node.clone()),
        NodeRequest::UpdateNode(node) => NodeName::parse(&node.meta().name).ok(),
        _ => None,
    }
}

async fn write(codec: Codec, mut writer: Box<dyn FrameWriter>, mut frames: mpsc::Receiver<CloudFrame>) {
    while let Some(frame) = frames.recv().await {
        let Some(frame) = codec.encode_cloud(frame) else { continue };
        let sent: Result<(), LinkError> = writer.send(frame).await;
        if sent.is_err() {
            return;
        }
    }
}

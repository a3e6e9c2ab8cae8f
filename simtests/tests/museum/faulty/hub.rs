//! The original's cloud hub, as far as the reports are about it.
//!
//! It keeps what nodes are to know in queues that are first in, first out, hands over one message at
//! a time, waits up to five seconds for each acknowledgement and tries five times.

mod session;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use beehive::{BuildError, Context, Failure, Group, Handler, Me, Message, Module, ModuleName, Wiring};
use cloudhub::{CloudHub, CloudHubConfig};
use futures::stream::FuturesUnordered;
use protocol::cloud::{
    EndSession, NodeArrived, NodeConnected, NodeDisconnected, Room, SendRefused, SendToNode, ServeNode,
};
use protocol::{NodeName, group};
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use wire::codec::CloudFrame;
use wire::link::{Accepted, Incoming, ListenOn, TlsFiles};
use wire::{Downlink, Envelope, MessageId};

use session::Session;

/// How long an acknowledgement is waited for, and how often.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
const TRIES: u32 = 5;

/// What of the original a hub does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// One queue and one dispatcher serve all nodes.
    OneDispatcher,
    /// A node that comes again keeps the queue of before, and is not compared anew.
    KeepsQueue,
    /// What cannot be sent is dropped, and a node that comes again is not compared anew.
    Forgets,
    /// The end of an older connection is taken for the end of the newer one of its node.
    OlderEndsNewer,
    /// A node may speak for whichever node it names.
    TrustsNames,
    /// Several workers take requests from one queue, each at its own pace.
    ManyWorkers,
}

/// What is to be sent to a node.
#[derive(Debug)]
struct Item {
    node: NodeName,
    id: MessageId,
    body: Downlink,
}

/// A queue, first in, first out, without a bound.
#[derive(Debug, Default)]
struct Fifo {
    items: RefCell<VecDeque<Item>>,
    filled: Notify,
}

impl Fifo {
    fn push(&self, item: Item) {
        self.items.borrow_mut().push_back(item);
        self.filled.notify_one();
    }

    async fn pop(&self) -> Item {
        loop {
            let item = self.items.borrow_mut().pop_front();
            match item {
                Some(item) => return item,
                None => self.filled.notified().await,
            }
        }
    }
}

/// The way to a node while it is connected.
#[derive(Debug, Clone)]
struct Way {
    connection: u64,
    /// The session's number, as others know it.
    number: u64,
    frames: mpsc::Sender<CloudFrame>,
}

/// What the hub's tasks share.
#[derive(Debug, Default)]
struct Shared {
    ways: RefCell<BTreeMap<NodeName, Way>>,
    acknowledged: RefCell<BTreeSet<MessageId>>,
    came: Notify,
    ids: Cell<u64>,
}

impl Shared {
    fn next_id(&self) -> MessageId {
        self.ids.set(self.ids.get() + 1);
        MessageId::new(&format!("original-{}", self.ids.get()))
    }

    fn way(&self, node: &NodeName) -> Option<Way> {
        self.ways.borrow().get(node).cloned()
    }

    /// Waits until a message is acknowledged.
    async fn acknowledged(&self, id: &MessageId) {
        while !self.acknowledged.borrow_mut().remove(id) {
            self.came.notified().await;
        }
    }

    /// Hands over one message. What no link takes is dropped, or waits for the next link.
    async fn hand_over(&self, item: &Item, habit: Option<Habit>) {
        let frame = || {
            let Item { id, body, .. } = item;
            CloudFrame::Down(Envelope { id: id.clone(), timestamp_ms: 0, body: body.clone() })
        };
        let is_change = matches!(item.body, Downlink::Change { .. });
        loop {
            for _ in 0..TRIES {
                let Some(way) = self.way(&item.node) else { break };
                if way.frames.send(frame()).await.is_err() {
                    break;
                }
                if !is_change || timeout(ACK_TIMEOUT, self.acknowledged(&item.id)).await.is_ok() {
                    return;
                }
            }
            if habit != Some(Habit::KeepsQueue) || !is_change {
                return;
            }
            sleep(ACK_TIMEOUT).await;
        }
    }
}

async fn dispatch(fifo: Rc<Fifo>, shared: Rc<Shared>, habit: Option<Habit>) {
    loop {
        let item = fifo.pop().await;
        shared.hand_over(&item, habit).await;
    }
}

/// The hub.
#[derive(Debug)]
pub(crate) struct OriginalHub {
    ports: cloudhub::Ports,
    config: CloudHubConfig,
    habit: Option<Habit>,
    shared: Rc<Shared>,
    queues: BTreeMap<String, Rc<Fifo>>,
    /// The numbers of nodes whose sessions never end for others.
    lasting: BTreeMap<NodeName, u64>,
    connections: u64,
}

/// A connection came.
#[derive(Debug, Message)]
struct Came(Accepted);

/// A connection ended.
#[derive(Debug, Message)]
struct Left {
    node: NodeName,
    connection: u64,
}

impl Module for OriginalHub {
    const NAME: ModuleName = CloudHub::NAME;
    const GROUP: Group = CloudHub::GROUP;
    const SECTION: &'static str = CloudHub::SECTION;
    type Config = CloudHubConfig;
    type Ports = (cloudhub::Ports, Option<Habit>);

    fn build(config: CloudHubConfig, (ports, habit): Self::Ports) -> Result<Self, BuildError> {
        Ok(Self {
            ports,
            config,
            habit,
            shared: Rc::default(),
            queues: BTreeMap::new(),
            lasting: BTreeMap::new(),
            connections: 0,
        })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Came>().handles::<Left>().handles::<SendToNode>().handles::<EndSession>();
        wiring.asks::<ServeNode>(group::EDGECONTROLLER);
        wiring.publishes::<NodeArrived>().publishes::<NodeConnected>().publishes::<NodeDisconnected>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let since_epoch = cx.wall_clock().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.connections = u64::try_from(since_epoch.as_micros()).unwrap_or_default();
        for listener in &self.ports.listeners {
            let on = ListenOn {
                address: self.config.websocket.address.clone(),
                port: self.config.websocket.port,
                tls: TlsFiles {
                    ca: self.config.tls_ca_file.clone(),
                    certificate: self.config.tls_cert_file.clone(),
                    key: self.config.tls_private_key_file.clone(),
                },
                handshake_timeout: Duration::from_secs(10),
                handshakes_max: 256,
                frame_bytes_max: usize::MAX,
            };
            let incoming = listener.listen(on).await.map_err(Failure::because)?;
            cx.spawn(accept(incoming, cx.me()));
        }
        Ok(())
    }
}

async fn accept(mut incoming: Box<dyn Incoming>, me: Me<OriginalHub>) {
    while let Ok(accepted) = incoming.accept().await {
        if me.send(Came(accepted)).await.is_err() {
            return;
        }
    }
}

impl OriginalHub {
    /// Returns the queue of a node, with a dispatcher that empties it.
    fn queue(&mut self, node: &NodeName, cx: &mut Context<Self>) -> Rc<Fifo> {
        let name = if self.habit == Some(Habit::OneDispatcher) { String::new() } else { node.to_string() };
        if let Some(queue) = self.queues.get(&name) {
            return Rc::clone(queue);
        }
        let queue = Rc::new(Fifo::default());
        cx.spawn(dispatch(Rc::clone(&queue), Rc::clone(&self.shared), self.habit));
        self.queues.insert(name, Rc::clone(&queue));
        queue
    }
}

impl Handler<Came> for OriginalHub {
    async fn handle(&mut self, Came(accepted): Came, cx: &mut Context<Self>) -> Result<(), Failure> {
        let node = NodeName::parse(&accepted.claimed).map_err(Failure::because)?;
        self.connections += 1;
        let connection = self.connections;
        let (frames, outgoing) = mpsc::channel(1);
        let lasts = matches!(self.habit, Some(Habit::KeepsQueue | Habit::Forgets));
        let before = self.lasting.get(&node).copied();
        if lasts && before.is_none() {
            self.lasting.insert(node.clone(), connection);
        }
        let number = before.unwrap_or(connection);
        let way = Way { connection, number, frames: frames.clone() };
        self.shared.ways.borrow_mut().insert(node.clone(), way);
        let session = Session {
            queue: self.queue(&node, cx),
            node,
            number,
            connection,
            codec: accepted.codec,
            bus: cx.bus().clone(),
            habit: self.habit,
            shared: Rc::clone(&self.shared),
            begins: before.is_none(),
            ends: !lasts,
            frames,
            work: FuturesUnordered::new(),
            rng: beehive::Rng::seed_from_u64(cx.rng().random()),
        };
        cx.spawn(session.serve(accepted.link, outgoing, cx.me()));
        Ok(())
    }
}

impl Handler<Left> for OriginalHub {
    async fn handle(
        &mut self,
        Left { node, connection }: Left,
        _: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let mut ways = self.shared.ways.borrow_mut();
        let is_newest = ways.get(&node).is_some_and(|way| way.connection == connection);
        if is_newest || self.habit == Some(Habit::OlderEndsNewer) {
            ways.remove(&node);
        }
        Ok(())
    }
}

impl Handler<SendToNode> for OriginalHub {
    async fn handle(
        &mut self,
        SendToNode { node, change }: SendToNode,
        cx: &mut Context<Self>,
    ) -> Result<Result<Room, SendRefused>, Failure> {
        let (id, body) = (self.shared.next_id(), Downlink::change(change));
        self.queue(&node, cx).push(Item { node, id, body });
        Ok(Ok(Room(usize::MAX)))
    }
}

impl Handler<EndSession> for OriginalHub {
    async fn handle(
        &mut self,
        EndSession { node }: EndSession,
        _: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.shared.ways.borrow_mut().remove(&node);
        Ok(())
    }
}

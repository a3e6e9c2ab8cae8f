//! The cloud end of the links of all nodes.
//!
//! Each connection is one task. A node has one session: the newest admitted connection. What the
//! node is to know waits in the session's queue, one entry per object, the newest state wins, so
//! that a slow node delays nobody and costs a bounded amount of memory.

mod config;
mod connection;
mod ports;
mod queue;
mod serve;
mod session;

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use beehive::{BuildError, Context, Failure, Group, Handler, Me, Message, Module, ModuleName, Wiring};
use protocol::cloud::{EndSession, NodeConnected, NodeDisconnected, SendRefused, SendToNode, ServeNode};
use protocol::{NodeName, group};
use tokio::sync::oneshot;
use wire::link::{Accepted, Incoming};

use crate::connection::{Admission, Clock, Connection};
use crate::queue::Queue;

pub use crate::config::{CloudHubConfig, HttpsConfig, WebSocketConfig};
pub use crate::ports::Ports;

/// Connections that may have arrived and not yet be admitted.
const ARRIVING_MAX: usize = 256;

/// A connection came from a listener.
#[derive(Debug, Message)]
struct Arrived(Accepted);

/// A connection said all that it must before it is admitted.
#[derive(Debug, Message)]
struct Ready {
    connection: u64,
}

/// A connection ended.
#[derive(Debug, Message)]
struct Ended {
    connection: u64,
    node: NodeName,
}

/// A listener ended.
#[derive(Debug, Message)]
struct ListenerEnded {
    problem: String,
}

/// A connection that waits for its admission.
#[derive(Debug)]
struct Arriving {
    node: NodeName,
    queue: Queue,
    fence: oneshot::Sender<()>,
    admit: oneshot::Sender<Admission>,
}

/// A node's session. Dropping it ends the session.
#[derive(Debug)]
struct Entry {
    connection: u64,
    queue: Queue,
    _fence: oneshot::Sender<()>,
}

/// The cloud hub.
#[derive(Debug)]
pub struct CloudHub {
    config: CloudHubConfig,
    ports: Ports,
    arriving: BTreeMap<u64, Arriving>,
    sessions: BTreeMap<NodeName, Entry>,
    connections: u64,
}

impl Module for CloudHub {
    const NAME: ModuleName = ModuleName::new("cloudhub");
    const GROUP: Group = group::CLOUDHUB;
    const SECTION: &'static str = "cloudHub";
    type Config = CloudHubConfig;
    type Ports = Ports;

    fn build(config: CloudHubConfig, ports: Ports) -> Result<Self, BuildError> {
        let (arriving, sessions) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { config, ports, arriving, sessions, connections: 0 })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Arrived>().handles::<Ready>().handles::<Ended>().handles::<ListenerEnded>();
        wiring.handles::<SendToNode>().handles::<EndSession>();
        wiring.asks::<ServeNode>(group::EDGECONTROLLER);
        wiring.publishes::<NodeConnected>().publishes::<NodeDisconnected>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        if !self.config.websocket.enable {
            tracing::info!("no node can connect: cloudHub.websocket.enable is false");
            return Ok(());
        }
        for listener in &self.ports.listeners {
            let incoming = listener.listen(self.config.listen_on()).await.map_err(Failure::because)?;
            cx.spawn(accept(incoming, cx.me()));
        }
        Ok(())
    }
}

/// Hands connections to the hub as fast as it takes them.
async fn accept(mut incoming: Box<dyn Incoming>, me: Me<CloudHub>) {
    loop {
        let sent = match incoming.accept().await {
            Ok(accepted) => me.send(Arrived(accepted)).await,
            Err(error) => {
                let ended = me.send(ListenerEnded { problem: error.to_string() }).await;
                if let Err(error) = ended {
                    tracing::debug!(%error, "the hub stops");
                }
                return;
            }
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "the hub stops");
            return;
        }
    }
}

impl Handler<Arrived> for CloudHub {
    async fn handle(&mut self, Arrived(accepted): Arrived, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Accepted { identity, claimed, codec, address, link } = accepted;
        let node = match NodeName::parse(&claimed) {
            Ok(node) => node,
            Err(problem) => {
                tracing::warn!(%address, %problem, "a connection was refused");
                return Ok(());
            }
        };
        if !identity.may_speak_for(&node) {
            tracing::warn!(%address, %node, ?identity, "a connection was refused: its certificate is not the node's");
            return Ok(());
        }
        if self.arriving.len() >= ARRIVING_MAX {
            tracing::warn!(%address, %node, "a connection was refused: too many are being admitted");
            return Ok(());
        }
        self.connections += 1;
        let (fence, fenced) = oneshot::channel();
        let (admit, admitted) = oneshot::channel();
        let queue = Queue::new(codec);
        let arriving = Arriving { node: node.clone(), queue: queue.clone(), fence, admit };
        self.arriving.insert(self.connections, arriving);
        let mut seed = [0; 8];
        seed.copy_from_slice(&cx.uuid()[8..]);
        let since_epoch = cx.wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
        let connection = Connection {
            number: self.connections,
            node,
            codec,
            link,
            queue,
            bus: cx.bus().clone(),
            me: cx.me(),
            seed: u64::from_le_bytes(seed),
            clock: Clock { since: cx.now(), wall: since_epoch },
            silence_max: self.config.silence_max(),
            write_timeout: self.config.write_timeout(),
        };
        cx.spawn(connection.serve(admitted, fenced));
        Ok(())
    }
}

impl Handler<Ready> for CloudHub {
    async fn handle(&mut self, Ready { connection }: Ready, _: &mut Context<Self>) -> Result<(), Failure> {
        let Some(Arriving { node, queue, fence, admit }) = self.arriving.remove(&connection) else {
            return Ok(());
        };
        let is_known = self.sessions.contains_key(&node);
        if !is_known && self.sessions.len() >= self.config.node_limit() {
            let limit = self.config.node_limit;
            tracing::warn!(%node, limit, "a node was refused: nodeLimit is reached");
            if admit.send(Admission::Refused("the cloud serves as many nodes as it may".to_owned())).is_err()
            {
                tracing::debug!(%node, "the node left before it was refused");
            }
            return Ok(());
        }
        if admit.send(Admission::Session(connection)).is_ok() {
            let entry = Entry { connection, queue, _fence: fence };
            if self.sessions.insert(node.clone(), entry).is_some() {
                tracing::info!(%node, "a newer connection takes the place of the node's session");
            }
        }
        Ok(())
    }
}

impl Handler<Ended> for CloudHub {
    async fn handle(&mut self, ended: Ended, _: &mut Context<Self>) -> Result<(), Failure> {
        self.arriving.remove(&ended.connection);
        let current = self.sessions.get(&ended.node).map(|entry| entry.connection);
        if current == Some(ended.connection) {
            self.sessions.remove(&ended.node);
        }
        Ok(())
    }
}

impl Handler<ListenerEnded> for CloudHub {
    async fn handle(&mut self, ended: ListenerEnded, _: &mut Context<Self>) -> Result<(), Failure> {
        Err(Failure::new(format!("the listener ended: {}", ended.problem)))
    }
}

impl Handler<SendToNode> for CloudHub {
    async fn handle(
        &mut self,
        SendToNode { node, change }: SendToNode,
        _: &mut Context<Self>,
    ) -> Result<Result<(), SendRefused>, Failure> {
        let Some(entry) = self.sessions.get(&node) else { return Ok(Err(SendRefused::NotConnected)) };
        if entry.queue.push(change).is_ok() {
            return Ok(Ok(()));
        }
        tracing::warn!(%node, "the node does not keep up: its queue is full and its session ends");
        self.sessions.remove(&node);
        Ok(Err(SendRefused::QueueFull))
    }
}

impl Handler<EndSession> for CloudHub {
    async fn handle(&mut self, ended: EndSession, _: &mut Context<Self>) -> Result<(), Failure> {
        let EndSession { node } = ended;
        if self.sessions.remove(&node).is_some() {
            tracing::info!(%node, "the node's session ends, so that it says what it holds");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

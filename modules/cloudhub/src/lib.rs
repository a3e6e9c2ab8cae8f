//! The cloud end of the links of all nodes.
//!
//! Each connection is one task. A node has one session: the newest admitted connection. What the
//! node is to know waits in the session's queue, one entry per object, the newest state wins, so
//! that a slow node delays nobody and costs a bounded amount of memory.

mod acknowledged;
mod commands;
mod compare;
mod config;
mod connection;
mod down;
mod known;
mod messages;
mod ports;
mod queue;
mod serve;
mod session;
mod sessions;
mod total;
mod turns;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use beehive::{BuildError, Context, Failure, Group, Handler, Module, ModuleName, Wiring};
use protocol::cloud::{
    AwaitRoom, ChangesAcknowledged, CompareNode, EndSession, NodeArrived, NodeConnected, NodeDisconnected,
    ReadRecords, SendToNode, ServeNode,
};
use protocol::rules::CommandNode;
use protocol::{NodeName, group};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use wire::link::Accepted;

use crate::commands::Commands;
use crate::connection::{Admission, Clock, Connection};
use crate::known::Knowledge;
use crate::messages::{Arrived, Arriving, Ended, ListenerEnded, NextTurns, Ready};
use crate::queue::Queue;
use crate::sessions::{Entry, Sessions};
use crate::turns::Turns;

pub use crate::config::{CloudHubConfig, HttpsConfig, QuicConfig, WebSocketConfig};
pub use crate::ports::Ports;

/// Connections that may have arrived and not yet be admitted.
const ARRIVING_MAX: usize = 256;

/// The shortest pause between two rounds of turns.
const TURN_PAUSE: Duration = Duration::from_millis(10);

/// The cloud hub.
#[derive(Debug)]
pub struct CloudHub {
    config: CloudHubConfig,
    ports: Ports,
    arriving: BTreeMap<u64, Arriving>,
    sessions: Sessions,
    knowledge: Knowledge,
    turns: Turns<oneshot::Sender<()>>,
    started: Option<Instant>,
    connections: u64,
}

impl Module for CloudHub {
    const NAME: ModuleName = ModuleName::new("cloudhub");
    const GROUP: Group = group::CLOUDHUB;
    const SECTION: &'static str = "cloudHub";
    type Config = CloudHubConfig;
    type Ports = Ports;

    fn build(config: CloudHubConfig, ports: Ports) -> Result<Self, BuildError> {
        let sessions = Sessions::new(config.queue_bytes());
        let turns = Turns::new(config.resyncs_per_second);
        // Nodes that are away for a while are known as well.
        let knowledge = Knowledge::new(config.node_limit().saturating_mul(2));
        let arriving = BTreeMap::new();
        Ok(Self { config, ports, arriving, sessions, knowledge, turns, started: None, connections: 0 })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Arrived>().handles::<Ready>().handles::<Ended>().handles::<ListenerEnded>();
        wiring.handles::<NextTurns>().handles::<SendToNode>().handles::<EndSession>();
        wiring.defers::<AwaitRoom>().defers::<CompareNode>().defers::<CommandNode>();
        wiring.may_ask::<ServeNode>(group::DEVICECONTROLLER).may_ask::<ServeNode>(group::ROUTER);
        wiring.asks::<ServeNode>(group::EDGECONTROLLER).may_ask::<ReadRecords>(group::SYNCCONTROLLER);
        wiring.publishes::<NodeArrived>().publishes::<NodeConnected>().publishes::<NodeDisconnected>();
        wiring.publishes::<ChangesAcknowledged>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        // A hub that was restarted goes on with greater numbers: its sessions are newer.
        let since_epoch = cx.wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.connections = u64::try_from(since_epoch.as_micros()).unwrap_or_default();
        self.started = Some(cx.now());
        if !self.config.websocket.enable && !self.config.quic.enable {
            tracing::info!(
                "no node can connect: neither cloudHub.websocket.enable nor cloudHub.quic.enable is true"
            );
        }
        for listener in &self.ports.listeners {
            let Some(on) = self.config.listen_on(listener.transport()) else { continue };
            let incoming = listener.listen(on).await.map_err(Failure::because)?;
            cx.spawn(connection::accept(incoming, cx.me()));
        }
        Ok(())
    }
}

impl Handler<Arrived> for CloudHub {
    async fn handle(&mut self, Arrived(accepted): Arrived, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Accepted { identity, claimed, codec, transport, address, link } = accepted;
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
        let queue = Queue::new(codec, self.config.node_queue_bytes(), self.sessions.total());
        let (comparing, wanted) = mpsc::channel(1);
        let commands = Commands::default();
        let arriving = Arriving {
            node: node.clone(),
            queue: queue.clone(),
            commands: commands.clone(),
            comparing: comparing.clone(),
            fence,
            admit,
        };
        self.arriving.insert(self.connections, arriving);
        let mut seed = [0; 8];
        seed.copy_from_slice(&cx.uuid()[8..]);
        let since_epoch = cx.wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
        let connection = Connection {
            number: self.connections,
            known: self.knowledge.of(&node, self.connections),
            comparing: (comparing, wanted),
            node,
            codec,
            transport,
            link,
            queue,
            commands,
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
    async fn handle(&mut self, Ready { connection }: Ready, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Some(arriving) = self.arriving.remove(&connection) else {
            return Ok(());
        };
        let Arriving { node, queue, commands, comparing, fence, admit } = arriving;
        if !self.sessions.has(&node) && self.sessions.len() >= self.config.node_limit() {
            let limit = self.config.node_limit;
            tracing::warn!(%node, limit, "a node was refused: nodeLimit is reached");
            if admit.send(Admission::Refused("the cloud serves as many nodes as it may".to_owned())).is_err()
            {
                tracing::debug!(%node, "the node left before it was refused");
            }
            return Ok(());
        }
        let turn = self.turn(connection, cx);
        if admit.send(Admission::Session { number: connection, turn }).is_ok() {
            let entry = Entry { connection, queue, commands, comparing, _fence: fence };
            self.sessions.begin(node, entry);
        }
        Ok(())
    }
}

impl CloudHub {
    fn now(&self) -> Duration {
        self.started.map(|started| started.elapsed()).unwrap_or_default()
    }

    /// Gives a session its turn to be told what its node must know; `None` stands for at once.
    fn turn(&mut self, connection: u64, cx: &mut Context<Self>) -> Option<oneshot::Receiver<()>> {
        let now = self.now();
        if self.turns.take(now) {
            return None;
        }
        let is_first = self.turns.pause(now).is_none();
        let (tell, turn) = oneshot::channel();
        self.turns.wait(connection, tell);
        if is_first && let Some(pause) = self.turns.pause(now) {
            cx.after(pause, NextTurns);
        }
        Some(turn)
    }
}

impl Handler<NextTurns> for CloudHub {
    async fn handle(&mut self, _: NextTurns, cx: &mut Context<Self>) -> Result<(), Failure> {
        let now = self.now();
        while let Some(tell) = self.turns.next(now) {
            if tell.send(()).is_err() {
                tracing::debug!("a node left before its turn");
            }
        }
        if let Some(pause) = self.turns.pause(now) {
            cx.after(pause.max(TURN_PAUSE), NextTurns);
        }
        Ok(())
    }
}

impl Handler<Ended> for CloudHub {
    async fn handle(&mut self, ended: Ended, _: &mut Context<Self>) -> Result<(), Failure> {
        self.arriving.remove(&ended.connection);
        self.turns.leave(ended.connection);
        self.sessions.forget(&ended.node, ended.connection);
        Ok(())
    }
}

impl Handler<ListenerEnded> for CloudHub {
    async fn handle(&mut self, ended: ListenerEnded, _: &mut Context<Self>) -> Result<(), Failure> {
        Err(Failure::new(format!("the listener ended: {}", ended.problem)))
    }
}

#[cfg(test)]
mod tests;

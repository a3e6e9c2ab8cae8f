//! How a connection comes to be.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use wire::Codec;
use wire::link::{Accepted, DialTo, Dialed, Dialer, Identity, Incoming, Link, LinkError, ListenOn, Listener};

use super::ears::Ears;
use super::pipe::{Half, Pipe, Reader, Writer};
use super::{Connection, Direction, Network};

/// Connections that may wait to be accepted.
const BACKLOG_MAX: usize = 512;
/// How often TCP, TLS and HTTP go there and back before the first frame.
const HANDSHAKE_TRIPS: u32 = 4;

#[derive(Debug, Clone)]
pub(super) struct Accepting {
    backlog: mpsc::Sender<Accepted>,
    frame_bytes_max: usize,
}

impl Network {
    /// Makes both ends of a connection of a node: the edge's, then the cloud's.
    pub(super) fn connect(
        &self,
        node: &str,
        codec: Codec,
        edge_max: usize,
        cloud_max: usize,
    ) -> (Link, Link) {
        let now = Instant::now();
        let mut state = self.lock();
        state.made += 1;
        let id = state.made;
        let pipes = [Pipe::new(now), Pipe::new(now)];
        let readable = pipes.each_ref().map(|pipe| pipe.readable.clone());
        let writable = pipes.each_ref().map(|pipe| pipe.writable.clone());
        let connection = Connection {
            node: node.to_owned(),
            codec,
            ears: Ears::new(codec),
            pipes,
            is_broken: false,
            is_stuck: false,
            halves: 4,
        };
        state.connections.insert(id, connection);
        drop(state);
        let end = |reads: Direction, writes: Direction, bytes_max: usize| Link {
            reader: Box::new(Reader {
                network: self.clone(),
                half: Half { connection: id, direction: reads },
                readable: readable[reads.at()].clone(),
                bytes_max,
            }),
            writer: Box::new(Writer {
                network: self.clone(),
                half: Half { connection: id, direction: writes },
                writable: writable[writes.at()].clone(),
            }),
        };
        (end(Direction::Down, Direction::Up, edge_max), end(Direction::Up, Direction::Down, cloud_max))
    }

    /// Waits until the way to the cloud is open both ways for as long as a handshake takes.
    async fn reach(&self, node: &str) {
        loop {
            let changed = self.changed.notified();
            if self.is_whole(node) {
                let trip = self.lock().latency(node);
                sleep(trip * 2 * HANDSHAKE_TRIPS).await;
                if self.is_whole(node) {
                    return;
                }
            } else {
                changed.await;
            }
        }
    }

    fn is_whole(&self, node: &str) -> bool {
        let mut state = self.lock();
        Direction::BOTH.into_iter().all(|direction| state.is_open(node, direction))
    }
}

#[async_trait]
impl Dialer for Network {
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError> {
        let refused = || LinkError::Transport("connection refused".to_owned());
        let node = to.node.to_string();
        self.world.record(format_args!("link {node} dials"));
        if timeout(to.handshake_timeout, self.reach(&node)).await.is_err() {
            return Err(LinkError::HandshakeTimeout(to.handshake_timeout));
        }
        let accepting = self.lock().accepting.clone().ok_or_else(refused)?;
        let codec = to.codecs.first().copied().unwrap_or(Codec::KubeEdge);
        let (ours, theirs) = self.connect(&node, codec, to.frame_bytes_max, accepting.frame_bytes_max);
        let accepted = Accepted {
            identity: Identity::Certificate(format!("system:node:{node}")),
            claimed: node,
            codec,
            transport: to.transport,
            address: "192.0.2.1:10000".to_owned(),
            link: theirs,
        };
        let patience = to.handshake_timeout.max(Duration::from_secs(1));
        match timeout(patience, accepting.backlog.send(accepted)).await {
            Err(_) => Err(LinkError::HandshakeTimeout(patience)),
            Ok(Err(_)) => Err(refused()),
            Ok(Ok(())) => Ok(Dialed { codec, link: ours }),
        }
    }
}

struct Backlog(mpsc::Receiver<Accepted>);

#[async_trait]
impl Incoming for Backlog {
    async fn accept(&mut self) -> Result<Accepted, LinkError> {
        self.0.recv().await.ok_or(LinkError::Closed)
    }
}

#[async_trait]
impl Listener for Network {
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn Incoming>, LinkError> {
        let (sender, backlog) = mpsc::channel(BACKLOG_MAX);
        self.lock().accepting = Some(Accepting { backlog: sender, frame_bytes_max: on.frame_bytes_max });
        Ok(Box::new(Backlog(backlog)))
    }
}

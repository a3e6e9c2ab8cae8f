//! From a dial to a session that both ends agree on.

use std::sync::Arc;
use std::time::Duration;

use beehive::{Bus, Me, Message};
use futures::future::join;
use protocol::edge::{LinkDown, LinkUp};
use protocol::{Inventory, NodeName};
use tokio::time::{Instant, timeout};
use wire::Codec;
use wire::codec::{CloudFrame, EdgeFrame, Features, Hello, NATIVE_VERSION};
use wire::link::{DialTo, Dialed, Dialer, Link, LinkError};

use crate::config::EdgeHubConfig;
use crate::inventory;
use crate::outbox::Outbox;
use crate::pending::{Asked, Asks};
use crate::session::{Session, Settings};
use crate::{EdgeHub, Ended, Established};

/// The largest frame that an edge accepts.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;

/// The time as it was when the hub began to dial, from which its task tells the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) since: Instant,
    /// The wall clock at that moment, since the Unix epoch.
    pub(crate) wall: Duration,
}

impl Clock {
    fn now(self) -> Instant {
        self.since + self.since.elapsed()
    }
}

/// One attempt to have a session, with all that it needs.
pub(crate) struct Connection {
    pub(crate) bus: Bus,
    pub(crate) me: Me<EdgeHub>,
    pub(crate) dialer: Arc<dyn Dialer>,
    pub(crate) instance: [u8; 16],
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) config: EdgeHubConfig,
    pub(crate) outbox: Outbox,
    pub(crate) opening: u64,
    pub(crate) node: NodeName,
    /// Whether the cloud wants a list of what the node holds.
    pub(crate) lists: bool,
}

impl Connection {
    /// Dials, serves the session to its end, and tells the hub.
    pub(crate) async fn serve(self, asks: Asks, asked: Asked) {
        let to = DialTo {
            server: self.config.websocket.server.clone(),
            node: self.node.clone(),
            project: self.config.project_id.clone(),
            codecs: self.config.codecs(),
            tls: self.config.tls(),
            handshake_timeout: self.config.handshake_timeout(),
            frame_bytes_max: FRAME_BYTES_MAX,
        };
        let server = to.server.clone();
        let ended = match self.connect(to).await {
            Ok((dialed, features)) => {
                tracing::info!(server, codec = ?dialed.codec, "connected to the cloud");
                let lists = dialed.codec == Codec::Native && !features.has(Features::DIGESTS);
                Ended { lasted: self.run(dialed, features, asks, asked).await, unreached: false, lists }
            }
            Err(error) => {
                tracing::warn!(server, %error, "the cloud was not reached");
                let unreached = matches!(error, LinkError::Transport(_));
                Ended { lasted: Duration::ZERO, unreached, lists: self.lists }
            }
        };
        if let Err(error) = self.me.send(ended).await {
            tracing::debug!(%error, "the hub stops");
        }
    }

    /// Dials, and on the native codec exchanges hello and welcome. A cloud of which it shows only then
    /// that it knows no digests is told a list in a second attempt.
    async fn connect(&self, to: DialTo) -> Result<(Dialed, Features), LinkError> {
        let (dialed, features) = self.attempt(to.clone(), self.lists).await?;
        if dialed.codec == Codec::KubeEdge || self.lists || features.has(Features::DIGESTS) {
            return Ok((dialed, features));
        }
        drop(dialed);
        tracing::debug!("the cloud is older than digests and is told a list");
        self.attempt(to, true).await
    }

    async fn attempt(&self, to: DialTo, lists: bool) -> Result<(Dialed, Features), LinkError> {
        let limit = to.handshake_timeout;
        let node = to.node.clone();
        let mut dialed = match timeout(limit, self.dialer.dial(to)).await {
            Ok(dialed) => dialed?,
            Err(_) => return Err(LinkError::HandshakeTimeout(limit)),
        };
        if dialed.codec == Codec::KubeEdge {
            return Ok((dialed, Features::default()));
        }
        let hello = hello(&node, self.instance, inventory::held(&self.bus).await, lists);
        match timeout(limit, greet(&mut dialed.link, hello)).await {
            Ok(features) => Ok((dialed, features?)),
            Err(_) => Err(LinkError::HandshakeTimeout(limit)),
        }
    }

    async fn run(&self, dialed: Dialed, features: Features, asks: Asks, asked: Asked) -> Duration {
        let started = self.clock.now();
        let settings = Settings {
            codec: dialed.codec,
            features,
            heartbeat: self.config.heartbeat(),
            write_timeout: self.config.write_timeout(),
            message_qps: self.config.message_qps,
            message_burst: self.config.message_burst,
            started,
            wall_clock: self.clock.wall + self.clock.since.elapsed(),
            seed: self.seed,
        };
        let (session, writing) =
            Session::new(&settings, self.bus.clone(), self.outbox.clone(), dialed.link.writer);
        if self.me.send(Established { asks, opening: self.opening }).await.is_ok() {
            let running = session.run(dialed.link.reader, writing, asked);
            let ((), end) = join(self.announce(LinkUp), running).await;
            tracing::info!(reason = %end, "the session with the cloud ended");
            self.announce(LinkDown).await;
        }
        started.elapsed()
    }

    async fn announce<E: Message + Clone>(&self, event: E) {
        if let Err(error) = self.bus.publish(event).await {
            tracing::warn!(%error, "the state of the link was not announced");
        }
    }
}

fn hello(node: &NodeName, instance: [u8; 16], held: Option<Inventory>, lists: bool) -> Hello {
    Hello {
        version: NATIVE_VERSION,
        node: node.to_string(),
        instance,
        digest: held.as_ref().map(Inventory::digest),
        held: held.filter(|_| lists).map(|held| held.list()),
        features: Features::ALL,
    }
}

async fn greet(link: &mut Link, hello: Hello) -> Result<Features, LinkError> {
    let features = hello.features;
    if let Some(frame) = Codec::Native.encode_edge(EdgeFrame::Hello(hello)) {
        link.writer.send(frame).await?;
    }
    let frame = link.reader.next().await?;
    match Codec::Native.decode_cloud(&frame) {
        Ok(CloudFrame::Welcome { version: NATIVE_VERSION, session, features: agreed }) => {
            tracing::debug!(session, "the cloud welcomed the node");
            Ok(agreed.shared_with(features))
        }
        Ok(CloudFrame::Welcome { version, .. }) => {
            Err(LinkError::Handshake(format!("the cloud speaks version {version} of the native codec")))
        }
        Ok(CloudFrame::Goodbye(reason)) => {
            Err(LinkError::Handshake(format!("the cloud refused the node: {reason}")))
        }
        Ok(_) => Err(LinkError::Handshake("the cloud did not answer the hello".to_owned())),
        Err(error) => Err(LinkError::Handshake(error.to_string())),
    }
}

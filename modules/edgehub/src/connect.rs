//! From a dial to a session that both ends agree on.

use std::sync::Arc;
use std::time::Duration;

use beehive::{Bus, Me, Message};
use futures::future::join;
use protocol::edge::{LinkDown, LinkUp, ListHeld};
use protocol::{Held, NodeName, group};
use tokio::time::{Instant, timeout};
use wire::Codec;
use wire::codec::{CloudFrame, EdgeFrame, Features, Hello, NATIVE_VERSION};
use wire::link::{DialTo, Dialed, Dialer, Link, LinkError};

use crate::config::EdgeHubConfig;
use crate::outbox::Outbox;
use crate::pending::{Asked, Asks};
use crate::session::{Session, Settings};
use crate::{EdgeHub, Ended, Established};

/// The largest frame that an edge accepts.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;
/// The longest time that the store may take to say what it holds.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

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
        let (lasted, unreached) = match connect(&*self.dialer, to, &self.bus, self.instance).await {
            Ok((dialed, features)) => {
                tracing::info!(server, codec = ?dialed.codec, "connected to the cloud");
                (self.run(dialed, features, asks, asked).await, false)
            }
            Err(error) => {
                tracing::warn!(server, %error, "the cloud was not reached");
                (Duration::ZERO, matches!(error, LinkError::Transport(_)))
            }
        };
        if let Err(error) = self.me.send(Ended { lasted, unreached }).await {
            tracing::debug!(%error, "the hub stops");
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

/// Dials, and on the native codec exchanges hello and welcome.
async fn connect(
    dialer: &dyn Dialer,
    to: DialTo,
    bus: &Bus,
    instance: [u8; 16],
) -> Result<(Dialed, Features), LinkError> {
    let limit = to.handshake_timeout;
    let node = to.node.clone();
    let mut dialed = match timeout(limit, dialer.dial(to)).await {
        Ok(dialed) => dialed?,
        Err(_) => return Err(LinkError::HandshakeTimeout(limit)),
    };
    if dialed.codec == Codec::KubeEdge {
        return Ok((dialed, Features::default()));
    }
    let held = held(bus).await;
    match timeout(limit, greet(&mut dialed.link, node, instance, held)).await {
        Ok(features) => Ok((dialed, features?)),
        Err(_) => Err(LinkError::HandshakeTimeout(limit)),
    }
}

/// Without an inventory the cloud sends all that concerns the node: more than needed, never less.
async fn held(bus: &Bus) -> Option<Vec<Held>> {
    match bus.to(group::META).ask(ListHeld).within(LIST_TIMEOUT).await {
        Ok(Ok(held)) => Some(held),
        Ok(Err(error)) => {
            tracing::warn!(%error, "what the node holds is not known; the cloud will send everything");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "what the node holds is not known; the cloud will send everything");
            None
        }
    }
}

async fn greet(
    link: &mut Link,
    node: NodeName,
    instance: [u8; 16],
    held: Option<Vec<Held>>,
) -> Result<Features, LinkError> {
    let features = Features::ALL;
    let hello = Hello { version: NATIVE_VERSION, node: node.to_string(), instance, held, features };
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

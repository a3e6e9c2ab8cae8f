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
use wire::link::{DialTo, Dialed, Dialer, Link, LinkError, Transport};
use wire::session::Broken;

use crate::config::EdgeHubConfig;
use crate::messages::{Ended, Established};
use crate::outbox::Outbox;
use crate::pending::{Asked, Asks};
use crate::session::{End, Session, Settings};
use crate::transports::QuicSaid;
use crate::{EdgeHub, GOOD_SESSION, inventory};

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
    /// What to dial, the first one first.
    pub(crate) order: Vec<Transport>,
    /// A link over QUIC that is there already.
    pub(crate) proven: Option<Dialed>,
}

/// A link whose other end has agreed to a session.
struct Greeted {
    dialed: Dialed,
    features: Features,
    transport: Transport,
    quic: QuicSaid,
}

/// Returns where and how to dial over a transport.
pub(crate) fn dial_to(config: &EdgeHubConfig, node: &NodeName, transport: Transport) -> DialTo {
    DialTo {
        transport,
        server: config.server(transport),
        node: node.clone(),
        project: config.project_id.clone(),
        codecs: config.codecs(transport),
        tls: config.tls(),
        handshake_timeout: config.handshake_timeout(transport),
        frame_bytes_max: FRAME_BYTES_MAX,
    }
}

/// Tells whether another transport may reach the cloud where one did not.
fn is_of_transport(error: &LinkError) -> bool {
    matches!(error, LinkError::Transport(_) | LinkError::HandshakeTimeout(_) | LinkError::Closed)
}

impl Connection {
    /// Dials, serves the session to its end, and tells the hub.
    pub(crate) async fn serve(mut self, asks: Asks, asked: Asked) {
        let ended = match self.reach().await {
            Ok(greeted) => {
                let lists = greeted.dialed.codec == Codec::Native && !greeted.features.has(Features::DIGESTS);
                let (lasted, quic) = self.run(greeted, asks, asked).await;
                Ended { lasted, unreached: false, lists, quic }
            }
            Err(error) => Ended {
                lasted: Duration::ZERO,
                unreached: matches!(error, LinkError::Transport(_)),
                lists: self.lists,
                quic: QuicSaid::Nothing,
            },
        };
        if let Err(error) = self.me.send(ended).await {
            tracing::debug!(%error, "the hub stops");
        }
    }

    /// Dials over one transport after the other, until one reaches the cloud.
    async fn reach(&mut self) -> Result<Greeted, LinkError> {
        let mut quic = QuicSaid::Nothing;
        let mut order = std::mem::take(&mut self.order).into_iter().peekable();
        while let Some(transport) = order.next() {
            let to = dial_to(&self.config, &self.node, transport);
            let server = to.server.clone();
            match self.connect(to).await {
                Ok((dialed, features)) => {
                    tracing::info!(server, codec = ?dialed.codec, %transport, "connected to the cloud");
                    return Ok(Greeted { dialed, features, transport, quic });
                }
                Err(error) if is_of_transport(&error) && order.peek().is_some() => {
                    tracing::info!(server, %error, %transport, "the cloud was not reached, another transport is tried");
                    if transport == Transport::Quic {
                        quic = QuicSaid::Fails;
                    }
                }
                Err(error) => {
                    tracing::warn!(server, %error, %transport, "the cloud was not reached");
                    return Err(error);
                }
            }
        }
        Err(LinkError::Local("no transport is in use".to_owned()))
    }

    /// Dials, and on the native codec exchanges hello and welcome. A cloud of which it shows only then
    /// that it knows no digests is told a list in a second attempt.
    async fn connect(&mut self, to: DialTo) -> Result<(Dialed, Features), LinkError> {
        let (dialed, features) = self.attempt(to.clone(), self.lists).await?;
        if dialed.codec == Codec::KubeEdge || self.lists || features.has(Features::DIGESTS) {
            return Ok((dialed, features));
        }
        drop(dialed);
        tracing::debug!("the cloud is older than digests and is told a list");
        self.attempt(to, true).await
    }

    async fn attempt(&mut self, to: DialTo, lists: bool) -> Result<(Dialed, Features), LinkError> {
        let limit = to.handshake_timeout;
        let node = to.node.clone();
        let proven = self.proven.take().filter(|_| to.transport == Transport::Quic);
        let mut dialed = match proven {
            Some(dialed) => dialed,
            None => match timeout(limit, self.dialer.dial(to)).await {
                Ok(dialed) => dialed?,
                Err(_) => return Err(LinkError::HandshakeTimeout(limit)),
            },
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

    async fn run(&self, greeted: Greeted, asks: Asks, asked: Asked) -> (Duration, QuicSaid) {
        let Greeted { dialed, features, transport, quic } = greeted;
        let started = self.clock.now();
        let settings = Settings {
            codec: dialed.codec,
            features,
            heartbeat: self.config.heartbeat(),
            write_timeout: self.config.write_timeout(transport),
            message_qps: self.config.message_qps,
            message_burst: self.config.message_burst,
            started,
            wall_clock: self.clock.wall + self.clock.since.elapsed(),
            seed: self.seed,
        };
        let (session, writing) =
            Session::new(&settings, self.bus.clone(), self.outbox.clone(), dialed.link.writer);
        let mut said = QuicSaid::Nothing;
        let established = Established { asks, opening: self.opening, transport, quic };
        if self.me.send(established).await.is_ok() {
            let running = session.run(dialed.link.reader, writing, asked);
            let ((), end) = join(self.announce(LinkUp), running).await;
            tracing::info!(reason = %end, "the session with the cloud ended");
            self.announce(LinkDown).await;
            if transport == Transport::Quic {
                said = quic_said(&end, started.elapsed());
            }
        }
        (started.elapsed(), said)
    }

    async fn announce<E: Message + Clone>(&self, event: E) {
        if let Err(error) = self.bus.publish(event).await {
            tracing::warn!(%error, "the state of the link was not announced");
        }
    }
}

/// Says what a session over QUIC told of it.
fn quic_said(end: &End, lasted: Duration) -> QuicSaid {
    match end {
        _ if lasted >= GOOD_SESSION => QuicSaid::Works,
        // A path that lets a few packets through and then no more.
        End::Broken(Broken::Silent | Broken::Stuck(_)) | End::Link(LinkError::Transport(_)) => {
            QuicSaid::Fails
        }
        _ => QuicSaid::Nothing,
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

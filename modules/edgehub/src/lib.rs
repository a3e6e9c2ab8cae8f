//! The edge end of the cloud-edge link.
//!
//! The hub dials the cloud, keeps one session, and turns bytes into messages: changes of objects
//! go to the metadata manager and are acknowledged once they are on disk; requests of the other
//! modules go to the cloud and their answers come back. A session is one task that owns its link.

mod backoff;
mod config;
mod connect;
mod pending;
mod ports;
mod session;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use beehive::{
    BuildError, Bus, Context, Defer, Failure, Group, Handler, Me, Message, Module, ModuleName, Responder,
    Wiring,
};
use futures::future::join;
use protocol::edge::{AskCloud, CloudError, KeepChange, LinkDown, LinkUp, ListHeld};
use protocol::{NodeName, NodeReply, group};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use wire::link::{DialTo, Dialer};

use crate::backoff::Backoff;
use crate::pending::Ask;
use crate::session::{Session, Settings};

pub use crate::config::{CodecChoice, EdgeHubConfig, WebSocketConfig};
pub use crate::ports::Ports;

/// The largest frame that an edge accepts.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// Requests that may wait for the session to take them.
const ASKS_MAX: usize = 256;
/// The pause before a dial after the first failure, and the longest one.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A session that lasted this long was a good one: the next pause is short again.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// The time that a session gets to say goodbye when the hub stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// It is time to dial.
#[derive(Debug, Clone, Message)]
struct Connect;

/// A session began and takes requests.
#[derive(Debug, Message)]
struct Established {
    asks: mpsc::Sender<Ask>,
}

/// A session ended, or did not come to be.
#[derive(Debug, Message)]
struct Ended {
    lasted: Duration,
}

/// The edge hub.
#[derive(Debug)]
pub struct EdgeHub {
    config: EdgeHubConfig,
    ports: Ports,
    backoff: Backoff,
    instance: [u8; 16],
    asks: Option<mpsc::Sender<Ask>>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Module for EdgeHub {
    const NAME: ModuleName = ModuleName::new("edgehub");
    const GROUP: Group = group::HUB;
    const SECTION: &'static str = "edgeHub";
    type Config = EdgeHubConfig;
    type Ports = Ports;

    fn build(config: EdgeHubConfig, ports: Ports) -> Result<Self, BuildError> {
        let backoff = Backoff::new(RECONNECT.0, RECONNECT.1);
        Ok(Self { config, ports, backoff, instance: [0; 16], asks: None, ended: None })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Connect>().handles::<Established>().handles::<Ended>();
        wiring.defers::<AskCloud>();
        wiring.asks::<ListHeld>(group::META).asks::<KeepChange>(group::META);
        wiring.publishes::<LinkUp>().publishes::<LinkDown>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.instance = cx.uuid();
        self.connect(cx)
    }

    async fn stopping(&mut self, _: &mut Context<Self>) {
        self.asks = None;
        if let Some(ended) = self.ended.take()
            && timeout(STOP_TIMEOUT, ended).await.is_err()
        {
            tracing::debug!("the session did not end in time");
        }
    }
}

impl EdgeHub {
    fn connect(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let node = NodeName::parse(cx.node()).map_err(Failure::because)?;
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (ended, has_ended) = oneshot::channel();
        self.ended = Some(has_ended);
        let mut seed = [0; 8];
        seed.copy_from_slice(&cx.uuid()[8..]);
        let since_epoch = cx.wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
        let connection = Connection {
            bus: cx.bus().clone(),
            me: cx.me(),
            dialer: Arc::clone(&self.ports.dialer),
            instance: self.instance,
            seed: u64::from_le_bytes(seed),
            wall_clock: (Instant::now(), since_epoch),
            config: self.config.clone(),
            node,
        };
        cx.spawn(async move {
            connection.serve(asks, asked).await;
            drop(ended);
        });
        Ok(())
    }
}

impl Handler<Connect> for EdgeHub {
    async fn handle(&mut self, _: Connect, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.connect(cx)
    }
}

impl Handler<Established> for EdgeHub {
    async fn handle(&mut self, established: Established, _: &mut Context<Self>) -> Result<(), Failure> {
        self.asks = Some(established.asks);
        Ok(())
    }
}

impl Handler<Ended> for EdgeHub {
    async fn handle(&mut self, ended: Ended, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.asks = None;
        if ended.lasted >= GOOD_SESSION {
            self.backoff.reset();
        }
        let roll = rand::Rng::random(cx.rng());
        let pause = self.backoff.next(roll);
        tracing::debug!(?pause, "dialing again after a pause");
        cx.after(pause, Connect);
        Ok(())
    }
}

impl Defer<AskCloud> for EdgeHub {
    async fn handle(
        &mut self,
        AskCloud(request): AskCloud,
        responder: Responder<Result<NodeReply, CloudError>>,
        _: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let Some(asks) = &self.asks else {
            responder.reply(Err(CloudError::Disconnected));
            return Ok(());
        };
        match asks.try_send(Ask { request, responder }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(ask)) => ask.responder.reply(Err(CloudError::Overloaded)),
            Err(mpsc::error::TrySendError::Closed(ask)) => {
                ask.responder.reply(Err(CloudError::Disconnected));
            }
        }
        Ok(())
    }
}

/// One attempt to have a session, with all that it needs.
struct Connection {
    bus: Bus,
    me: Me<EdgeHub>,
    dialer: Arc<dyn Dialer>,
    instance: [u8; 16],
    seed: u64,
    wall_clock: (Instant, Duration),
    config: EdgeHubConfig,
    node: NodeName,
}

impl Connection {
    async fn serve(self, asks: mpsc::Sender<Ask>, asked: mpsc::Receiver<Ask>) {
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
        let lasted = match connect::connect(&*self.dialer, to, &self.bus, self.instance).await {
            Ok(dialed) => {
                tracing::info!(server, codec = ?dialed.codec, "connected to the cloud");
                self.run(dialed, asks, asked).await
            }
            Err(error) => {
                tracing::warn!(server, %error, "the cloud was not reached");
                Duration::ZERO
            }
        };
        if let Err(error) = self.me.send(Ended { lasted }).await {
            tracing::debug!(%error, "the hub stops");
        }
    }

    async fn run(
        &self,
        dialed: wire::link::Dialed,
        asks: mpsc::Sender<Ask>,
        asked: mpsc::Receiver<Ask>,
    ) -> Duration {
        let started = Instant::now();
        let settings = Settings {
            codec: dialed.codec,
            heartbeat: self.config.heartbeat(),
            write_timeout: self.config.write_timeout(),
            message_qps: self.config.message_qps,
            message_burst: self.config.message_burst,
            wall_clock: self.wall_clock.1 + self.wall_clock.0.elapsed(),
            seed: self.seed,
        };
        let (session, writing) = Session::new(settings, self.bus.clone(), dialed.link.writer);
        if self.me.send(Established { asks }).await.is_ok() {
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

#[cfg(test)]
mod tests;

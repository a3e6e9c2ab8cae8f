//! The edge end of the cloud-edge link.
//!
//! The hub dials the cloud, keeps one session, and turns bytes into messages: changes of objects
//! go to the metadata manager and are acknowledged once they are on disk; requests of the other
//! modules go to the cloud and their answers come back, and what nobody would ask again waits on
//! disk for the cloud's answer. A session is one task that owns its link.

mod backoff;
mod commands;
mod config;
mod connect;
mod inventory;
mod messages;
mod outbox;
mod pending;
mod ports;
mod session;
mod transports;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use beehive::{BuildError, Context, Defer, Failure, Group, Handler, Module, ModuleName, Responder, Wiring};
use protocol::edge::{AskCloud, CloudError, KeepChange, LinkDown, LinkUp, ListHeld};
use protocol::rules::{CallService, ChangeTopics, ChangeUrls, DeliverLocal};
use protocol::{NodeName, NodeReply, group};
use tokio::sync::oneshot;
use tokio::time::timeout;
use wire::MessageId;

use crate::backoff::Backoff;
use crate::connect::{Clock, Connection};
use crate::messages::{Connect, Ended, Established, QuicTried, Reopened, TryQuic};
use crate::outbox::Outbox;
use crate::pending::{Ask, Asks};
use crate::transports::Transports;

pub use crate::config::{CodecChoice, EdgeHubConfig, QuicConfig, Token, WebSocketConfig};
pub use crate::ports::Ports;

/// Requests that may wait for the session to take them; those for the node's lease have their own
/// places.
const ASKS_MAX: usize = 256;
const URGENT_MAX: usize = 8;
/// The pause before a dial after the first failure, and the longest one.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// The longest pause while nothing answers at all. Such a dial costs the cloud nothing, and a path that
/// comes back is to be used within ten seconds.
const UNREACHED_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How much later a simulation may let the hub dial.
const LATE: Duration = Duration::from_secs(10);
/// A session that lasted this long was a good one: the next pause is short again.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// The time that a session gets to say goodbye when the hub stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The edge hub.
#[derive(Debug)]
pub struct EdgeHub {
    config: EdgeHubConfig,
    ports: Ports,
    backoff: Backoff,
    instance: [u8; 16],
    outbox: Outbox,
    /// How often the store was opened anew.
    opening: u64,
    asks: Option<Asks>,
    ended: Option<oneshot::Receiver<()>>,
    /// Whether the cloud, when it was last met, wanted a list of what the node holds.
    lists: bool,
    transports: Transports,
}

impl Module for EdgeHub {
    const NAME: ModuleName = ModuleName::new("edgehub");
    const GROUP: Group = group::HUB;
    const SECTION: &'static str = "edgeHub";
    type Config = EdgeHubConfig;
    type Ports = Ports;

    fn build(config: EdgeHubConfig, ports: Ports) -> Result<Self, BuildError> {
        let backoff = Backoff::new(RECONNECT.0);
        let outbox = Outbox::new(ports.store.store());
        let transports = Transports::new(config.quic.enable);
        Ok(Self {
            config,
            ports,
            backoff,
            instance: [0; 16],
            outbox,
            opening: 0,
            asks: None,
            ended: None,
            lists: false,
            transports,
        })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Connect>().handles::<Established>().handles::<Ended>().handles::<Reopened>();
        wiring.handles::<TryQuic>().handles::<QuicTried>();
        wiring.defers::<AskCloud>();
        wiring.asks::<ListHeld>(group::META).asks::<KeepChange>(group::META);
        wiring.may_ask::<ChangeTopics>(group::BUS).may_ask::<DeliverLocal>(group::BUS);
        wiring.may_ask::<ChangeUrls>(group::BUS).may_ask::<CallService>(group::BUS);
        wiring.publishes::<LinkUp>().publishes::<LinkDown>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.instance = cx.uuid();
        self.open(cx)?;
        self.connect(cx)
    }

    async fn stopping(&mut self, _: &mut Context<Self>) {
        self.end_session();
        if let Some(ended) = self.ended.take()
            && timeout(STOP_TIMEOUT, ended).await.is_err()
        {
            tracing::debug!("the session did not end in time");
        }
    }
}

impl EdgeHub {
    /// Without its asks a session ends.
    fn end_session(&mut self) {
        (self.asks, self.transports.over) = (None, None);
    }

    /// Reads the outbox from the newest opening of the store, and has itself told when there is another.
    fn open(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.outbox = Outbox::new(self.ports.store.store());
        let finishing = self.outbox.open(cx.bus().clone()).map_err(Failure::because)?;
        cx.spawn(finishing);
        let (over, me) = (self.outbox.over(), cx.me());
        cx.spawn(async move {
            over.await;
            if me.send(Reopened).await.is_err() {
                tracing::debug!("the hub stopped before it could hear that its store is open anew");
            }
        });
        Ok(())
    }

    fn connect(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let node = NodeName::parse(cx.node()).map_err(Failure::because)?;
        let (asks, asked) = Asks::new(URGENT_MAX, ASKS_MAX);
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
            clock: Clock { since: cx.now(), wall: since_epoch },
            config: self.config.clone(),
            outbox: self.outbox.clone(),
            opening: self.opening,
            node,
            lists: self.lists,
            order: self.transports.order(cx.now()),
            proven: self.transports.take_proven(),
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
    async fn handle(&mut self, established: Established, cx: &mut Context<Self>) -> Result<(), Failure> {
        if established.opening != self.opening {
            self.end_session();
            return Ok(());
        }
        self.note_established(&established, cx);
        self.asks = Some(established.asks);
        Ok(())
    }
}

impl Handler<Reopened> for EdgeHub {
    /// Begins anew with the outbox as it is on disk, and with a session: what the node holds may not be
    /// what the cloud was told.
    async fn handle(&mut self, _: Reopened, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.opening += 1;
        self.end_session();
        self.open(cx)
    }
}

impl Handler<Ended> for EdgeHub {
    async fn handle(&mut self, ended: Ended, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.end_session();
        self.lists = ended.lists;
        if ended.lasted >= GOOD_SESSION {
            self.backoff.reset();
        }
        let roll = rand::Rng::random(cx.rng());
        self.transports.note(ended.quic, cx.now(), roll);
        let longest = if ended.unreached { UNREACHED_PAUSE_MAX } else { RECONNECT.1 };
        let late = if cx.buggify("edgehub.late-reconnect") { LATE } else { Duration::ZERO };
        let pause = self.backoff.next(longest, roll) + late;
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
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        if outbox::is_kept(&request) {
            let at = cx.wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
            let at_ms = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
            self.outbox.accept(MessageId::from_random(cx.uuid()), at_ms, request, responder);
            return Ok(());
        }
        if cx.buggify("edgehub.queue-full") {
            responder.reply(Err(CloudError::Overloaded));
            return Ok(());
        }
        match &self.asks {
            Some(asks) => asks.send(Ask { request, responder }),
            None => responder.reply(Err(CloudError::Disconnected)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

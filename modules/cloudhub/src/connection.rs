//! A connection before and after its session: hello, admission, welcome, farewell.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use beehive::{Bus, Me, Message};
use protocol::cloud::{Compared, Holdings, NodeArrived, NodeConnected, NodeDisconnected, ReadRecords};
use protocol::{Digest, Held, Inventory, NodeName, group};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use wire::Codec;
use wire::codec::{CloudFrame, EdgeFrame, Features, NATIVE_VERSION};
use wire::link::{Incoming, Link, LinkError, Transport};

use crate::CloudHub;
use crate::commands::Commands;
use crate::compare::{Wanted, compare};
use crate::config::HANDSHAKE_TIMEOUT;
use crate::known::Known;
use crate::messages::{Arrived, Ended, ListenerEnded, Ready};
use crate::queue::Queue;
use crate::session::{Session, Settings, Shared};

/// How long the records of what a node acknowledged are waited for.
const RECORDS_TIMEOUT: Duration = Duration::from_secs(10);

/// What a node said of itself.
#[derive(Debug, Default)]
struct Introduction {
    held: Option<Vec<Held>>,
    digest: Option<Digest>,
    features: Features,
}

/// How it is found out what a node holds.
enum Finding {
    /// It cannot say, but this was acknowledged before.
    Remember(Known),
    /// It is this.
    Known(Vec<Held>),
    /// It is compared when its turn comes.
    Compare(mpsc::Sender<Wanted>, Known),
}

/// A connection that became a session.
struct Admitted {
    session: u64,
    turn: Option<oneshot::Receiver<()>>,
    hello: Introduction,
}

/// Whether a connection becomes the node's session.
#[derive(Debug)]
pub(crate) enum Admission {
    Session {
        number: u64,
        /// Comes when the node may be told what it must know; `None` stands for at once.
        turn: Option<oneshot::Receiver<()>>,
    },
    Refused(String),
}

/// The time as it was when the connection came, from which its task tells the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) since: Instant,
    /// The wall clock at that moment, since the Unix epoch.
    pub(crate) wall: Duration,
}

/// Hands connections to the hub as fast as it takes them.
pub(crate) async fn accept(mut incoming: Box<dyn Incoming>, me: Me<CloudHub>) {
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

/// A connection with all that its task needs.
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) node: NodeName,
    pub(crate) codec: Codec,
    pub(crate) transport: Transport,
    pub(crate) link: Link,
    pub(crate) queue: Queue,
    pub(crate) commands: Commands,
    pub(crate) known: Known,
    /// How the session is asked to compare, and where it hears of it.
    pub(crate) comparing: (mpsc::Sender<Wanted>, mpsc::Receiver<Wanted>),
    pub(crate) bus: Bus,
    pub(crate) me: Me<CloudHub>,
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) silence_max: Duration,
    pub(crate) write_timeout: Duration,
}

impl Connection {
    /// Serves the connection to its end and tells the hub.
    pub(crate) async fn serve(
        mut self,
        admitted: oneshot::Receiver<Admission>,
        fence: oneshot::Receiver<()>,
    ) {
        let (me, connection, node) = (self.me.clone(), self.number, self.node.clone());
        match self.greet(admitted).await {
            Ok(admitted) => self.run(admitted, fence).await,
            Err(error) => tracing::warn!(%node, %error, "a connection was not admitted"),
        }
        if let Err(error) = me.send(Ended { connection, node }).await {
            tracing::debug!(%error, "the hub stops");
        }
    }

    async fn greet(&mut self, admitted: oneshot::Receiver<Admission>) -> Result<Admitted, LinkError> {
        let hello = match self.codec {
            Codec::KubeEdge => Introduction::default(),
            Codec::Native => match timeout(HANDSHAKE_TIMEOUT, self.hello()).await {
                Ok(hello) => hello?,
                Err(_) => return Err(LinkError::HandshakeTimeout(HANDSHAKE_TIMEOUT)),
            },
        };
        self.me.send(Ready { connection: self.number }).await.map_err(|_| LinkError::Closed)?;
        match admitted.await.map_err(|_| LinkError::Closed)? {
            Admission::Session { number: session, turn } => {
                let features = hello.features;
                self.tell(CloudFrame::Welcome { version: NATIVE_VERSION, session, features }).await?;
                Ok(Admitted { session, turn, hello })
            }
            Admission::Refused(reason) => {
                self.tell(CloudFrame::Goodbye(reason.clone())).await?;
                Err(LinkError::Handshake(reason))
            }
        }
    }

    async fn hello(&mut self) -> Result<Introduction, LinkError> {
        let frame = self.link.reader.next().await?;
        match self.codec.decode_edge(&frame) {
            Ok(EdgeFrame::Hello(hello)) if hello.node != self.node.as_str() => {
                let claimed = hello.node;
                Err(LinkError::Handshake(format!("the hello is of another node, {claimed}")))
            }
            Ok(EdgeFrame::Hello(hello)) => {
                let features = hello.features.shared_with(Features::ALL);
                Ok(Introduction { held: hello.held, digest: hello.digest, features })
            }
            Ok(_) => Err(LinkError::Handshake("the first frame is no hello".to_owned())),
            Err(error) => Err(LinkError::Handshake(error.to_string())),
        }
    }

    async fn tell(&mut self, frame: CloudFrame) -> Result<(), LinkError> {
        let Some(frame) = self.codec.encode_cloud(frame) else { return Ok(()) };
        match timeout(HANDSHAKE_TIMEOUT, self.link.writer.send(frame)).await {
            Ok(sent) => sent,
            Err(_) => Err(LinkError::HandshakeTimeout(HANDSHAKE_TIMEOUT)),
        }
    }

    async fn run(self, admitted: Admitted, fence: oneshot::Receiver<()>) {
        let Self { node, codec, transport, bus, link, queue, commands, known, comparing, .. } = self;
        let (comparing, wanted) = comparing;
        let Admitted { session, turn, hello } = admitted;
        let features = hello.features;
        let finding = find(hello, &known, comparing);
        tracing::info!(%node, session, ?codec, %transport, "a node connected");
        // Who serves the node's requests is to know of its session before the first one.
        announce(&bus, NodeArrived { node: node.clone(), session }).await;
        let settings = Settings {
            node: node.clone(),
            number: session,
            codec,
            features,
            silence_max: self.silence_max,
            write_timeout: self.write_timeout,
            started: self.clock.since + self.clock.since.elapsed(),
            wall_clock: self.clock.wall + self.clock.since.elapsed(),
            seed: self.seed,
        };
        let shared = Shared { queue, commands, known };
        let (running, writing) = Session::new(settings, bus.clone(), shared, link.writer);
        if turn.is_some() {
            running.notify("many nodes connect at once: this one is told what changed when its turn comes");
        }
        let connected = connected(&bus, turn, finding, node.clone(), session);
        let end = tokio::select! {
            biased;
            never = connected => match never {},
            end = running.run(link.reader, writing, fence, wanted) => end,
        };
        tracing::info!(%node, session, reason = %end, "a node's session ended");
        announce(&bus, NodeDisconnected { node, session }).await;
    }
}

/// Announces a session that may be told what its node must know, when its turn comes.
async fn connected(
    bus: &Bus,
    turn: Option<oneshot::Receiver<()>>,
    finding: Finding,
    node: NodeName,
    session: u64,
) -> Infallible {
    let may_begin = match turn {
        Some(turn) => turn.await.is_ok(),
        None => true,
    };
    if may_begin {
        let holds = holdings(bus, &node, finding).await;
        announce(bus, NodeConnected { node, session, holds }).await;
    }
    std::future::pending().await
}

/// Decides how to find out what a node holds, by what it said of itself and what is known of it.
fn find(hello: Introduction, known: &Known, comparing: mpsc::Sender<Wanted>) -> Finding {
    match hello {
        Introduction { held: Some(held), .. } => {
            *known.get_mut() = held.iter().cloned().collect::<Inventory>();
            Finding::Known(held)
        }
        Introduction { digest: Some(digest), features, .. } if features.has(Features::DIGESTS) => {
            let is_known = known.get().digest() == digest;
            let list = is_known.then(|| known.get().list());
            list.map_or_else(|| Finding::Compare(comparing, known.clone()), Finding::Known)
        }
        Introduction { .. } => Finding::Remember(known.clone()),
    }
}

async fn holdings(bus: &Bus, node: &NodeName, finding: Finding) -> Holdings {
    match finding {
        Finding::Remember(known) => Holdings::Remembered(remember(bus, node, &known).await),
        Finding::Known(held) => Holdings::Said(held),
        Finding::Compare(comparing, known) => match compare(&comparing, false).await {
            Compared::Differs(held) => Holdings::Said(held),
            Compared::Same => Holdings::Said(known.get().list()),
            Compared::Busy | Compared::Unknown => Holdings::Remembered(remember(bus, node, &known).await),
        },
    }
}

/// Returns what a node has acknowledged: since this hub started, and by the records before.
async fn remember(bus: &Bus, node: &NodeName, known: &Known) -> Vec<Held> {
    let ask = bus.to(group::SYNCCONTROLLER).ask(ReadRecords { node: node.clone() });
    let recorded = match ask.within(RECORDS_TIMEOUT).await {
        Ok(recorded) => recorded,
        Err(error) => {
            tracing::debug!(%node, %error, "the records of what the node acknowledged were not read");
            Vec::new()
        }
    };
    // What was heard is newer than what was written.
    let mut all: BTreeMap<_, Held> =
        recorded.into_iter().map(|held| ((held.key.clone(), held.uid.clone()), held)).collect();
    all.extend(known.get().list().into_iter().map(|held| ((held.key.clone(), held.uid.clone()), held)));
    all.into_values().collect()
}

async fn announce<E: Message + Clone>(bus: &Bus, event: E) {
    if let Err(error) = bus.publish(event).await {
        tracing::warn!(%error, "a node's coming or going was not announced");
    }
}

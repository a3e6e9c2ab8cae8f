//! The original's edge hub, as far as reports are about it: what the edge says while there is no link waits in
//! one queue, first in, first out, and all of it is sent when there is one.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use beehive::{BuildError, Bus, Context, Defer, Failure, Group, Module, ModuleName, Responder, Wiring};
use edgehub::{EdgeHub, EdgeHubConfig};
use protocol::edge::{AskCloud, CloudError, KeepChange, LinkDown, LinkUp, ListHeld};
use protocol::{NodeName, NodeReply, group};
use tokio::sync::Notify;
use tokio::time::sleep;
use wire::codec::{CloudFrame, EdgeFrame, Features, Hello, NATIVE_VERSION};
use wire::link::{DialTo, Frame, Link, Transport};
use wire::{AckRoute, Codec, Downlink, Envelope, MessageId, ResourcePath, Uplink};

/// How long a change may take to be kept, and the pause between two dials.
const KEEP_TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(5);

type Answerer = Responder<Result<NodeReply, CloudError>>;

/// What is to be said, and who waits for answers.
#[derive(Default)]
struct Shared {
    queue: RefCell<VecDeque<(MessageId, Uplink)>>,
    waiting: RefCell<BTreeMap<MessageId, Answerer>>,
    filled: Notify,
}

impl Shared {
    fn push(&self, id: MessageId, body: Uplink) {
        self.queue.borrow_mut().push_back((id, body));
        self.filled.notify_one();
    }
}

/// The hub.
pub(crate) struct PilingHub {
    config: EdgeHubConfig,
    ports: edgehub::Ports,
    shared: Rc<Shared>,
}

impl Module for PilingHub {
    const NAME: ModuleName = EdgeHub::NAME;
    const GROUP: Group = EdgeHub::GROUP;
    const SECTION: &'static str = EdgeHub::SECTION;
    type Config = EdgeHubConfig;
    type Ports = edgehub::Ports;

    fn build(config: EdgeHubConfig, ports: edgehub::Ports) -> Result<Self, BuildError> {
        Ok(Self { config, ports, shared: Rc::default() })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.defers::<AskCloud>();
        wiring.asks::<ListHeld>(group::META).asks::<KeepChange>(group::META);
        wiring.publishes::<LinkUp>().publishes::<LinkDown>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let node = NodeName::parse(cx.node()).map_err(Failure::because)?;
        let to = DialTo {
            transport: Transport::WebSocket,
            server: self.config.websocket.server.clone(),
            node,
            project: self.config.project_id.clone(),
            codecs: vec![Codec::Native],
            tls: self.config.tls(),
            handshake_timeout: PAUSE,
            frame_bytes_max: 16 << 20,
        };
        let (dialer, shared, bus) = (self.ports.dialer.clone(), Rc::clone(&self.shared), cx.bus().clone());
        cx.spawn(async move {
            loop {
                if let Ok(dialed) = dialer.dial(to.clone()).await {
                    // How a session ends changes nothing.
                    let _over = session(dialed.link, &to.node, &shared, &bus).await;
                    let _told = bus.publish(LinkDown).await;
                }
                sleep(PAUSE).await;
            }
        });
        Ok(())
    }
}

impl Defer<AskCloud> for PilingHub {
    async fn handle(
        &mut self,
        AskCloud(request): AskCloud,
        responder: Answerer,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let id = MessageId::from_random(cx.uuid());
        if request.is_answered() {
            self.shared.waiting.borrow_mut().insert(id.clone(), responder);
        } else {
            responder.reply(Ok(NodeReply::Done));
        }
        self.shared.push(id, Uplink::request(request));
        Ok(())
    }
}

fn encode(frame: EdgeFrame) -> Option<Frame> {
    Codec::Native.encode_edge(frame)
}

/// Serves one link; `None` when it is over.
async fn session(mut link: Link, node: &NodeName, shared: &Shared, bus: &Bus) -> Option<()> {
    let held = bus.to(group::META).ask(ListHeld).within(KEEP_TIMEOUT).await.ok()?.ok();
    let (features, instance) = (Features::default(), [0; 16]);
    let (version, node, digest) = (NATIVE_VERSION, node.to_string(), None);
    let hello = Hello { version, node, instance, held, digest, features };
    link.writer.send(encode(EdgeFrame::Hello(hello))?).await.ok()?;
    let _welcome = link.reader.next().await.ok()?;
    let _told = bus.publish(LinkUp).await;
    let mut beats = tokio::time::interval(Duration::from_secs(3));
    loop {
        let next = shared.queue.borrow_mut().pop_front();
        if let Some((id, body)) = next {
            let envelope = Envelope { id, timestamp_ms: 0, body };
            link.writer.send(encode(EdgeFrame::Up(envelope))?).await.ok()?;
            continue;
        }
        tokio::select! {
            biased;
            frame = link.reader.next() => {
                let heard = Codec::Native.decode_cloud(&frame.ok()?).ok()?;
                if let Some(answer) = hear(heard, shared, bus).await {
                    link.writer.send(encode(answer)?).await.ok()?;
                }
            }
            () = shared.filled.notified() => {}
            _ = beats.tick() => link.writer.send(encode(EdgeFrame::Ping(0))?).await.ok()?,
        }
    }
}

async fn hear(frame: CloudFrame, shared: &Shared, bus: &Bus) -> Option<EdgeFrame> {
    match frame {
        CloudFrame::Ping(number) => Some(EdgeFrame::Pong(number)),
        CloudFrame::Down(Envelope { id, body: Downlink::Change { change, .. }, .. }) => {
            let kept = bus.to(group::META).ask(KeepChange(change)).within(KEEP_TIMEOUT).await;
            let route = AckRoute { source: String::new(), group: String::new(), path: ResourcePath::Empty };
            let ack = Uplink::Ack { parent: id.clone(), route };
            matches!(kept, Ok(Ok(()))).then_some(EdgeFrame::Up(Envelope { id, timestamp_ms: 0, body: ack }))
        }
        CloudFrame::Down(Envelope { body: Downlink::Reply { to, reply }, .. }) => {
            if let Some(responder) = shared.waiting.borrow_mut().remove(&to.parent) {
                responder.reply(Ok(reply));
            }
            None
        }
        _ => None,
    }
}

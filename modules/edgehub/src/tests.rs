//! The hub between a probe, which plays the other modules, and a cloud at the far end of a
//! memory link.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use beehive::probe::ProbeBuilder;
use beehive::{Probe, Responder};
use protocol::edge::{AskCloud, CloudError, KeepChange, LinkDown, LinkUp, ListHeld, MetaError};
use protocol::{
    ChangeKind, Held, Inventory, Lease, NodeReply, NodeRequest, Object, ObjectChange, ObjectKey, ObjectName,
    ResourceType, group,
};
use store::MemoryStore;
use tokio::time::Instant;
use wire::codec::{CloudFrame, EdgeFrame, Features, Hello, NATIVE_VERSION, Part};
use wire::link::{DialTo, Dialed, Dialer, Frame, Incoming, Link, LinkError, ListenOn, Listener, TlsFiles};
use wire::{Codec, Downlink, Envelope, MemoryNetwork, MessageId, ReplyShape, ReplyTo, ResourcePath, Uplink};

use super::*;

mod inventory;
mod outbox;
mod renewals;
mod rules;
mod transports;

const SECOND: Duration = Duration::from_secs(1);

/// Changes that the store was asked to keep and has not kept.
type Keeping = Rc<RefCell<Vec<Responder<Result<(), MetaError>>>>>;

/// The cloud's side: what listens, and each connection that came.
struct Cloud {
    network: MemoryNetwork,
    incoming: Box<dyn Incoming>,
}

impl Cloud {
    async fn start() -> Self {
        let network = MemoryNetwork::default();
        let tls = TlsFiles { ca: "-".into(), certificate: "-".into(), key: "-".into() };
        let on = ListenOn {
            address: "127.0.0.1".to_owned(),
            port: 10000,
            tls,
            handshake_timeout: SECOND,
            handshakes_max: 1,
            frame_bytes_max: 1 << 20,
        };
        let incoming = network.listen(on).await.expect("it listens");
        Self { network, incoming }
    }

    fn probe(&self, codec: CodecChoice) -> ProbeBuilder<EdgeHub> {
        let config = EdgeHubConfig { codec, ..EdgeHubConfig::default() };
        Probe::new(config, self.ports(&MemoryStore::new()))
    }

    fn ports(&self, store: &MemoryStore) -> Ports {
        Ports { dialer: Arc::new(self.network.clone()), store: Arc::new(store.clone()) }
    }

    async fn accept(&mut self) -> Peer {
        let accepted = self.incoming.accept().await.expect("it listens");
        assert_eq!(accepted.claimed, "probe");
        Peer { link: accepted.link, codec: accepted.codec, sent: 0, parts: Vec::new() }
    }

    /// Accepts and welcomes a native edge; returns what it said of itself too.
    async fn welcome(&mut self) -> (Peer, Hello) {
        let mut peer = self.accept().await;
        let EdgeFrame::Hello(hello) = peer.hear().await else { panic!("the hello comes first") };
        peer.say(CloudFrame::Welcome {
            version: NATIVE_VERSION,
            session: 1,
            features: Features::ALL.without(Features::PACKS),
        })
        .await;
        (peer, hello)
    }
}

struct Peer {
    link: Link,
    codec: Codec,
    sent: u32,
    parts: Vec<u8>,
}

impl Peer {
    async fn say(&mut self, frame: CloudFrame) {
        let frame = self.codec.encode_cloud(frame).expect("a frame of this codec");
        self.link.writer.send(frame).await.expect("the link is up");
    }

    /// The edge may be gone by the time that its ping is read.
    async fn answer_ping(&mut self, number: u64) {
        let pong = self.codec.encode_cloud(CloudFrame::Pong(number)).expect("a frame of this codec");
        let sent = self.link.writer.send(pong).await;
        assert!(matches!(sent, Ok(()) | Err(LinkError::Closed)), "{sent:?}");
    }

    async fn send(&mut self, body: Downlink) -> MessageId {
        self.sent += 1;
        let id = MessageId::new(&format!("down-{}", self.sent));
        self.say(CloudFrame::Down(Envelope { id: id.clone(), timestamp_ms: 0, body })).await;
        id
    }

    async fn change(&mut self, name: &str, version: u32) -> MessageId {
        self.send(Downlink::change(change(name, version))).await
    }

    /// Returns the next frame that is not about liveness.
    async fn hear(&mut self) -> EdgeFrame {
        loop {
            let frame = self.link.reader.next().await.expect("the link is up");
            match self.codec.decode_edge(&frame).expect("a frame") {
                EdgeFrame::Ping(number) => self.answer_ping(number).await,
                EdgeFrame::Part(Part { is_last, bytes, .. }) => {
                    self.parts.extend_from_slice(&bytes);
                    if is_last {
                        let whole = Frame::Binary(std::mem::take(&mut self.parts).into());
                        return self.codec.decode_edge(&whole).expect("a frame");
                    }
                }
                EdgeFrame::Up(Envelope { body: Uplink::Keepalive, .. }) => {}
                frame => return frame,
            }
        }
    }

    async fn hear_up(&mut self) -> Envelope<Uplink> {
        match self.hear().await {
            EdgeFrame::Up(up) => up,
            other => panic!("a message: {other:?}"),
        }
    }

    /// Answers the next request that all is done.
    async fn answer_request(&mut self) -> Envelope<Uplink> {
        let asked = self.hear_up().await;
        self.send(Downlink::Reply { to: reply_to(&asked, ReplyShape::Ok), reply: NodeReply::Done }).await;
        asked
    }

    async fn hear_ack(&mut self) -> MessageId {
        match self.hear_up().await.body {
            Uplink::Ack { parent, .. } => parent,
            other => panic!("an acknowledgement: {other:?}"),
        }
    }

    async fn hear_end(&mut self) -> LinkError {
        loop {
            if let Err(error) = self.link.reader.next().await {
                return error;
            }
        }
    }
}

fn object(name: &str, version: u32) -> Object {
    let meta =
        serde_json::json!({"name": name, "namespace": "default", "resourceVersion": version.to_string()});
    Object::from_value(&serde_json::json!({"metadata": meta})).expect("an object")
}

fn change(name: &str, version: u32) -> ObjectChange {
    let object = object(name, version);
    let key = object.key(ResourceType::CONFIG_MAP).expect("a key");
    ObjectChange { kind: ChangeKind::Update, key, object }
}

fn query(name: &str) -> NodeRequest {
    NodeRequest::Query(change(name, 0).key)
}

fn reply_to(up: &Envelope<Uplink>, shape: ReplyShape) -> ReplyTo {
    let Uplink::Request { path, .. } = &up.body else { panic!("a request: {up:?}") };
    ReplyTo { parent: up.id.clone(), path: path.clone(), shape }
}

/// A probe whose store holds nothing and keeps everything.
fn easy(probe: ProbeBuilder<EdgeHub>) -> ProbeBuilder<EdgeHub> {
    probe.serve::<ListHeld>(group::META, |_| Ok(Vec::new())).serve::<KeepChange>(group::META, |_| Ok(()))
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_hello_says_what_the_node_holds_and_the_link_is_up_after_the_welcome() {
    let mut cloud = Cloud::start().await;
    let held = Held {
        key: ObjectKey {
            resource: ResourceType::POD,
            namespace: None,
            name: ObjectName::parse("p").expect("a name"),
        },
        uid: None,
        resource_version: None,
    };
    let answer = vec![held.clone()];
    let probe = cloud.probe(CodecChoice::Native).serve::<ListHeld>(group::META, move |_| Ok(answer.clone()));
    let probe = probe.start().await;
    let mut peer = cloud.accept().await;
    let EdgeFrame::Hello(hello) = peer.hear().await else { panic!("the hello comes first") };
    let held: Inventory = [held].into_iter().collect();
    assert_eq!((hello.node.as_str(), hello.digest), ("probe", Some(held.digest())));
    probe.settle().await;
    assert!(probe.published::<LinkUp>().is_empty());
    peer.say(CloudFrame::Welcome {
        version: NATIVE_VERSION,
        session: 1,
        features: Features::ALL.without(Features::PACKS),
    })
    .await;
    probe.settle().await;
    assert_eq!(probe.published::<LinkUp>().len(), 1);
    probe.stop().await;
    assert!(matches!(peer.hear().await, EdgeFrame::Goodbye(_)), "it takes its leave");
    assert_eq!(peer.hear_end().await, LinkError::Closed);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_store_that_fails_leaves_the_inventory_open() {
    let mut cloud = Cloud::start().await;
    let probe = cloud.probe(CodecChoice::Native);
    let probe = probe.serve::<ListHeld>(group::META, |_| Err(MetaError("broken".to_owned())));
    let _probe = probe.start().await;
    assert_eq!(cloud.welcome().await.1.digest, None);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_change_is_acknowledged_once_it_is_on_disk_and_refused_if_it_cannot_be() {
    let mut cloud = Cloud::start().await;
    let waiting = Keeping::default();
    let keeping = Rc::clone(&waiting);
    let probe = cloud
        .probe(CodecChoice::Native)
        .serve::<ListHeld>(group::META, |_| Ok(Vec::new()))
        .serve_later::<KeepChange>(group::META, move |_, responder| keeping.borrow_mut().push(responder))
        .start()
        .await;
    let (mut peer, _) = cloud.welcome().await;
    let first = peer.change("a", 1).await;
    let second = peer.change("b", 1).await;
    probe.settle().await;
    let [keep_first, keep_second] = std::mem::take(&mut *waiting.borrow_mut()).try_into().expect("two");
    keep_second.reply(Ok(()));
    assert_eq!(peer.hear_ack().await, second, "one does not wait for the other");
    keep_first.reply(Err(MetaError("disk full".to_owned())));
    match peer.hear_up().await.body {
        Uplink::Nack { parent, text, .. } => {
            assert_eq!(parent, first);
            assert!(text.contains("disk full"), "{text}");
        }
        other => panic!("a refusal: {other:?}"),
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn states_of_one_object_are_kept_in_order_and_the_newest_wins() {
    let mut cloud = Cloud::start().await;
    let waiting = Keeping::default();
    let keeping = Rc::clone(&waiting);
    let probe = cloud
        .probe(CodecChoice::Native)
        .serve::<ListHeld>(group::META, |_| Ok(Vec::new()))
        .serve_later::<KeepChange>(group::META, move |_, responder| keeping.borrow_mut().push(responder))
        .start()
        .await;
    let (mut peer, _) = cloud.welcome().await;
    let mut ids = Vec::new();
    for version in 1..=3 {
        ids.push(peer.change("a", version).await);
    }
    probe.settle().await;
    let versions = |kept: Vec<KeepChange>| -> Vec<Option<String>> {
        kept.into_iter().map(|KeepChange(change)| change.object.meta().resource_version.clone()).collect()
    };
    assert_eq!(versions(probe.asked()), [Some("1".to_owned())]);
    waiting.borrow_mut().remove(0).reply(Ok(()));
    assert_eq!(peer.hear_ack().await, ids[0]);
    probe.settle().await;
    assert_eq!(versions(probe.asked()), [Some("3".to_owned())], "2 was overtaken");
    waiting.borrow_mut().remove(0).reply(Ok(()));
    assert_eq!(peer.hear_ack().await, ids[1]);
    assert_eq!(peer.hear_ack().await, ids[2]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_question_reaches_the_cloud_and_its_answer_comes_back() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Native)).start().await;
    let early = probe.ask(AskCloud(query("a"))).await;
    assert_eq!(early, Ok(Err(CloudError::Disconnected)), "no session yet");
    let (mut peer, _) = cloud.welcome().await;
    probe.settle().await;
    let answering = async {
        let asked = peer.hear_up().await;
        let to = reply_to(&asked, ReplyShape::Object);
        peer.send(Downlink::Reply { to, reply: NodeReply::Object(object("a", 7)) }).await;
    };
    let (answer, ()) = tokio::join!(probe.ask(AskCloud(query("a"))), answering);
    assert_eq!(answer, Ok(Ok(NodeReply::Object(object("a", 7)))));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn questions_that_wait_when_the_link_breaks_are_told_so() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Native)).start().await;
    let (mut peer, _) = cloud.welcome().await;
    probe.settle().await;
    let breaking = async {
        peer.hear_up().await;
        drop(peer);
    };
    let (answer, ()) = tokio::join!(probe.ask(AskCloud(query("a"))), breaking);
    assert_eq!(answer, Ok(Err(CloudError::NoAnswer)));
    assert_eq!(probe.published::<LinkDown>().len(), 1);
    assert_eq!(probe.ask(AskCloud(query("a"))).await, Ok(Err(CloudError::Disconnected)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn more_questions_than_may_wait_are_turned_away() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Native)).start().await;
    let (_peer, _) = cloud.welcome().await;
    probe.settle().await;
    let bus = probe.bus();
    let asking = (0..1000).map(|number| {
        let bus = &bus;
        async move {
            let request = AskCloud(query(&format!("a{number}")));
            bus.to(group::HUB).ask(request).within(SECOND).await
        }
    });
    let answers = futures::future::join_all(asking).await;
    let turned_away = answers.iter().filter(|answer| **answer == Ok(Err(CloudError::Overloaded))).count();
    assert!((1..=1000 - ASKS_MAX).contains(&turned_away), "{turned_away}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cloud_that_falls_silent_is_noticed_within_ten_seconds_and_dialed_again() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Native)).start().await;
    let (_half_open, _) = cloud.welcome().await;
    probe.settle().await;
    probe.advance(SECOND * 8).await;
    assert!(probe.published::<LinkDown>().is_empty());
    probe.advance(SECOND * 2).await;
    assert_eq!(probe.published::<LinkDown>().len(), 1);
    let (_peer, hello) = cloud.welcome().await;
    assert_eq!(hello.node, "probe");
    probe.settle().await;
    assert_eq!(probe.published::<LinkUp>().len(), 2);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cloud_that_answers_pings_stays_connected() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Native)).start().await;
    let (mut peer, _) = cloud.welcome().await;
    tokio::select! {
        biased;
        frame = peer.hear() => panic!("only pings: {frame:?}"),
        () = probe.advance(SECOND * 120) => {}
    }
    assert!(probe.published::<LinkDown>().is_empty());
}

/// Dials in vain, and notes when.
#[derive(Debug)]
struct InVain {
    error: LinkError,
    dials: Mutex<Vec<Instant>>,
}

#[async_trait]
impl Dialer for InVain {
    async fn dial(&self, _: DialTo) -> Result<Dialed, LinkError> {
        self.dials.lock().expect("no test panics with it").push(Instant::now());
        Err(self.error.clone())
    }
}

/// Returns how often ten minutes of dialing in vain were tried, and the longest pause.
async fn dials_in_vain(error: LinkError) -> (usize, Duration) {
    let dialer = Arc::new(InVain { error, dials: Mutex::default() });
    let ports = Ports { dialer: dialer.clone(), store: Arc::new(MemoryStore::new()) };
    let probe = easy(Probe::new(EdgeHubConfig::default(), ports)).start().await;
    probe.advance(SECOND * 600).await;
    assert_eq!(probe.asked::<ListHeld>().len(), 0, "nothing is listed for a cloud that is not reached");
    assert!(probe.published::<LinkUp>().is_empty());
    probe.stop().await;
    let dials = dialer.dials.lock().expect("no test panics with it");
    let pauses = dials.windows(2).map(|two| two[1] - two[0]);
    (dials.len(), pauses.max().unwrap_or_default())
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_path_that_is_gone_is_tried_every_five_seconds_and_a_cloud_that_refuses_less_often() {
    let (dials, longest) = dials_in_vain(LinkError::Transport("no route".to_owned())).await;
    assert!(longest <= SECOND * 5 && dials >= 120, "{dials} dials, {longest:?}");
    let (dials, longest) = dials_in_vain(LinkError::Handshake("refused".to_owned())).await;
    assert!(longest > SECOND * 5 && longest <= SECOND * 30, "{longest:?}");
    assert!((10..=150).contains(&dials), "{dials} dials");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cloud_that_breaks_the_protocol_is_left() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Native)).start().await;
    let (mut peer, _) = cloud.welcome().await;
    peer.link.writer.send(Frame::Binary(b"\xc1garbage"[..].into())).await.expect("the link is up");
    assert!(matches!(peer.hear().await, EdgeFrame::Goodbye(_)));
    probe.settle().await;
    assert_eq!(probe.published::<LinkDown>().len(), 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn upstream_s_cloud_gets_keepalives_and_acknowledgements_as_upstream_s_edge_sends_them() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Kubeedge)).start().await;
    let mut peer = cloud.accept().await;
    assert_eq!(peer.codec, Codec::KubeEdge);
    probe.settle().await;
    assert_eq!(probe.published::<LinkUp>().len(), 1, "there is no welcome");
    let first = peer.link.reader.next().await.expect("the link is up");
    let text = String::from_utf8_lossy(first.payload()).into_owned();
    assert!(text.contains(r#""operation":"keepalive","resource":"node"},"content":"ping""#), "{text}");
    assert!(text.ends_with('\n'));
    let id = peer.change("a", 1).await;
    match peer.hear_up().await.body {
        Uplink::Ack { parent, route } => {
            assert_eq!(parent, id);
            assert_eq!((route.source.as_str(), route.group.as_str()), ("edgecontroller", "resource"));
            assert_eq!(route.path.to_string(), "default/configmap/a");
        }
        other => panic!("an acknowledgement: {other:?}"),
    }
    probe.advance(SECOND * 100).await;
    let mut keepalives = 0;
    while let Some(frame) = futures::FutureExt::now_or_never(peer.link.reader.next()) {
        let frame = peer.codec.decode_edge(&frame.expect("the link is up")).expect("a frame");
        assert!(matches!(frame, EdgeFrame::Up(Envelope { body: Uplink::Keepalive, .. })));
        keepalives += 1;
    }
    assert_eq!(keepalives, 6, "one each 15 s, and no pings");
    assert!(probe.published::<LinkDown>().is_empty(), "upstream's cloud says nothing of itself");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn upstream_s_answers_are_acknowledged_even_when_nobody_waits_for_them() {
    let mut cloud = Cloud::start().await;
    let _probe = easy(cloud.probe(CodecChoice::Kubeedge)).start().await;
    let mut peer = cloud.accept().await;
    let path = ResourcePath::Object(change("a", 1).key);
    let to = ReplyTo { parent: MessageId::new("long ago"), path, shape: ReplyShape::Object };
    let id = peer.send(Downlink::Reply { to, reply: NodeReply::Object(object("a", 1)) }).await;
    assert_eq!(peer.hear_ack().await, id);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_upstream_sends_and_this_hub_does_not_know_is_passed_over() {
    let mut cloud = Cloud::start().await;
    let _probe = easy(cloud.probe(CodecChoice::Kubeedge)).start().await;
    let mut peer = cloud.accept().await;
    for text in [
        r#"{"header":{"msg_id":"1"},"route":{"source":"devicecontroller","group":"twin","operation":"update","resource":"membership"},"content":{}}"#,
        "no JSON",
        "{}",
    ] {
        peer.link.writer.send(Frame::Text(text.into())).await.expect("the link is up");
    }
    let id = peer.change("a", 1).await;
    assert_eq!(peer.hear_ack().await, id);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn requests_beyond_the_burst_wait_for_their_turn() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Native)).start().await;
    let (mut peer, _) = cloud.welcome().await;
    probe.settle().await;
    let bus = probe.bus();
    let asking = (0..90).map(|number| {
        let bus = &bus;
        async move {
            bus.to(group::HUB).ask(AskCloud(query(&format!("a{number}")))).within(SECOND * 10).await
        }
    });
    let started = tokio::time::Instant::now();
    let hearing = async {
        for _ in 0..60 {
            peer.answer_request().await;
        }
        let burst = started.elapsed();
        for _ in 60..90 {
            peer.answer_request().await;
        }
        (burst, started.elapsed())
    };
    let (answers, (burst, all)) = tokio::join!(futures::future::join_all(asking), hearing);
    assert!(answers.iter().all(|answer| *answer == Ok(Ok(NodeReply::Done))));
    assert!(burst < SECOND / 10, "{burst:?}");
    assert!(all > SECOND * 9 / 10 && all < SECOND * 12 / 10, "30 in a second: {all:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lease_waits_neither_for_the_rate_nor_behind_other_requests() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Native)).start().await;
    let (mut peer, _) = cloud.welcome().await;
    probe.settle().await;
    let bus = probe.bus();
    let ask = async |request| bus.to(group::HUB).ask(AskCloud(request)).within(SECOND * 60).await;
    let asking = futures::future::join_all((0..200).map(|number| ask(query(&format!("a{number}")))));
    let lease = NodeRequest::Lease(Lease::Update(object("probe", 1)));
    let renewing = async {
        tokio::time::sleep(SECOND / 2).await;
        let asked = tokio::time::Instant::now();
        (ask(lease.clone()).await, asked.elapsed())
    };
    let answering = async {
        for _ in 0..201 {
            let asked = peer.hear_up().await;
            let to = reply_to(&asked, ReplyShape::Outcome);
            peer.send(Downlink::Reply { to, reply: NodeReply::Done }).await;
        }
    };
    let started = tokio::time::Instant::now();
    let (answers, (renewed, waited), ()) = tokio::join!(asking, renewing, answering);
    assert_eq!(renewed, Ok(Ok(NodeReply::Done)));
    assert!(waited < SECOND / 100, "the lease waited for {waited:?}");
    assert!(answers.iter().all(|answer| *answer == Ok(Ok(NodeReply::Done))));
    assert!(started.elapsed() > SECOND * 4, "all others waited for the rate");
}

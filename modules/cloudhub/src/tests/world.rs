//! What the tests of the hub have in common.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use beehive::probe::ProbeBuilder;
use beehive::{Probe, Responder};
use protocol::cloud::{NodeDisconnected, SendRefused, SendToNode, ServeNode};
use protocol::{
    ChangeKind, Digest, Held, NodeName, NodeReply, NodeRequest, Object, ObjectChange, ResourceType, group,
};
use wire::codec::{CloudFrame, EdgeFrame, Features, Hello, NATIVE_VERSION, Part};
use wire::link::{DialTo, Dialer, Frame, Link, LinkError, TlsFiles, Transport};
use wire::{
    AckRoute, Codec, Downlink, Envelope, MemoryLimits, MemoryNetwork, MessageId, ResourcePath, Uplink,
};

use crate::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Requests that the edge controller was asked to serve and has not answered.
pub(super) type Serving = Rc<RefCell<Vec<Responder<NodeReply>>>>;

pub(super) struct Edges {
    pub(super) network: MemoryNetwork,
}

impl Edges {
    pub(super) fn new() -> Self {
        Self { network: MemoryNetwork::new(MemoryLimits { frames_max: 4, backlog_max: 16 }) }
    }

    pub(super) fn probe(&self, config: CloudHubConfig) -> ProbeBuilder<CloudHub> {
        Probe::new(config, Ports { listeners: vec![Arc::new(self.network.clone())] })
    }

    pub(super) async fn start(&self) -> Probe<CloudHub> {
        self.probe(CloudHubConfig::default())
            .serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done)
            .start()
            .await
    }

    pub(super) async fn dial(&self, name: &str, codec: Codec) -> Edge {
        let to = DialTo {
            transport: Transport::WebSocket,
            server: "127.0.0.1:10000".to_owned(),
            node: node(name),
            project: String::new(),
            codecs: vec![codec],
            tls: TlsFiles { ca: "-".into(), certificate: "-".into(), key: "-".into() },
            handshake_timeout: SECOND,
            frame_bytes_max: 1 << 20,
        };
        let dialed = self.network.dial(to).await.expect("it listens");
        Edge { link: dialed.link, codec, sent: 0, parts: Vec::new() }
    }

    /// Connects a native edge that is welcome.
    pub(super) async fn connect(&self, name: &str) -> Edge {
        let mut edge = self.dial(name, Codec::Native).await;
        edge.say_hello(name, None).await;
        assert!(matches!(edge.hear().await, CloudFrame::Welcome { .. }));
        edge
    }
}

pub(super) struct Edge {
    pub(super) link: Link,
    pub(super) codec: Codec,
    pub(super) sent: u32,
    pub(super) parts: Vec<u8>,
}

impl Edge {
    pub(super) async fn say(&mut self, frame: EdgeFrame) {
        let frame = self.codec.encode_edge(frame).expect("a frame of this codec");
        self.link.writer.send(frame).await.expect("the link is up");
    }

    pub(super) async fn say_hello(&mut self, name: &str, held: Option<Vec<Held>>) {
        let features = Features::ALL.without(Features::PACKS);
        self.greet(name, held, None, features).await;
    }

    pub(super) async fn greet(
        &mut self,
        name: &str,
        held: Option<Vec<Held>>,
        digest: Option<Digest>,
        features: Features,
    ) {
        let (version, node, instance) = (NATIVE_VERSION, name.to_owned(), [1; 16]);
        self.say(EdgeFrame::Hello(Hello { version, node, instance, held, digest, features })).await;
    }

    pub(super) async fn send(&mut self, body: Uplink) -> MessageId {
        self.sent += 1;
        let id = MessageId::new(&format!("up-{}", self.sent));
        self.say(EdgeFrame::Up(Envelope { id: id.clone(), timestamp_ms: 0, body })).await;
        id
    }

    pub(super) async fn acknowledge(&mut self, parent: &MessageId) {
        let route = AckRoute { source: String::new(), group: String::new(), path: ResourcePath::Empty };
        self.send(Uplink::Ack { parent: parent.clone(), route }).await;
    }

    /// Returns the next frame that is not about liveness.
    pub(super) async fn hear(&mut self) -> CloudFrame {
        loop {
            let frame = self.link.reader.next().await.expect("the link is up");
            match self.codec.decode_cloud(&frame).expect("a frame") {
                CloudFrame::Part(Part { is_last, bytes, .. }) => {
                    self.parts.extend_from_slice(&bytes);
                    if is_last {
                        let whole = Frame::Binary(std::mem::take(&mut self.parts).into());
                        return self.codec.decode_cloud(&whole).expect("a frame");
                    }
                }
                CloudFrame::Ping(number) => {
                    let pong = self.codec.encode_edge(EdgeFrame::Pong(number)).expect("a frame");
                    let sent = self.link.writer.send(pong).await;
                    assert!(matches!(sent, Ok(()) | Err(LinkError::Closed)), "{sent:?}");
                }
                frame => return frame,
            }
        }
    }

    pub(super) async fn hear_down(&mut self) -> Envelope<Downlink> {
        match self.hear().await {
            CloudFrame::Down(down) => down,
            other => panic!("a message: {other:?}"),
        }
    }

    /// Returns the id, the name and the version of the next change.
    pub(super) async fn hear_change(&mut self) -> (MessageId, String, String) {
        let Envelope { id, body, .. } = self.hear_down().await;
        let Downlink::Change { change, .. } = body else { panic!("a change: {body:?}") };
        let version = change.object.meta().resource_version.clone().unwrap_or_default();
        (id, change.key.name.to_string(), version)
    }

    pub(super) async fn hear_end(&mut self) -> LinkError {
        loop {
            if let Err(error) = self.link.reader.next().await {
                return error;
            }
        }
    }
}

pub(super) fn node(name: &str) -> NodeName {
    NodeName::parse(name).expect("a name")
}

pub(super) fn object(name: &str, version: u32) -> Object {
    let meta =
        serde_json::json!({"name": name, "namespace": "default", "resourceVersion": version.to_string()});
    Object::from_value(&serde_json::json!({"metadata": meta})).expect("an object")
}

pub(super) fn change(name: &str, version: u32) -> ObjectChange {
    let object = object(name, version);
    let key = object.key(ResourceType::CONFIG_MAP).expect("a key");
    ObjectChange { kind: ChangeKind::Update, key, object }
}

pub(super) fn query(name: &str) -> Uplink {
    Uplink::request(NodeRequest::Query(change(name, 0).key))
}

pub(super) async fn send(
    probe: &Probe<CloudHub>,
    to: &str,
    name: &str,
    version: u32,
) -> Result<(), SendRefused> {
    let message = SendToNode { node: node(to), change: change(name, version) };
    probe.ask(message).await.expect("the hub answers").map(drop)
}

pub(super) fn disconnected(probe: &Probe<CloudHub>) -> Vec<(String, u64)> {
    let events: Vec<NodeDisconnected> = probe.published();
    events.into_iter().map(|event| (event.node.to_string(), event.session)).collect()
}

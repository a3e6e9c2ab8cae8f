//! The native codec: every frame returns as it was, and what is not a frame is an error.

use bytes::Bytes;
use proptest::prelude::*;
use protocol::rules::{CommandReply, Headers, HttpAnswer, HttpCall, NodeCommand, NodeRules};
use protocol::{
    ApiStatus, Buckets, ChangeKind, DeviceId, Digest, Held, Lease, Namespace, NodeName, NodeReply,
    NodeRequest, Object, ObjectChange, ObjectKey, ObjectName, ResourceType, ResourceVersion, Uid,
};
use wire::codec::{CloudFrame, Comparison, DecodeError, EdgeFrame, Features, Hello, Packed, Part};
use wire::link::Frame;
use wire::{AckRoute, Codec, Downlink, Envelope, MessageId, ReplyShape, ReplyTo, ResourcePath, Uplink};

fn key() -> impl Strategy<Value = ObjectKey> {
    ("[a-z]{1,12}", proptest::option::of("[a-z0-9-]{1,12}"), "[a-z0-9.-]{1,10}x").prop_map(
        |(resource, namespace, name)| ObjectKey {
            resource: ResourceType::parse(&resource).expect("a type"),
            namespace: namespace.map(|namespace| Namespace::parse(&namespace).expect("a namespace")),
            name: ObjectName::parse(&name).expect("a name"),
        },
    )
}

fn object() -> impl Strategy<Value = Object> {
    ("[a-z0-9-]{1,12}", any::<u32>(), "[^<>&\u{2028}\u{2029}]{0,40}").prop_map(|(name, version, text)| {
        let value = serde_json::json!({
            "metadata": {"name": name, "namespace": "default", "resourceVersion": version.to_string()},
            "data": {"text": text},
        });
        Object::from_value(&value).expect("an object")
    })
}

fn change() -> impl Strategy<Value = ObjectChange> {
    let kinds = vec![ChangeKind::Insert, ChangeKind::Update, ChangeKind::Delete];
    (proptest::sample::select(kinds), key(), object()).prop_map(|(kind, key, object)| ObjectChange {
        kind,
        key,
        object,
    })
}

fn device() -> DeviceId {
    DeviceId::parse("ns", "d").expect("a device")
}

fn request() -> impl Strategy<Value = NodeRequest> {
    let namespace = || Namespace::parse("default").expect("a namespace");
    let name = || ObjectName::parse("web-0").expect("a name");
    let json = || Bytes::from_static(b"{\"status\":{\"a\":1}}");
    prop_oneof![
        object().prop_map(NodeRequest::RegisterNode),
        object().prop_map(NodeRequest::UpdateNode),
        Just(NodeRequest::PatchNodeStatus { node: NodeName::parse("n").expect("a node"), patch: json() }),
        Just(NodeRequest::PatchPodStatus { namespace: namespace(), pod: name(), patch: json() }),
        Just(NodeRequest::ReportTwins { device: device(), report: json() }),
        Just(NodeRequest::ReportDeviceState { device: device(), report: json() }),
        object().prop_map(NodeRequest::CreatePod),
        Just(NodeRequest::DeletePod { namespace: namespace(), pod: name(), options: json() }),
        key().prop_map(NodeRequest::Query),
        object().prop_map(|lease| NodeRequest::Lease(Lease::Create(lease))),
        object().prop_map(|lease| NodeRequest::Lease(Lease::Update(lease))),
        object().prop_map(move |request| NodeRequest::Token {
            namespace: namespace(),
            account: name(),
            request
        }),
        object().prop_map(NodeRequest::CreateCsr),
        object().prop_map(NodeRequest::RecordEvent),
        object().prop_map(move |event| NodeRequest::PatchEvent { event, patch: json() }),
        Just(NodeRequest::KubernetesCa),
        // KubeEdge's codec carries what was published as a text.
        (".{0,20}", ".{0,20}")
            .prop_map(|(topic, payload)| NodeRequest::Upload { topic, payload: payload.into() }),
        (".{0,20}", any::<Vec<u8>>()).prop_map(|(url, body)| NodeRequest::CallUrl { url, body: body.into() }),
    ]
}

fn headers() -> impl Strategy<Value = Headers> {
    proptest::collection::btree_map("[A-Za-z-]{1,8}", proptest::collection::vec(".{0,8}", 0..3), 0..3)
}

fn command() -> impl Strategy<Value = NodeCommand> {
    let texts = || proptest::collection::btree_set(".{0,8}", 0..4);
    prop_oneof![
        (texts(), texts()).prop_map(|(topics, urls)| NodeCommand::Route(NodeRules { topics, urls })),
        ".{0,20}".prop_map(NodeCommand::Subscribe),
        ".{0,20}".prop_map(NodeCommand::Unsubscribe),
        ".{0,20}".prop_map(NodeCommand::AllowUrl),
        ".{0,20}".prop_map(NodeCommand::ForbidUrl),
        (".{0,20}", any::<Vec<u8>>())
            .prop_map(|(topic, payload)| NodeCommand::Publish { topic, payload: payload.into() }),
        (any::<u16>(), "/.{0,20}", "[A-Z]{1,8}", headers(), any::<Vec<u8>>()).prop_map(
            |(port, path, method, headers, body)| {
                NodeCommand::Call(HttpCall { port, path, method, headers, body: body.into() })
            }
        ),
    ]
}

fn command_reply() -> impl Strategy<Value = CommandReply> {
    prop_oneof![
        Just(CommandReply::Done),
        ".{0,20}".prop_map(CommandReply::Refused),
        (any::<u16>(), headers(), any::<Vec<u8>>()).prop_map(|(status, headers, body)| {
            CommandReply::Answer(HttpAnswer { status, headers, body: body.into() })
        }),
    ]
}

fn reply() -> impl Strategy<Value = NodeReply> {
    prop_oneof![
        object().prop_map(NodeReply::Object),
        Just(NodeReply::Done),
        ".{0,40}".prop_map(NodeReply::Text),
        (400_u16..600, ".{0,20}").prop_map(|(code, text)| {
            let mut status = ApiStatus::new(code, "Conflict", text);
            status.details = Some(serde_json::json!({"kind": "pods", "causes": [{"field": "x"}]}));
            NodeReply::Refused(status)
        }),
    ]
}

fn id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 16]>().prop_map(MessageId::from_random)
}

fn held() -> impl Strategy<Value = Held> {
    (key(), proptest::option::of("[a-f0-9-]{1,36}"), proptest::option::of("[0-9]{1,9}")).prop_map(
        |(key, uid, version)| Held {
            key,
            uid: uid.map(|uid| Uid::parse(&uid).expect("a uid")),
            resource_version: version.as_deref().map(ResourceVersion::new),
        },
    )
}

fn uplink() -> impl Strategy<Value = Uplink> {
    let nowhere = || AckRoute { source: String::new(), group: String::new(), path: ResourcePath::Empty };
    prop_oneof![
        Just(Uplink::Keepalive),
        id().prop_map(move |parent| Uplink::Ack { parent, route: nowhere() }),
        (id(), ".{0,20}").prop_map(|(parent, text)| Uplink::Nack { parent, path: ResourcePath::Empty, text }),
        request().prop_map(Uplink::request),
        (id(), command_reply()).prop_map(|(parent, reply)| Uplink::CommandReply { parent, reply }),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    (0_u8..4, any::<bool>(), any::<Vec<u8>>()).prop_map(|(lane, is_last, bytes)| Part {
        lane,
        is_last,
        bytes: bytes.into(),
    })
}

fn packed() -> impl Strategy<Value = Packed> {
    (0_u8..4, any::<u32>(), any::<Vec<u8>>()).prop_map(|(lane, size, bytes)| Packed {
        lane,
        size,
        bytes: bytes.into(),
    })
}

fn comparison() -> impl Strategy<Value = Comparison> {
    let buckets = || {
        (0_u32..9, proptest::collection::vec(any::<u8>(), 0..4)).prop_map(|(of, chosen)| {
            let last = u8::try_from((1_usize << of) - 1).expect("at most 256 buckets");
            Buckets::new(1 << of, chosen.into_iter().map(|bucket| bucket & last).collect()).expect("buckets")
        })
    };
    prop_oneof![
        Just(Comparison::AskSummary),
        any::<Vec<u64>>().prop_map(Comparison::Summary),
        buckets().prop_map(Comparison::AskHeld),
        (buckets(), proptest::collection::vec(held(), 0..4))
            .prop_map(|(buckets, held)| Comparison::Held { buckets, held }),
        Just(Comparison::Unknown),
    ]
}

fn edge_frame() -> impl Strategy<Value = EdgeFrame> {
    prop_oneof![
        (any::<u16>(), any::<[u8; 16]>(), proptest::option::of(proptest::collection::vec(held(), 0..4)))
            .prop_map(|(version, instance, held)| EdgeFrame::Hello(Hello {
                version,
                node: "edge-1".to_owned(),
                instance,
                digest: held.is_none().then(|| Digest::of_bytes(instance)),
                held,
                features: Features::ALL,
            })),
        part().prop_map(EdgeFrame::Part),
        packed().prop_map(EdgeFrame::Packed),
        comparison().prop_map(EdgeFrame::Comparison),
        (0_u32..1 << 21).prop_map(EdgeFrame::Renewal),
        (id(), any::<i64>(), uplink()).prop_map(|(id, timestamp_ms, body)| EdgeFrame::Up(Envelope {
            id,
            timestamp_ms,
            body
        })),
        any::<u64>().prop_map(EdgeFrame::Ping),
        any::<u64>().prop_map(EdgeFrame::Pong),
        ".{0,20}".prop_map(EdgeFrame::Goodbye),
    ]
}

fn cloud_frame() -> impl Strategy<Value = CloudFrame> {
    let to = |parent| ReplyTo { parent, path: ResourcePath::Empty, shape: ReplyShape::Object };
    let body = prop_oneof![
        change().prop_map(Downlink::change),
        command().prop_map(Downlink::Command),
        (id(), reply()).prop_map(move |(parent, reply)| Downlink::Reply { to: to(parent), reply }),
    ];
    prop_oneof![
        (any::<u16>(), any::<u64>()).prop_map(|(version, session)| CloudFrame::Welcome {
            version,
            session,
            features: Features::default(),
        }),
        part().prop_map(CloudFrame::Part),
        packed().prop_map(CloudFrame::Packed),
        comparison().prop_map(CloudFrame::Comparison),
        Just(CloudFrame::Renewed),
        ".{0,20}".prop_map(CloudFrame::Notice),
        (id(), any::<i64>(), body).prop_map(|(id, timestamp_ms, body)| CloudFrame::Down(Envelope {
            id,
            timestamp_ms,
            body
        })),
        any::<u64>().prop_map(CloudFrame::Ping),
        any::<u64>().prop_map(CloudFrame::Pong),
        ".{0,20}".prop_map(CloudFrame::Goodbye),
    ]
}

proptest! {
    #[test]
    fn every_frame_of_an_edge_returns_as_it_was(frame in edge_frame()) {
        let bytes = Codec::Native.encode_edge(frame.clone()).expect("the native codec has every frame");
        prop_assert_eq!(Codec::Native.decode_edge(&bytes).expect("decodes"), frame);
    }

    #[test]
    fn every_frame_of_a_cloud_returns_as_it_was(frame in cloud_frame()) {
        let bytes = Codec::Native.encode_cloud(frame.clone()).expect("the native codec has every frame");
        prop_assert_eq!(Codec::Native.decode_cloud(&bytes).expect("decodes"), frame);
    }

    #[test]
    fn a_request_and_its_answer_survive_the_kubeedge_codec(id in id(), request in request(), reply in reply()) {
        let asked = Envelope { id: id.clone(), timestamp_ms: 7, body: Uplink::request(request.clone()) };
        let bytes = Codec::KubeEdge.encode_edge(EdgeFrame::Up(asked)).expect("a frame");
        let read = Codec::KubeEdge.decode_edge(&bytes).expect("decodes");
        let EdgeFrame::Up(Envelope { body: Uplink::Request { path, request: read }, .. }) = read else {
            panic!("it is a request: {read:?}");
        };
        if let (NodeRequest::Query(read), NodeRequest::Query(sent)) = (&read, &request) {
            prop_assert_eq!((&read.resource, &read.name), (&sent.resource, &sent.name));
        } else {
            prop_assert_eq!(&read, &request);
        }
        let shape = ReplyShape::of(&request);
        let to = ReplyTo { parent: id.clone(), path, shape };
        let body = Downlink::Reply { to: to.clone(), reply: reply.clone() };
        let answer = Envelope { id: id.clone(), timestamp_ms: 8, body };
        let bytes = Codec::KubeEdge.encode_cloud(CloudFrame::Down(answer)).expect("a frame");
        let read = Codec::KubeEdge.decode_cloud(&bytes).expect("decodes");
        let CloudFrame::Down(Envelope { body: Downlink::Reply { to: read_to, reply: read }, .. }) = read else {
            panic!("it is an answer: {read:?}");
        };
        prop_assert_eq!(read_to.parent, to.parent);
        // The cloud confirms every report of a device on the same path.
        let path = if request.device().is_some() { ResourcePath::Twin } else { to.path };
        prop_assert_eq!(read_to.path, path);
        let fits = match &reply {
            NodeReply::Object(_) => matches!(shape, ReplyShape::Outcome | ReplyShape::Object),
            // Of an application's call KubeEdge's codec has no more than a text.
            NodeReply::Refused(_) => shape != ReplyShape::Body,
            NodeReply::Done => shape == ReplyShape::Ok || shape == ReplyShape::Outcome,
            NodeReply::Text(_) => matches!(shape, ReplyShape::Text | ReplyShape::Body),
        };
        if fits {
            prop_assert_eq!(read, reply);
        }
    }
}

fn decode(bytes: Vec<u8>) -> Result<CloudFrame, DecodeError> {
    Codec::Native.decode_cloud(&Frame::Binary(bytes.into()))
}

#[test]
fn bytes_after_a_frame_are_an_error() {
    let frame = Codec::Native.encode_cloud(CloudFrame::Ping(1)).expect("a frame");
    let mut bytes = frame.payload().to_vec();
    assert!(decode(bytes.clone()).is_ok());
    bytes.push(0);
    assert!(matches!(decode(bytes), Err(DecodeError::TrailingBytes(1))));
}

#[test]
fn nesting_without_end_is_an_error_and_no_stack_overflow() {
    for opener in [0x91_u8, 0x81, 0xc7] {
        assert!(decode(vec![opener; 10_000_000]).is_err());
    }
    let mut frame = b"\x81\xa7Welcome\x83\xa7version\x01\xa7session\x01\xa1x".to_vec();
    frame.extend(std::iter::repeat_n(0x91_u8, 1_000_000));
    assert!(decode(frame).is_err());
    let json = [b"{\"content\":".to_vec(), vec![b'['; 1_000_000]].concat();
    assert!(Codec::KubeEdge.decode_cloud(&Frame::Text(json.into())).is_err());
}

#[test]
fn a_length_that_the_frame_does_not_have_is_an_error_and_takes_no_memory() {
    for header in [
        &b"\xc6\xff\xff\xff\xff"[..],
        b"\xdb\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
    ] {
        let mut bytes = b"\x81\xa7Goodbye".to_vec();
        bytes.extend_from_slice(header);
        assert!(decode(bytes).is_err());
    }
}

#[test]
fn a_name_that_could_step_out_of_a_path_is_refused() {
    let hello = |node: &str| {
        let hello = Hello {
            version: 1,
            node: node.to_owned(),
            instance: [0; 16],
            held: None,
            digest: None,
            features: Features::ALL,
        };
        Codec::Native.decode_edge(&Codec::Native.encode_edge(EdgeFrame::Hello(hello)).expect("a frame"))
    };
    assert!(hello("edge-1").is_ok());
    assert!(matches!(hello("../edge"), Err(DecodeError::Value { what: "node name", .. })));
}

#[test]
fn a_peer_of_another_time_is_understood() {
    let decode = |value: serde_json::Value| {
        let bytes = rmp_serde::to_vec_named(&value).expect("it encodes");
        Codec::Native.decode_cloud(&Frame::Binary(bytes.into())).expect("a frame")
    };
    let welcome = |features| CloudFrame::Welcome { version: 1, session: 7, features };
    let older = decode(serde_json::json!({"Welcome": {"version": 1, "session": 7}}));
    assert_eq!(older, welcome(Features::default()));
    let newer = serde_json::json!({"version": 1, "session": 7, "features": u32::MAX, "later": [1]});
    assert_eq!(decode(serde_json::json!({"Welcome": newer})), welcome(Features::ALL));
    assert!(Features::ALL.shared_with(Features::PARTS).has(Features::PARTS));
    assert!(!Features::ALL.shared_with(Features::PARTS).has(Features::CONFIRMS));
}

/// Decodes what an edge says; the texts are those of MessagePack.
fn hear_edge(bytes: &[u8]) -> Result<EdgeFrame, DecodeError> {
    Codec::Native.decode_edge(&Frame::Binary(Bytes::copy_from_slice(bytes)))
}

#[test]
fn the_bytes_of_a_comparison_stay_as_they_are() {
    let buckets = Buckets::new(4, vec![1, 3]).expect("buckets");
    for (comparison, bytes) in [
        (Comparison::AskSummary, &b"\x81\xaaComparison\xaaAskSummary"[..]),
        (Comparison::Summary(vec![7]), b"\x81\xaaComparison\x81\xa7Summary\x91\x07"),
        (
            Comparison::AskHeld(buckets),
            b"\x81\xaaComparison\x81\xa7AskHeld\x82\xa2of\x04\xa7buckets\xc4\x02\x01\x03",
        ),
        (Comparison::Unknown, b"\x81\xaaComparison\xa7Unknown"),
    ] {
        let frame = EdgeFrame::Comparison(comparison);
        assert_eq!(hear_edge(bytes).expect("a frame"), frame);
        assert_eq!(&Codec::Native.encode_edge(frame).expect("a frame").payload()[..], bytes);
    }
    let nowhere = b"\x81\xaaComparison\x81\xa7AskHeld\x82\xa2of\x03\xa7buckets\xc4\x01\x01";
    assert!(matches!(hear_edge(nowhere), Err(DecodeError::Value { what: "bucket", .. })));
}

#[test]
fn a_hello_without_a_digest_is_written_as_it_was_before_there_were_digests() {
    let hello = |digest| {
        let features = Features::of_bits(15);
        let hello =
            Hello { version: 1, node: "n".to_owned(), instance: [1; 16], held: None, digest, features };
        Codec::Native.encode_edge(EdgeFrame::Hello(hello)).expect("a frame").payload().clone()
    };
    let before = b"\x81\xa5Hello\x85\xa7version\x01\xa4node\xa1n\xa8instance\xc4\x10\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\xa4held\xc0\xa8features\x0f";
    assert_eq!(&hello(None)[..], before);
    let digest = hello(Some(Digest::of_bytes([2; 16])));
    assert!(
        digest
            .ends_with(b"\xa6digest\xc4\x10\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02")
    );
}

#[test]
fn a_message_is_kept_as_it_was() {
    let request = NodeRequest::KubernetesCa;
    let message = Envelope { id: MessageId::new("1"), timestamp_ms: 7, body: Uplink::request(request) };
    let record = message.to_record();
    assert_eq!(Envelope::<Uplink>::from_record(&record).expect("a record"), message);
    let ping = Codec::Native.encode_edge(EdgeFrame::Ping(1)).expect("a frame");
    assert!(Envelope::<Uplink>::from_record(ping.payload()).is_err());
    assert!(Envelope::<Uplink>::from_record(&record[1..]).is_err());
}

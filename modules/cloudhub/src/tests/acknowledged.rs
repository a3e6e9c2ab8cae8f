//! What nodes have acknowledged is told to whom it may concern.

use protocol::cloud::{Acknowledged, ChangesAcknowledged};
use protocol::{ChangeKind, Kept, Object, ObjectChange, ObjectKey, ResourceType, ResourceVersion, Uid};

use super::*;

fn pod(version: u32) -> ObjectChange {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web", "namespace": "default", "uid": "u", "resourceVersion": version.to_string() },
    });
    let object = Object::from_value(&object).expect("an object");
    let key = object.key(ResourceType::POD).expect("a key");
    ObjectChange { kind: ChangeKind::Update, key, object }
}

fn kept(key: ObjectKey, version: u32) -> Acknowledged {
    Acknowledged::Kept(Kept {
        key,
        uid: Uid::parse("u").expect("a uid"),
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        version: ResourceVersion::new(&version.to_string()),
    })
}

async fn tell(probe: &Probe<CloudHub>, edge: &mut Edge, change: ObjectChange) -> MessageId {
    let sent = probe.ask(SendToNode { node: node("edge-1"), change }).await.expect("the hub answers");
    assert!(sent.is_ok(), "{sent:?}");
    edge.hear_down().await.id
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn of_each_object_the_newest_acknowledgement_is_told_whatever_the_codec() {
    for codec in [Codec::Native, Codec::KubeEdge] {
        let edges = Edges::new();
        let probe = edges.start().await;
        let mut edge = edges.dial("edge-1", codec).await;
        if codec == Codec::Native {
            edge.say_hello("edge-1", None).await;
            assert!(matches!(edge.hear().await, CloudFrame::Welcome { .. }));
        }
        probe.settle().await;
        for version in 1..=3 {
            let id = tell(&probe, &mut edge, pod(version)).await;
            edge.acknowledge(&id).await;
        }
        probe.settle().await;
        assert!(probe.published::<ChangesAcknowledged>().is_empty(), "they are collected first");
        probe.advance(SECOND).await;
        let told: Vec<ChangesAcknowledged> = probe.published();
        let [told] = &told[..] else { panic!("one message: {told:?}") };
        assert_eq!((told.node.as_str(), &told.changes[..]), ("edge-1", &[kept(pod(3).key, 3)][..]));

        let id = tell(&probe, &mut edge, ObjectChange { kind: ChangeKind::Delete, ..pod(4) }).await;
        edge.acknowledge(&id).await;
        probe.settle().await;
        drop(edge);
        probe.settle().await;
        let told = probe.published::<ChangesAcknowledged>().pop().expect("the session's end tells the rest");
        let uid = Uid::parse("u").ok();
        assert_eq!(told.changes, [Acknowledged::Gone { key: pod(4).key, uid }]);
        probe.stop().await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_not_acknowledged_is_not_told() {
    let edges = Edges::new();
    let probe = edges.start().await;
    let mut edge = edges.connect("edge-1").await;
    probe.settle().await;
    tell(&probe, &mut edge, pod(1)).await;
    let id = tell(&probe, &mut edge, change("other", 1)).await;
    edge.send(Uplink::Nack { parent: id, path: ResourcePath::Empty, text: "disk full".to_owned() }).await;
    probe.advance(5 * SECOND).await;
    drop(edge);
    probe.settle().await;
    assert!(probe.published::<ChangesAcknowledged>().is_empty());
    probe.stop().await;
}

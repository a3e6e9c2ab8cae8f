//! Leases in shorthand.

use protocol::ApiStatus;
use serde_json::json;

use super::*;

fn lease(version: u32, renewed: &str) -> Object {
    let lease = json!({
        "kind": "Lease",
        "metadata": { "name": "probe", "namespace": "kube-node-lease", "resourceVersion": version.to_string() },
        "spec": { "leaseDurationSeconds": 40, "renewTime": renewed },
    });
    Object::from_value(&lease).expect("an object")
}

async fn renew(probe: &Probe<EdgeHub>, lease: Object) -> Result<NodeReply, CloudError> {
    probe.ask(AskCloud(NodeRequest::Lease(Lease::Update(lease)))).await.expect("an answer")
}

async fn answer_whole(peer: &mut Peer, reply: NodeReply) {
    let asked = peer.hear_up().await;
    peer.send(Downlink::Reply { to: reply_to(&asked, ReplyShape::Outcome), reply }).await;
}

async fn hear_renewal(peer: &mut Peer) -> u32 {
    match peer.hear().await {
        EdgeFrame::Renewal(step_ms) => step_ms,
        other => panic!("a renewal: {other:?}"),
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn only_the_time_of_a_known_lease_travels() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Native)).start().await;
    let (mut peer, _) = cloud.welcome().await;
    probe.settle().await;
    let first = lease(1, "2026-11-28T10:00:00.500000Z");
    let whole = NodeReply::Object(first.clone());
    let (answer, ()) = tokio::join!(renew(&probe, first), answer_whole(&mut peer, whole.clone()));
    assert_eq!(answer, Ok(whole));

    let shortly = async {
        assert_eq!(hear_renewal(&mut peer).await, 10_000);
        peer.say(CloudFrame::Renewed).await;
    };
    let (answer, ()) = tokio::join!(renew(&probe, lease(1, "2026-11-28T10:00:10.500000Z")), shortly);
    let Ok(NodeReply::Object(renewed)) = answer else { panic!("the lease: {answer:?}") };
    let expected = lease(1, "2026-11-28T10:00:10.500000Z");
    assert_eq!(renewed.value().expect("JSON"), expected.value().expect("JSON"));

    let refused = NodeReply::Refused(ApiStatus::new(500, "InternalError", "no"));
    let refusing = async {
        assert_eq!(hear_renewal(&mut peer).await, 10_000, "from the last one on");
        let to = ReplyTo {
            parent: MessageId::of_renewal(),
            path: ResourcePath::Empty,
            shape: ReplyShape::Outcome,
        };
        peer.send(Downlink::Reply { to, reply: refused.clone() }).await;
    };
    let (answer, ()) = tokio::join!(renew(&probe, lease(1, "2026-11-28T10:00:20.500000Z")), refusing);
    assert_eq!(answer, Ok(refused));

    let again = NodeReply::Object(lease(7, "2026-11-28T10:00:30.500000Z"));
    let mut changed = lease(1, "2026-11-28T10:00:30.500000Z").value().expect("JSON");
    changed["spec"]["leaseDurationSeconds"] = 50.into();
    let changed = Object::from_value(&changed).expect("an object");
    let (answer, ()) = tokio::join!(renew(&probe, changed), answer_whole(&mut peer, again.clone()));
    assert_eq!(answer, Ok(again), "another lease is said whole");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cloud_that_renews_what_was_not_asked_is_let_go() {
    let mut cloud = Cloud::start().await;
    let probe = easy(cloud.probe(CodecChoice::Native)).start().await;
    let (mut peer, _) = cloud.welcome().await;
    probe.settle().await;
    peer.say(CloudFrame::Renewed).await;
    assert!(matches!(peer.hear().await, EdgeFrame::Goodbye(_)));
}

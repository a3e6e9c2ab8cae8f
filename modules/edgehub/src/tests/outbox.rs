//! What the hub has taken over for the cloud.

use bytes::Bytes;
use protocol::ApiStatus;
use store::{Fault, Store};

use super::*;

fn event(name: &str) -> NodeRequest {
    NodeRequest::RecordEvent(object(name, 1))
}

fn count(name: &str, count: u32) -> NodeRequest {
    let patch = Bytes::from(format!(r#"{{"count":{count}}}"#));
    NodeRequest::PatchEvent { event: object(name, count), patch }
}

fn request(up: Envelope<Uplink>) -> (MessageId, NodeRequest) {
    match up {
        Envelope { id, body: Uplink::Request { request, .. }, .. } => (id, request),
        other => panic!("a request: {other:?}"),
    }
}

async fn start(cloud: &Cloud, store: &MemoryStore, codec: CodecChoice) -> Probe<EdgeHub> {
    let config = EdgeHubConfig { codec, ..EdgeHubConfig::default() };
    easy(Probe::new(config, cloud.ports(store))).start().await
}

async fn tell(probe: &Probe<EdgeHub>, request: NodeRequest) {
    assert_eq!(probe.ask(AskCloud(request)).await, Ok(Ok(NodeReply::Done)));
}

fn kept(store: &MemoryStore) -> usize {
    store.scan("edgehub.outbox", b"", None, usize::MAX).expect("the store is sound").len()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn events_are_taken_without_a_link_and_survive_a_crash() {
    let mut cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let probe = start(&cloud, &store, CodecChoice::Native).await;
    for name in ["a", "b", "c"] {
        tell(&probe, event(name)).await;
    }
    tell(&probe, count("a", 2)).await;
    drop(probe);
    let store = store.crash();
    assert_eq!(kept(&store), 4);
    drop(cloud.accept().await);
    let _probe = start(&cloud, &store, CodecChoice::Native).await;
    let (mut peer, _) = cloud.welcome().await;
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(request(peer.answer_request().await).1);
    }
    assert_eq!(heard, [event("a"), event("b"), event("c"), count("a", 2)]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_event_leaves_when_the_cloud_has_answered_and_comes_again_under_its_id_until_then() {
    let mut cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let probe = start(&cloud, &store, CodecChoice::Native).await;
    let (mut peer, _) = cloud.welcome().await;
    probe.settle().await;
    tell(&probe, event("a")).await;
    let first = request(peer.hear_up().await);
    assert_eq!(kept(&store), 1, "it was sent, not answered");
    drop(peer);
    let (mut peer, _) = cloud.welcome().await;
    let again = request(peer.answer_request().await);
    assert_eq!(again, first);
    probe.settle().await;
    assert_eq!(kept(&store), 0);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_the_cloud_cannot_do_now_is_tried_again_and_what_it_never_will_is_dropped() {
    let mut cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let probe = start(&cloud, &store, CodecChoice::Native).await;
    let (mut peer, _) = cloud.welcome().await;
    probe.settle().await;
    tell(&probe, event("a")).await;
    tell(&probe, event("b")).await;
    let mut refuse = async |status: ApiStatus| {
        let asked = peer.hear_up().await;
        let to = reply_to(&asked, ReplyShape::Ok);
        peer.send(Downlink::Reply { to, reply: NodeReply::Refused(status) }).await;
        request(asked).1
    };
    let started = tokio::time::Instant::now();
    let busy = || ApiStatus::new(503, "ServiceUnavailable", "later");
    let never = || ApiStatus::new(403, "Forbidden", "never");
    assert_eq!(refuse(busy()).await, event("a"));
    assert_eq!(refuse(never()).await, event("b"));
    assert_eq!(refuse(busy()).await, event("a"));
    assert_eq!(refuse(busy()).await, event("a"));
    assert!(started.elapsed() >= SECOND * 3, "pauses grow: {:?}", started.elapsed());
    assert_eq!(kept(&store), 1);
    assert_eq!(refuse(never()).await, event("a"));
    probe.settle().await;
    assert_eq!(kept(&store), 0);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_event_that_the_disk_does_not_take_is_not_accepted() {
    let mut cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let probe = start(&cloud, &store, CodecChoice::Native).await;
    drop(cloud.welcome().await);
    store.fail_commits(0..1, Fault::NotDurable);
    let answer = probe.ask(AskCloud(event("a"))).await;
    assert!(matches!(answer, Ok(Err(CloudError::NotKept(_)))), "{answer:?}");
    assert_eq!(kept(&store), 0);
    let (mut peer, _) = cloud.welcome().await;
    tell(&probe, event("b")).await;
    assert_eq!(request(peer.answer_request().await).1, event("b"));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_year_of_events_without_a_link_takes_a_bounded_place() {
    let cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let probe = start(&cloud, &store, CodecChoice::Native).await;
    let bus = probe.bus();
    for number in 0..6000_u32 {
        for request in [event(&format!("e{number}")), count("counted", number)] {
            let told = bus.to(group::HUB).ask(AskCloud(request)).within(SECOND).await;
            assert_eq!(told, Ok(Ok(NodeReply::Done)));
        }
    }
    let records = store.scan("edgehub.outbox", b"", None, usize::MAX).expect("the store is sound");
    assert_eq!(records.len(), 4096);
    let last = u64::from_be_bytes(records[4095].0[..].try_into().expect("a number"));
    assert_eq!(last, 12_000, "the newest are there");
    assert_eq!(probe.health().restarts, 0);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn damaged_entries_keep_neither_the_node_nor_the_others_from_going_on() {
    let mut cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let probe = start(&cloud, &store, CodecChoice::Native).await;
    for name in ["a", "b", "c"] {
        tell(&probe, event(name)).await;
    }
    drop(probe);
    let store = store.crash();
    store.corrupt("edgehub.outbox", &1_u64.to_be_bytes());
    let garbage = store::Batch::new().put("edgehub.outbox", 2_u64.to_be_bytes().to_vec(), "garbage");
    store.commit(garbage).await.expect("it is in memory");
    drop(cloud.accept().await);
    let probe = start(&cloud, &store, CodecChoice::Native).await;
    let (mut peer, _) = cloud.welcome().await;
    assert_eq!(request(peer.answer_request().await).1, event("c"));
    probe.settle().await;
    assert_eq!(kept(&store), 0);
    tell(&probe, event("d")).await;
    assert_eq!(request(peer.answer_request().await).1, event("d"), "numbers go on");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cloud_that_answers_no_events_has_them_when_they_are_sent() {
    let mut cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let probe = start(&cloud, &store, CodecChoice::Kubeedge).await;
    let mut peer = cloud.accept().await;
    probe.settle().await;
    tell(&probe, event("a")).await;
    assert_eq!(request(peer.hear_up().await).1, event("a"));
    assert_eq!(kept(&store), 0);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_status_passes_the_events_of_a_long_time_offline() {
    let mut cloud = Cloud::start().await;
    let store = MemoryStore::new();
    let probe = start(&cloud, &store, CodecChoice::Native).await;
    for number in 0..300 {
        tell(&probe, event(&format!("e{number}"))).await;
    }
    let (mut peer, _) = cloud.welcome().await;
    let bus = probe.bus();
    let status = NodeRequest::UpdateNode(object("probe", 1));
    let asking = async {
        tokio::time::sleep(SECOND * 3).await;
        let asked = tokio::time::Instant::now();
        let answer = bus.to(group::HUB).ask(AskCloud(status)).within(SECOND * 10).await;
        assert_eq!(answer, Ok(Ok(NodeReply::Done)));
        asked.elapsed()
    };
    let answering = async {
        for _ in 0..301 {
            peer.answer_request().await;
        }
    };
    let (waited, ()) = tokio::join!(asking, answering);
    assert!(waited < SECOND / 10, "it waited for {waited:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_store_that_is_open_anew_is_read_again_and_told_to_the_cloud_in_a_new_session() {
    for (fault, is_found) in [(Fault::Refused, false), (Fault::NotDurable, false), (Fault::Unsaid, true)] {
        let mut cloud = Cloud::start().await;
        let store = MemoryStore::new();
        let probe = start(&cloud, &store, CodecChoice::Native).await;
        let (mut peer, _) = cloud.welcome().await;
        probe.settle().await;
        tell(&probe, event("a")).await;
        let (first, _) = request(peer.hear_up().await);
        store.break_down(fault);
        let refused = probe.ask(AskCloud(event("b"))).await.expect("an answer");
        assert!(matches!(refused, Err(CloudError::NotKept(_))), "{fault:?}: {refused:?}");
        store.mend();
        let (mut peer, _) = cloud.welcome().await;
        assert_eq!(request(peer.answer_request().await).0, first, "{fault:?}: it was not answered");
        if is_found {
            assert_eq!(request(peer.answer_request().await).1, event("b"), "it is there after all");
        }
        probe.settle().await;
        assert_eq!(kept(&store), 0, "{fault:?}");
    }
}

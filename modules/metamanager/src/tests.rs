//! Messages in, messages out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use beehive::Probe;
use protocol::{ApiStatus, Held, Namespace, ObjectName, ResourceVersion, Uid};
use store::{Batch, Fault, MemoryStore, Store as _};

use super::*;
use crate::layout::{ABOUT, LAYOUT_KEY};

fn key(resource: ResourceType, name: &str) -> ObjectKey {
    let namespace = Some(Namespace::parse("ns").expect("a valid namespace"));
    ObjectKey { resource, namespace, name: ObjectName::parse(name).expect("a valid name") }
}

fn pod(name: &str, version: u64) -> Object {
    Object::parse(format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"ns","uid":"uid-{name}","resourceVersion":"{version}"}}}}"#
    ))
    .expect("it is an object")
}

fn change(kind: ChangeKind, name: &str, version: u64) -> ObjectChange {
    ObjectChange { kind, key: key(ResourceType::POD, name), object: pod(name, version) }
}

fn held(name: &str, version: u64) -> Held {
    Held {
        key: key(ResourceType::POD, name),
        uid: Uid::parse(&format!("uid-{name}")).ok(),
        resource_version: Some(ResourceVersion::new(&version.to_string())),
    }
}

type Answer = Result<NodeReply, CloudError>;

/// Starts the module over a store; the cloud answers every query like this.
async fn start(
    store: &MemoryStore,
    answer: impl Fn(&ObjectKey) -> Answer + Send + 'static,
) -> Probe<MetaManager> {
    let store: SharedMedium = Arc::new(store.clone());
    Probe::<MetaManager>::new(MetaManagerConfig::default(), store)
        .serve::<AskCloud>(group::HUB, move |AskCloud(request)| match request {
            NodeRequest::Query(key) => answer(&key),
            other => panic!("{other:?} is no query"),
        })
        .start()
        .await
}

fn offline(_: &ObjectKey) -> Answer {
    Err(CloudError::Disconnected)
}

async fn keep(probe: &Probe<MetaManager>, change: ObjectChange) -> Result<(), MetaError> {
    probe.ask(KeepChange(change)).await.expect("an answer")
}

async fn get(probe: &Probe<MetaManager>, key: ObjectKey) -> Result<Object, GetError> {
    probe.ask(GetObject(key)).await.expect("an answer")
}

async fn list_held(probe: &Probe<MetaManager>) -> Vec<Held> {
    probe.ask(ListHeld).await.expect("an answer").expect("an inventory")
}

fn published(probe: &Probe<MetaManager>) -> Vec<String> {
    probe
        .published::<ObjectChanged>()
        .into_iter()
        .map(|ObjectChanged(change)| {
            let version = change.object.resource_version().map(|version| version.to_string());
            format!("{:?} {} {}", change.kind, change.key.name, version.unwrap_or_default())
        })
        .collect()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_acknowledged_survives_a_crash() {
    let store = MemoryStore::new();
    let probe = start(&store, offline).await;
    assert_eq!(keep(&probe, change(ChangeKind::Insert, "a", 1)).await, Ok(()));
    assert_eq!(keep(&probe, change(ChangeKind::Insert, "b", 2)).await, Ok(()));
    assert_eq!(keep(&probe, change(ChangeKind::Update, "a", 3)).await, Ok(()));
    assert_eq!(keep(&probe, change(ChangeKind::Delete, "b", 4)).await, Ok(()));
    assert_eq!(published(&probe), ["Insert a 1", "Insert b 2", "Update a 3", "Delete b 4"]);
    probe.stop().await;

    let probe = start(&store.crash(), offline).await;
    assert_eq!(list_held(&probe).await, [held("a", 3)]);
    assert_eq!(get(&probe, key(ResourceType::POD, "a")).await, Ok(pod("a", 3)));
    let pods = probe.ask(ListObjects(ResourceType::POD)).await.expect("an answer");
    assert_eq!(pods, Ok(vec![pod("a", 3)]));
    let others = probe.ask(ListObjects(ResourceType::SECRET)).await.expect("an answer");
    assert_eq!(others, Ok(Vec::new()));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_older_state_is_acknowledged_and_dropped() {
    let store = MemoryStore::new();
    let probe = start(&store, offline).await;
    assert_eq!(keep(&probe, change(ChangeKind::Insert, "a", 5)).await, Ok(()));
    assert_eq!(keep(&probe, change(ChangeKind::Update, "a", 4)).await, Ok(()));
    let mut of_another = change(ChangeKind::Delete, "a", 9);
    of_another.object = Object::parse(r#"{"metadata":{"name":"a","namespace":"ns","uid":"before"}}"#)
        .expect("it is an object");
    assert_eq!(keep(&probe, of_another).await, Ok(()));
    assert_eq!(list_held(&probe).await, [held("a", 5)]);
    assert_eq!(published(&probe), ["Insert a 5"]);
    assert_eq!(keep(&probe, change(ChangeKind::Update, "a", 5)).await, Ok(()));
    assert_eq!(published(&probe), ["Update a 5"], "who sends it again may not know that it arrived");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_change_that_is_not_durable_is_neither_acknowledged_nor_published_nor_relied_on() {
    for fault in [Fault::Refused, Fault::NotDurable] {
        let store = MemoryStore::new();
        let probe = start(&store, offline).await;
        assert_eq!(keep(&probe, change(ChangeKind::Insert, "a", 1)).await, Ok(()));
        published(&probe);
        store.fail_commits(0..1, fault);
        assert!(keep(&probe, change(ChangeKind::Update, "a", 2)).await.is_err(), "{fault:?}");
        probe.settle().await;
        assert_eq!(published(&probe), [""; 0]);
        let unsure = Held { key: key(ResourceType::POD, "a"), uid: None, resource_version: None };
        assert_eq!(list_held(&probe).await, [unsure]);
        assert_eq!(keep(&probe, change(ChangeKind::Update, "a", 2)).await, Ok(()), "it is sent again");
        assert_eq!(list_held(&probe).await, [held("a", 2)]);
        probe.stop().await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_failed_is_listed_as_unsure_once_the_store_is_open_anew_and_what_is_there_is_read() {
    let unsure = |name: &str| Held { key: key(ResourceType::POD, name), uid: None, resource_version: None };
    for (fault, found) in [(Fault::Refused, 1), (Fault::NotDurable, 1), (Fault::Unsaid, 2)] {
        let store = MemoryStore::new();
        let probe = start(&store, offline).await;
        for name in ["a", "b"] {
            assert_eq!(keep(&probe, change(ChangeKind::Insert, name, 1)).await, Ok(()));
        }
        store.break_down(fault);
        assert!(keep(&probe, change(ChangeKind::Update, "a", 2)).await.is_err(), "{fault:?}");
        assert!(keep(&probe, change(ChangeKind::Insert, "c", 1)).await.is_err(), "{fault:?}");
        assert!(get(&probe, key(ResourceType::POD, "a")).await.is_ok(), "{fault:?}: what is there is read");
        store.mend();
        assert_eq!(list_held(&probe).await, [unsure("a"), held("b", 1), unsure("c")], "{fault:?}");
        assert_eq!(get(&probe, key(ResourceType::POD, "a")).await, Ok(pod("a", found)), "{fault:?}");
        published(&probe);
        assert_eq!(keep(&probe, change(ChangeKind::Update, "a", 2)).await, Ok(()), "{fault:?}");
        assert_eq!(published(&probe), ["Update a 2"], "{fault:?}: nobody was told before");
        probe.stop().await;
        let probe = start(&store.crash(), offline).await;
        assert!(list_held(&probe).await.contains(&held("a", 2)), "{fault:?}");
        probe.stop().await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_a_store_lost_while_it_was_open_is_listed_as_unsure() {
    let store = MemoryStore::new();
    let probe = start(&store, offline).await;
    assert_eq!(keep(&probe, change(ChangeKind::Insert, "a", 1)).await, Ok(()));
    store.lose_all();
    let unsure = Held { key: key(ResourceType::POD, "a"), uid: None, resource_version: None };
    assert_eq!(list_held(&probe).await, [unsure], "the cloud is to send it again, or its end");
    assert_eq!(keep(&probe, change(ChangeKind::Update, "a", 1)).await, Ok(()));
    assert_eq!(list_held(&probe).await, [held("a", 1)]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_change_that_carries_another_object_is_refused() {
    let store = MemoryStore::new();
    let probe = start(&store, offline).await;
    let mut wrong = change(ChangeKind::Insert, "a", 1);
    wrong.object = pod("b", 1);
    assert!(keep(&probe, wrong).await.is_err());
    assert_eq!(list_held(&probe).await, []);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_not_held_is_asked_of_the_cloud_and_kept() {
    let store = MemoryStore::new();
    let probe = start(&store, |key| Ok(NodeReply::Object(pod(key.name.as_str(), 7)))).await;
    let config_map = key(ResourceType::CONFIG_MAP, "c");
    assert_eq!(get(&probe, config_map.clone()).await, Ok(pod("c", 7)));
    probe.settle().await;
    assert_eq!(get(&probe, config_map.clone()).await, Ok(pod("c", 7)));
    assert_eq!(probe.asked::<AskCloud>().len(), 1, "the second time it is held");
    assert_eq!(published(&probe), ["Insert c 7"]);
    let lease = key(ResourceType::LEASE, "l");
    assert_eq!(get(&probe, lease.clone()).await, Ok(pod("l", 7)));
    probe.settle().await;
    assert_eq!(list_held(&probe).await.len(), 1, "leases are not kept");
    probe.stop().await;

    let probe = start(&store.crash(), offline).await;
    assert_eq!(get(&probe, config_map).await, Ok(pod("c", 7)));
    let cause = CloudError::Disconnected;
    assert_eq!(get(&probe, lease.clone()).await, Err(GetError::Unavailable { key: lease, cause }));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_refusal_is_passed_on_and_never_kept() {
    let store = MemoryStore::new();
    let probe = start(&store, |key| {
        let code = if key.name.as_str() == "missing" { 404 } else { 403 };
        Ok(NodeReply::Refused(ApiStatus::new(code, "Reason", "no")))
    })
    .await;
    let missing = key(ResourceType::SECRET, "missing");
    assert_eq!(get(&probe, missing.clone()).await, Err(GetError::NotFound(missing)));
    let refused = key(ResourceType::SECRET, "refused");
    let message = "no".to_owned();
    assert_eq!(get(&probe, refused.clone()).await, Err(GetError::Refused { key: refused, message }));
    probe.settle().await;
    assert_eq!(list_held(&probe).await, []);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_change_overtakes_an_answer_that_is_under_way() {
    let asked = key(ResourceType::POD, "a");
    for (kind, expected) in
        [(ChangeKind::Update, Ok(pod("a", 9))), (ChangeKind::Delete, Err(GetError::NotFound(asked.clone())))]
    {
        let waiting = Arc::new(Mutex::new(Vec::new()));
        let (store, held_back): (SharedMedium, _) = (Arc::new(MemoryStore::new()), waiting.clone());
        let probe = Probe::<MetaManager>::new(MetaManagerConfig::default(), store)
            .serve_later::<AskCloud>(group::HUB, move |_, responder| {
                held_back.lock().expect("no panic").push(responder);
            })
            .start()
            .await;
        let meanwhile = async {
            probe.settle().await;
            assert_eq!(keep(&probe, change(kind, "a", 9)).await, Ok(()));
            let responder = waiting.lock().expect("no panic").pop().expect("the cloud was asked");
            responder.reply(Ok(NodeReply::Object(pod("a", 8))));
        };
        let (answer, ()) = tokio::join!(get(&probe, asked.clone()), meanwhile);
        assert_eq!(answer, expected);
        probe.settle().await;
        let held_now = list_held(&probe).await;
        assert_eq!(held_now.len(), usize::from(kind == ChangeKind::Update), "the late answer is not kept");
        probe.stop().await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn many_who_ask_for_one_object_cause_one_query() {
    let store = MemoryStore::new();
    let probe = start(&store, |key| Ok(NodeReply::Object(pod(key.name.as_str(), 1)))).await;
    let wanted = key(ResourceType::SECRET, "s");
    let (a, b, c) =
        tokio::join!(get(&probe, wanted.clone()), get(&probe, wanted.clone()), get(&probe, wanted));
    assert_eq!([a, b, c], [Ok(pod("s", 1)), Ok(pod("s", 1)), Ok(pod("s", 1))]);
    assert_eq!(probe.asked::<AskCloud>().len(), 1);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_damaged_record_keeps_nobody_from_starting_and_is_asked_for_again() {
    let store = MemoryStore::new();
    let probe = start(&store, offline).await;
    for name in ["a", "b", "c"] {
        assert_eq!(keep(&probe, change(ChangeKind::Insert, name, 1)).await, Ok(()));
    }
    probe.stop().await;
    let stored = |name: &str| layout::encode_key(&key(ResourceType::POD, name));
    store.corrupt(OBJECTS, &stored("a"));
    store.commit(Batch::new().put(OBJECTS, stored("b"), &b"\x07?"[..])).await.expect("a sound store");
    store.commit(Batch::new().put(OBJECTS, &b"nonsense"[..], &b"\x01{}"[..])).await.expect("a sound store");

    let probe = start(&store, offline).await;
    let unsure = |name: &str| Held { key: key(ResourceType::POD, name), uid: None, resource_version: None };
    assert_eq!(list_held(&probe).await, [unsure("a"), unsure("b"), held("c", 1)]);
    let cause = CloudError::Disconnected;
    let damaged = key(ResourceType::POD, "a");
    assert_eq!(get(&probe, damaged.clone()).await, Err(GetError::Unavailable { key: damaged, cause }));
    let pods = probe.ask(ListObjects(ResourceType::POD)).await.expect("an answer");
    assert_eq!(pods, Ok(vec![pod("c", 1)]));
    assert_eq!(keep(&probe, change(ChangeKind::Update, "a", 1)).await, Ok(()));
    assert_eq!(get(&probe, key(ResourceType::POD, "a")).await, Ok(pod("a", 1)));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn hundreds_of_changes_at_once_are_kept_in_order() {
    let store = MemoryStore::new();
    let probe = start(&store, offline).await;
    let names: Vec<String> = (0..300).map(|index| format!("p{index:03}")).collect();
    let kept = names.iter().enumerate().map(|(index, name)| {
        let version = u64::try_from(index).expect("a small number");
        keep(&probe, change(ChangeKind::Insert, name, version))
    });
    for done in futures::future::join_all(kept).await {
        assert_eq!(done, Ok(()));
    }
    let expected: Vec<String> = (0..300).map(|index| format!("Insert p{index:03} {index}")).collect();
    assert_eq!(published(&probe), expected);
    probe.stop().await;
    let probe = start(&store.crash(), offline).await;
    assert_eq!(list_held(&probe).await.len(), 300);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_store_of_a_newer_program_is_not_touched() {
    let store = MemoryStore::new();
    store.commit(Batch::new().put(ABOUT, LAYOUT_KEY, &b"2"[..])).await.expect("a sound store");
    let refused = load::load(&store).await.expect_err("it is newer");
    assert!(refused.to_string().contains("layout 2"), "{refused}");
    assert_eq!(store.get(ABOUT, LAYOUT_KEY).expect("a sound store").as_deref(), Some(&b"2"[..]));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cloud_that_does_not_answer_is_not_waited_for_for_ever() {
    let store: SharedMedium = Arc::new(MemoryStore::new());
    let config = MetaManagerConfig { remote_query_timeout: 5, ..MetaManagerConfig::default() };
    let lost = Mutex::new(Vec::new());
    let probe = Probe::<MetaManager>::new(config, store)
        .serve_later::<AskCloud>(group::HUB, move |_, responder| {
            lost.lock().expect("no panic").push(responder)
        })
        .start()
        .await;
    let wanted = key(ResourceType::SECRET, "s");
    let (answer, ()) = tokio::join!(get(&probe, wanted.clone()), probe.advance(Duration::from_secs(6)));
    let cause = CloudError::NoAnswer;
    assert_eq!(answer, Err(GetError::Unavailable { key: wanted, cause }));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_listed_is_what_the_disk_holds_whoever_wrote_it() {
    let store = MemoryStore::new();
    let probe = start(&store, offline).await;
    for name in ["a", "b", "c"] {
        assert_eq!(keep(&probe, change(ChangeKind::Insert, name, 1)).await, Ok(()));
    }
    let stored = |name: &str| layout::encode_key(&key(ResourceType::POD, name));
    store.commit(Batch::new().remove(OBJECTS, stored("a"))).await.expect("a sound store");
    let extra = layout::encode_record(&pod("d", 4));
    store.commit(Batch::new().put(OBJECTS, stored("d"), extra)).await.expect("a sound store");
    store.corrupt(OBJECTS, &stored("b"));
    let unsure = Held { key: key(ResourceType::POD, "b"), uid: None, resource_version: None };
    assert_eq!(list_held(&probe).await, [unsure, held("c", 1), held("d", 4)]);
    assert_eq!(keep(&probe, change(ChangeKind::Insert, "a", 1)).await, Ok(()), "it is news");
    assert_eq!(keep(&probe, change(ChangeKind::Update, "b", 1)).await, Ok(()));
    assert_eq!(keep(&probe, change(ChangeKind::Delete, "d", 4)).await, Ok(()));
    assert_eq!(list_held(&probe).await, [held("a", 1), held("b", 1), held("c", 1)]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_list_waits_until_what_came_before_is_durable_or_known_not_to_be() {
    for fault in [None, Some(Fault::NotDurable)] {
        let store = MemoryStore::new();
        let probe = start(&store, offline).await;
        if let Some(fault) = fault {
            store.fail_commits(0..1, fault);
        }
        let keeping = keep(&probe, change(ChangeKind::Insert, "a", 1));
        let (kept, listed) = tokio::join!(keeping, list_held(&probe));
        assert_eq!(kept.is_err(), fault.is_some());
        let unsure = Held { key: key(ResourceType::POD, "a"), uid: None, resource_version: None };
        assert_eq!(listed, [if fault.is_some() { unsure } else { held("a", 1) }]);
        probe.stop().await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_was_imported_is_held_without_a_cloud_and_what_was_kept_is_not_replaced() {
    let store = MemoryStore::new();
    let of = |name: &str, version| (key(ResourceType::POD, name), pod(name, version));
    assert_eq!(import(&store, &[of("a", 1), of("b", 1)]).await.expect("it is sound"), 2);
    let probe = start(&store, offline).await;
    assert_eq!(list_held(&probe).await, [held("a", 1), held("b", 1)]);
    keep(&probe, change(ChangeKind::Update, "a", 5)).await.expect("it is kept");
    probe.stop().await;

    assert_eq!(import(&store, &[of("a", 2), of("c", 2)]).await.expect("it is sound"), 1);
    let probe = start(&store, offline).await;
    assert_eq!(list_held(&probe).await, [held("a", 5), held("b", 1), held("c", 2)]);
    let misplaced = [(key(ResourceType::POD, "x"), pod("y", 1))];
    assert!(matches!(import(&store, &misplaced).await, Err(ImportError::Misplaced(_))));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_cannot_be_read_is_asked_of_the_cloud_until_it_answers() {
    let store = MemoryStore::new();
    let probe = start(&store, offline).await;
    assert_eq!(keep(&probe, change(ChangeKind::Insert, "a", 1)).await, Ok(()));
    probe.stop().await;

    let damaged = Batch::new().put(OBJECTS, layout::encode_key(&key(ResourceType::POD, "a")), vec![0xff]);
    store.commit(damaged).await.expect("the store");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // Nobody needs the object, and the cloud is away at first.
    let probe = start(&store, move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Err(CloudError::Disconnected),
        _ => Ok(NodeReply::Object(pod("a", 2))),
    })
    .await;
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert_eq!(published(&probe), [""; 0]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(published(&probe), ["Insert a 2"]);
    assert_eq!(list_held(&probe).await, [held("a", 2)]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 3, "what can be read is not asked for");
    probe.stop().await;
}

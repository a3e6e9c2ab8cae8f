//! Messages in, messages out.

mod crashes;
mod reports;
mod slow_disk;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use beehive::Probe;
use bytes::Bytes;
use protocol::device::{LocalTopic, TwinError};
use protocol::edge::CloudError;
use protocol::{
    ChangeKind, DeviceId, Held, NodeReply, NodeRequest, Object, ObjectChange, ObjectKey, ResourceType,
};
use serde_json::{Value, json};
use store::{Batch, Fault, MemoryStore, Store as _};

use super::*;
use crate::devices::tests::id;
use crate::layout::{DEVICES, TWINS};

type Answer = Result<NodeReply, CloudError>;

/// What the metadata manager has, and what the cloud answers.
#[derive(Clone, Default)]
struct World {
    devices: Rc<RefCell<BTreeMap<DeviceId, Object>>>,
    /// Devices whose objects are held and cannot be read.
    unreadable: Rc<RefCell<Vec<DeviceId>>>,
    is_meta_down: Rc<RefCell<bool>>,
}

fn object(name: &str, uid: &str) -> Object {
    let metadata = json!({ "name": name, "namespace": "default", "uid": uid, "resourceVersion": "1" });
    Object::from_value(&json!({ "kind": "Device", "metadata": metadata })).expect("an object")
}

fn change(kind: ChangeKind, name: &str, uid: &str) -> ObjectChanged {
    ObjectChanged(ObjectChange { kind, key: id(name).key(), object: object(name, uid) })
}

fn with(names: &[&str]) -> World {
    let world = World::default();
    for name in names {
        world.devices.borrow_mut().insert(id(name), object(name, "u1"));
    }
    world
}

impl World {
    /// Starts the module over a store; the cloud answers like this.
    async fn start(
        &self,
        store: &MemoryStore,
        answer: impl Fn(&NodeRequest) -> Answer + 'static,
    ) -> Probe<DeviceTwin> {
        let store: SharedMedium = Arc::new(store.clone());
        let (list, held) = (self.clone(), self.clone());
        Probe::<DeviceTwin>::new(DeviceTwinConfig::default(), store)
            .serve::<ListObjects>(group::META, move |ListObjects(resource)| {
                assert_eq!(resource, ResourceType::DEVICE);
                if *list.is_meta_down.borrow() {
                    return Err(MetaError("a test".to_owned()));
                }
                Ok(list.devices.borrow().values().cloned().collect())
            })
            .serve::<ListHeld>(group::META, move |_| {
                let devices = held.devices.borrow();
                let unreadable = held.unreadable.borrow();
                let held = |id: &DeviceId| Held { key: id.key(), uid: None, resource_version: None };
                Ok(devices.keys().chain(unreadable.iter()).map(held).collect())
            })
            .serve::<PublishLocal>(group::BUS, |_| ())
            .serve::<AskCloud>(group::HUB, move |AskCloud(request)| answer(&request))
            .start()
            .await
    }
}

fn online(_: &NodeRequest) -> Answer {
    Ok(NodeReply::Done)
}

fn offline(_: &NodeRequest) -> Answer {
    Err(CloudError::Disconnected)
}

async fn call(probe: &Probe<DeviceTwin>, call: DeviceCall, payload: &str) -> Result<(), MetaError> {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    probe.ask(CallDevice { call, payload }).await.expect("an answer")
}

async fn set(probe: &Probe<DeviceTwin>, device: &str, value: &str) -> Result<(), MetaError> {
    let payload = format!(r#"{{"event_id":"e","twin":{{"x":{{"actual":{{"value":"{value}"}}}}}}}}"#);
    call(probe, DeviceCall::UpdateTwins(id(device)), &payload).await
}

async fn get(probe: &Probe<DeviceTwin>, device: &str) -> Value {
    told(probe);
    assert_eq!(call(probe, DeviceCall::GetTwins(id(device)), r#"{"event_id":"g"}"#).await, Ok(()));
    let [(topic, answer)] = told(probe).try_into().expect("one answer");
    assert_eq!(topic, LocalTopic::TwinGetResult(id(device)));
    answer["twin"].clone()
}

async fn value(probe: &Probe<DeviceTwin>, device: &str) -> Value {
    get(probe, device).await["x"]["actual"]["value"].clone()
}

async fn members(probe: &Probe<DeviceTwin>) -> Vec<String> {
    told(probe);
    assert_eq!(call(probe, DeviceCall::GetMembership, "{}").await, Ok(()));
    let [(_, answer)] = told(probe).try_into().expect("one answer");
    let devices = answer["devices"].as_array().expect("a list");
    devices.iter().map(|device| device["name"].as_str().expect("a name").to_owned()).collect()
}

/// Returns what local clients were told since this was last called.
fn told(probe: &Probe<DeviceTwin>) -> Vec<(LocalTopic, Value)> {
    let told = probe.asked::<PublishLocal>().into_iter();
    told.map(|it| (it.topic, serde_json::from_slice(&it.payload).expect("JSON"))).collect()
}

/// Returns which devices came (`+`) and went (`-`).
fn moves(probe: &Probe<DeviceTwin>) -> Vec<String> {
    let updates = told(probe).into_iter().filter(|(topic, _)| *topic == LocalTopic::MembershipUpdated);
    let moves = updates.map(|(_, update)| match &update["added_devices"] {
        Value::Null => format!("-{}", update["removed_devices"][0]["name"].as_str().expect("a name")),
        added => format!("+{}", added[0]["name"].as_str().expect("a name")),
    });
    moves.collect()
}

/// Returns what the cloud was told since this was last called: the device, and its value or its state.
fn reports(probe: &Probe<DeviceTwin>) -> Vec<(String, String)> {
    let reports = probe.asked::<AskCloud>().into_iter();
    let reports = reports.map(|AskCloud(request)| match request {
        NodeRequest::ReportTwins { device, report } => {
            let report: Value = serde_json::from_slice(&report).expect("JSON");
            (
                device.name.to_string(),
                report["twin"]["x"]["actual"]["value"].as_str().unwrap_or("-").to_owned(),
            )
        }
        NodeRequest::ReportDeviceState { device, report } => {
            let report: Value = serde_json::from_slice(&report).expect("JSON");
            (device.name.to_string(), report["device"]["state"].as_str().expect("a state").to_owned())
        }
        other => panic!("{other:?} is no report"),
    });
    reports.collect()
}

fn pair(device: &str, value: &str) -> (String, String) {
    (device.to_owned(), value.to_owned())
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_is_answered_when_its_values_are_on_disk_and_modules_are_told() {
    let store = MemoryStore::new();
    let probe = with(&["t1"]).start(&store, offline).await;
    assert_eq!(moves(&probe), ["+t1"]);
    assert_eq!(set(&probe, "t1", "21").await, Ok(()));
    let topics: Vec<LocalTopic> = told(&probe).into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(topics, [LocalTopic::TwinResult(Some(id("t1"))), LocalTopic::TwinDocument(id("t1"))]);
    let reported = TwinReported { device: id("t1"), property: "x".to_owned(), value: "21".to_owned() };
    assert_eq!(probe.published::<TwinReported>(), [reported]);
    probe.stop().await;
    let probe = with(&["t1"]).start(&store.crash(), offline).await;
    assert_eq!(moves(&probe), [""; 0], "it is no news");
    assert_eq!(value(&probe, "t1").await, "21");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_wrong_is_answered_in_its_turn_and_is_no_failure() {
    let probe = with(&["t1"]).start(&MemoryStore::new(), online).await;
    told(&probe);
    assert_eq!(call(&probe, DeviceCall::UpdateTwins(id("t1")), "{").await, Ok(()));
    assert_eq!(call(&probe, DeviceCall::UpdateTwins(id("t2")), r#"{"twin":{}}"#).await, Ok(()));
    assert_eq!(call(&probe, DeviceCall::UpdateState(id("t1")), "{").await, Ok(()));
    let codes: Vec<Value> = told(&probe).into_iter().map(|(_, answer)| answer["code"].clone()).collect();
    assert_eq!(codes, [400, 404]);
    assert_eq!(reports(&probe), []);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn devices_come_and_go_with_their_objects() {
    let store = MemoryStore::new();
    let world = with(&["t1"]);
    let probe = world.start(&store, online).await;
    moves(&probe);
    probe.send(change(ChangeKind::Insert, "t2", "u1")).await;
    probe.send(change(ChangeKind::Update, "t2", "u1")).await;
    assert_eq!(moves(&probe), ["+t2"]);
    assert_eq!(set(&probe, "t2", "1").await, Ok(()));
    probe.send(change(ChangeKind::Insert, "t2", "u2")).await;
    assert_eq!(moves(&probe), ["-t2", "+t2"], "another object under the name");
    assert_eq!(get(&probe, "t2").await, json!({}));
    probe.send(change(ChangeKind::Delete, "t2", "u1")).await;
    assert_eq!(moves(&probe), [""; 0], "the end of the first one");
    probe.send(change(ChangeKind::Delete, "t2", "u2")).await;
    assert_eq!(moves(&probe), ["-t2"]);
    let key = ObjectKey { resource: ResourceType::POD, ..id("t9").key() };
    let object = object("t9", "u1");
    probe.send(ObjectChanged(ObjectChange { kind: ChangeKind::Insert, key, object })).await;
    assert_eq!((moves(&probe), members(&probe).await), (vec![], vec!["t1".to_owned()]), "a pod is no device");
    probe.stop().await;
    let found = store.crash();
    for (tree, count) in [(DEVICES, 1), (TWINS, 0)] {
        assert_eq!(found.scan(tree, b"", None, 9).expect("it is readable").len(), count, "{tree}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_happened_while_the_node_was_down_is_found_at_its_start() {
    let store = MemoryStore::new();
    let probe = with(&["kept", "gone", "unreadable"]).start(&store, offline).await;
    for device in ["kept", "gone", "unreadable"] {
        assert_eq!(set(&probe, device, "1").await, Ok(()));
    }
    probe.stop().await;
    let world = with(&["kept", "new"]);
    world.unreadable.borrow_mut().push(id("unreadable"));
    *world.is_meta_down.borrow_mut() = true;
    let probe = world.start(&store.crash(), offline).await;
    assert_eq!(members(&probe).await, ["gone", "kept", "unreadable"], "nothing is concluded from a failure");
    *world.is_meta_down.borrow_mut() = false;
    probe.advance(Duration::from_secs(10)).await;
    assert_eq!(moves(&probe), ["+new", "-gone"]);
    assert_eq!(members(&probe).await, ["kept", "new", "unreadable"]);
    assert_eq!(value(&probe, "unreadable").await, "1", "what cannot be read is there all the same");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn modules_want_values_as_clients_do() {
    let probe = with(&["t1"]).start(&MemoryStore::new(), online).await;
    told(&probe);
    let desire = |device: &str, value: &str| DesireTwin {
        device: id(device),
        property: "fan".to_owned(),
        value: value.to_owned(),
    };
    assert_eq!(probe.ask(desire("t1", "on")).await.expect("an answer"), Ok(()));
    let topics: Vec<LocalTopic> = told(&probe).into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(topics.last(), Some(&LocalTopic::TwinDelta(id("t1"))));
    let missing = probe.ask(desire("t2", "on")).await.expect("an answer");
    assert_eq!(missing, Err(TwinError::NoDevice(id("t2"))));
    let wrong = probe.ask(desire("t1", "{}")).await.expect("an answer");
    assert!(matches!(wrong, Err(TwinError::Invalid(_))), "{wrong:?}");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_the_api_wants_is_told_local_clients_also_what_changed_while_the_node_was_down() {
    let wanting = |value: &str| {
        let mut wanting = object("t1", "u1").value().expect("JSON");
        wanting["spec"] = json!({ "properties": [{ "name": "fan", "desired": { "value": value } }] });
        Object::from_value(&wanting).expect("an object")
    };
    let delta = |probe: &Probe<DeviceTwin>| {
        let deltas = told(probe).into_iter().filter(|(topic, _)| *topic == LocalTopic::TwinDelta(id("t1")));
        deltas.map(|(_, delta)| delta["delta"]["fan"].clone()).collect::<Vec<_>>()
    };
    let (store, world) = (MemoryStore::new(), with(&["t1"]));
    let probe = world.start(&store, offline).await;
    assert_eq!(delta(&probe), [Value::Null; 0]);
    let change = ObjectChange { kind: ChangeKind::Update, key: id("t1").key(), object: wanting("on") };
    probe.send(ObjectChanged(change)).await;
    assert_eq!(delta(&probe), ["on"]);
    probe.stop().await;
    world.devices.borrow_mut().insert(id("t1"), wanting("off"));
    let probe = world.start(&store.crash(), offline).await;
    assert_eq!(delta(&probe), ["off"]);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_a_broker_and_without_a_hub_values_are_kept() {
    let store = MemoryStore::new();
    let medium: SharedMedium = Arc::new(store.clone());
    let probe = Probe::<DeviceTwin>::new(DeviceTwinConfig::default(), medium)
        .serve::<ListObjects>(group::META, |_| Ok(vec![object("t1", "u1")]))
        .serve::<ListHeld>(group::META, |_| Ok(Vec::new()))
        .start()
        .await;
    assert_eq!(set(&probe, "t1", "5").await, Ok(()));
    assert_eq!(probe.published::<TwinReported>().len(), 1);
    probe.stop().await;
    assert_eq!(store.crash().scan(TWINS, b"", None, 9).expect("it is readable").len(), 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_cloud_that_does_not_answer_holds_up_nobody() {
    let medium: SharedMedium = Arc::new(MemoryStore::new());
    let unread = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&unread);
    let probe = Probe::<DeviceTwin>::new(DeviceTwinConfig::default(), medium)
        .serve::<ListObjects>(group::META, |_| Ok(vec![object("t1", "u1")]))
        .serve::<ListHeld>(group::META, |_| Ok(Vec::new()))
        .serve_later::<AskCloud>(group::HUB, move |_, responder| kept.borrow_mut().push(responder))
        .start()
        .await;
    for n in 0..3000 {
        assert_eq!(set(&probe, "t1", &n.to_string()).await, Ok(()));
    }
    assert_eq!(unread.borrow().len(), 1, "the cloud is asked once, however long it takes");
    probe.stop().await;
}

/// Returns how often the edge changed the value, as the cloud is told it.
async fn version(probe: &Probe<DeviceTwin>, device: &str) -> usize {
    probe.send(LinkUp).await;
    probe.advance(Duration::from_secs(2)).await;
    let reports = probe.asked::<AskCloud>().into_iter();
    let versions = reports.filter_map(|AskCloud(request)| match request {
        NodeRequest::ReportTwins { device: of, report } if of == id(device) => {
            let report: Value = serde_json::from_slice(&report).expect("JSON");
            report["twin"]["x"]["actual_version"]["edge"].as_u64()
        }
        _ => None,
    });
    usize::try_from(versions.last().expect("a report")).expect("a small number")
}

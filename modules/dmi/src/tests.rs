//! Messages in, messages out.

mod crashes;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use beehive::{Probe, Responder};
use dmi_proto::v1beta1::{
    DeviceStatus, MapperInfo, MapperRegisterRequest, MapperRegisterResponse, ReportDeviceStatesRequest,
    ReportDeviceStatusRequest, Twin, TwinProperty,
};
use protocol::device::{ReportError, ReportedProperty};
use protocol::edge::MetaError;
use protocol::{Held, Object, ObjectChange};
use serde_json::json;
use store::{MemoryStore, SharedMedium};

use super::*;
use crate::conformance::{MemoryEnd, Promise};
use crate::inventory::tests::{device, device_key, model, model_key, object};
use crate::memory::{Manner, MapperError, MemoryMappers};
use crate::ports::{Cause, MapperCall, Refusal};

const ADDRESS: &[u8] = b"/m.sock";
const SECOND: Duration = Duration::from_secs(1);

/// Answers of the device twins.
type Answers = Rc<RefCell<Vec<Responder<Result<(), ReportError>>>>>;

/// A node: its objects, its disk and its mappers.
#[derive(Clone, Default)]
struct World {
    objects: Rc<RefCell<BTreeMap<ObjectKey, Object>>>,
    /// Objects that are held and cannot be read.
    unreadable: Rc<RefCell<Vec<ObjectKey>>>,
    is_meta_down: Rc<RefCell<bool>>,
    store: MemoryStore,
    mappers: MemoryMappers,
}

impl World {
    fn with(objects: &[(ObjectKey, Object)]) -> Self {
        let world = Self::default();
        world.objects.borrow_mut().extend(objects.iter().cloned());
        world
    }

    /// A node with two devices of a model, and another one of another protocol.
    fn usual() -> Self {
        Self::with(&[
            (model_key("m"), model("m", "")),
            (device_key("a"), device("a", "m", "p", "1")),
            (device_key("b"), device("b", "m", "p", "1")),
            (device_key("other"), device("other", "m", "q", "1")),
        ])
    }

    fn builder(&self, config: DmiConfig) -> beehive::probe::ProbeBuilder<Dmi> {
        let store: SharedMedium = Arc::new(self.store.clone());
        let ports = Ports { store, mappers: Some(Arc::new(self.mappers.clone())) };
        let (list, held) = (self.clone(), self.clone());
        Probe::<Dmi>::new(config, ports)
            .serve::<ListObjects>(group::META, move |ListObjects(resource)| {
                if *list.is_meta_down.borrow() {
                    return Err(MetaError("a test".to_owned()));
                }
                let objects = list.objects.borrow();
                let listed = objects.iter().filter(|(key, _)| key.resource == resource);
                Ok(listed.map(|(_, object)| object.clone()).collect())
            })
            .serve::<ListHeld>(group::META, move |_| {
                let held_key = |key: &ObjectKey| Held { key: key.clone(), uid: None, resource_version: None };
                let (objects, unreadable) = (held.objects.borrow(), held.unreadable.borrow());
                Ok(objects.keys().chain(unreadable.iter()).map(held_key).collect())
            })
    }

    /// Starts the module; the device twins keep everything.
    async fn start(&self) -> Probe<Dmi> {
        self.builder(DmiConfig::default())
            .serve::<ReportProperties>(group::TWIN, |_| Ok(()))
            .serve::<ReportState>(group::TWIN, |_| Ok(()))
            .start()
            .await
    }

    async fn change(&self, probe: &Probe<Dmi>, key: &ObjectKey, object: Option<Object>) {
        let kind = if object.is_some() { ChangeKind::Update } else { ChangeKind::Delete };
        let now = match object {
            Some(object) => {
                self.objects.borrow_mut().insert(key.clone(), object.clone());
                object
            }
            None => self.objects.borrow_mut().remove(key).expect("it was there"),
        };
        probe.send(ObjectChanged(ObjectChange { kind, key: key.clone(), object: now })).await;
    }

    async fn register(&self, protocol: &str, with_data: bool) -> Result<MapperRegisterResponse, MapperError> {
        self.mappers.register(registration("m", protocol, with_data)).await
    }

    fn heard(&self) -> Vec<String> {
        self.mappers.heard(ADDRESS).iter().map(said).collect()
    }
}

fn registration(name: &str, protocol: &str, with_data: bool) -> MapperRegisterRequest {
    let mapper = MapperInfo {
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        address: ADDRESS.to_vec(),
        ..MapperInfo::default()
    };
    MapperRegisterRequest { with_data, mapper: Some(mapper) }
}

fn said(call: &MapperCall) -> String {
    let device = |device: &Option<dmi_proto::v1beta1::Device>| device.clone().expect("a device").name;
    let model = |model: &Option<dmi_proto::v1beta1::DeviceModel>| model.clone().expect("a model").name;
    match call {
        MapperCall::CreateModel(it) => format!("create model {}", model(&it.model)),
        MapperCall::UpdateModel(it) => format!("update model {}", model(&it.model)),
        MapperCall::RemoveModel(it) => format!("remove model {}", it.model_name),
        MapperCall::RegisterDevice(it) => format!("register {}", device(&it.device)),
        MapperCall::UpdateDevice(it) => format!("update {}", device(&it.device)),
        MapperCall::RemoveDevice(it) => format!("remove {}", it.device_name),
    }
}

fn names(response: &MapperRegisterResponse) -> (Vec<&str>, Vec<&str>) {
    let models = response.model_list.iter().map(|model| model.name.as_str());
    (models.collect(), response.device_list.iter().map(|device| device.name.as_str()).collect())
}

fn values(device: &str, twins: Vec<Twin>) -> ReportDeviceStatusRequest {
    ReportDeviceStatusRequest {
        device_name: device.to_owned(),
        device_namespace: "default".to_owned(),
        reported_device: Some(DeviceStatus { twins, ..DeviceStatus::default() }),
    }
}

fn twin(name: &str, reported: Option<&str>, desired: Option<&str>) -> Twin {
    let value = |text: &str| TwinProperty { value: text.to_owned(), ..TwinProperty::default() };
    Twin {
        property_name: name.to_owned(),
        reported: reported.map(value),
        observed_desired: desired.map(value),
    }
}

fn state(device: &str) -> ReportDeviceStatesRequest {
    ReportDeviceStatesRequest {
        device_name: device.to_owned(),
        device_namespace: "default".to_owned(),
        state: "ok".to_owned(),
    }
}

fn cause<T>(answer: Result<T, MapperError>) -> Option<Cause> {
    match answer {
        Err(MapperError::Refused(Refusal { cause, .. })) => Some(cause),
        _ => None,
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn every_promise_is_kept_by_mappers_in_memory() {
    let mappers = MemoryMappers::new();
    for promise in Promise::ALL {
        conformance::check(promise, &mappers, &MemoryEnd(mappers.clone())).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_mapper_is_told_the_devices_of_its_protocol_and_each_change_once() {
    let world = World::usual();
    world.mappers.serve(ADDRESS, Manner::Willing);
    let probe = world.start().await;
    let response = world.register("p", true).await.expect("it may register");
    assert_eq!(names(&response), (vec!["m"], vec!["a", "b"]));
    probe.settle().await;
    assert_eq!(world.heard(), [""; 0], "the answer said all");
    world.change(&probe, &device_key("a"), Some(device("a", "m", "p", "2"))).await;
    world.change(&probe, &device_key("c"), Some(device("c", "m", "p", "1"))).await;
    world.change(&probe, &device_key("b"), None).await;
    world.change(&probe, &device_key("a"), Some(device("a", "m", "p", "2"))).await;
    assert_eq!(world.heard(), ["update a", "register c", "remove b"]);
    world
        .change(
            &probe,
            &model_key("m"),
            Some(object("m", &json!({ "properties": [{ "name": "x", "unit": "C" }] }))),
        )
        .await;
    assert_eq!(world.heard(), ["update model m"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_mapper_that_wants_no_data_is_told_by_calls() {
    let world = World::usual();
    let probe = world.start().await;
    let response = world.register("p", false).await.expect("it may register");
    assert_eq!(response, MapperRegisterResponse::default());
    world.mappers.serve(ADDRESS, Manner::Willing);
    probe.advance(5 * SECOND).await;
    assert_eq!(world.heard(), ["create model m", "register a", "register b"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_a_mapper_misses_while_it_is_away_is_told_when_it_is_back() {
    let world = World::usual();
    let probe = world.start().await;
    world.register("p", true).await.expect("it may register");
    world.change(&probe, &device_key("b"), None).await;
    for desired in ["2", "3", "4"] {
        world.change(&probe, &device_key("a"), Some(device("a", "m", "p", desired))).await;
        probe.advance(10 * SECOND).await;
    }
    world.mappers.serve(ADDRESS, Manner::Willing);
    probe.advance(61 * SECOND).await;
    assert_eq!(world.heard(), ["update a", "remove b"]);
    probe.advance(600 * SECOND).await;
    assert_eq!(world.heard(), [""; 0]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_newest_mapper_of_a_protocol_is_the_one_and_a_mapper_has_one_protocol() {
    let world = World::usual();
    world.mappers.serve(ADDRESS, Manner::Willing);
    world.mappers.serve(b"/new.sock", Manner::Willing);
    let probe = world.start().await;
    world.register("p", true).await.expect("it may register");
    let mut newer = registration("newer", "p", true);
    if let Some(mapper) = &mut newer.mapper {
        mapper.address = b"/new.sock".to_vec();
    }
    world.mappers.register(newer).await.expect("it may register");
    world.change(&probe, &device_key("a"), Some(device("a", "m", "p", "2"))).await;
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!(world.mappers.heard(b"/new.sock").iter().map(said).collect::<Vec<_>>(), ["update a"]);
    let response = world.mappers.register(registration("newer", "q", true)).await.expect("it may register");
    assert_eq!(names(&response).1, ["other"]);
    world.change(&probe, &device_key("a"), Some(device("a", "m", "p", "3"))).await;
    assert_eq!(
        (world.heard(), world.mappers.heard(b"/new.sock").len()),
        (vec![], 0),
        "nobody has p any more"
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_registration_that_says_too_little_is_refused() {
    let world = World::usual();
    let probe = world.start().await;
    let nobody = MapperRegisterRequest { with_data: true, mapper: None };
    assert_eq!(cause(world.mappers.register(nobody).await), Some(Cause::Invalid));
    assert_eq!(cause(world.register("", true).await), Some(Cause::Invalid));
    let mut homeless = registration("m", "p", true);
    homeless.mapper.as_mut().expect("a mapper").address = Vec::new();
    assert_eq!(cause(world.mappers.register(homeless).await), Some(Cause::Invalid));
    world.change(&probe, &device_key("a"), Some(device("a", "m", "p", "2"))).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_report_is_answered_when_the_device_twins_have_it() {
    let world = World::usual();
    let kept = Answers::default();
    let waiting = Rc::clone(&kept);
    let probe = world
        .builder(DmiConfig::default())
        .serve_later::<ReportProperties>(group::TWIN, move |_, responder| {
            waiting.borrow_mut().push(responder)
        })
        .serve::<ReportState>(group::TWIN, |_| Ok(()))
        .start()
        .await;
    let report = values("a", vec![twin("x", Some("1"), Some("")), twin("y", Some("2"), None)]);
    let mut reporting = std::pin::pin!(world.mappers.report_status(report));
    let answered = tokio::select! {
        biased;
        answered = &mut reporting => Some(answered),
        () = probe.settle() => None,
    };
    assert_eq!(answered, None, "it is not on disk yet");
    let property = |name: &str, reported: &str, desired: Option<&str>| ReportedProperty {
        name: name.to_owned(),
        reported: Some(reported.to_owned()),
        observed_desired: desired.map(ToOwned::to_owned),
    };
    let properties = vec![property("x", "1", Some("")), property("y", "2", None)];
    let device = protocol::DeviceId::parse("default", "a").expect("a device");
    assert_eq!(probe.asked::<ReportProperties>(), [ReportProperties { device: device.clone(), properties }]);
    kept.borrow_mut().pop().expect("one").reply(Ok(()));
    assert_eq!(reporting.await, Ok(()));
    assert_eq!(world.mappers.report_state(state("a")).await, Ok(()));
    assert_eq!(probe.asked::<ReportState>(), [ReportState { device, state: "ok".to_owned() }]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_mapper_learns_what_is_wrong_with_its_report() {
    let world = World::usual();
    let (device, at) =
        (protocol::DeviceId::parse("default", "zz").expect("a device"), Rc::new(RefCell::new(0)));
    let answers = [
        Err(ReportError::NoDevice(device)),
        Err(ReportError::Invalid("so".to_owned())),
        Err(ReportError::Store(MetaError("full".to_owned()))),
    ];
    let probe = world
        .builder(DmiConfig::default())
        .serve::<ReportProperties>(group::TWIN, move |_| {
            *at.borrow_mut() += 1;
            answers[*at.borrow() - 1].clone()
        })
        .start()
        .await;
    for expect in [Cause::NotFound, Cause::Invalid, Cause::Unavailable] {
        let answer = world.mappers.report_status(values("a", vec![twin("x", Some("1"), None)])).await;
        assert_eq!(cause(answer), Some(expect));
    }
    assert_eq!(cause(world.mappers.report_status(values("a", vec![])).await), Some(Cause::Invalid));
    let nameless = ReportDeviceStatusRequest::default();
    assert_eq!(cause(world.mappers.report_status(nameless).await), Some(Cause::Invalid));
    assert_eq!(
        cause(world.mappers.report_state(state("a")).await),
        Some(Cause::Unavailable),
        "nobody serves it"
    );
    drop(probe);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_mapper_that_reports_too_often_holds_up_no_other() {
    let world = World::usual();
    let config = DmiConfig { reports_per_second: 10, report_burst: 5, ..DmiConfig::default() };
    let builder = world.builder(config).serve::<ReportState>(group::TWIN, |_| Ok(()));
    let probe = builder.start().await;
    for protocol in ["p", "q"] {
        world.mappers.register(registration(protocol, protocol, true)).await.expect("it may register");
    }
    for number in 0..8 {
        let expect = (number >= 5).then_some(Cause::TooMany);
        assert_eq!(cause(world.mappers.report_state(state("a")).await), expect, "{number}");
    }
    assert_eq!(world.mappers.report_state(state("other")).await, Ok(()));
    probe.advance(SECOND / 5).await;
    for expect in [None, None, Some(Cause::TooMany)] {
        assert_eq!(cause(world.mappers.report_state(state("b")).await), expect, "the same mapper's");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_device_that_cannot_be_told_waits_until_it_can() {
    let world = World::with(&[(device_key("a"), device("a", "m", "p", "1"))]);
    world.mappers.serve(ADDRESS, Manner::Willing);
    let probe = world.start().await;
    assert_eq!(names(&world.register("p", true).await.expect("it may register")).1, [""; 0]);
    world.change(&probe, &model_key("m"), Some(model("m", ""))).await;
    assert_eq!(world.heard(), ["create model m", "register a"]);
    world.change(&probe, &device_key("a"), Some(object("a", &json!({ "protocol": 5 })))).await;
    assert_eq!(world.heard(), [""; 0]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_socket_that_cannot_be_listened_on_is_tried_again() {
    let world = World::usual();
    world.mappers.break_listening(Some("no such directory"));
    let probe = world.start().await;
    assert_eq!(world.register("p", true).await, Err(MapperError::Unreachable));
    world.mappers.break_listening(None);
    probe.advance(31 * SECOND).await;
    assert!(world.register("p", true).await.is_ok());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nobody_is_told_that_there_are_no_devices_before_that_is_known() {
    let world = World::usual();
    *world.is_meta_down.borrow_mut() = true;
    let probe = world.start().await;
    assert_eq!(world.register("p", true).await, Err(MapperError::Unreachable));
    *world.is_meta_down.borrow_mut() = false;
    probe.advance(5 * SECOND).await;
    let response = world.register("p", true).await.expect("it may register");
    assert_eq!(names(&response).1, ["a", "b"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_device_twins_nobody_is_listened_to() {
    let world = World::usual();
    let store: SharedMedium = Arc::new(world.store.clone());
    let probe = Probe::<Dmi>::new(DmiConfig::default(), Ports { store, mappers: None }).start().await;
    world.change(&probe, &device_key("a"), Some(device("a", "m", "p", "2"))).await;
    assert_eq!(world.register("p", true).await, Err(MapperError::Unreachable));
    assert!(probe.stop().await.overran.is_empty());
}

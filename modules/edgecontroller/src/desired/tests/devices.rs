//! What nodes are told of devices.

use super::*;

const DEVICE: ResourceType = ResourceType::DEVICE;
const MODEL: ResourceType = ResourceType::DEVICE_MODEL;

fn device(name: &str, version: u64, on: &str, more: &Value) -> Object {
    let spec = json!({ "nodeName": on, "deviceModelRef": { "name": "m" }, "properties": more });
    object(name, version, json!({ "spec": spec }))
}

fn see(desired: &mut Desired, name: &str, version: u64, on: &str) -> Vec<String> {
    told(desired.see_device(key(DEVICE, name), device(name, version, on, &json!([]))))
}

fn see_model(desired: &mut Desired, version: u64) -> Vec<String> {
    told(desired.see_body(key(MODEL, "m"), object("m", version, json!({}))))
}

/// Everything was received but the devices.
fn awaiting() -> Desired {
    let mut desired = Desired::default();
    desired.begin_nodes();
    see_node(&mut desired, "n", 1);
    desired.end_nodes();
    desired.begin_pods();
    desired.end_pods();
    for resource in BODIES {
        desired.begin_bodies(&resource);
        assert_eq!(told(desired.end_bodies(&resource)), [""; 0]);
    }
    desired
}

/// One device on the node `n`, and one on no node.
fn with_devices() -> Desired {
    let mut desired = awaiting();
    desired.begin_devices();
    assert_eq!(see(&mut desired, "t", 5, "n"), [""; 0]);
    assert_eq!(see(&mut desired, "spare", 6, ""), [""; 0]);
    assert_eq!(told(desired.end_devices()), [""; 0]);
    desired.begin_bodies(&MODEL);
    assert_eq!(see_model(&mut desired, 4), ["n: Insert devicemodel d/m at 4"]);
    assert_eq!(told(desired.end_bodies(&MODEL)), [""; 0]);
    assert!(!desired.can_settle(&node_name("n")));
    assert_eq!(told(desired.know_devices()), ["settle n"]);
    desired
}

#[test]
fn a_node_is_told_of_its_devices_after_their_models() {
    let mut desired = with_devices();
    let expected = ["n: Update node n at 1", "n: Insert devicemodel d/m at 4", "n: Insert device d/t at 5"];
    let mut effects = told(settle(&mut desired, &[]));
    effects.sort_by_key(|told| expected.iter().position(|expected| expected == told));
    assert_eq!(effects, expected);
    let in_order = told(settle(&mut desired, &[held(ResourceType::NODE, "n", Some("uid-n"), Some("1"))]));
    assert_eq!(in_order, expected[1..]);
}

#[test]
fn only_what_a_node_lacks_of_its_devices_is_told() {
    let mut desired = with_devices();
    let all = [
        held(ResourceType::NODE, "n", Some("uid-n"), Some("1")),
        held(MODEL, "m", Some("uid-m"), Some("4")),
        held(DEVICE, "t", Some("uid-t"), Some("5")),
        held(DEVICE, "gone", Some("uid-gone"), Some("3")),
        held(MODEL, "gone", Some("uid-gone-too"), Some("2")),
    ];
    assert_eq!(told(settle(&mut desired, &all)), ["n: Delete device d/gone", "n: Delete devicemodel d/gone"]);
    assert_eq!(see(&mut desired, "new", 7, "n"), ["n: Insert device d/new at 7"]);
    let changed = device("t", 8, "n", &json!([{ "name": "p" }]));
    assert_eq!(told(desired.see_device(key(DEVICE, "t"), changed)), ["n: Update device d/t at 8"]);
    let mut status = device("new", 9, "n", &json!([])).value().expect("JSON");
    status["status"] = json!({ "reportToCloud": true });
    let status = Object::from_value(&status).expect("an object");
    assert_eq!(told(desired.see_device(key(DEVICE, "new"), status)), [""; 0]);
    assert!(desired.has_device(&node_name("n"), &key(DEVICE, "t")));
    assert!(!desired.has_device(&node_name("n"), &key(DEVICE, "spare")));
}

#[test]
fn a_device_waits_until_its_model_was_told_or_is_known_to_be_missing() {
    let of_model = |name: &str, version, model: &str| {
        let mut device = device(name, version, "n", &json!([])).value().expect("JSON");
        device["spec"]["deviceModelRef"]["name"] = json!(model);
        Object::from_value(&device).expect("an object")
    };
    let mut desired = with_devices();
    let new = key(DEVICE, "new");
    assert_eq!(told(desired.see_device(new.clone(), of_model("new", 7, "k"))), ["fetch devicemodel d/k"]);
    let mut changed = of_model("new", 8, "k").value().expect("JSON");
    changed["spec"]["properties"] = json!([{ "name": "p" }]);
    let changed = Object::from_value(&changed).expect("an object");
    assert_eq!(told(desired.see_device(new, changed)), [""; 0]);
    let told_then = ["n: Insert devicemodel d/k at 6", "n: Insert device d/new at 8"];
    assert_eq!(told(desired.see_body(key(MODEL, "k"), object("k", 6, json!({})))), told_then);
    assert_eq!(
        told(desired.see_device(key(DEVICE, "t"), of_model("t", 9, "none"))),
        ["fetch devicemodel d/none", "n: Delete devicemodel d/m at 4"]
    );
    assert_eq!(told(desired.fetched(key(MODEL, "none"), None)), ["n: Update device d/t at 9"]);
    assert_eq!(told(desired.see_device(key(DEVICE, "o"), of_model("o", 10, "l"))), ["fetch devicemodel d/l"]);
    assert_eq!(
        told(desired.see_device(key(DEVICE, "o"), of_model("o", 11, "k"))),
        ["n: Insert device d/o at 11"],
        "it needs another one, which was told"
    );
}

#[test]
fn a_device_that_moves_is_taken_from_its_node_with_its_model() {
    let mut desired = with_devices();
    see_node(&mut desired, "o", 2);
    assert_eq!(
        see(&mut desired, "t", 7, "o"),
        ["n: Delete device d/t at 5", "n: Delete devicemodel d/m at 4", "fetch devicemodel d/m"]
    );
    let told_then = ["o: Insert devicemodel d/m at 4", "o: Insert device d/t at 7"];
    assert_eq!(see_model(&mut desired, 4), told_then);
    assert_eq!(
        told(desired.delete_device(&key(DEVICE, "t"), device("t", 8, "o", &json!([])))),
        ["o: Delete device d/t at 8", "o: Delete devicemodel d/m at 4"]
    );
}

#[test]
fn a_device_that_was_made_anew_ends_first() {
    let mut desired = with_devices();
    let mut anew = device("t", 9, "n", &json!([])).value().expect("JSON");
    anew["metadata"]["uid"] = json!("another");
    let anew = Object::from_value(&anew).expect("an object");
    let effects = told(desired.see_device(key(DEVICE, "t"), anew));
    assert_eq!(effects.first().map(String::as_str), Some("n: Delete device d/t at 5"));
    assert_eq!(effects.last().map(String::as_str), Some("fetch devicemodel d/m"));
    assert_eq!(see_model(&mut desired, 4).last().map(String::as_str), Some("n: Insert device d/t at 9"));
}

#[test]
fn devices_of_a_later_list_that_are_missing_are_gone() {
    let mut desired = with_devices();
    desired.begin_devices();
    assert_eq!(told(desired.end_devices()), ["n: Delete device d/t at 5", "n: Delete devicemodel d/m at 4"]);
}

#[test]
fn without_a_device_controller_what_a_node_holds_of_devices_stays() {
    let mut desired = started();
    let all = [
        held(ResourceType::NODE, "n", Some("uid-n"), Some("1")),
        held(DEVICE, "t", Some("uid-t"), Some("5")),
        held(MODEL, "m", Some("uid-m"), Some("4")),
    ];
    assert_eq!(told(settle(&mut desired, &all)), [""; 0]);
    assert!(!desired.watched().contains(&DEVICE));
}

#[test]
fn devices_that_are_known_too_late_are_told_to_the_nodes_that_were_told_the_rest() {
    let mut desired = awaiting();
    assert_eq!(told(desired.do_without_devices()), ["settle n"]);
    desired.begin_devices();
    assert_eq!(see(&mut desired, "t", 5, "n"), [""; 0]);
    desired.end_devices();
    desired.begin_bodies(&MODEL);
    see_model(&mut desired, 4);
    desired.end_bodies(&MODEL);
    assert_eq!(told(desired.know_devices()), ["n: Insert devicemodel d/m at 4", "n: Insert device d/t at 5"]);
    assert_eq!(told(desired.do_without_devices()), [""; 0]);
}

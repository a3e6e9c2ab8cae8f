use protocol::Namespace;
use serde_json::{Value, json};

use super::*;

pub(crate) fn key(resource: ResourceType, name: &str) -> ObjectKey {
    let name = ObjectName::parse(name).expect("a name");
    ObjectKey { resource, namespace: Namespace::parse("default").ok(), name }
}

pub(crate) fn device_key(name: &str) -> ObjectKey {
    key(ResourceType::DEVICE, name)
}

pub(crate) fn model_key(name: &str) -> ObjectKey {
    key(ResourceType::DEVICE_MODEL, name)
}

pub(crate) fn object(name: &str, spec: &Value) -> Object {
    let metadata = json!({ "name": name, "namespace": "default", "uid": name, "resourceVersion": "1" });
    Object::from_value(&json!({ "metadata": metadata, "spec": spec })).expect("an object")
}

/// A model with one property.
pub(crate) fn model(name: &str, protocol: &str) -> Object {
    let properties = json!([{ "name": "x", "type": "INT", "accessMode": "ReadWrite" }]);
    object(name, &json!({ "protocol": protocol, "properties": properties }))
}

/// A device of a model, with a value that is wanted of its property.
pub(crate) fn device(name: &str, model: &str, protocol: &str, desired: &str) -> Object {
    let spec = json!({
        "deviceModelRef": { "name": model },
        "protocol": { "protocolName": protocol },
        "properties": [{ "name": "x", "desired": { "value": desired } }],
    });
    object(name, &spec)
}

fn touched(touched: &Touched) -> Vec<String> {
    touched.iter().map(|(protocol, key)| format!("{protocol} {key}")).collect()
}

fn with_device() -> Inventory {
    let mut inventory = Inventory::default();
    inventory.put(&model_key("m"), &model("m", ""));
    inventory.put(&device_key("d"), &device("d", "m", "p", "1"));
    inventory
}

fn states(inventory: &Inventory, protocol: &str) -> Vec<String> {
    inventory.of_protocol(protocol).into_iter().map(|(key, _)| key.to_string()).collect()
}

#[test]
fn a_device_and_its_model_are_told_to_the_mapper_of_its_protocol_once_both_are_there() {
    let mut inventory = Inventory::default();
    assert_eq!(touched(&inventory.put(&device_key("d"), &device("d", "m", "p", "1"))), [""; 0]);
    assert_eq!(inventory.wanted("p", &device_key("d")), Wanted::Unknown);
    let all = inventory.put(&model_key("m"), &model("m", ""));
    assert_eq!(touched(&all), [" devicemodel default/m", "p device default/d", "p devicemodel default/m"]);
    assert_eq!(states(&inventory, "p"), ["devicemodel default/m", "device default/d"]);
    assert_eq!(states(&inventory, "q"), [""; 0]);
    assert_eq!(inventory.protocol(&device_key("d")), Some("p"));
}

#[test]
fn a_model_is_also_told_to_the_mapper_of_its_own_protocol() {
    let mut inventory = Inventory::default();
    inventory.put(&model_key("m"), &model("m", "p"));
    assert_eq!(states(&inventory, "p"), ["devicemodel default/m"]);
}

#[test]
fn a_device_that_moves_to_another_protocol_leaves_the_mapper_of_the_old_one() {
    let mut inventory = with_device();
    inventory.complete(BTreeSet::new());
    let moved = inventory.put(&device_key("d"), &device("d", "m", "q", "1"));
    let both =
        ["p device default/d", "p devicemodel default/m", "q device default/d", "q devicemodel default/m"];
    assert_eq!(touched(&moved), both);
    assert_eq!(inventory.wanted("p", &device_key("d")), Wanted::Gone);
    assert_eq!(inventory.wanted("p", &model_key("m")), Wanted::Gone);
    assert!(matches!(inventory.wanted("q", &device_key("d")), Wanted::Is(_)));
}

#[test]
fn only_what_a_mapper_is_told_makes_another_state() {
    let mut inventory = with_device();
    let before = inventory.wanted("p", &device_key("d"));
    let mut same = device("d", "m", "p", "1").value().expect("JSON");
    same["metadata"]["labels"] = json!({ "a": "b" });
    same["status"] = json!({ "lastOnlineTime": "2026-01-02T03:04:05Z" });
    inventory.put(&device_key("d"), &Object::from_value(&same).expect("an object"));
    assert_eq!(inventory.wanted("p", &device_key("d")), before);
    inventory.put(&device_key("d"), &device("d", "m", "p", "2"));
    assert_ne!(inventory.wanted("p", &device_key("d")), before);
}

#[test]
fn the_order_of_properties_makes_no_other_state() {
    let spec = |names: [&str; 2]| {
        let properties = names.map(|name| json!({ "name": name }));
        json!({ "deviceModelRef": { "name": "m" }, "protocol": { "protocolName": "p" }, "properties": properties })
    };
    let mut inventory = Inventory::default();
    let properties = json!([{ "name": "x" }, { "name": "y" }]);
    inventory.put(&model_key("m"), &object("m", &json!({ "properties": properties })));
    inventory.put(&device_key("d"), &object("d", &spec(["x", "y"])));
    let before = inventory.wanted("p", &device_key("d"));
    inventory.put(&device_key("d"), &object("d", &spec(["y", "x"])));
    assert_eq!(inventory.wanted("p", &device_key("d")), before);
}

#[test]
fn nothing_is_taken_away_before_it_is_known_to_be_gone() {
    let mut inventory = Inventory::default();
    assert_eq!(inventory.wanted("p", &device_key("d")), Wanted::Unknown);
    inventory.complete([device_key("damaged")].into());
    assert_eq!(inventory.wanted("p", &device_key("d")), Wanted::Gone);
    assert_eq!(inventory.wanted("p", &device_key("damaged")), Wanted::Unknown);
    let mut inventory = with_device();
    inventory.complete(BTreeSet::new());
    inventory.remove(&model_key("m"));
    assert_eq!(inventory.wanted("p", &model_key("m")), Wanted::Unknown, "a device needs it");
    assert_eq!(inventory.wanted("p", &device_key("d")), Wanted::Unknown, "its model is missing");
    inventory.remove(&device_key("d"));
    assert_eq!(inventory.wanted("p", &model_key("m")), Wanted::Gone);
    assert_eq!(inventory.wanted("p", &device_key("d")), Wanted::Gone);
}

#[test]
fn an_object_that_cannot_be_read_is_left_as_it_was_told() {
    let mut inventory = with_device();
    inventory.complete(BTreeSet::new());
    let wrong = object("d", &json!({ "properties": "none" }));
    inventory.put(&device_key("d"), &wrong);
    assert_eq!(inventory.wanted("p", &device_key("d")), Wanted::Unknown);
    inventory.put(&device_key("d"), &device("d", "m", "p", "1"));
    assert!(matches!(inventory.wanted("p", &device_key("d")), Wanted::Is(_)));
}

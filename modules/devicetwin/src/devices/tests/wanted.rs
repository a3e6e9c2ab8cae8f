//! What the objects of devices want of them.

use super::*;

fn wanting(value: &str) -> Described {
    let desired = json!({ "value": value, "metadata": { "type": "string" } });
    let spec = json!({ "properties": [{ "name": "fan", "desired": desired }] });
    let metadata = json!({ "name": "t1", "namespace": "default", "uid": "u1" });
    let object = Object::from_value(&json!({ "metadata": metadata, "spec": spec })).expect("an object");
    Described::of(&object)
}

#[test]
fn clients_and_cloud_hear_what_an_object_wants() {
    let mut devices = Devices::default();
    let outcome = devices.appear(&id("t1"), wanting("on"), &moment()).expect("it is new");
    let topics: Vec<String> = told(&outcome).into_iter().map(|(topic, _)| topic).collect();
    let prefix = "$hw/events/device/default/t1/twin/update/";
    let expect = [
        format!("$hw/events/node/{NODE}/membership/updated"),
        format!("{prefix}document"),
        format!("{prefix}delta"),
    ];
    assert_eq!(topics, expect);
    assert_eq!(told(&outcome)[2].1["delta"], json!({ "fan": "on" }));
    assert_eq!(outcome.news, Some(id("t1")));
    let report = devices.report(&id("t1"), &moment()).expect("there is news");
    let NodeRequest::ReportTwins { report, .. } = report.request else { panic!("it is of twins") };
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["twin"]["fan"]["expected_version"], json!({ "cloud": 1, "edge": 0 }));
}

#[test]
fn what_a_client_wants_stays_until_the_object_wants_something_else() {
    let mut devices = Devices::default();
    let first = devices.appear(&id("t1"), wanting("on"), &moment()).expect("it is new");
    let second = update(&mut devices, r#"{"twin":{"fan":{"expected":{"value":"auto"}}}}"#);
    let again = devices.appear(&id("t1"), wanting("on"), &moment()).expect("the cloud is to hear of it");
    assert!(again.local.is_empty() && again.batch.writes().is_empty());
    let store = MemoryStore::new();
    for batch in [first.batch, second.batch] {
        block_on(store.commit(batch)).expect("it is written");
    }
    let mut devices = block_on(load(&store.crash())).expect("it is readable");
    let again = devices.appear(&id("t1"), wanting("on"), &moment()).expect("the cloud is to hear of it");
    assert!(again.local.is_empty() && again.batch.writes().is_empty(), "nor after a crash");
    let other = devices.appear(&id("t1"), wanting("off"), &moment()).expect("it is news");
    assert_eq!(told(&other)[1].1["delta"], json!({ "fan": "off" }));
}

//! What nodes are told, told as stories.

use protocol::cloud::Holdings;
use protocol::{Held, Namespace, ObjectName, ResourceVersion};
use serde_json::{Value, json};

use super::settle::{Comparison, Settling};
use super::*;
use crate::raw;

mod devices;

const CONFIG_MAP: ResourceType = ResourceType::CONFIG_MAP;
const SECRET: ResourceType = ResourceType::SECRET;
const POD: ResourceType = ResourceType::POD;

fn node_name(name: &str) -> NodeName {
    NodeName::parse(name).expect("a valid name")
}

fn key(resource: ResourceType, name: &str) -> ObjectKey {
    let namespace =
        (resource != ResourceType::NODE).then(|| Namespace::parse("d").expect("a valid namespace"));
    ObjectKey { resource, namespace, name: ObjectName::parse(name).expect("a valid name") }
}

fn object(name: &str, version: u64, more: Value) -> Object {
    let mut object = json!({ "metadata":
        { "name": name, "namespace": "d", "uid": format!("uid-{name}"), "resourceVersion": version.to_string() } });
    for (field, value) in more.as_object().expect("an object") {
        object[field] = value.clone();
    }
    Object::from_value(&object).expect("it is an object")
}

fn node(name: &str, version: u64) -> Object {
    let node = json!({ "metadata": { "name": name, "uid": format!("uid-{name}"), "resourceVersion": version.to_string() } });
    Object::from_value(&node).expect("it is an object")
}

/// A pod on a node that needs these config maps.
fn pod(name: &str, version: u64, on: &str, needs: &[&str]) -> Object {
    let volumes: Vec<Value> = needs.iter().map(|name| json!({ "configMap": { "name": name } })).collect();
    object(name, version, json!({ "spec": { "nodeName": on, "volumes": volumes } }))
}

/// A cluster whose lists were received: one node, no pods, no device controller.
fn started() -> Desired {
    let mut desired = Desired::default();
    assert_eq!(told(desired.do_without_devices()), [""; 0]);
    desired.begin_nodes();
    assert_eq!(see_node(&mut desired, "n", 1), [""; 0]);
    desired.end_nodes();
    desired.begin_pods();
    assert_eq!(told(desired.end_pods()), [""; 0]);
    assert!(!desired.can_settle(&node_name("n")), "what pods need is not known");
    for (resource, effects) in [(CONFIG_MAP, vec![]), (SECRET, vec!["settle n"])] {
        desired.begin_bodies(&resource);
        assert_eq!(told(desired.end_bodies(&resource)), effects);
    }
    desired
}

fn told(effects: Vec<Effect>) -> Vec<String> {
    effects
        .iter()
        .map(|effect| match effect {
            Effect::Send { node, change } => {
                let version = change.object.resource_version().map(|version| format!(" at {version}"));
                format!("{node}: {:?} {}{}", change.kind, change.key, version.unwrap_or_default())
            }
            Effect::Fetch(key) => format!("fetch {key}"),
            Effect::ListPods(node) => format!("list pods of {node}"),
            Effect::Settle(node) => format!("settle {node}"),
            Effect::Check { node, held } => format!("{node}: check {}", held.key),
        })
        .collect()
}

fn see_node(desired: &mut Desired, name: &str, version: u64) -> Vec<String> {
    told(desired.see_node(node_name(name), node(name, version)))
}

fn see_pod(desired: &mut Desired, name: &str, version: u64, on: &str, needs: &[&str]) -> Vec<String> {
    told(desired.see_pod(key(POD, name), pod(name, version, on, needs)))
}

fn see_map(desired: &mut Desired, name: &str, version: u64) -> Vec<String> {
    told(desired.see_body(key(CONFIG_MAP, name), object(name, version, json!({}))))
}

/// Settles a node in parts of two.
fn settle(desired: &mut Desired, held: &[Held]) -> Vec<Effect> {
    let mut settling = Settling::new(said(held));
    let mut effects = Vec::new();
    while !settling.is_over() {
        let part = desired.settle(&node_name("n"), &mut settling, 2);
        assert!(part.len() <= 2, "{part:?}");
        effects.extend(part);
    }
    effects
}

fn held(resource: ResourceType, name: &str, uid: Option<&str>, version: Option<&str>) -> Held {
    Held {
        key: key(resource, name),
        uid: uid.map(|uid| Uid::parse(uid).expect("a valid uid")),
        resource_version: version.map(ResourceVersion::new),
    }
}

fn said(held: &[Held]) -> Holdings {
    Holdings::Said(held.to_vec())
}

#[test]
fn a_pod_is_told_to_its_node_with_what_it_needs_before_it() {
    let mut desired = started();
    assert_eq!(
        see_pod(&mut desired, "p", 10, "n", &["c"]),
        ["fetch configmap d/c", "n: Insert pod d/p at 10"]
    );
    assert_eq!(
        told(desired.fetched(key(CONFIG_MAP, "c"), Some(object("c", 5, json!({}))))),
        ["n: Insert configmap d/c at 5"]
    );
    assert_eq!(see_pod(&mut desired, "q", 11, "n", &["c"]), ["n: Insert pod d/q at 11"]);
    assert_eq!(see_map(&mut desired, "c", 12), ["n: Update configmap d/c at 12"]);
    assert_eq!(see_map(&mut desired, "other", 13), [""; 0]);
    assert_eq!(see_pod(&mut desired, "elsewhere", 14, "cloud-1", &["c"]), [""; 0]);
    assert_eq!(desired.counts(), (1, 2, 1));
}

#[test]
fn a_node_is_told_of_no_change_that_is_only_status() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &[]);
    let running = object(
        "p",
        11,
        json!({ "spec": { "nodeName": "n", "volumes": [] }, "status": { "phase": "Running" } }),
    );
    assert_eq!(told(desired.see_pod(key(POD, "p"), running)), [""; 0]);
    assert_eq!(see_node(&mut desired, "n", 20), [""; 0]);
    let mut labelled = node("n", 21).value().expect("JSON");
    labelled["metadata"]["labels"] = json!({ "zone": "a" });
    let labelled = Object::from_value(&labelled).expect("it is an object");
    assert_eq!(told(desired.see_node(node_name("n"), labelled)), ["n: Update node n at 21"]);

    let at_first =
        [held(POD, "p", Some("uid-p"), Some("10")), held(ResourceType::NODE, "n", Some("uid-n"), Some("21"))];
    assert_eq!(told(settle(&mut desired, &at_first)), [""; 0], "it lacks only status");
}

#[test]
fn graceful_deletion_is_an_update_and_the_end_a_delete() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &["c"]);
    see_map(&mut desired, "c", 5);
    let mut leaving = pod("p", 11, "n", &["c"]).value().expect("JSON");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let leaving = Object::from_value(&leaving).expect("it is an object");
    assert_eq!(told(desired.see_pod(key(POD, "p"), leaving.clone())), ["n: Update pod d/p at 11"]);
    let gone = pod("p", 12, "n", &["c"]);
    let expected = ["n: Delete pod d/p at 12", "n: Delete configmap d/c at 5"];
    assert_eq!(told(desired.delete_pod(&key(POD, "p"), gone)), expected);
    assert_eq!(desired.counts(), (1, 0, 0));
    assert_eq!(
        told(desired.see_pod(key(POD, "p"), leaving)),
        ["fetch configmap d/c", "n: Update pod d/p at 11"]
    );
}

#[test]
fn what_another_pod_needs_stays_and_what_a_change_drops_goes() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &["c"]);
    see_pod(&mut desired, "q", 11, "n", &["c", "e"]);
    see_map(&mut desired, "c", 5);
    see_map(&mut desired, "e", 6);
    assert_eq!(
        told(desired.delete_pod(&key(POD, "p"), pod("p", 12, "n", &["c"]))),
        ["n: Delete pod d/p at 12"]
    );
    let expected = ["n: Update pod d/q at 13", "n: Delete configmap d/e at 6"];
    assert_eq!(see_pod(&mut desired, "q", 13, "n", &["c"]), expected);
}

#[test]
fn an_older_state_that_comes_late_changes_nothing() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &["c"]);
    assert_eq!(see_pod(&mut desired, "p", 9, "n", &["c", "x"]), [""; 0]);
    see_map(&mut desired, "c", 20);
    assert_eq!(told(desired.fetched(key(CONFIG_MAP, "c"), Some(object("c", 19, json!({}))))), [""; 0]);
    assert_eq!(told(desired.fetched(key(CONFIG_MAP, "c"), None)), [""; 0], "it was seen since");
    assert_eq!(
        told(desired.delete_body(&key(CONFIG_MAP, "c"), object("c", 21, json!({})))),
        ["n: Delete configmap d/c at 21"]
    );
    assert_eq!(
        told(desired.fetched(key(CONFIG_MAP, "c"), Some(object("c", 20, json!({}))))),
        [""; 0],
        "it was deleted since"
    );
    assert_eq!(see_map(&mut desired, "c", 22), ["n: Insert configmap d/c at 22"]);
}

#[test]
fn a_list_says_what_is_gone() {
    let mut desired = started();
    see_pod(&mut desired, "kept", 10, "n", &["kept"]);
    see_pod(&mut desired, "gone", 11, "n", &["gone"]);
    see_map(&mut desired, "kept", 5);
    see_map(&mut desired, "gone", 6);
    desired.begin_bodies(&CONFIG_MAP);
    assert_eq!(see_map(&mut desired, "kept", 5), [""; 0]);
    assert_eq!(told(desired.end_bodies(&CONFIG_MAP)), ["n: Delete configmap d/gone at 6"]);
    desired.begin_pods();
    assert_eq!(see_pod(&mut desired, "kept", 10, "n", &["kept"]), [""; 0]);
    assert_eq!(told(desired.end_pods()), ["n: Delete pod d/gone at 11"]);
    desired.begin_nodes();
    desired.end_nodes();
    assert_eq!(desired.counts(), (0, 0, 0));
}

#[test]
fn an_interrupted_list_deletes_nothing() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &[]);
    desired.begin_pods();
    desired.begin_pods();
    see_pod(&mut desired, "p", 10, "n", &[]);
    assert_eq!(told(desired.end_pods()), [""; 0]);
}

#[test]
fn a_node_that_comes_later_is_complete_when_its_pods_were_read() {
    let mut desired = started();
    assert_eq!(see_node(&mut desired, "m", 30), ["list pods of m"]);
    assert!(!desired.is_complete(&node_name("m")));
    assert_eq!(see_pod(&mut desired, "new", 33, "m", &[]), ["m: Insert pod d/new at 33"]);
    see_pod(&mut desired, "gone", 31, "m", &[]);
    desired.delete_pod(&key(POD, "gone"), pod("gone", 34, "m", &[]));
    desired.delete_pod(&key(POD, "never-seen"), pod("never-seen", 35, "m", &[]));
    let listed = ["new", "gone", "never-seen", "old"].map(|name| (key(POD, name), pod(name, 32, "m", &[])));
    let expected = ["m: Insert pod d/old at 32", "settle m"];
    assert_eq!(told(desired.pods_listed(node_name("m"), listed.to_vec())), expected);
    assert!(desired.is_complete(&node_name("m")));
}

#[test]
fn a_list_that_began_before_a_node_came_says_nothing_of_its_pods() {
    let mut desired = started();
    desired.begin_pods();
    see_node(&mut desired, "m", 30);
    see_pod(&mut desired, "p", 33, "m", &[]);
    assert_eq!(told(desired.end_pods()), [""; 0]);
    assert!(!desired.is_complete(&node_name("m")));
}

#[test]
fn a_lost_node_object_takes_nothing_from_the_node() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &["c"]);
    desired.forget_node(&node_name("n"));
    assert_eq!(desired.counts(), (0, 0, 0));
    assert_eq!(told(desired.delete_pod(&key(POD, "p"), pod("p", 11, "n", &["c"]))), [""; 0]);
}

#[test]
fn settling_sends_what_is_newer_and_deletes_what_is_gone() {
    let mut desired = started();
    see_pod(&mut desired, "same", 10, "n", &["c"]);
    see_pod(&mut desired, "newer", 11, "n", &[]);
    see_pod(&mut desired, "missing", 12, "n", &["unread"]);
    see_pod(&mut desired, "made-anew", 13, "n", &[]);
    see_map(&mut desired, "c", 5);
    let held = [
        held(ResourceType::NODE, "n", Some("uid-n"), Some("1")),
        held(POD, "same", Some("uid-same"), Some("10")),
        held(POD, "newer", Some("uid-newer"), Some("9")),
        held(POD, "made-anew", Some("uid-before"), Some("99")),
        held(POD, "gone", Some("uid-gone"), Some("99")),
        held(CONFIG_MAP, "c", None, None),
        held(CONFIG_MAP, "unread", Some("uid-unread"), Some("1")),
        held(SECRET, "not-needed", Some("uid-s"), Some("1")),
        held(ResourceType::parse("persistentvolumeclaim").expect("a valid type"), "claim", None, None),
    ];
    let told = told(settle(&mut desired, &held));
    let expected = [
        "n: Update configmap d/c at 5",
        "n: Insert pod d/missing at 12",
        "n: Update pod d/made-anew at 13",
        "n: Update pod d/newer at 11",
        "n: check persistentvolumeclaim d/claim",
        "n: Delete pod d/gone",
        "n: Delete secret d/not-needed",
    ];
    let (mut told, mut expected) = (told, expected.map(str::to_owned).to_vec());
    assert_eq!(told.first(), expected.first(), "what pods need goes first");
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn what_is_held_and_not_yet_known_is_settled_when_it_is() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &["a", "b"]);
    let held = [held(CONFIG_MAP, "a", Some("uid-a"), Some("1")), held(POD, "p", Some("uid-p"), Some("10"))];
    assert_eq!(told(settle(&mut desired, &held)), ["n: Update node n at 1"]);
    let effects = desired.fetched(key(CONFIG_MAP, "a"), None);
    let Some(Effect::Send { change, .. }) = effects.first() else { panic!("it is deleted") };
    assert_eq!(
        change.object,
        raw::tombstone(&key(CONFIG_MAP, "a"), change.object.uid().as_ref()).expect("an object")
    );
    assert_eq!(told(effects), ["n: Delete configmap d/a"]);
    assert_eq!(told(desired.fetched(key(CONFIG_MAP, "b"), None)), [""; 0], "it was never held");
}

#[test]
fn a_node_that_cannot_say_what_it_holds_is_told_all() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &["c"]);
    see_map(&mut desired, "c", 5);
    let expected = ["n: Insert configmap d/c at 5", "n: Update node n at 1", "n: Insert pod d/p at 10"];
    assert_eq!(told(settle(&mut desired, &[])), expected);
    assert_eq!(desired.wanted(&node_name("n")).len(), 3);
}

#[test]
fn what_changes_while_a_node_is_settled_is_told_once() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &["a", "b", "c", "d"]);
    for (name, version) in [("a", 1), ("b", 2), ("c", 3)] {
        see_map(&mut desired, name, version);
    }
    let n = node_name("n");
    let mut settling = Settling::new(said(&[held(CONFIG_MAP, "z", Some("uid-z"), Some("1"))]));
    let first = told(desired.settle(&n, &mut settling, 2));
    assert_eq!(first, ["n: Insert configmap d/a at 1", "n: Insert configmap d/b at 2"]);
    // Behind the place, before it, deleted before it, and new before it.
    let mut meanwhile = desired.see_body(key(CONFIG_MAP, "a"), object("a", 11, json!({})));
    meanwhile.extend(desired.see_body(key(CONFIG_MAP, "c"), object("c", 13, json!({}))));
    meanwhile.extend(desired.see_body(key(CONFIG_MAP, "d"), object("d", 14, json!({}))));
    meanwhile.extend(desired.see_pod(key(POD, "q"), pod("q", 15, "n", &[])));
    meanwhile.extend(desired.delete_pod(&key(POD, "q"), pod("q", 16, "n", &[])));
    assert_eq!(meanwhile.len(), 5);
    for effect in &meanwhile {
        let Effect::Send { change, .. } = effect else { panic!("only changes") };
        settling.note(change);
    }
    let mut rest = Vec::new();
    while !settling.is_over() {
        rest.extend(told(desired.settle(&n, &mut settling, 2)));
    }
    assert_eq!(rest, ["n: Update node n at 1", "n: Insert pod d/p at 10", "n: Delete configmap d/z"]);
}

#[test]
fn a_node_that_cannot_say_what_it_holds_is_told_what_is_gone_of_what_it_acknowledged() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &[]);
    see_pod(&mut desired, "made-anew", 11, "n", &[]);
    let mut settling = Settling::new(Holdings::Remembered(vec![
        held(POD, "p", Some("uid-p"), Some("10")),
        held(POD, "made-anew", Some("uid-before"), Some("9")),
        held(POD, "gone", Some("uid-gone"), Some("3")),
        held(CONFIG_MAP, "gone", Some("uid-map"), Some("4")),
    ]));
    let told = told(desired.settle(&node_name("n"), &mut settling, 100));
    let expected = [
        "n: Update node n at 1",
        "n: Delete pod d/made-anew",
        "n: Insert pod d/made-anew at 11",
        "n: Update pod d/p at 10",
        "n: Delete configmap d/gone",
        "n: Delete pod d/gone",
    ];
    let (mut sorted, mut all) = (told.clone(), expected.map(str::to_owned).to_vec());
    sorted.sort();
    all.sort();
    assert_eq!(sorted, all);
    let place = |line: &str| told.iter().position(|told| told == line);
    assert!(place("n: Delete pod d/made-anew") < place("n: Insert pod d/made-anew at 11"), "{told:?}");
    assert!(settling.is_over());
}

#[test]
fn what_a_node_is_told_meanwhile_is_not_taken_for_what_it_held_before() {
    for holds in [Holdings::Said as fn(_) -> _, Holdings::Remembered] {
        let mut desired = started();
        see_pod(&mut desired, "p", 10, "n", &[]);
        let mut settling = Settling::new(holds(vec![held(CONFIG_MAP, "c", Some("uid-c"), Some("1"))]));
        let first = desired.settle(&node_name("n"), &mut settling, 1);
        assert_eq!(first.len(), 1);
        // A pod that comes needs what the node was not to know before.
        see_pod(&mut desired, "q", 11, "n", &["c"]);
        for effect in desired.fetched(key(CONFIG_MAP, "c"), Some(object("c", 1, json!({})))) {
            let Effect::Send { change, .. } = effect else { panic!("it is told: {effect:?}") };
            settling.note(&change);
        }
        let rest = told(desired.settle(&node_name("n"), &mut settling, 100));
        assert!(!rest.iter().any(|line| line.contains("Delete")), "{rest:?}");
    }
}

#[test]
fn a_pod_whose_deletion_was_missed_ends_before_the_next_one_of_its_name() {
    let mut desired = started();
    see_pod(&mut desired, "p", 10, "n", &[]);
    let mut anew = pod("p", 20, "n", &[]).value().expect("JSON");
    anew["metadata"]["uid"] = json!("another");
    let effects = desired.see_pod(key(POD, "p"), Object::from_value(&anew).expect("it is an object"));
    assert_eq!(told(effects), ["n: Delete pod d/p at 10", "n: Update pod d/p at 20"]);
}

#[test]
fn a_node_may_see_what_its_pods_need_and_no_more() {
    let mut desired = started();
    see_node(&mut desired, "m", 1);
    let claim = json!({ "persistentVolumeClaim": { "claimName": "data" } });
    let spec = json!({ "nodeName": "n", "volumes": [{ "configMap": { "name": "c" } }, claim] });
    desired.see_pod(key(POD, "p"), object("p", 10, json!({ "spec": spec })));
    let data = key(ResourceType::parse("persistentvolumeclaim").expect("a valid type"), "data");
    for (node, expected) in [("n", true), ("m", false)] {
        let node = node_name(node);
        assert_eq!(desired.needs(&node, &key(CONFIG_MAP, "c")), expected);
        assert_eq!(desired.claims(&node, &data), expected);
        assert_eq!(desired.pod_on(&node, &key(POD, "p")).is_some(), expected);
    }
    assert!(!desired.needs(&node_name("n"), &key(SECRET, "c")));
}

#[test]
fn what_a_node_keeps_of_what_it_must_know_is_told_with_the_version_that_it_keeps() {
    let mut desired = started();
    let typed = |kind: &str| json!({ "apiVersion": "v1", "kind": kind });
    let needs = |names: &[&str]| {
        let volumes: Vec<Value> = names.iter().map(|name| json!({ "configMap": { "name": name } })).collect();
        json!({ "apiVersion": "v1", "kind": "Pod", "spec": { "nodeName": "n", "volumes": volumes } })
    };
    desired.see_pod(key(POD, "p"), object("p", 5, needs(&["kept", "made-anew", "unknown"])));
    desired.see_pod(key(POD, "lacking"), object("lacking", 6, needs(&[])));
    for name in ["kept", "made-anew"] {
        desired.see_body(key(CONFIG_MAP, name), object(name, 7, typed("ConfigMap")));
    }
    let holds = [
        held(POD, "p", Some("uid-p"), Some("3")),
        held(CONFIG_MAP, "kept", Some("uid-kept"), Some("7")),
        held(CONFIG_MAP, "made-anew", Some("another"), Some("2")),
        held(CONFIG_MAP, "unknown", Some("uid-unknown"), Some("1")),
        held(CONFIG_MAP, "forgotten", Some("uid-forgotten"), Some("1")),
    ];
    let Comparison { kept, wanted } = desired.compare(&node_name("n"), &said(&holds));
    let kept: Vec<_> =
        kept.iter().map(|kept| format!("{} {} {}", kept.kind, kept.uid, kept.version)).collect();
    assert_eq!(kept, ["Pod uid-p 3", "ConfigMap uid-kept 7"]);
    let expected = ["uid-kept", "uid-lacking", "uid-made-anew", "uid-n", "uid-p", "uid-unknown"];
    assert_eq!(wanted.iter().map(Uid::as_str).collect::<Vec<_>>(), expected);

    let Comparison { kept, wanted } = desired.compare(&node_name("n"), &Holdings::Remembered(holds.to_vec()));
    assert_eq!((kept.len(), wanted.len()), (0, 8), "a node that cannot say what it holds");
}

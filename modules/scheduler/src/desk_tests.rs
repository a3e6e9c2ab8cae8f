//! Tests of the order, the back-off and the assumed shares.

use serde_json::{Value, json};

use super::*;

fn node(name: &str, cpu: &str) -> NodeFacts {
    let node =
        json!({ "metadata": { "name": name }, "status": { "allocatable": { "cpu": cpu, "pods": "1000" } } });
    NodeFacts::of(&serde_json::from_value(node).expect("a valid node"))
}

fn key(name: &str) -> PodKey {
    PodKey { namespace: "d".to_owned(), name: name.to_owned() }
}

fn seen(name: &str, uid: &str, more: Value) -> Seen {
    let mut spec = json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": "1" } } }] });
    let more = more.as_object().expect("an object").clone();
    spec.as_object_mut().expect("an object").extend(more);
    let pod = json!({ "metadata": { "name": name, "namespace": "d", "uid": uid }, "spec": spec });
    Seen::read(&serde_json::from_value(pod).expect("a valid pod"), "default-scheduler")
}

fn see(desk: &mut Desk, name: &str, more: Value, now: Instant) {
    desk.see_pod(key(name), seen(name, name, more), now);
}

fn bind(name: &str, node: &str) -> Option<Step> {
    Some(Step::Bind { key: key(name), uid: name.to_owned(), node: node.to_owned() })
}

fn explained(step: Option<Step>) -> String {
    match step {
        Some(Step::Explain { key, .. }) => key.name,
        other => panic!("{other:?} explains nothing"),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_hundred_pods_at_once_are_not_overcommitted() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    for name in ["a", "b", "c"] {
        desk.see_node(node(name, "20"), now);
    }
    for index in 0..100 {
        see(&mut desk, &format!("p{index:03}"), json!({}), now);
    }
    let mut bound = BTreeMap::<String, u32>::new();
    let mut refused = 0;
    while let Some(step) = desk.step(now) {
        match step {
            Step::Bind { node, .. } => *bound.entry(node).or_default() += 1,
            Step::Explain { .. } => refused += 1,
        }
    }
    assert_eq!(bound.into_values().collect::<Vec<_>>(), [20, 20, 20]);
    assert_eq!(refused, 40);
}

#[test]
fn priority_goes_first() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    desk.see_node(node("n", "9"), now);
    see(&mut desk, "a", json!({}), now);
    see(&mut desk, "b", json!({ "priority": 10 }), now);
    assert_eq!(desk.step(now), bind("b", "n"));
    assert_eq!(desk.step(now), bind("a", "n"));
    assert_eq!(desk.step(now), None);
}

#[test]
fn a_pod_without_room_is_tried_again_when_room_is_made_and_not_before_its_back_off() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    desk.see_node(node("n", "1"), now);
    see(&mut desk, "old", json!({ "nodeName": "n" }), now);
    see(&mut desk, "new", json!({}), now);
    assert_eq!(explained(desk.step(now)), "new");
    assert_eq!(desk.step(now + 100 * SECOND), None, "nothing changed");
    assert_eq!(desk.due(), None);

    desk.forget_pod(&key("old"), now);
    assert_eq!(desk.due(), Some(now + SECOND));
    assert_eq!(desk.step(now), None);
    assert_eq!(desk.step(now + SECOND), bind("new", "n"));
}

#[test]
fn the_back_off_doubles_up_to_its_bound() {
    let seconds: Vec<u64> = (1..=6).map(|attempts| backoff(attempts).as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
    assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
}

#[test]
fn a_heartbeat_of_a_node_is_no_reason_to_try_again() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    desk.see_node(node("n", "500m"), now);
    see(&mut desk, "a", json!({}), now);
    explained(desk.step(now));
    let later = now + 60 * SECOND;
    desk.see_node(node("n", "500m"), later);
    assert_eq!(desk.step(later), None);
    desk.see_node(node("n", "1"), later);
    assert_eq!(desk.step(later), bind("a", "n"));
}

#[test]
fn a_refused_binding_gives_the_share_back_and_is_tried_again() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    desk.see_node(node("n", "1"), now);
    see(&mut desk, "a", json!({}), now);
    assert_eq!(desk.step(now), bind("a", "n"));
    desk.settle(&key("a"), "a", false, now);
    see(&mut desk, "b", json!({ "priority": 1 }), now);
    assert_eq!(desk.step(now), bind("b", "n"), "the share is free");
    desk.settle(&key("b"), "b", false, now);
    see(&mut desk, "b", json!({ "nodeName": "elsewhere" }), now);
    assert_eq!(desk.step(now + SECOND), bind("a", "n"));
}

#[test]
fn an_assumed_pod_keeps_its_share_until_the_watch_says_otherwise() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    desk.see_node(node("n", "1"), now);
    see(&mut desk, "a", json!({}), now);
    assert_eq!(desk.step(now), bind("a", "n"));
    see(&mut desk, "a", json!({ "priority": 3 }), now);
    desk.settle(&key("a"), "a", true, now);
    see(&mut desk, "b", json!({}), now);
    assert_eq!(explained(desk.step(now)), "b");
    see(&mut desk, "a", json!({ "nodeName": "n" }), now);
    assert_eq!(desk.waiting(), 1);
    desk.forget_pod(&key("a"), now);
    assert_eq!(desk.step(now + SECOND), bind("b", "n"));
}

#[test]
fn a_pod_that_was_made_anew_under_its_name_is_tried_afresh() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    desk.see_node(node("n", "1"), now);
    see(&mut desk, "a", json!({}), now);
    assert_eq!(desk.step(now), bind("a", "n"));
    desk.see_pod(key("a"), seen("a", "a2", json!({})), now);
    let again = Step::Bind { key: key("a"), uid: "a2".to_owned(), node: "n".to_owned() };
    assert_eq!(desk.step(now), Some(again), "the share of the first is free");
    desk.settle(&key("a"), "a", false, now);
    assert_eq!(desk.due(), None, "an answer for the first is not for the second");
}

#[test]
fn a_relist_forgets_what_is_gone() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    desk.see_node(node("n", "2"), now);
    see(&mut desk, "bound", json!({ "nodeName": "n" }), now);
    see(&mut desk, "kept", json!({ "nodeName": "n" }), now);
    see(&mut desk, "waits", json!({}), now);
    explained(desk.step(now));
    desk.retain_pods(&BTreeSet::from([key("kept"), key("waits")]), now);
    assert_eq!(desk.step(now + SECOND), bind("waits", "n"));
    desk.retain_pods(&BTreeSet::new(), now);
    assert_eq!(desk.waiting(), 0);
    desk.retain_nodes(&BTreeSet::new());
    see(&mut desk, "z", json!({}), now);
    assert_eq!(explained(desk.step(now)), "z");
}

#[test]
fn a_pod_is_told_the_same_once() {
    let (mut desk, now) = (Desk::default(), Instant::now());
    see(&mut desk, "a", json!({}), now);
    let Some(Step::Explain { why, told: false, first: true, .. }) = desk.step(now) else {
        panic!("it is told")
    };
    let Seen::Pending(mut pod) = seen("a", "a", json!({})) else { panic!("it is pending") };
    pod.told = Some(why);
    desk.see_pod(key("a"), Seen::Pending(pod), now);
    desk.retry_all(now + SECOND);
    assert!(matches!(desk.step(now + SECOND), Some(Step::Explain { told: true, first: false, .. })));
}

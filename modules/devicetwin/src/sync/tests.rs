//! Synchronizations in, effects out, as JSON.

use serde_json::{Value, json};

use super::*;
use crate::twin::tests::{shape, slots};

const AT: i64 = 1_700_000_000_011;

fn check(held: &Value, told: &Value, document: &Value, written: &Value, upward: &[&str]) {
    let request: Twins = serde_json::from_value(told.clone()).expect("a request");
    let effect = sync(&slots(held), &request, AT).expect("an effect");
    assert_eq!(effect.result, Twins::new());
    let expect = json!({ "document": document, "written": written, "upward": upward });
    assert_eq!(shape(&effect), expect, "effect of {told} over {held}");
}

fn nothing(held: &Value, told: &Value) {
    check(held, told, &json!({}), &json!({}), &[]);
}

fn at(value: &str) -> Value {
    json!({ "value": value, "metadata": { "timestamp": AT } })
}

fn version(cloud: i64, edge: i64) -> Value {
    json!({ "cloud": cloud, "edge": edge })
}

fn held() -> Value {
    json!({ "x": {
        "expected": { "value": "1", "metadata": { "timestamp": 1 } }, "actual": { "value": "2", "metadata": { "timestamp": 1 } },
        "optional": true, "metadata": { "type": "int" }, "expected_version": version(2, 3), "actual_version": version(0, 5),
    } })
}

fn told(expected_version: &Value, actual_version: &Value) -> Value {
    json!({ "x": {
        "expected": { "value": "7" }, "actual": { "value": "8" }, "optional": false, "metadata": { "type": "int" },
        "expected_version": expected_version, "actual_version": actual_version,
    } })
}

fn last() -> Value {
    json!({
        "expected": { "value": "1", "metadata": { "timestamp": 1 } }, "actual": { "value": "2", "metadata": { "timestamp": 1 } },
        "optional": true, "metadata": { "type": "int" },
    })
}

#[test]
fn what_is_as_new_is_taken_and_not_told_the_cloud() {
    let current =
        json!({ "expected": at("7"), "actual": at("8"), "optional": false, "metadata": { "type": "int" } });
    let mut next = current.clone();
    (next["expected_version"], next["actual_version"]) = (version(9, 3), version(1, 5));
    check(
        &held(),
        &told(&version(9, 3), &version(1, 5)),
        &json!({ "x": { "last": last(), "current": current } }),
        &json!({ "x": next }),
        &[],
    );
}

#[test]
fn what_is_older_is_refused_and_the_cloud_is_told_what_is_here() {
    for expected in [version(1, 3), version(2, 2), Value::Null] {
        check(&held(), &told(&expected, &version(1, 5)), &json!({}), &held(), &["x"]);
    }
    // What was taken before is kept.
    let mut current = last();
    current["expected"] = at("7");
    let mut next = held()["x"].clone();
    (next["expected"], next["expected_version"]) = (at("7"), version(2, 3));
    check(
        &held(),
        &told(&version(2, 3), &version(0, 4)),
        &json!({ "x": { "last": last(), "current": current } }),
        &json!({ "x": next }),
        &["x"],
    );
    // A half that was never here has no version to be older than.
    let bare = json!({ "x": { "optional": true, "metadata": { "type": "int" } } });
    check(&bare, &json!({ "x": { "expected": { "value": "1" } } }), &json!({}), &bare, &["x"]);
}

#[test]
fn a_value_of_another_type_is_passed_over() {
    let told = json!({ "x": { "expected": { "value": "warm" }, "expected_version": version(9, 9), "metadata": { "type": "int" } } });
    nothing(&held(), &told);
    let told = json!({ "y": { "actual": { "value": "warm" }, "actual_version": version(1, 0), "metadata": { "type": "int" } } });
    nothing(&held(), &told);
}

#[test]
fn another_type_is_told_and_not_taken() {
    let told = json!({ "x": { "metadata": { "type": "string" } } });
    check(&held(), &told, &json!({ "x": { "last": last(), "current": last() } }), &held(), &[]);
    nothing(&held(), &json!({ "x": { "metadata": { "type": "int" }, "optional": true } }));
}

#[test]
fn an_unknown_twin_is_made_with_its_versions_or_not_at_all() {
    let seen = json!({ "expected": at("on"), "optional": true, "metadata": { "type": "string" } });
    let mut made = seen.clone();
    made["expected_version"] = version(1, 0);
    check(
        &json!({}),
        &json!({ "y": { "expected": { "value": "on" }, "expected_version": version(1, 0) } }),
        &json!({ "y": { "last": null, "current": seen } }),
        &json!({ "y": made }),
        &[],
    );
    nothing(&json!({}), &json!({ "y": { "expected": { "value": "on" } } }));
    nothing(
        &json!({}),
        &json!({ "y": { "expected": { "value": "on" }, "expected_version": version(-1, 0) } }),
    );
    nothing(&json!({}), &json!({ "y": null }));
}

#[test]
fn an_end_is_taken_unless_it_is_older() {
    let gone = |expected: Value, actual: Value| json!({ "x": { "optional": true, "metadata": { "type": "deleted" }, "expected_version": expected, "actual_version": actual } });
    let document = json!({ "x": { "last": last(), "current": null } });
    let end = json!({ "x": { "metadata": { "type": "deleted" } } });
    check(&held(), &end, &document, &gone(version(2, 3), version(0, 5)), &[]);
    let newer = json!({ "x": { "metadata": { "type": "deleted" }, "expected_version": version(3, 3), "actual_version": version(0, 6) } });
    check(&held(), &newer, &document, &gone(version(3, 3), version(0, 6)), &[]);
    let older = json!({ "x": { "metadata": { "type": "deleted" }, "expected_version": version(3, 3), "actual_version": version(0, 4) } });
    check(&held(), &older, &json!({}), &held(), &["x"]);
    let tombstone = gone(version(2, 3), version(0, 5));
    nothing(&tombstone, &end);
    let of_unknown = json!({ "x": { "metadata": { "type": "deleted" }, "expected_version": version(4, 0) } });
    let kept = json!({ "x": { "optional": true, "metadata": { "type": "deleted" }, "expected_version": version(4, 0) } });
    check(&json!({}), &of_unknown, &json!({ "x": { "last": null, "current": null } }), &kept, &[]);
}

#[test]
fn a_twin_that_was_taken_away_comes_back() {
    let gone = json!({ "x": { "optional": true, "metadata": { "type": "deleted" }, "expected_version": version(2, 3) } });
    let seen = json!({ "expected": at("on"), "optional": true, "metadata": { "type": "string" } });
    let mut next = seen.clone();
    next["expected_version"] = version(3, 3);
    check(
        &gone,
        &json!({ "x": { "expected": { "value": "on" }, "expected_version": version(3, 3) } }),
        &json!({ "x": { "last": null, "current": seen } }),
        &json!({ "x": next }),
        &[],
    );
}

#[test]
fn a_half_without_a_value_makes_all_unreadable() {
    for half in ["expected", "actual"] {
        let request: Twins = serde_json::from_value(json!({ "y": { half: {} } })).expect("a request");
        assert_eq!(sync(&slots(&held()), &request, AT), Err(UNREADABLE_SYNC));
    }
}

//! Requests in, effects out, as JSON.

use serde_json::{Value, json};

use super::*;

const AT: i64 = 1_700_000_000_011;

pub(crate) fn slots(twins: &Value) -> Slots {
    let twins: BTreeMap<String, Twin> = serde_json::from_value(twins.clone()).expect("twins");
    twins.into_iter().map(|(name, twin)| (name, Slot { twin, changed: 0 })).collect()
}

fn request(twins: &Value) -> Twins {
    serde_json::from_value(twins.clone()).expect("a request")
}

pub(crate) fn shape(effect: &Effect) -> Value {
    json!({ "document": effect.document, "written": effect.written, "upward": effect.upward })
}

fn check(held: &Value, wanted: &Value, result: &Value, document: &Value, written: &Value, upward: &[&str]) {
    let effect = update(&slots(held), &request(wanted), AT).expect("an effect");
    assert_eq!(&json!(effect.result), result, "result of {wanted} over {held}");
    let expect = json!({ "document": document, "written": written, "upward": upward });
    assert_eq!(shape(&effect), expect, "effect of {wanted} over {held}");
}

fn refuse(held: &Value, wanted: &Value, reason: &str) {
    assert_eq!(update(&slots(held), &request(wanted), AT), Err(reason), "{wanted} over {held}");
}

fn at(value: &str) -> Value {
    json!({ "value": value, "metadata": { "timestamp": AT } })
}

fn old(value: &str) -> Value {
    json!({ "value": value, "metadata": { "timestamp": 1 } })
}

#[test]
fn an_unknown_twin_is_made() {
    check(
        &json!({}),
        &json!({ "temp": { "actual": { "value": "21.5" }, "metadata": { "type": "float" } } }),
        &json!({ "temp": { "actual": at("21.5"), "optional": true, "metadata": { "type": "float" } } }),
        &json!({ "temp": { "last": null, "current": { "actual": at("21.5"), "optional": true, "metadata": { "type": "float" } } } }),
        &json!({ "temp": { "actual": at("21.5"), "optional": true, "metadata": { "type": "float" }, "actual_version": { "cloud": 0, "edge": 1 } } }),
        &["temp"],
    );
    let mode = json!({ "expected": at("auto"), "optional": false, "metadata": { "type": "string" } });
    check(
        &json!({}),
        &json!({ "mode": { "expected": { "value": "auto", "metadata": { "timestamp": 5 } }, "optional": false } }),
        &json!({ "mode": mode }),
        &json!({ "mode": { "last": null, "current": mode } }),
        &json!({ "mode": { "expected": at("auto"), "optional": false, "metadata": { "type": "string" }, "expected_version": { "cloud": 0, "edge": 1 } } }),
        &["mode"],
    );
    // One without values is made as well, of any type; an empty value counts and is not kept.
    let bare = json!({ "optional": true, "metadata": { "type": "double" } });
    check(
        &json!({}),
        &json!({ "x": { "metadata": { "type": "double" } } }),
        &json!({ "x": bare }),
        &json!({ "x": { "last": null, "current": bare } }),
        &json!({ "x": bare }),
        &["x"],
    );
    let empty = json!({ "optional": true, "metadata": { "type": "string" } });
    check(
        &json!({}),
        &json!({ "x": { "actual": { "value": "" } } }),
        &json!({ "x": empty }),
        &json!({ "x": { "last": null, "current": empty } }),
        &json!({ "x": { "optional": true, "metadata": { "type": "string" }, "actual_version": { "cloud": 0, "edge": 1 } } }),
        &["x"],
    );
}

#[test]
fn every_report_counts_also_of_the_same_value() {
    let held = json!({ "temp": { "actual": old("1"), "optional": true, "metadata": { "type": "int" }, "actual_version": { "cloud": 3, "edge": 7 } } });
    check(
        &held,
        &json!({ "temp": { "actual": { "value": "1" } } }),
        &json!({ "temp": { "actual": at("1"), "optional": true, "metadata": { "type": "int" } } }),
        &json!({ "temp": {
            "last": { "actual": old("1"), "optional": true, "metadata": { "type": "int" } },
            "current": { "actual": at("1"), "optional": true, "metadata": { "type": "int" } },
        } }),
        &json!({ "temp": { "actual": at("1"), "optional": true, "metadata": { "type": "int" }, "actual_version": { "cloud": 3, "edge": 8 } } }),
        &["temp"],
    );
    // The half that is not named stays.
    check(
        &held,
        &json!({ "temp": { "expected": { "value": "2" } } }),
        &json!({ "temp": { "expected": at("2"), "optional": true, "metadata": { "type": "int" } } }),
        &json!({ "temp": {
            "last": { "actual": old("1"), "optional": true, "metadata": { "type": "int" } },
            "current": { "expected": at("2"), "actual": old("1"), "optional": true, "metadata": { "type": "int" } },
        } }),
        &json!({ "temp": {
            "expected": at("2"), "actual": old("1"), "optional": true, "metadata": { "type": "int" },
            "expected_version": { "cloud": 0, "edge": 1 }, "actual_version": { "cloud": 3, "edge": 7 },
        } }),
        &["temp"],
    );
    check(&held, &json!({ "temp": {} }), &json!({}), &json!({}), &json!({}), &[]);
}

#[test]
fn the_type_of_a_twin_stays_and_optional_goes_one_way() {
    let twin = |optional: bool, value: Value| json!({ "actual": value, "optional": optional, "metadata": { "type": "int" }, "actual_version": { "cloud": 0, "edge": 1 } });
    let seen = |optional: bool, value: Value| json!({ "actual": value, "optional": optional, "metadata": { "type": "int" } });
    check(
        &json!({ "x": twin(true, old("1")) }),
        &json!({ "x": { "metadata": { "type": "string" } } }),
        &json!({ "x": {} }),
        &json!({ "x": { "last": seen(true, old("1")), "current": seen(true, old("1")) } }),
        &json!({ "x": twin(true, old("1")) }),
        &[],
    );
    check(
        &json!({ "x": twin(true, old("1")) }),
        &json!({ "x": { "optional": false } }),
        &json!({ "x": { "optional": false } }),
        &json!({ "x": { "last": seen(true, old("1")), "current": seen(false, old("1")) } }),
        &json!({ "x": twin(false, old("1")) }),
        &["x"],
    );
    let fixed = json!({ "x": twin(false, old("1")) });
    check(&fixed, &json!({ "x": { "optional": true } }), &json!({}), &json!({}), &json!({}), &[]);
    check(&fixed, &json!({ "x": null }), &json!({}), &json!({}), &json!({}), &[]);
}

#[test]
fn a_twin_is_taken_away_and_comes_back() {
    let held = json!({ "x": { "actual": old("1"), "optional": true, "metadata": { "type": "int" }, "actual_version": { "cloud": 2, "edge": 4 } } });
    let gone = json!({ "x": { "optional": true, "metadata": { "type": "deleted" }, "actual_version": { "cloud": 2, "edge": 5 } } });
    check(
        &held,
        &json!({ "x": null }),
        &json!({ "x": null }),
        &json!({ "x": { "last": { "actual": old("1"), "optional": true, "metadata": { "type": "int" } }, "current": null } }),
        &gone,
        &["x"],
    );
    check(&gone, &json!({ "x": null }), &json!({}), &json!({}), &json!({}), &[]);
    let seen = json!({ "actual": at("true"), "optional": true, "metadata": { "type": "boolean" } });
    check(
        &gone,
        &json!({ "x": { "actual": { "value": "true" }, "metadata": { "type": "boolean" } } }),
        &json!({ "x": seen }),
        &json!({ "x": { "last": null, "current": seen } }),
        &json!({ "x": { "actual": at("true"), "optional": true, "metadata": { "type": "boolean" }, "actual_version": { "cloud": 2, "edge": 6 } } }),
        &["x"],
    );
    check(
        &gone,
        &json!({ "x": {} }),
        &json!({ "x": { "metadata": { "type": "string" } } }),
        &json!({ "x": { "last": null, "current": { "optional": true, "metadata": { "type": "string" } } } }),
        &json!({ "x": { "optional": true, "metadata": { "type": "string" }, "actual_version": { "cloud": 2, "edge": 5 } } }),
        &["x"],
    );
    let bare = json!({ "x": { "optional": true, "metadata": { "type": "string" } } });
    check(&bare, &json!({ "x": null }), &json!({}), &json!({}), &json!({}), &[]);
}

#[test]
fn what_is_wrong_with_one_twin_refuses_all() {
    let held = json!({ "x": { "actual": old("1"), "optional": true, "metadata": { "type": "int" }, "actual_version": { "cloud": 0, "edge": 1 } } });
    let good = json!({ "value": "5" });
    refuse(&held, &json!({ "a": { "actual": good }, "new": null }), "the request body is wrong");
    refuse(&held, &json!({ "a": { "actual": good }, "x": { "actual": {} } }), "the request body is wrong");
    refuse(&held, &json!({ "a": { "actual": good }, "b": { "expected": {} } }), "the request body is wrong");
    refuse(
        &held,
        &json!({ "a": { "actual": good }, "x": { "actual": { "value": "warm" } } }),
        "the value is not int or integer",
    );
    refuse(&held, &json!({ "x": { "expected": { "value": "warm" } } }), "the value is not int or integer");
    refuse(
        &held,
        &json!({ "y": { "actual": good, "metadata": { "type": "double" } } }),
        "the value type is not allowed",
    );
    refuse(
        &held,
        &json!({ "y": { "actual": good, "metadata": { "type": "boolean" } } }),
        "the bool value must be true or false",
    );
    refuse(
        &held,
        &json!({ "y": { "actual": { "value": "x" }, "metadata": { "type": "float" } } }),
        "the value is not float",
    );
}

#[test]
fn what_was_reported_is_known() {
    let wanted = json!({ "a": { "actual": { "value": "1" } }, "b": { "expected": { "value": "2" } } });
    let effect = update(&Slots::new(), &request(&wanted), AT).expect("an effect");
    assert_eq!(effect.reported, [("a".to_owned(), "1".to_owned())]);
}

#[test]
fn a_count_that_is_full_stays() {
    let held = json!({ "x": { "actual": old("1"), "optional": true, "metadata": { "type": "int" }, "actual_version": { "cloud": 0, "edge": i64::MAX } } });
    let effect = update(&slots(&held), &request(&json!({ "x": { "actual": { "value": "2" } } })), AT);
    let version = effect.expect("an effect").written["x"].actual_version;
    assert_eq!(version, Some(TwinVersion { cloud: 0, edge: i64::MAX }));
}

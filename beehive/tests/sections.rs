//! Sections are decoded strictly, and every problem is found at once.

use std::collections::BTreeMap;
use std::time::Duration;

use beehive::section::{FieldTree, decode, fields};
use beehive::{Backoff, RestartPolicy};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shop {
    name: String,
    #[serde(default = "door")]
    door: Door,
    #[serde(default)]
    shelves: Vec<Shelf>,
    #[serde(default)]
    prices: BTreeMap<String, u32>,
    #[serde(default)]
    light: Light,
    #[serde(default, with = "beehive::config::optional_duration")]
    closes_after: Option<Duration>,
    #[serde(default)]
    restart: RestartPolicy,
    #[serde(default)]
    extra: Value,
    #[serde(default)]
    owner: Option<Box<Owner>>,
}

fn door() -> Door {
    Door { width: 1.0, is_open: false }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Door {
    width: f64,
    #[serde(default)]
    is_open: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shelf {
    boards: u8,
    #[serde(alias = "wide")]
    width: u16,
}

#[derive(Debug, PartialEq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Light {
    #[default]
    Off,
    Bright,
    Dimmed {
        percent: u8,
    },
}

#[derive(Debug, PartialEq, Deserialize)]
struct Owner {
    name: String,
    boss: Option<Box<Owner>>,
}

fn check(value: Value, expect: &[&str]) {
    let problems = decode::<Shop>(&value, "shop").expect_err("something is wrong");
    let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(found, expect, "{value}");
}

#[test]
fn what_is_right_decodes() {
    let value = json!({
        "name": "corner", "door": { "width": 2 }, "shelves": [{ "boards": 3, "wide": 9 }],
        "prices": { "milk": 1 }, "light": { "dimmed": { "percent": 5 } }, "closesAfter": "8h",
        "restart": { "backoff": "1s..2s" }, "extra": { "any": [1, "thing"] }, "owner": { "name": "Ann" },
    });
    let shop: Shop = decode(&value, "shop").unwrap();
    assert_eq!(shop.door, Door { width: 2.0, is_open: false });
    assert_eq!(shop.shelves, [Shelf { boards: 3, width: 9 }]);
    assert_eq!(shop.light, Light::Dimmed { percent: 5 });
    assert_eq!(shop.closes_after, Some(Duration::from_secs(8 * 3600)));
    let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(2) };
    assert_eq!(shop.restart, RestartPolicy { backoff, ..RestartPolicy::default() });
    assert_eq!(shop.extra, value["extra"]);
}

#[test]
fn a_null_stands_for_a_key_that_is_absent() {
    let shop: Shop =
        decode(&json!({ "name": "a", "door": null, "owner": null, "closesAfter": null }), "").unwrap();
    assert_eq!((shop.door, shop.owner, shop.closes_after), (door(), None, None));
    assert_eq!(decode::<()>(&Value::Null, ""), Ok(()));
    assert_eq!(decode::<()>(&json!({}), ""), Ok(()));
    check(json!({ "name": null }), &["shop: missing field `name`"]);
}

#[test]
fn unknown_keys_are_found_at_every_depth() {
    check(
        json!({
            "nam": "x", "door": { "widht": 1 }, "shelves": [{ "boards": 1, "width": 1 }, { "nails": 7 }],
        }),
        &[
            "shop: missing field `name`",
            "shop.door: missing field `width`",
            "shop.door.widht: unknown key; did you mean width?",
            "shop.nam: unknown key; did you mean name?",
            "shop.shelves[1]: missing field `boards`",
            "shop.shelves[1]: missing field `width`",
            "shop.shelves[1].nails: unknown key (known: boards, wide, width)",
        ],
    );
}

#[test]
fn wrong_values_are_found_side_by_side() {
    check(
        json!({
            "name": 5, "door": { "width": "wide", "isOpen": "yes" }, "shelves": [{ "boards": 256, "width": -1 }],
            "prices": { "milk": "cheap", "salt": 1, "tea": [] }, "light": "brihgt", "closesAfter": "late",
            "restart": { "when": "often", "backoff": "2s..1s", "giveUpAfter": -1 }, "owner": { "name": {} },
        }),
        &[
            "shop.closesAfter: \"late\" is no duration: write it as 30s, 500ms or 1h30m",
            "shop.door.isOpen: invalid type: string \"yes\", expected a boolean",
            "shop.door.width: invalid type: string \"wide\", expected f64",
            "shop.light: \"brihgt\" is none of off, bright, dimmed; did you mean bright?",
            "shop.name: invalid type: integer `5`, expected a string",
            "shop.owner.name: invalid type: map, expected a string",
            "shop.prices.milk: invalid type: string \"cheap\", expected u32",
            "shop.prices.tea: invalid type: sequence, expected u32",
            "shop.restart.backoff: \"2s..1s\" begins with the longer duration",
            "shop.restart.giveUpAfter: invalid value: integer `-1`, expected u32",
            "shop.restart.when: \"often\" is none of failure, always, never",
            "shop.shelves[0].boards: invalid value: integer `256`, expected u8",
            "shop.shelves[0].width: invalid value: integer `-1`, expected u16",
        ],
    );
}

#[test]
fn what_is_no_map_at_all_is_one_problem() {
    check(json!("open"), &["shop: invalid type: string \"open\", expected struct Shop"]);
    check(json!([1, 2]), &["shop: invalid type: sequence, expected struct Shop"]);
}

#[test]
fn the_fields_of_a_type_are_found_without_a_value_of_it() {
    let tree = fields::<Shop>();
    for path in [
        &["name"][..],
        &["door", "isOpen"],
        &["shelves", "width"],
        &["shelves", "wide"],
        &["prices", "anything"],
        &["light", "dimmed", "percent"],
        &["closesAfter"],
        &["restart", "backoff"],
        &["restart", "giveUpAfter"],
        &["extra", "any", "depth"],
        &["owner", "boss", "boss", "name"],
    ] {
        assert!(tree.reads(path.iter().copied()), "{path:?} in {tree:?}");
    }
    for path in
        [&["nam"][..], &["door", "open"], &["name", "first"], &["shelves", "nails"], &["prices", "a", "b"]]
    {
        assert!(!tree.reads(path.iter().copied()), "{path:?} in {tree:?}");
    }
    assert_eq!(fields::<()>(), FieldTree::Leaf);
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.]{0,6}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("name".to_owned()),
        Just("door".to_owned()),
        Just("shelves".to_owned()),
        Just("prices".to_owned()),
        Just("light".to_owned()),
        Just("restart".to_owned()),
        Just("owner".to_owned()),
        "[a-z]{1,5}".prop_map(|key| key),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing that is written in a file makes decoding panic or run on, and what serde refuses is
    /// refused here.
    #[test]
    fn whatever_stands_there_decodes_or_is_explained(value in anything()) {
        match decode::<Shop>(&value, "shop") {
            Ok(_) => {}
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                prop_assert!(problems.iter().all(|problem| problem.path.starts_with("shop")));
            }
        }
        let by_serde = serde_json::from_value::<Shop>(value.clone());
        if by_serde.is_ok() && decode::<Shop>(&value, "").is_err() {
            let problems = decode::<Shop>(&value, "").unwrap_err();
            prop_assert!(
                problems.iter().all(|problem| {
                    // A list is no struct here, though serde would read its items as fields.
                    problem.message.starts_with("unknown key") || problem.message.contains("sequence, expected struct")
                }),
                "{value}: {problems}"
            );
        }
    }
}

use proptest::prelude::*;

use super::*;
use crate::name::{Namespace, ObjectName, ResourceType};
use crate::object::Object;

fn held(name: &str, version: u64) -> Held {
    Held {
        key: ObjectKey {
            resource: ResourceType::POD,
            namespace: Some(Namespace::parse("ns").expect("a valid namespace")),
            name: ObjectName::parse(name).expect("a valid name"),
        },
        uid: Uid::parse(&format!("uid-{name}")).ok(),
        resource_version: Some(ResourceVersion::new(&version.to_string())),
    }
}

fn many(count: u64) -> Inventory {
    (0..count).map(|number| held(&format!("pod-{number}"), number)).collect()
}

#[test]
fn the_sums_of_version_1_stay_as_they_are() {
    let mut inventory = Inventory::default();
    assert_eq!(format!("{:?}", inventory.digest()), "0".repeat(32));
    inventory.insert(held("a", 5));
    // The first half of sha256("\0\0\0\x03pod" "\0\0\0\x02ns" "\0\0\0\x01a" "\0\0\0\x05uid-a" "\0\0\0\x015").
    assert_eq!(format!("{:?}", inventory.digest()), "1a88b8deb777a5d7bd4638e8b7d839b3");
    assert_eq!(inventory.summary(), [0xbd46_38e8_b7d8_39b3]);
    assert_eq!(Digest::of_bytes(inventory.digest().to_bytes()), inventory.digest());
}

#[test]
fn no_two_inventories_look_the_same() {
    let mut other_namespace = held("a", 1);
    other_namespace.key.namespace = None;
    let mut unknown = held("a", 1);
    (unknown.uid, unknown.resource_version) = (None, None);
    let mut shifted = held("a", 1);
    shifted.uid = Uid::parse("uid-a1").ok();
    shifted.resource_version = Some(ResourceVersion::new(""));
    let all = [
        vec![],
        vec![held("a", 1)],
        vec![held("a", 2)],
        vec![held("b", 1)],
        vec![held("a", 1), held("b", 1)],
        vec![other_namespace],
        vec![unknown],
        vec![shifted],
    ];
    let digests: Vec<Digest> =
        all.into_iter().map(|held| held.into_iter().collect::<Inventory>().digest()).collect();
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[at + 1..].contains(digest), "{at}: {digests:?}");
    }
}

#[test]
fn a_difference_is_found_in_its_bucket_and_only_that_is_listed() {
    let (node, mut cloud) = (many(2000), many(2000));
    assert_eq!(node.summary().len(), 256);
    let of = |number: u64| held(&format!("pod-{number}"), number);
    cloud.remove(&of(7).key);
    cloud.insert(held("pod-8", 1));
    cloud.insert(held("another", 1));
    assert_ne!(node.digest(), cloud.digest());
    let differing = cloud.differing(&node.summary()).expect("a summary");
    assert_eq!(differing.chosen().len(), 3, "{differing:?}");
    let mut left = differing;
    let mut listed = 0;
    while !left.chosen().is_empty() {
        let (buckets, held) = node.list_in(&left, 8);
        assert!(!buckets.chosen().is_empty());
        listed += held.len();
        cloud.replace(&buckets, held);
        left = left.without(&buckets);
    }
    assert!(listed < 60, "{listed} of 2000 are listed");
    assert_eq!(cloud, node);
}

#[test]
fn what_is_no_summary_or_lies_in_no_bucket_is_of_no_effect() {
    let mut inventory = many(20);
    for size in [0, 3, 255, 257, 512] {
        assert_eq!(inventory.differing(&vec![0; size]), None, "{size}");
        assert_eq!(Buckets::new(size, Vec::new()), None, "{size}");
    }
    assert_eq!(Buckets::new(4, vec![0, 4]), None);
    let before = inventory.clone();
    let none = Buckets::new(256, Vec::new()).expect("a number of buckets");
    inventory.replace(&none, vec![held("smuggled", 1)]);
    assert_eq!(inventory, before);
}

#[test]
fn changes_are_taken_as_a_node_takes_them() {
    let object = |version: u64| {
        let text = format!(
            r#"{{"metadata":{{"name":"a","namespace":"ns","uid":"uid-a","resourceVersion":"{version}"}}}}"#
        );
        Object::parse(text).expect("an object")
    };
    let change = |kind, version| ObjectChange { kind, key: held("a", 0).key, object: object(version) };
    let mut inventory = Inventory::default();
    inventory.take(&change(ChangeKind::Insert, 1));
    inventory.take(&change(ChangeKind::Update, 2));
    assert_eq!(inventory.list(), [held("a", 2)]);
    inventory.take(&change(ChangeKind::Delete, 2));
    assert_eq!(inventory, Inventory::default());
}

proptest! {
    #[test]
    fn sums_follow_from_what_is_held_and_from_nothing_else(
        steps in proptest::collection::vec((0_u8..20, proptest::option::of(0_u64..3)), 0..60),
        buckets in 0_u32..9,
    ) {
        let mut inventory = Inventory::default();
        for (name, version) in steps {
            match version {
                Some(version) => inventory.insert(held(&name.to_string(), version)),
                None => inventory.remove(&held(&name.to_string(), 0).key),
            }
        }
        let mut list = inventory.list();
        list.reverse();
        let again: Inventory = list.into_iter().collect();
        prop_assert_eq!(&again, &inventory);
        let summary = inventory.sums_of(1 << buckets);
        prop_assert!(again.differing(&summary).expect("a summary").chosen().is_empty());
    }
}

//! What the node holds, and which changes are news to it.

use std::collections::BTreeMap;
use std::ops::Bound;

use protocol::{ChangeKind, Held, Object, ObjectChange, ObjectKey, ResourceType, ResourceVersion, Uid};

/// What is known of a held object without reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Holding {
    uid: Option<Uid>,
    version: Option<ResourceVersion>,
    readable: bool,
}

impl Holding {
    /// Which state it is is not known.
    const fn is_unsure(&self) -> bool {
        self.uid.is_none() && self.version.is_none()
    }
}

/// Says what to do with a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Keep it and tell everyone.
    News,
    /// A newer state is held: drop it.
    Stale,
}

/// The inventory of the store, as of the last change that was taken.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    holdings: BTreeMap<ObjectKey, Holding>,
}

impl Holdings {
    /// Judges a change.
    ///
    /// Versions order the states of one object only; two objects that followed each other under one
    /// name have different uids. The held version itself is news as well: whoever sends it again
    /// does not know that it arrived.
    pub(crate) fn judge(&self, change: &ObjectChange) -> Verdict {
        let Some(held) = self.holdings.get(&change.key) else { return Verdict::News };
        let (Some(held_uid), Some(uid)) = (&held.uid, change.object.uid()) else { return Verdict::News };
        match change.kind {
            ChangeKind::Delete if *held_uid != uid => Verdict::Stale,
            ChangeKind::Delete => Verdict::News,
            ChangeKind::Insert | ChangeKind::Update if *held_uid != uid => Verdict::News,
            ChangeKind::Insert | ChangeKind::Update => {
                let held = held.version.as_ref().and_then(ResourceVersion::number);
                let new = change.object.resource_version().and_then(|version| version.number());
                match (held, new) {
                    (Some(held), Some(new)) if new < held => Verdict::Stale,
                    _ => Verdict::News,
                }
            }
        }
    }

    /// Takes a change into the inventory.
    pub(crate) fn take(&mut self, change: &ObjectChange) {
        match change.kind {
            ChangeKind::Insert | ChangeKind::Update => self.hold(change.key.clone(), &change.object),
            ChangeKind::Delete => {
                self.holdings.remove(&change.key);
            }
        }
    }

    /// Notes an object that the store holds.
    pub(crate) fn hold(&mut self, key: ObjectKey, object: &Object) {
        let holding = Holding { uid: object.uid(), version: object.resource_version(), readable: true };
        self.holdings.insert(key, holding);
    }

    /// Notes that what lies under `key` cannot be relied on.
    ///
    /// It is listed without uid and version, so that the cloud sends the object again or, when it
    /// is gone, says so.
    pub(crate) fn distrust(&mut self, key: ObjectKey) {
        self.holdings.insert(key, Holding::default());
    }

    /// Notes that a state of the object is held, and that it may not be the one that was told last.
    ///
    /// It is listed as [`Self::distrust`] lists it, and read as any other.
    pub(crate) fn doubt(&mut self, key: ObjectKey) {
        self.holdings.insert(key, Holding { readable: true, ..Holding::default() });
    }

    /// Returns the keys whose states differ from what was known before.
    pub(crate) fn differences(&self, before: &Self) -> Vec<ObjectKey> {
        let known = before.holdings.iter().filter(|(key, held)| self.holdings.get(*key) != Some(*held));
        let found = self.holdings.keys().filter(|key| !before.holdings.contains_key(*key));
        known.map(|(key, _)| key).chain(found).cloned().collect()
    }

    /// Tells whether the store holds a usable state of the object.
    pub(crate) fn has(&self, key: &ObjectKey) -> bool {
        self.holdings.get(key).is_some_and(|held| held.readable)
    }

    /// Returns up to `most` objects that cannot be read, in order, those after `after`.
    pub(crate) fn unreadable(&self, after: Option<&ObjectKey>, most: usize) -> Vec<ObjectKey> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.holdings.range::<ObjectKey, _>((from, Bound::Unbounded));
        rest.filter(|(_, held)| !held.readable).map(|(key, _)| key.clone()).take(most).collect()
    }

    /// Tells whether an object is doubted or distrusted.
    pub(crate) fn is_unsure(&self, key: &ObjectKey) -> bool {
        self.holdings.get(key).is_some_and(Holding::is_unsure)
    }

    /// Returns what is doubted or distrusted, and nothing else.
    pub(crate) fn unsure(&self) -> Self {
        let unsure = self.holdings.iter().filter(|(_, held)| held.is_unsure());
        Self { holdings: unsure.map(|(key, held)| (key.clone(), held.clone())).collect() }
    }

    /// Returns what is held here and not in `other`.
    pub(crate) fn absent_from<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a ObjectKey> {
        self.holdings.keys().filter(|key| !other.holdings.contains_key(key))
    }

    /// Returns the keys of one type, in order.
    pub(crate) fn keys(&self, resource: &ResourceType) -> Vec<ObjectKey> {
        self.holdings.keys().filter(|key| key.resource == *resource).cloned().collect()
    }

    pub(crate) fn list(&self) -> Vec<Held> {
        self.holdings
            .iter()
            .map(|(key, held)| Held {
                key: key.clone(),
                uid: held.uid.clone(),
                resource_version: held.version.clone(),
            })
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.holdings.len()
    }
}

#[cfg(test)]
mod tests {
    use protocol::ObjectName;
    use serde_json::json;

    use super::*;

    fn change(kind: ChangeKind, uid: &str, version: &str) -> ObjectChange {
        let mut metadata = json!({ "name": "a", "namespace": "b" });
        if !uid.is_empty() {
            metadata["uid"] = json!(uid);
        }
        if !version.is_empty() {
            metadata["resourceVersion"] = json!(version);
        }
        let object = Object::from_value(&json!({ "metadata": metadata })).expect("it is an object");
        ObjectChange { kind, key: object.key(ResourceType::POD).expect("valid names"), object }
    }

    #[test]
    fn only_what_is_older_than_the_held_state_is_dropped() {
        use ChangeKind::{Delete, Insert, Update};
        use Verdict::{News, Stale};
        let cases = [
            ("a newer state", ("u1", "5"), (Update, "u1", "6"), News),
            ("a newer state, said as an insert", ("u1", "5"), (Insert, "u1", "6"), News),
            ("the same state again", ("u1", "5"), (Update, "u1", "5"), News),
            ("an older state", ("u1", "5"), (Update, "u1", "4"), Stale),
            ("an older state, said as an insert", ("u1", "5"), (Insert, "u1", "4"), Stale),
            ("versions are numbers, not texts", ("u1", "9"), (Update, "u1", "10"), News),
            ("another object under the name", ("u1", "5"), (Insert, "u2", "3"), News),
            ("a version that is no number", ("u1", "5"), (Update, "u1", "x"), News),
            ("a held version that is no number", ("u1", "x"), (Update, "u1", "5"), News),
            ("a state without uid", ("u1", "5"), (Update, "", "4"), News),
            ("its deletion", ("u1", "5"), (Delete, "u1", ""), News),
            ("its deletion, told without uid", ("u1", "5"), (Delete, "", ""), News),
            ("the deletion of its predecessor", ("u2", "5"), (Delete, "u1", "9"), Stale),
            ("a deletion where the held uid is unknown", ("", "5"), (Delete, "u1", "9"), News),
        ];
        for (what, (held_uid, held_version), (kind, uid, version), expected) in cases {
            let mut holdings = Holdings::default();
            holdings.take(&change(Insert, held_uid, held_version));
            assert_eq!(holdings.judge(&change(kind, uid, version)), expected, "{what}");
        }
    }

    #[test]
    fn what_is_not_held_is_news_and_so_is_its_deletion() {
        let holdings = Holdings::default();
        for kind in [ChangeKind::Insert, ChangeKind::Update, ChangeKind::Delete] {
            assert_eq!(holdings.judge(&change(kind, "u1", "1")), Verdict::News, "{kind:?}");
        }
    }

    #[test]
    fn a_distrusted_object_is_listed_without_version_and_takes_any_state() {
        let mut holdings = Holdings::default();
        let newest = change(ChangeKind::Insert, "u1", "5");
        holdings.take(&newest);
        holdings.distrust(newest.key.clone());
        assert!(!holdings.has(&newest.key));
        assert_eq!(holdings.list(), [Held { key: newest.key.clone(), uid: None, resource_version: None }]);
        assert_eq!(holdings.judge(&change(ChangeKind::Update, "u1", "4")), Verdict::News);
    }

    #[test]
    fn what_is_not_as_it_was_known_before_is_found() {
        let holdings = |held: &[(&str, &str)]| {
            let mut holdings = Holdings::default();
            for (name, version) in held {
                let metadata =
                    json!({ "name": name, "namespace": "b", "uid": "u1", "resourceVersion": version });
                let object = Object::from_value(&json!({ "metadata": metadata })).expect("it is an object");
                holdings.hold(object.key(ResourceType::POD).expect("valid names"), &object);
            }
            holdings
        };
        let before = holdings(&[("same", "1"), ("older", "2"), ("lost", "1")]);
        let mut after = holdings(&[("same", "1"), ("older", "1"), ("found", "1")]);
        let differing = after.differences(&before);
        let names: Vec<_> = differing.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["lost", "older", "found"]);
        for key in differing {
            after.doubt(key.clone());
            assert!(after.has(&key), "it is read");
        }
        let told: Vec<_> = after.list().into_iter().filter(|held| held.uid.is_some()).collect();
        assert_eq!(told.len(), 1, "nothing is said of what differs but that it is there: {told:?}");
    }

    #[test]
    fn a_deletion_leaves_nothing() {
        let mut holdings = Holdings::default();
        holdings.take(&change(ChangeKind::Insert, "u1", "5"));
        holdings.take(&change(ChangeKind::Delete, "u1", ""));
        assert_eq!(holdings.len(), 0);
        let name = ObjectName::parse("a").expect("a valid name");
        assert!(!holdings.has(&ObjectKey { resource: ResourceType::POD, namespace: None, name }));
    }
}

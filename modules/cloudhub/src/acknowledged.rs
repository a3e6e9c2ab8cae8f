//! What a node has acknowledged and nobody was told yet.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::cloud::Acknowledged;
use protocol::{ObjectChange, ObjectKey, Uid};

/// How long acknowledgements are collected before they are told, so that many are one message.
const PAUSE: Duration = Duration::from_secs(1);
/// How many objects may wait to be told of. Beyond that the first ones are forgotten.
const OBJECTS_MAX: usize = 8192;

/// The newest acknowledgement of each object. An object of the same key with another uid is another.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    objects: BTreeMap<(ObjectKey, Option<Uid>), Acknowledged>,
    due: Option<Duration>,
}

impl Collected {
    /// Notes that the node acknowledged a change, at a time since the session began.
    pub(crate) fn add(&mut self, change: &ObjectChange, now: Duration) {
        let Some(acknowledged) = Acknowledged::of(change) else { return };
        self.objects.insert((change.key.clone(), change.object.uid()), acknowledged);
        if self.objects.len() > OBJECTS_MAX {
            self.objects.pop_first();
        }
        self.due.get_or_insert(now + PAUSE);
    }

    /// Returns when there is something to tell.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Returns all that waits. Until it is forgotten it goes on waiting, and is due again.
    pub(crate) fn offer(&mut self, now: Duration) -> Vec<Acknowledged> {
        self.due = (!self.objects.is_empty()).then_some(now + PAUSE);
        self.objects.values().cloned().collect()
    }

    /// Forgets what was told.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ChangeKind, Object, ResourceType};

    use super::*;

    fn change(name: &str, uid: &str, version: usize) -> ObjectChange {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "uid": uid, "resourceVersion": version.to_string() },
        });
        let object = Object::from_value(&object).expect("an object");
        ObjectChange { kind: ChangeKind::Update, key: object.key(ResourceType::POD).expect("a key"), object }
    }

    #[test]
    fn what_found_no_room_waits_and_the_newest_takes_its_place() {
        let (mut collected, second) = (Collected::default(), Duration::from_secs(1));
        collected.add(&change("a", "u", 1), second);
        collected.add(&change("a", "v", 1), second);
        assert_eq!(collected.due(), Some(2 * second));
        assert_eq!(collected.offer(2 * second).len(), 2, "they are two objects");
        assert_eq!(collected.due(), Some(3 * second));
        collected.add(&change("a", "u", 2), 3 * second);
        let versions = collected.offer(3 * second).into_iter().map(|told| match told {
            Acknowledged::Kept(kept) => kept.version.to_string(),
            Acknowledged::Gone { .. } => panic!("nothing is gone"),
        });
        assert_eq!(versions.collect::<Vec<_>>(), ["2", "1"]);
        collected.forget();
        assert_eq!((collected.due(), collected.offer(4 * second).len()), (None, 0));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut collected = Collected::default();
        for number in 0..=OBJECTS_MAX {
            collected.add(&change(&format!("p{number}"), &format!("u{number}"), number), Duration::ZERO);
        }
        assert_eq!(collected.offer(Duration::ZERO).len(), OBJECTS_MAX);
    }
}

//! What a node acknowledged to the cloud, read from the frames, against what is on its disk.

use std::collections::BTreeMap;

use protocol::{
    ChangeKind, Held, Namespace, NodeReply, Object, ObjectChange, ObjectKey, ObjectName, ResourceType,
    ResourceVersion, Uid,
};
use wire::codec::{CloudFrame, EdgeFrame};
use wire::link::Frame;
use wire::{Codec, Downlink, MessageId, Uplink};

use crate::link::Direction;

/// The tree of an edge's store that has the objects.
pub(crate) const HELD: &str = "metamanager.objects";

/// Reads a record of the tree [`HELD`]: type, namespace and name with zero bytes between, and a format byte
/// before the object. One that cannot be read is held in no version.
pub(crate) fn read(key: &[u8], value: Option<&[u8]>) -> Option<Held> {
    let mut parts = std::str::from_utf8(key).ok()?.split('\0');
    let (resource, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    let namespace = match namespace {
        "" => None,
        namespace => Some(Namespace::parse(namespace).ok()?),
    };
    let (resource, name) = (ResourceType::parse(resource).ok()?, ObjectName::parse(name).ok()?);
    let object = value.and_then(|value| Object::parse(value.get(1..)?.to_vec()).ok());
    Some(Held {
        key: ObjectKey { resource, namespace, name },
        uid: object.as_ref().and_then(Object::uid),
        resource_version: object.as_ref().and_then(Object::resource_version),
    })
}

/// A state of one object that was sent to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    kind: ChangeKind,
    key: ObjectKey,
    uid: Option<Uid>,
    version: Option<u64>,
}

impl Sent {
    fn of(change: &ObjectChange) -> Self {
        Self {
            kind: change.kind,
            key: change.key.clone(),
            uid: change.object.uid(),
            version: change.object.resource_version().as_ref().and_then(ResourceVersion::number),
        }
    }
}

/// What is known of one node.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// What was sent in this session, each with its number in the order of sending.
    sent: BTreeMap<MessageId, (u64, Sent)>,
    count: u64,
    /// What was acknowledged last of each key, and its number.
    acknowledged: BTreeMap<ObjectKey, (u64, Sent)>,
    /// The last state of each key that was sent and is no end, by its number: it may be on the disk, or
    /// not, before it is acknowledged, and so may be an end that was sent after it.
    states: BTreeMap<ObjectKey, u64>,
    /// The same for objects that a node asked for, by their uid.
    answers: BTreeMap<Uid, u64>,
    /// The last end that was sent of each key, by its number, until it or something later is acknowledged:
    /// the acknowledgement may be lost, and so may be what was sent after it.
    ends: BTreeMap<ObjectKey, u64>,
}

impl Acknowledged {
    /// Takes a frame as its sender let it go. A node that begins a session is checked: `held` reads what is
    /// on its disk and would survive a crash.
    pub(crate) fn take(
        &mut self,
        codec: Codec,
        direction: Direction,
        frame: &Frame,
        held: impl FnOnce() -> Vec<Held>,
    ) -> Option<Result<(), String>> {
        match direction {
            Direction::Down => {
                if let Ok(CloudFrame::Down(envelope)) = codec.decode_cloud(frame) {
                    match envelope.body {
                        Downlink::Change { change, .. } => self.send(envelope.id, &change),
                        Downlink::Reply { reply: NodeReply::Object(object), .. } => self.answer(&object),
                        _ => {}
                    }
                }
                None
            }
            Direction::Up => match codec.decode_edge(frame) {
                Ok(EdgeFrame::Up(envelope)) => {
                    if let Uplink::Ack { parent, .. } = envelope.body {
                        self.acknowledge(&parent);
                    }
                    None
                }
                Ok(EdgeFrame::Hello(_)) => {
                    self.sent.clear();
                    Some(self.compare(&held()))
                }
                _ => None,
            },
        }
    }

    fn send(&mut self, id: MessageId, change: &ObjectChange) {
        self.count += 1;
        let of = if change.kind == ChangeKind::Delete { &mut self.ends } else { &mut self.states };
        of.insert(change.key.clone(), self.count);
        self.sent.insert(id, (self.count, Sent::of(change)));
    }

    /// A node keeps what it asked for, whether it was told of it or not: a pod may need it at once. Pods it
    /// never asks for; they come as answers to what it says of them.
    fn answer(&mut self, object: &Object) {
        if let Some(uid) = object.uid().filter(|_| object.kind() != Some("Pod")) {
            self.count += 1;
            self.answers.insert(uid, self.count);
        }
    }

    fn acknowledge(&mut self, id: &MessageId) {
        let Some((number, sent)) = self.sent.remove(id) else { return };
        if self.ends.get(&sent.key).is_some_and(|end| *end <= number) {
            self.ends.remove(&sent.key);
        }
        let is_older = self.acknowledged.get(&sent.key).is_some_and(|(_, known)| match sent.kind {
            // The end of an object that another has followed. One without a uid ends whatever is there: so
            // the cloud answers a node that no longer knows which object it holds.
            ChangeKind::Delete => sent.uid.is_some() && known.uid != sent.uid,
            ChangeKind::Insert | ChangeKind::Update => known.uid == sent.uid && known.version > sent.version,
        });
        if !is_older {
            self.acknowledged.insert(sent.key.clone(), (number, sent));
        }
    }

    fn compare(&self, held: &[Held]) -> Result<(), String> {
        let held: BTreeMap<&ObjectKey, &Held> = held.iter().map(|held| (&held.key, held)).collect();
        for (key, (number, acknowledged)) in &self.acknowledged {
            let answered = acknowledged.uid.as_ref().and_then(|uid| self.answers.get(uid));
            let came_back = self.states.get(key).max(answered).is_some_and(|state| state > number);
            match (acknowledged.kind, held.get(key)) {
                (ChangeKind::Delete, Some(found))
                    if !came_back && found.uid.is_some() && found.uid == acknowledged.uid =>
                {
                    return Err(format!("{key} was acknowledged as deleted and is held"));
                }
                (ChangeKind::Delete, _) => {}
                (_, None) if self.ends.contains_key(key) => {}
                (_, None) => return Err(format!("{key} was acknowledged and is not held")),
                (_, Some(found)) => check_version(key, acknowledged, found)?,
            }
        }
        Ok(())
    }
}

/// A record that the node cannot read it lists without a version, to be sent again.
fn check_version(key: &ObjectKey, acknowledged: &Sent, found: &Held) -> Result<(), String> {
    let version = found.resource_version.as_ref().and_then(ResourceVersion::number);
    let (Some(version), Some(expected)) = (version, acknowledged.version) else { return Ok(()) };
    if found.uid == acknowledged.uid && version < expected {
        return Err(format!("{key} was acknowledged at version {expected} and is held at {version}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(uid: &str, version: u64) -> Object {
        let metadata = json!({
            "name": "a", "namespace": "default", "uid": uid, "resourceVersion": version.to_string(),
        });
        Object::parse(json!({ "kind": "ConfigMap", "metadata": metadata }).to_string()).expect("an object")
    }

    fn change(kind: ChangeKind, uid: &str, version: u64) -> ObjectChange {
        let object = object(uid, version);
        let key = object.key(ResourceType::CONFIG_MAP).expect("valid names");
        ObjectChange { kind, key, object }
    }

    fn held(uid: &str, version: u64) -> Held {
        let object = object(uid, version);
        Held {
            key: object.key(ResourceType::CONFIG_MAP).expect("valid names"),
            uid: object.uid(),
            resource_version: object.resource_version(),
        }
    }

    /// Sends changes, of which the first `acknowledged` are acknowledged.
    fn node(changes: &[ObjectChange], acknowledged: usize) -> Acknowledged {
        let mut node = Acknowledged::default();
        for (number, change) in changes.iter().enumerate() {
            let id = MessageId::new(&number.to_string());
            node.send(id.clone(), change);
            if number < acknowledged {
                node.acknowledge(&id);
            }
        }
        node
    }

    #[test]
    fn what_was_acknowledged_must_be_held_at_that_version_or_a_newer_one() {
        use ChangeKind::{Delete, Insert, Update};
        let first = [change(Insert, "u", 5), change(Update, "u", 7), change(Delete, "u", 8)];
        // A config map that nothing on the node needs is taken from it, and comes back with the next pod.
        let changes = [first.as_slice(), &[change(Insert, "u", 9), change(Delete, "u", 10)]].concat();
        let check = |acknowledged: usize, sent: usize, held: &[Held], expect: bool| {
            let outcome = node(&changes[..sent], acknowledged).compare(held);
            assert_eq!(outcome.is_ok(), expect, "{acknowledged} {sent} {held:?} {outcome:?}");
        };
        check(0, 1, &[], true);
        check(1, 1, &[], false);
        check(1, 1, &[held("u", 5)], true);
        check(1, 2, &[held("u", 7)], true);
        check(2, 2, &[held("u", 5)], false);
        check(2, 3, &[], true);
        check(2, 3, &[held("u", 7)], true);
        check(3, 3, &[], true);
        check(3, 3, &[held("u", 7)], false);
        check(3, 3, &[held("v", 9)], true);
        check(3, 4, &[held("u", 9)], true);
        check(3, 4, &[], true);
        check(2, 4, &[], true);
        check(1, 4, &[held("u", 5)], true);
        check(4, 4, &[], false);
        check(3, 5, &[held("u", 9)], true);
        check(4, 5, &[held("u", 9)], true);
        check(4, 5, &[], true);
        check(5, 5, &[], true);
        check(5, 5, &[held("u", 9)], false);
    }

    #[test]
    fn what_a_node_asked_for_after_its_end_may_be_held() {
        use ChangeKind::{Delete, Insert};
        let mut node = node(&[change(Insert, "u", 5), change(Delete, "u", 5)], 2);
        assert!(node.compare(&[held("u", 5)]).is_err());
        node.answer(&object("v", 6));
        assert!(node.compare(&[held("u", 5)]).is_err());
        node.answer(&object("u", 5));
        assert_eq!(node.compare(&[held("u", 5)]), Ok(()));
        assert_eq!(node.compare(&[]), Ok(()));
    }

    #[test]
    fn an_end_without_a_uid_is_the_end_of_whatever_was_held() {
        use ChangeKind::{Delete, Insert};
        let end_of = |uid: &str| node(&[change(Insert, "u", 5), change(Delete, uid, 8)], 2);
        assert_eq!(end_of("").compare(&[]), Ok(()));
        assert!(end_of("").compare(&[held("u", 5)]).is_ok(), "the check is not told which object it was");
        assert!(end_of("v").compare(&[]).is_err(), "the end of another object takes nothing away");
    }
}

//! Changes on their way to the cloud hub.

use std::collections::{BTreeMap, VecDeque};

use protocol::{NodeName, ObjectChange, ObjectKey};

/// How many changes are handed over at once.
const BATCH: usize = 64;

/// Changes of one node, handed over together.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) node: NodeName,
    /// The session that they were meant for.
    pub(crate) session: u64,
    pub(crate) changes: Vec<ObjectChange>,
}

#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<ObjectKey>,
    changes: BTreeMap<ObjectKey, ObjectChange>,
}

/// The changes that wait, by node: of each object only its newest, in the place of its oldest.
///
/// One parcel is under way at a time, and nodes take turns.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queues: BTreeMap<NodeName, Queue>,
    turns: VecDeque<NodeName>,
    under_way: bool,
}

impl Outbox {
    pub(crate) fn push(&mut self, node: &NodeName, change: ObjectChange) {
        let queue = self.queues.entry(node.clone()).or_default();
        if queue.order.is_empty() {
            self.turns.push_back(node.clone());
        }
        if queue.changes.insert(change.key.clone(), change.clone()).is_none() {
            queue.order.push_back(change.key);
        }
    }

    /// Drops what waits for a node.
    pub(crate) fn clear(&mut self, node: &NodeName) {
        self.queues.remove(node);
        self.turns.retain(|turn| turn != node);
    }

    /// Takes the next parcel, unless one is under way. `session` tells a node's session; what waits
    /// for a node without one is dropped.
    pub(crate) fn take(&mut self, session: impl Fn(&NodeName) -> Option<u64>) -> Option<Parcel> {
        if self.under_way {
            return None;
        }
        while let Some(node) = self.turns.pop_front() {
            let Some(mut queue) = self.queues.remove(&node) else { continue };
            let Some(session) = session(&node) else { continue };
            let keys: Vec<ObjectKey> = queue.order.drain(..BATCH.min(queue.order.len())).collect();
            let changes = keys.iter().filter_map(|key| queue.changes.remove(key)).collect();
            if !queue.order.is_empty() {
                self.queues.insert(node.clone(), queue);
                self.turns.push_back(node.clone());
            }
            self.under_way = true;
            return Some(Parcel { node, session, changes });
        }
        None
    }

    /// Notes that no parcel is under way any more.
    pub(crate) fn arrived(&mut self) {
        self.under_way = false;
    }

    /// Takes back what could not be handed over. It goes first, but gives way to what is newer.
    /// The parcel stays under way until [`Outbox::arrived`].
    pub(crate) fn put_back(&mut self, node: &NodeName, changes: Vec<ObjectChange>) {
        let queue = self.queues.entry(node.clone()).or_default();
        if queue.order.is_empty() {
            self.turns.push_back(node.clone());
        }
        for change in changes.into_iter().rev() {
            if !queue.changes.contains_key(&change.key) {
                queue.order.push_front(change.key.clone());
                queue.changes.insert(change.key.clone(), change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ChangeKind, Object, ResourceType};

    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).expect("a valid name")
    }

    fn change(kind: ChangeKind, name: &str) -> ObjectChange {
        let object =
            Object::parse(format!(r#"{{"metadata":{{"name":"{name}"}}}}"#)).expect("it is an object");
        ObjectChange { kind, key: object.key(ResourceType::POD).expect("a valid name"), object }
    }

    fn contents(parcel: Option<&Parcel>) -> Vec<String> {
        let changes = parcel.into_iter().flat_map(|parcel| &parcel.changes);
        changes.map(|change| format!("{:?} {}", change.kind, change.key.name)).collect()
    }

    #[test]
    fn of_each_object_the_newest_change_travels() {
        let (mut outbox, n) = (Outbox::default(), node("n"));
        outbox.push(&n, change(ChangeKind::Insert, "a"));
        outbox.push(&n, change(ChangeKind::Insert, "b"));
        outbox.push(&n, change(ChangeKind::Delete, "a"));
        let parcel = outbox.take(|_| Some(1));
        assert_eq!(contents(parcel.as_ref()), ["Delete a", "Insert b"]);
        outbox.push(&n, change(ChangeKind::Insert, "c"));
        assert!(outbox.take(|_| Some(1)).is_none(), "one is under way");
        outbox.arrived();
        assert_eq!(contents(outbox.take(|_| Some(1)).as_ref()), ["Insert c"]);
    }

    #[test]
    fn nodes_take_turns() {
        let (mut outbox, n, m) = (Outbox::default(), node("n"), node("m"));
        for index in 0..=BATCH {
            outbox.push(&n, change(ChangeKind::Insert, &format!("p{index}")));
        }
        outbox.push(&m, change(ChangeKind::Insert, "q"));
        let turns: Vec<(String, usize)> = std::iter::from_fn(|| {
            outbox.arrived();
            outbox.take(|_| Some(1)).map(|parcel| (parcel.node.to_string(), parcel.changes.len()))
        })
        .collect();
        assert_eq!(turns, [("n".to_owned(), BATCH), ("m".to_owned(), 1), ("n".to_owned(), 1)]);
    }

    #[test]
    fn what_was_not_handed_over_goes_first_unless_it_is_outdated() {
        let (mut outbox, n) = (Outbox::default(), node("n"));
        outbox.push(&n, change(ChangeKind::Insert, "a"));
        outbox.push(&n, change(ChangeKind::Insert, "b"));
        let parcel = outbox.take(|_| Some(1)).expect("a parcel");
        outbox.push(&n, change(ChangeKind::Delete, "b"));
        outbox.push(&n, change(ChangeKind::Insert, "c"));
        outbox.put_back(&n, parcel.changes);
        assert!(outbox.take(|_| Some(1)).is_none(), "there is a pause first");
        outbox.arrived();
        assert_eq!(contents(outbox.take(|_| Some(1)).as_ref()), ["Insert a", "Delete b", "Insert c"]);
    }

    #[test]
    fn nothing_is_kept_for_a_node_without_session() {
        let (mut outbox, n) = (Outbox::default(), node("n"));
        outbox.push(&n, change(ChangeKind::Insert, "a"));
        assert!(outbox.take(|_| None).is_none());
        assert!(outbox.take(|_| Some(1)).is_none());
        outbox.push(&n, change(ChangeKind::Insert, "a"));
        outbox.clear(&n);
        assert!(outbox.take(|_| Some(1)).is_none());
    }
}

//! Changes on their way to the cloud hub.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::{NodeName, ObjectChange, ObjectKey, Uid};

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

/// More bytes wait for a node than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug)]
struct Waiting {
    change: ObjectChange,
    /// What it counts for.
    bytes: usize,
}

/// An object: one that is made anew under a name is another.
type Identity = (ObjectKey, Option<Uid>);

fn identity(change: &ObjectChange) -> Identity {
    (change.key.clone(), change.object.uid())
}

#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<Identity>,
    changes: BTreeMap<Identity, Waiting>,
    bytes: usize,
}

impl Queue {
    fn insert(&mut self, change: ObjectChange, bytes: usize) {
        let key = identity(&change);
        let replaced = self.changes.insert(key.clone(), Waiting { change, bytes });
        self.bytes += bytes;
        match replaced {
            Some(older) => self.bytes -= older.bytes,
            None => self.order.push_back(key),
        }
    }

    fn take(&mut self, key: &Identity) -> Option<ObjectChange> {
        let Waiting { change, bytes } = self.changes.remove(key)?;
        self.bytes -= bytes;
        Some(change)
    }
}

/// The changes that wait, by node: of each object only its newest, in the place of its oldest.
///
/// One parcel is under way at a time, and nodes take turns.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The bytes that may wait for each node.
    bytes_max: usize,
    queues: BTreeMap<NodeName, Queue>,
    turns: VecDeque<NodeName>,
    /// The nodes for which the cloud hub has no room at present. They have no turns.
    held_up: BTreeSet<NodeName>,
    /// Whose parcel is under way.
    under_way: Option<NodeName>,
}

impl Outbox {
    /// Makes an empty outbox, in which so many bytes may wait for each node.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            queues: BTreeMap::new(),
            turns: VecDeque::new(),
            held_up: BTreeSet::new(),
            under_way: None,
        }
    }

    /// Takes a change, or says that too much waits for its node.
    pub(crate) fn push(&mut self, node: &NodeName, change: ObjectChange) -> Result<(), Full> {
        let bytes = change.bytes();
        let queue = self.queue(node);
        queue.insert(change, bytes);
        let waiting = queue.bytes;
        if waiting > self.bytes_max { Err(Full) } else { Ok(()) }
    }

    /// Takes a change whose object costs nothing here, since it is kept elsewhere.
    pub(crate) fn push_known(&mut self, node: &NodeName, change: ObjectChange) {
        self.queue(node).insert(change, 0);
    }

    fn queue(&mut self, node: &NodeName) -> &mut Queue {
        let queue = self.queues.entry(node.clone()).or_default();
        if queue.order.is_empty() && !self.held_up.contains(node) {
            self.turns.push_back(node.clone());
        }
        queue
    }

    /// Notes that there is no room for more of a node.
    pub(crate) fn hold_up(&mut self, node: &NodeName) {
        self.held_up.insert(node.clone());
        self.turns.retain(|turn| turn != node);
    }

    /// Notes that there is room for a node again.
    pub(crate) fn let_go(&mut self, node: &NodeName) {
        if self.held_up.remove(node) && self.queues.contains_key(node) {
            self.turns.push_back(node.clone());
        }
    }

    /// Tells whether anything is on its way to the cloud hub for a node.
    pub(crate) fn has(&self, node: &NodeName) -> bool {
        self.queues.contains_key(node) || self.under_way.as_ref() == Some(node)
    }

    /// Drops what waits for a node.
    pub(crate) fn clear(&mut self, node: &NodeName) {
        self.queues.remove(node);
        self.held_up.remove(node);
        self.turns.retain(|turn| turn != node);
    }

    /// Takes the next parcel, unless one is under way. `session` tells a node's session; what waits
    /// for a node without one is dropped.
    pub(crate) fn take(&mut self, session: impl Fn(&NodeName) -> Option<u64>) -> Option<Parcel> {
        if self.under_way.is_some() {
            return None;
        }
        while let Some(node) = self.turns.pop_front() {
            let Some(mut queue) = self.queues.remove(&node) else { continue };
            let Some(session) = session(&node) else { continue };
            let keys: Vec<Identity> = queue.order.drain(..BATCH.min(queue.order.len())).collect();
            let changes = keys.iter().filter_map(|key| queue.take(key)).collect();
            if !queue.order.is_empty() {
                self.queues.insert(node.clone(), queue);
                self.turns.push_back(node.clone());
            }
            self.under_way = Some(node.clone());
            return Some(Parcel { node, session, changes });
        }
        None
    }

    /// Notes that no parcel is under way any more.
    pub(crate) fn arrived(&mut self) {
        self.under_way = None;
    }

    /// Takes back what could not be handed over. It goes first, but gives way to what is newer, and does
    /// not count: there is one parcel of it.
    /// The parcel stays under way until [`Outbox::arrived`].
    pub(crate) fn put_back(&mut self, node: &NodeName, changes: Vec<ObjectChange>) {
        let queue = self.queue(node);
        for change in changes.into_iter().rev() {
            let key = identity(&change);
            if !queue.changes.contains_key(&key) {
                queue.order.push_front(key.clone());
                queue.changes.insert(key, Waiting { change, bytes: 0 });
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
        let (mut outbox, n) = (Outbox::new(1 << 20), node("n"));
        outbox.push(&n, change(ChangeKind::Insert, "a")).expect("room");
        outbox.push(&n, change(ChangeKind::Insert, "b")).expect("room");
        outbox.push(&n, change(ChangeKind::Delete, "a")).expect("room");
        let parcel = outbox.take(|_| Some(1));
        assert_eq!(contents(parcel.as_ref()), ["Delete a", "Insert b"]);
        outbox.push(&n, change(ChangeKind::Insert, "c")).expect("room");
        assert!(outbox.take(|_| Some(1)).is_none(), "one is under way");
        outbox.arrived();
        assert_eq!(contents(outbox.take(|_| Some(1)).as_ref()), ["Insert c"]);
    }

    #[test]
    fn an_object_that_was_made_anew_is_another() {
        let (mut outbox, n) = (Outbox::new(1 << 20), node("n"));
        let of = |kind, uid: &str| {
            let object = format!(r#"{{"metadata":{{"name":"a","uid":"{uid}"}}}}"#);
            let object = Object::parse(object).expect("it is an object");
            ObjectChange { kind, key: object.key(ResourceType::POD).expect("a valid name"), object }
        };
        for change in [of(ChangeKind::Update, "u"), of(ChangeKind::Delete, "u"), of(ChangeKind::Insert, "v")]
        {
            outbox.push(&n, change).expect("room");
        }
        let parcel = outbox.take(|_| Some(1));
        assert_eq!(contents(parcel.as_ref()), ["Delete a", "Insert a"]);
    }

    #[test]
    fn nodes_take_turns() {
        let (mut outbox, n, m) = (Outbox::new(1 << 20), node("n"), node("m"));
        for index in 0..=BATCH {
            outbox.push(&n, change(ChangeKind::Insert, &format!("p{index}"))).expect("room");
        }
        outbox.push(&m, change(ChangeKind::Insert, "q")).expect("room");
        let turns: Vec<(String, usize)> = std::iter::from_fn(|| {
            outbox.arrived();
            outbox.take(|_| Some(1)).map(|parcel| (parcel.node.to_string(), parcel.changes.len()))
        })
        .collect();
        assert_eq!(turns, [("n".to_owned(), BATCH), ("m".to_owned(), 1), ("n".to_owned(), 1)]);
    }

    #[test]
    fn what_was_not_handed_over_goes_first_unless_it_is_outdated() {
        let (mut outbox, n) = (Outbox::new(1 << 20), node("n"));
        outbox.push(&n, change(ChangeKind::Insert, "a")).expect("room");
        outbox.push(&n, change(ChangeKind::Insert, "b")).expect("room");
        let parcel = outbox.take(|_| Some(1)).expect("a parcel");
        outbox.push(&n, change(ChangeKind::Delete, "b")).expect("room");
        outbox.push(&n, change(ChangeKind::Insert, "c")).expect("room");
        outbox.put_back(&n, parcel.changes);
        assert!(outbox.take(|_| Some(1)).is_none(), "there is a pause first");
        outbox.arrived();
        assert_eq!(contents(outbox.take(|_| Some(1)).as_ref()), ["Insert a", "Delete b", "Insert c"]);
    }

    #[test]
    fn nothing_is_kept_for_a_node_without_session() {
        let (mut outbox, n) = (Outbox::new(1 << 20), node("n"));
        outbox.push(&n, change(ChangeKind::Insert, "a")).expect("room");
        assert!(outbox.take(|_| None).is_none());
        assert!(outbox.take(|_| Some(1)).is_none());
        outbox.push(&n, change(ChangeKind::Insert, "a")).expect("room");
        outbox.clear(&n);
        assert!(outbox.take(|_| Some(1)).is_none());
    }

    #[test]
    fn a_node_without_room_has_no_turns_and_keeps_what_waits() {
        let (mut outbox, n, m) = (Outbox::new(1 << 20), node("n"), node("m"));
        for name in ["a", "b"] {
            outbox.push(&n, change(ChangeKind::Insert, name)).expect("room");
        }
        let parcel = outbox.take(|_| Some(1)).expect("a parcel");
        outbox.put_back(&n, parcel.changes);
        outbox.hold_up(&n);
        outbox.arrived();
        outbox.push(&n, change(ChangeKind::Insert, "c")).expect("room");
        outbox.push(&m, change(ChangeKind::Insert, "q")).expect("room");
        assert_eq!(contents(outbox.take(|_| Some(1)).as_ref()), ["Insert q"], "others go on");
        outbox.arrived();
        assert!(outbox.take(|_| Some(1)).is_none() && outbox.has(&n));
        outbox.let_go(&n);
        outbox.let_go(&n);
        assert_eq!(contents(outbox.take(|_| Some(1)).as_ref()), ["Insert a", "Insert b", "Insert c"]);
        outbox.hold_up(&n);
        outbox.arrived();
        outbox.push(&n, change(ChangeKind::Insert, "d")).expect("room");
        assert!(outbox.take(|_| Some(1)).is_none(), "nothing waited when it was held up");
        outbox.clear(&n);
        outbox.push(&n, change(ChangeKind::Insert, "e")).expect("room");
        assert_eq!(contents(outbox.take(|_| Some(1)).as_ref()), ["Insert e"], "another session has room");
    }

    #[test]
    fn what_waits_for_a_node_is_bounded_in_bytes_but_for_what_is_kept_anyway() {
        let (n, m) = (node("n"), node("m"));
        let mut outbox = Outbox::new(2 * (ObjectChange::BYTES_BESIDE + 100));
        for name in ["a", "b", "a", "b", "a"] {
            outbox.push(&n, change(ChangeKind::Update, name)).expect("only the newest counts");
        }
        for index in 0..100 {
            outbox.push_known(&m, change(ChangeKind::Insert, &format!("p{index}")));
        }
        outbox.push(&m, change(ChangeKind::Insert, "q")).expect("only what is more than known counts");
        assert_eq!(outbox.push(&n, change(ChangeKind::Update, "c")), Err(Full));
        outbox.clear(&n);
        assert!(!outbox.has(&n) && outbox.has(&m));
        outbox.push(&n, change(ChangeKind::Update, "c")).expect("room again");
    }
}

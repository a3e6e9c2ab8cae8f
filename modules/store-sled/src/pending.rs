//! What was committed and is not in sled yet.

use std::collections::BTreeMap;
use std::ops::Bound;

use ::store::{Batch, Write};
use bytes::Bytes;

use crate::record::{encode_key, encode_value};

/// A batch that is larger than this is a large one.
const LARGE_BYTES: usize = 64 << 10;

/// The newest change of a key.
#[derive(Debug, Clone)]
struct Change {
    /// The number of its batch.
    number: u64,
    /// `None` where the key is removed.
    value: Option<Bytes>,
}

/// The newest change of each key, by the key that it has in sled. Batches that follow one another are
/// written as one.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    changes: BTreeMap<Bytes, Change>,
    bytes: usize,
    /// The bytes of large batches that were not taken yet.
    large: usize,
}

/// Changes that are written as one.
#[derive(Debug)]
pub(crate) struct Together {
    pub(crate) changes: sled::Batch,
    /// The bytes of the large batches among them.
    pub(crate) large: usize,
}

impl Pending {
    /// Takes the batch of a number, which is greater than those before.
    pub(crate) fn add(&mut self, batch: &Batch, number: u64) {
        let mut bytes = 0;
        for write in batch.writes() {
            let (key, value) = match write {
                Write::Put { tree, key, value } => (encode_key(tree, key), Some(value.clone())),
                Write::Remove { tree, key } => (encode_key(tree, key), None),
            };
            let size = size(&key, value.as_ref());
            bytes += size;
            self.bytes += size;
            let key = Bytes::from(key);
            if let Some(before) = self.changes.insert(key.clone(), Change { number, value }) {
                self.bytes -= self::size(&key, before.value.as_ref());
            }
        }
        if bytes > LARGE_BYTES {
            self.large += bytes;
        }
    }

    /// Returns how much memory the changes take up, about.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns all changes. They stay until they are [taken out](Self::settle).
    pub(crate) fn together(&mut self) -> Together {
        let mut changes = sled::Batch::default();
        for (key, change) in &self.changes {
            match &change.value {
                Some(value) => changes.insert(&key[..], encode_value(key, value)),
                None => changes.remove(&key[..]),
            }
        }
        Together { changes, large: std::mem::take(&mut self.large) }
    }

    /// Takes out the changes that sled has: those of batches up to a number.
    pub(crate) fn settle(&mut self, number: u64) {
        let Self { changes, bytes, .. } = self;
        changes.retain(|key, change| {
            let stays = change.number > number;
            if !stays {
                *bytes -= size(key, change.value.as_ref());
            }
            stays
        });
    }

    /// Returns the change of a key: its value, or that it is removed.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.changes.get(key).map(|change| change.value.clone())
    }

    /// Returns the changes of keys from `start` on, in their order.
    pub(crate) fn range(&self, start: &[u8]) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        let from = (Bound::Included(start), Bound::Unbounded);
        self.changes.range::<[u8], _>(from).map(|(key, change)| (key, change.value.as_ref()))
    }
}

fn size(key: &[u8], value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pending: &Pending) -> Vec<(&[u8], Option<&[u8]>)> {
        pending.range(b"").map(|(key, value)| (&key[..], value.map(|value| &value[..]))).collect()
    }

    #[test]
    fn the_newest_change_of_a_key_stays_until_sled_has_it() {
        let mut pending = Pending::default();
        pending.add(&Batch::new().put("t", "a", "1").put("t", "b", "1").remove("t", "b"), 1);
        pending.add(&Batch::new().put("t", "b", "22"), 2);
        let _written = pending.together();
        pending.add(&Batch::new().put("t", "c", "3").put("t", "b", "4"), 3);
        assert_eq!(
            held(&pending),
            [(&b"t\0a"[..], Some(&b"1"[..])), (b"t\0b", Some(b"4")), (b"t\0c", Some(b"3"))]
        );
        assert_eq!(pending.get(b"t\0b"), Some(Some(Bytes::from("4"))));
        pending.settle(2);
        assert_eq!(held(&pending), [(&b"t\0b"[..], Some(&b"4"[..])), (b"t\0c", Some(b"3"))]);
        assert_eq!((pending.bytes(), pending.get(b"t\0a")), (8, None));
        pending.add(&Batch::new().remove("t", "c"), 4);
        assert_eq!((pending.bytes(), pending.get(b"t\0c")), (7, Some(None)));
        pending.settle(4);
        assert_eq!((pending.bytes(), held(&pending).len()), (0, 0));
    }

    #[test]
    fn large_batches_are_told_once() {
        let mut pending = Pending::default();
        pending.add(&Batch::new().put("t", "a", vec![0; LARGE_BYTES]), 1);
        for number in 2..100 {
            pending.add(&Batch::new().put("t", "b", vec![0; 1000]), number);
        }
        assert_eq!(pending.together().large, LARGE_BYTES + 3);
        assert_eq!(pending.together().large, 0);
    }
}

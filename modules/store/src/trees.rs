//! Trees in memory, as every store that is no driver of a library keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use crate::batch::{Batch, Write};
use crate::error::StoreError;
use crate::port::Survey;

/// Named trees of ordered keys. Single records can be made corrupt.
#[derive(Debug, Clone, Default)]
pub struct Trees {
    records: BTreeMap<&'static str, BTreeMap<Bytes, Bytes>>,
    corrupt: BTreeSet<(&'static str, Bytes)>,
}

impl Trees {
    /// Writes all of a batch. What is written is corrupt no longer.
    pub fn write(&mut self, batch: &Batch) {
        for write in batch.writes() {
            let (Write::Put { tree, key, .. } | Write::Remove { tree, key }) = write;
            if !self.corrupt.is_empty() {
                self.corrupt.remove(&(*tree, key.clone()));
            }
            let records = self.records.entry(tree).or_default();
            match write {
                Write::Put { value, .. } => records.insert(key.clone(), value.clone()),
                Write::Remove { .. } => records.remove(key),
            };
        }
    }

    /// Makes the record at `key` corrupt until it is written again.
    pub fn damage(&mut self, tree: &'static str, key: &[u8]) {
        self.corrupt.insert((tree, Bytes::copy_from_slice(key)));
    }

    /// Returns the keys of a tree in their order.
    pub fn keys(&self, tree: &'static str) -> impl Iterator<Item = &Bytes> {
        self.records.get(tree).into_iter().flat_map(BTreeMap::keys)
    }

    /// Reads one key.
    ///
    /// # Errors
    ///
    /// When the record is corrupt.
    pub fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let Some((key, value)) = self.records.get(tree).and_then(|records| records.get_key_value(key)) else {
            return Ok(None);
        };
        if self.is_corrupt(tree, key) { Err(StoreError::corrupt(tree, key)) } else { Ok(Some(value.clone())) }
    }

    /// Reads at most `limit` records in key order, of keys that begin with `prefix` and are greater
    /// than `after`.
    #[must_use]
    pub fn survey(&self, tree: &'static str, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Survey {
        let mut survey = Survey::default();
        let Some(records) = self.records.get(tree) else { return survey };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = records.range::<[u8], _>((start, Bound::Unbounded));
        for (key, value) in range.take_while(|(key, _)| key.starts_with(prefix)).take(limit) {
            if self.is_corrupt(tree, key) {
                survey.corrupt.push(key.clone());
            } else {
                survey.entries.push((key.clone(), value.clone()));
            }
        }
        survey
    }

    fn is_corrupt(&self, tree: &'static str, key: &Bytes) -> bool {
        !self.corrupt.is_empty() && self.corrupt.contains(&(tree, key.clone()))
    }
}

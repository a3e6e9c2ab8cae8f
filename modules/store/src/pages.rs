//! Reading a whole tree, page by page.

use std::fmt::Display;

use bytes::Bytes;

use crate::batch::Batch;
use crate::error::StoreError;
use crate::port::{Store, Survey};

/// How many records are read at once.
const PAGE: usize = 128;

/// The pages of a tree in key order, none of them empty. What is written meanwhile is seen if its key is
/// not read yet. An error is the end.
#[derive(Debug)]
pub struct Pages<'a> {
    store: &'a dyn Store,
    tree: &'static str,
    after: Option<Bytes>,
    has_failed: bool,
}

impl<'a> Pages<'a> {
    /// Begins to read a tree.
    #[must_use]
    pub fn of(store: &'a dyn Store, tree: &'static str) -> Self {
        Self { store, tree, after: None, has_failed: false }
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<Survey, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let page = self.store.survey(self.tree, b"", self.after.as_deref(), PAGE);
        if let Ok(page) = &page {
            self.after = Some(page.last_key()?.clone());
        }
        self.has_failed = page.is_err();
        Some(page)
    }
}

/// Reads all records of a tree. A corrupt one is dropped, and one that `take` finds damaged is left out; the
/// log names both.
///
/// # Errors
///
/// When the medium fails.
pub async fn read_all<D: Display>(
    store: &dyn Store,
    tree: &'static str,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), D>,
) -> Result<(), StoreError> {
    for page in Pages::of(store, tree) {
        let page = page?;
        for (key, record) in &page.entries {
            if let Err(damage) = take(key, record) {
                let key = key.escape_ascii().to_string();
                tracing::error!(tree, key, %damage, "skipped a record of the edge store");
            }
        }
        for key in &page.corrupt {
            let shown = key.escape_ascii().to_string();
            tracing::error!(tree, key = shown, "dropped a corrupt record of the edge store");
            drop(store.commit(Batch::new().remove(tree, key.clone())));
        }
        // Many records take their time, and others have theirs to keep.
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::memory::MemoryStore;
    use crate::port::Medium as _;

    fn number(key: &[u8]) -> u32 {
        std::str::from_utf8(key).expect("text").parse().expect("a number")
    }

    #[test]
    fn every_record_is_read_once_whatever_the_number_of_pages() {
        for count in [0, 1, 128, 129, 300] {
            let store = MemoryStore::new().store();
            let key = |number: u32| format!("{number:05}");
            let batch = (0..count).fold(Batch::new(), |batch, it| batch.put("tree", key(it), "x"));
            block_on(store.commit(batch.put("other", "00900", "x"))).expect("a store in memory");
            let mut seen = Vec::new();
            let read = read_all(&*store, "tree", |key, _| {
                seen.push(number(key));
                Err("damaged")
            });
            block_on(read).expect("a store in memory");
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
            assert!(Pages::of(&*store, "tree").all(|page| page.is_ok_and(|page| !page.entries.is_empty())));
        }
    }
}

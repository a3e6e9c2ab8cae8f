//! A durable set of texts.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::batch::Batch;
use crate::error::StoreError;
use crate::pages::Pages;
use crate::port::SharedMedium;

/// What each record holds; the text is its key.
const RECORD: &[u8] = &[1];

/// A small set of texts in a tree of its own. What is on the medium counts, not what was known of it: each
/// change is compared with that.
#[derive(Debug, Clone)]
pub struct Texts {
    medium: SharedMedium,
    tree: &'static str,
}

impl Texts {
    /// Names the set that lies in a tree.
    #[must_use]
    pub fn new(medium: SharedMedium, tree: &'static str) -> Self {
        Self { medium, tree }
    }

    /// Reads the set. Records that are corrupt or no texts are left out; the next change removes them.
    ///
    /// # Errors
    ///
    /// When the medium fails.
    pub fn load(&self) -> Result<BTreeSet<String>, StoreError> {
        let keys = self.keys()?.into_iter().filter(|(_, is_sound)| *is_sound);
        Ok(keys.filter_map(|(key, _)| String::from_utf8(key.to_vec()).ok()).collect())
    }

    /// Makes the set exactly these texts. `Ok` means that it is durable.
    ///
    /// # Errors
    ///
    /// When the medium fails: then nobody knows which of the two sets it holds.
    pub async fn replace(&self, texts: &BTreeSet<String>) -> Result<(), StoreError> {
        let held = self.keys()?;
        let is_held = |text: &str| held.iter().any(|(key, is_sound)| *is_sound && key == text.as_bytes());
        let wanted = |key: &Bytes| std::str::from_utf8(key).is_ok_and(|text| texts.contains(text));
        let mut batch = Batch::new();
        for (key, _) in held.iter().filter(|(key, _)| !wanted(key)) {
            batch = batch.remove(self.tree, key.clone());
        }
        for text in texts.iter().filter(|text| !is_held(text)) {
            batch = batch.put(self.tree, text.clone(), RECORD);
        }
        if batch.writes().is_empty() {
            return Ok(());
        }
        self.medium.store().commit(batch).await
    }

    /// Returns all keys, and whether their records are sound.
    fn keys(&self) -> Result<Vec<(Bytes, bool)>, StoreError> {
        let store = self.medium.store();
        let mut keys = Vec::new();
        for page in Pages::of(&*store, self.tree) {
            let page = page?;
            keys.extend(page.entries.iter().map(|(key, _)| (key.clone(), true)));
            keys.extend(page.corrupt.into_iter().map(|key| (key, false)));
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::executor::block_on;

    use super::*;
    use crate::memory::MemoryStore;

    fn set(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_set_is_what_it_was_made_last() {
        let medium: SharedMedium = Arc::new(MemoryStore::new());
        let texts = Texts::new(medium.clone(), "texts");
        assert_eq!(texts.load().expect("a store in memory"), set(&[]));
        let many: Vec<String> = (0..600).map(|number| format!("{number:04}")).collect();
        for wanted in [set(&["b", "a/b"]), many.into_iter().collect(), set(&["b", ""]), set(&[])] {
            block_on(texts.replace(&wanted)).expect("a store in memory");
            assert_eq!(Texts::new(medium.clone(), "texts").load().expect("a store in memory"), wanted);
        }
    }
}

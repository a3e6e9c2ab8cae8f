//! Reading mappers from the store.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::ObjectKey;
use store::{Batch, Store, StoreError};

use crate::mapper::{self, Damage, MAPPERS, Mapper, TOLD};

/// How many records are read at once.
const PAGE: usize = 128;

type Found = Vec<(Mapper, BTreeMap<ObjectKey, u64>)>;

/// Reads which mappers there are, and what each was told.
///
/// A damaged record is reported and left out: then something is told once more.
pub(crate) async fn load(store: &dyn Store) -> Result<Found, StoreError> {
    let mut mappers: BTreeMap<String, (Mapper, BTreeMap<ObjectKey, u64>)> = BTreeMap::new();
    each(store, MAPPERS, |_, record| {
        let mapper = mapper::read_mapper(record)?;
        mappers.insert(mapper.protocol.clone(), (mapper, BTreeMap::new()));
        Ok(())
    })
    .await?;
    each(store, TOLD, |key, record| {
        let (protocol, key, state) = mapper::read_told(key, record)?;
        if let Some((_, told)) = mappers.get_mut(&protocol) {
            told.insert(key, state);
        }
        Ok(())
    })
    .await?;
    Ok(mappers.into_values().collect())
}

async fn each(
    store: &dyn Store,
    tree: &'static str,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Damage>,
) -> Result<(), StoreError> {
    let mut after: Option<Bytes> = None;
    loop {
        let survey = store.survey(tree, b"", after.as_deref(), PAGE)?;
        for (key, record) in &survey.entries {
            if let Err(damage) = take(key, record) {
                let key = key.escape_ascii().to_string();
                tracing::error!(tree, key, %damage, "skipped a record of the edge store");
            }
        }
        for key in &survey.corrupt {
            let shown = key.escape_ascii().to_string();
            tracing::error!(tree, key = shown, "dropped a corrupt record of the edge store");
            drop(store.commit(Batch::new().remove(tree, key.clone())));
        }
        match survey.last_key() {
            Some(key) => after = Some(key.clone()),
            None => return Ok(()),
        }
        // Many records take their time, and others have theirs to keep.
        tokio::task::yield_now().await;
    }
}

/// Returns a batch that removes all that the store has of mappers.
pub(crate) fn clearing(store: &dyn Store) -> Result<Batch, StoreError> {
    let mut batch = Batch::new();
    for tree in [MAPPERS, TOLD] {
        let mut after: Option<Bytes> = None;
        loop {
            let survey = store.survey(tree, b"", after.as_deref(), PAGE)?;
            let keys = survey.entries.iter().map(|(key, _)| key).chain(&survey.corrupt);
            batch = keys.fold(batch, |batch, key| batch.remove(tree, key.clone()));
            match survey.last_key() {
                Some(key) => after = Some(key.clone()),
                None => break,
            }
        }
    }
    Ok(batch)
}

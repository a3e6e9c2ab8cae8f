//! Reading mappers from the store.

use std::collections::BTreeMap;

use protocol::ObjectKey;
use store::{Batch, Pages, Store, StoreError, read_all};

use crate::mapper::{self, Damage, MAPPERS, Mapper, TOLD};

type Found = Vec<(Mapper, BTreeMap<ObjectKey, u64>)>;

/// Reads which mappers there are, and what each was told.
///
/// A damaged record is reported and left out: then something is told once more.
pub(crate) async fn load(store: &dyn Store) -> Result<Found, StoreError> {
    let mut mappers: BTreeMap<String, (Mapper, BTreeMap<ObjectKey, u64>)> = BTreeMap::new();
    read_all::<Damage>(store, MAPPERS, |_, record| {
        let mapper = mapper::read_mapper(record)?;
        mappers.insert(mapper.protocol.clone(), (mapper, BTreeMap::new()));
        Ok(())
    })
    .await?;
    read_all::<Damage>(store, TOLD, |key, record| {
        let (protocol, key, state) = mapper::read_told(key, record)?;
        if let Some((_, told)) = mappers.get_mut(&protocol) {
            told.insert(key, state);
        }
        Ok(())
    })
    .await?;
    Ok(mappers.into_values().collect())
}

/// Returns a batch that removes all that the store has of mappers.
pub(crate) fn clearing(store: &dyn Store) -> Result<Batch, StoreError> {
    let mut batch = Batch::new();
    for tree in [MAPPERS, TOLD] {
        for page in Pages::of(store, tree) {
            batch = page?.keys().fold(batch, |batch, key| batch.remove(tree, key.clone()));
        }
    }
    Ok(batch)
}

//! Objects that another program kept, taken over before the module runs for the first time.

use protocol::{Object, ObjectKey};
use store::{Batch, Store, StoreError};

use crate::layout::{self, OBJECTS};
use crate::load::{LoadError, check_layout};

/// How many objects are written at once.
const BATCH: usize = 64;

/// Says why objects were not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The store cannot be used.
    #[error(transparent)]
    Unusable(Box<dyn std::error::Error + Send + Sync>),
    /// The store failed.
    #[error("the edge store failed")]
    Store(#[from] StoreError),
    /// A key and its object do not belong together.
    #[error("{0} is not the key of its object")]
    Misplaced(ObjectKey),
}

impl From<LoadError> for ImportError {
    fn from(error: LoadError) -> Self {
        Self::Unusable(error.into())
    }
}

/// Keeps the objects that the store does not hold, and returns how many these were. No module may use
/// the store meanwhile.
///
/// # Errors
///
/// When the store fails, or one of `objects` is not named by its key; then none is kept.
pub async fn import(store: &dyn Store, objects: &[(ObjectKey, Object)]) -> Result<usize, ImportError> {
    if let Some((key, _)) = objects.iter().find(|(key, object)| !layout::names(object, key)) {
        return Err(ImportError::Misplaced(key.clone()));
    }
    check_layout(store).await?;
    let mut kept = 0;
    for some in objects.chunks(BATCH) {
        let mut batch = Batch::new();
        for (key, object) in some {
            let place = layout::encode_key(key);
            // What was kept here is newer.
            if matches!(store.get(OBJECTS, &place), Ok(None) | Err(StoreError::Corrupt { .. })) {
                batch = batch.put(OBJECTS, place, layout::encode_record(object));
                kept += 1;
            }
        }
        store.commit(batch).await?;
    }
    Ok(kept)
}

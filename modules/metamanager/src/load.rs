//! Reading the inventory from the store: when the module starts, and when it is asked what it holds.

use bytes::Bytes;
use store::{Batch, Pages, Store, StoreError};

use crate::holdings::Holdings;
use crate::layout::{self, ABOUT, LAYOUT, LAYOUT_KEY, OBJECTS};

/// Says why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The store was written by a program that is newer than this one.
    #[error(
        "the edge store has layout {found}, and this program knows layouts up to {LAYOUT}: use a newer program"
    )]
    NewerLayout { found: String },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads what the store holds.
///
/// A damaged record is reported and counts as not held; it never keeps the node from starting.
pub(crate) async fn load(store: &dyn Store) -> Result<Holdings, LoadError> {
    check_layout(store).await?;
    Ok(survey(store, &Holdings::default()).await?)
}

/// Reads again what the store holds, of which `known` is known. All that was begun to be written is
/// durable, or is doubted.
///
/// What differs without having gone through this module is reported; the cloud is told of it as of
/// everything else.
pub(crate) async fn audit(store: &dyn Store, known: &Holdings) -> Result<Holdings, StoreError> {
    let found = survey(store, known).await?;
    for key in known.absent_from(&found) {
        tracing::error!(%key, "a record is missing from the edge store; the cloud is asked to send it again");
    }
    for key in found.absent_from(known) {
        tracing::error!(%key, "the edge store holds a record that was not kept here; the cloud is asked about it");
    }
    Ok(found)
}

async fn survey(store: &dyn Store, known: &Holdings) -> Result<Holdings, StoreError> {
    let mut holdings = known.unsure();
    for page in Pages::of(store, OBJECTS) {
        let page = page?;
        for (key, record) in page.entries {
            note(&mut holdings, &key, Some(record));
        }
        for key in &page.corrupt {
            note(&mut holdings, key, None);
        }
        // Many records take their time, and others have theirs to keep.
        tokio::task::yield_now().await;
    }
    Ok(holdings)
}

pub(crate) async fn check_layout(store: &dyn Store) -> Result<(), LoadError> {
    let found = match store.get(ABOUT, LAYOUT_KEY) {
        Ok(found) => found,
        Err(StoreError::Corrupt { .. }) => {
            tracing::error!("the edge store's layout version is corrupt; going on with layout {LAYOUT}");
            None
        }
        Err(failed) => return Err(failed.into()),
    };
    let Some(found) = found else {
        let batch = Batch::new().put(ABOUT, LAYOUT_KEY, LAYOUT.to_string());
        if let Err(failed) = store.commit(batch).await {
            // A store that takes nothing holds nothing whose layout were to be known.
            tracing::warn!(%failed, "the edge store's layout version was not kept");
        }
        return Ok(());
    };
    let found = String::from_utf8_lossy(&found).into_owned();
    match found.parse::<u32>() {
        Ok(layout) if layout <= LAYOUT => Ok(()),
        _ => Err(LoadError::NewerLayout { found }),
    }
}

/// Notes one record; `None` stands for one that the store calls corrupt.
fn note(holdings: &mut Holdings, key: &[u8], record: Option<Bytes>) {
    let Ok(key) = layout::decode_key(key) else {
        let key = key.escape_ascii().to_string();
        tracing::error!(%key, "skipped a record of the edge store whose key names no object");
        return;
    };
    if holdings.is_unsure(&key) {
        return;
    }
    let damage = match record.map(|record| layout::decode_record(&key, record)) {
        Some(Ok(object)) => {
            holdings.hold(key, &object);
            return;
        }
        Some(Err(damage)) => damage.to_string(),
        None => "it is corrupt".to_owned(),
    };
    tracing::error!(%key, %damage, "skipped a record of the edge store; the cloud is asked to send it again");
    holdings.distrust(key);
}

//! Reading the devices from the store.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::DeviceId;
use store::{Batch, Store, StoreError};

use crate::device::Device;
use crate::devices::Devices;
use crate::layout::{self, CONFIRMED, DEVICES, Damage, TWINS};

/// How many records are read at once.
const PAGE: usize = 128;

type Found = BTreeMap<DeviceId, Device>;

/// Reads what the store holds.
///
/// A damaged record is reported and left out; it never keeps the node from starting. A device of which
/// only twins are left keeps them until it is known whether the node still has it.
pub(crate) async fn load(store: &dyn Store) -> Result<Devices, StoreError> {
    let mut found = Found::new();
    each(store, DEVICES, |key, record| {
        let (id, head) = (layout::read_device_key(key)?, layout::read_head(record)?);
        found.entry(id).or_default().head = head;
        Ok(())
    })
    .await?;
    each(store, TWINS, |key, record| {
        let ((id, name), slot) = (layout::read_twin_key(key)?, layout::read_slot(record)?);
        found.entry(id).or_default().twins.insert(name, slot);
        Ok(())
    })
    .await?;
    each(store, CONFIRMED, |key, record| {
        let (id, confirmed) = (layout::read_device_key(key)?, layout::read_confirmed(record)?);
        if let Some(device) = found.get_mut(&id) {
            device.confirmed = confirmed;
        }
        Ok(())
    })
    .await?;
    for device in found.values_mut() {
        let twins = device.twins.values().map(|slot| slot.changed).max().unwrap_or_default();
        let known = device.confirmed.twins.max(device.confirmed.state);
        device.changes = twins.max(device.head.state_changed).max(known);
    }
    Ok(Devices::new(found))
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

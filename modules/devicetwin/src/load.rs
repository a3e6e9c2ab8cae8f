//! Reading the devices from the store.

use std::collections::BTreeMap;

use protocol::DeviceId;
use store::{Store, StoreError, read_all};

use crate::device::Device;
use crate::devices::Devices;
use crate::layout::{self, CONFIRMED, DEVICES, Damage, TWINS};

type Found = BTreeMap<DeviceId, Device>;

/// Reads what the store holds.
///
/// A damaged record is reported and left out; it never keeps the node from starting. A device of which
/// only twins are left keeps them until it is known whether the node still has it.
pub(crate) async fn load(store: &dyn Store) -> Result<Devices, StoreError> {
    let mut found = Found::new();
    read_all::<Damage>(store, DEVICES, |key, record| {
        let (id, head) = (layout::read_device_key(key)?, layout::read_head(record)?);
        found.entry(id).or_default().head = head;
        Ok(())
    })
    .await?;
    read_all::<Damage>(store, TWINS, |key, record| {
        let ((id, name), slot) = (layout::read_twin_key(key)?, layout::read_slot(record)?);
        found.entry(id).or_default().twins.insert(name, slot);
        Ok(())
    })
    .await?;
    read_all::<Damage>(store, CONFIRMED, |key, record| {
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

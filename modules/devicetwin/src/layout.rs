//! How devices lie in the store.
//!
//! | Tree | Key | Value |
//! |---|---|---|
//! | [`DEVICES`] | namespace, name | a format byte, and a [`Head`] as JSON |
//! | [`TWINS`] | namespace, name, twin | a format byte, the number of its change, and the twin as JSON |
//! | [`CONFIRMED`] | namespace, name | a format byte, and two numbers |
//!
//! The parts of a key have a zero byte between; none can contain one. Numbers are of eight bytes, the
//! greatest first.
//!
//! A record is of one twin, not of one device: telemetry changes a few twins of a device at a time, and
//! writes about 200 bytes for each instead of all that the device has. What the cloud knows is a record
//! of its own, of 17 bytes, and written only when the cloud knows all of a device: until then a crash
//! makes the device be reported once more.

use bytes::{BufMut, Bytes, BytesMut};
use protocol::DeviceId;
use protocol::device::payload::Twin;
use serde::Serialize;

use crate::device::{Confirmed, Head};
use crate::twin::Slot;

pub(crate) const DEVICES: &str = "devicetwin.devices";
pub(crate) const TWINS: &str = "devicetwin.twins";
pub(crate) const CONFIRMED: &str = "devicetwin.confirmed";

const FORMAT: u8 = 1;

/// Says why a record is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the record's key names no device")]
    Key,
    #[error("the record's format is {0:?}")]
    Format(Option<u8>),
    #[error("the record is too short")]
    Short,
    #[error("the record is not what its tree holds: {0}")]
    Content(#[from] serde_json::Error),
}

pub(crate) fn device_key(id: &DeviceId) -> Bytes {
    format!("{}\0{}", id.namespace, id.name).into()
}

pub(crate) fn twin_key(id: &DeviceId, twin: &str) -> Bytes {
    format!("{}\0{}\0{twin}", id.namespace, id.name).into()
}

pub(crate) fn read_device_key(key: &[u8]) -> Result<DeviceId, Damage> {
    let text = std::str::from_utf8(key).map_err(|_| Damage::Key)?;
    let (namespace, name) = text.split_once('\0').ok_or(Damage::Key)?;
    DeviceId::parse(namespace, name).map_err(|_| Damage::Key)
}

pub(crate) fn read_twin_key(key: &[u8]) -> Result<(DeviceId, String), Damage> {
    let text = std::str::from_utf8(key).map_err(|_| Damage::Key)?;
    let (device, twin) = text.rsplit_once('\0').ok_or(Damage::Key)?;
    if twin.is_empty() {
        return Err(Damage::Key);
    }
    Ok((read_device_key(device.as_bytes())?, twin.to_owned()))
}

pub(crate) fn head(head: &Head) -> Bytes {
    with_json(vec![FORMAT], head)
}

pub(crate) fn read_head(record: &[u8]) -> Result<Head, Damage> {
    Ok(serde_json::from_slice(content(record)?)?)
}

pub(crate) fn slot(slot: &Slot) -> Bytes {
    let mut record = vec![FORMAT];
    record.put_u64(slot.changed);
    with_json(record, &slot.twin)
}

fn with_json<T: Serialize>(mut record: Vec<u8>, value: &T) -> Bytes {
    serde_json::to_writer(&mut record, value).expect("its keys are texts, and memory takes all");
    record.into()
}

pub(crate) fn read_slot(record: &[u8]) -> Result<Slot, Damage> {
    let (changed, twin) = number(content(record)?)?;
    Ok(Slot { changed, twin: serde_json::from_slice::<Twin>(twin)? })
}

pub(crate) fn confirmed(confirmed: Confirmed) -> Bytes {
    let mut record = BytesMut::with_capacity(17);
    record.put_u8(FORMAT);
    record.put_u64(confirmed.twins);
    record.put_u64(confirmed.state);
    record.freeze()
}

pub(crate) fn read_confirmed(record: &[u8]) -> Result<Confirmed, Damage> {
    let (twins, rest) = number(content(record)?)?;
    let (state, _) = number(rest)?;
    Ok(Confirmed { twins, state })
}

fn content(record: &[u8]) -> Result<&[u8], Damage> {
    match record.split_first() {
        Some((&FORMAT, content)) => Ok(content),
        other => Err(Damage::Format(other.map(|(format, _)| *format))),
    }
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), Damage> {
    let (number, rest) = bytes.split_first_chunk::<8>().ok_or(Damage::Short)?;
    Ok((u64::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::twin::{meta, set};

    fn id() -> DeviceId {
        DeviceId::parse("default", "temp-1").expect("a valid id")
    }

    #[test]
    fn the_bytes_of_version_1_stay_as_they_are() {
        assert_eq!(&device_key(&id())[..], b"default\0temp-1");
        assert_eq!(&twin_key(&id(), "a/b")[..], b"default\0temp-1\0a/b");
        let twin = Twin { actual: set("1", 5), metadata: meta("int"), ..Twin::default() };
        let kept = Slot { twin, changed: 258 };
        let record = slot(&kept);
        assert_eq!(&record[..9], [1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(
            &record[9..],
            br#"{"actual":{"value":"1","metadata":{"timestamp":5}},"metadata":{"type":"int"}}"#
        );
        assert_eq!(read_slot(&record).expect("a good record"), kept);
        let known = Confirmed { twins: 1, state: 2 };
        assert_eq!(&confirmed(known)[..], [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(read_confirmed(&confirmed(known)).expect("a good record"), known);
        let kept = Head { uid: "u".to_owned(), state: "ok".to_owned(), ..Head::default() };
        let record = head(&kept);
        assert_eq!(
            &record[..],
            b"\x01{\"uid\":\"u\",\"description\":\"\",\"state\":\"ok\",\"last_online\":\"\",\"attributes\":{},\"state_changed\":0}"
        );
        assert_eq!(read_head(&record).expect("a good record"), kept);
    }

    proptest! {
        #[test]
        fn a_key_reads_back_as_it_was_written(namespace in "[a-z][a-z0-9.-]{0,10}", name in "[a-z][a-z0-9.-]{0,20}", twin in "[a-zA-Z0-9_.,:/@#-]{1,20}") {
            let id = DeviceId::parse(&namespace, &name).expect("a valid id");
            prop_assert_eq!(read_device_key(&device_key(&id)).ok(), Some(id.clone()));
            prop_assert_eq!(read_twin_key(&twin_key(&id, &twin)).ok(), Some((id, twin)));
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>()) {
            drop((read_device_key(&bytes), read_twin_key(&bytes), read_head(&bytes), read_confirmed(&bytes)));
            prop_assert!(read_slot(&bytes).is_err());
        }
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        for record in [&b""[..], b"\x02{}", b"\x01", b"\x01{", b"\x01\0\0\0\0\0\0\0\0{"] {
            assert!(read_slot(record).is_err() && read_head(record).is_err(), "{record:?}");
        }
        assert!(read_confirmed(b"\x01\0\0\0\0\0\0\0\0\0").is_err());
        for key in [&b"default"[..], b"\0a", b"default\0", b"default\0a\0", b"\xff\0a", b"a/b\0c"] {
            assert!(read_device_key(key).is_err() || key.ends_with(b"a\0"), "{key:?}");
            assert!(read_twin_key(key).is_err(), "{key:?}");
        }
    }
}

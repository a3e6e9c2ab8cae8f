//! Mappers, and how they and what they were told lie in the store.
//!
//! | Tree | Key | Value |
//! |---|---|---|
//! | [`MAPPERS`] | protocol | a format byte, and a [`Mapper`] as JSON |
//! | [`TOLD`] | protocol, resource, namespace, name | a format byte, and eight bytes that stand for the state |
//!
//! The parts of a key have a zero byte between; none can contain one.

use bytes::{BufMut as _, Bytes, BytesMut};
use dmi_proto::v1beta1::MapperInfo;
use protocol::{Namespace, ObjectKey, ObjectName, ResourceType};
use serde::{Deserialize, Serialize};
use store::Batch;

pub(crate) const MAPPERS: &str = "dmi.mappers";
pub(crate) const TOLD: &str = "dmi.told";

const FORMAT: u8 = 1;
/// Bytes of each text that a mapper says of itself.
const TEXT_BYTES_MAX: usize = 253;

/// A mapper, as it said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mapper {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) api_version: String,
    pub(crate) protocol: String,
    pub(crate) address: Vec<u8>,
}

impl Mapper {
    /// Reads what a mapper says of itself, or says what is wrong with it.
    pub(crate) fn of(info: MapperInfo) -> Result<Self, String> {
        let MapperInfo { name, version, api_version, protocol, address, state: _ } = info;
        for (what, text) in [("name", &name), ("protocol", &protocol)] {
            if text.is_empty() {
                return Err(format!("the mapper says no {what}"));
            }
        }
        let texts =
            [("name", &name), ("protocol", &protocol), ("version", &version), ("api_version", &api_version)];
        for (what, text) in texts {
            if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
                return Err(format!(
                    "the mapper's {what} is longer than {TEXT_BYTES_MAX} bytes or has control characters"
                ));
            }
        }
        Ok(Self { name, version, api_version, protocol, address })
    }
}

/// Says why a record is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the record's key names nothing")]
    Key,
    #[error("the record's format is {0:?}")]
    Format(Option<u8>),
    #[error("the record is not what its tree holds")]
    Content,
}

pub(crate) fn put_mapper(batch: Batch, mapper: &Mapper) -> Batch {
    let mut record = vec![FORMAT];
    serde_json::to_writer(&mut record, mapper).expect("it has no maps, and memory takes all");
    batch.put(MAPPERS, mapper.protocol.clone(), record)
}

pub(crate) fn remove_mapper(batch: Batch, protocol: &str) -> Batch {
    batch.remove(MAPPERS, protocol.to_owned())
}

pub(crate) fn read_mapper(record: &[u8]) -> Result<Mapper, Damage> {
    serde_json::from_slice(content(record)?).map_err(|_| Damage::Content)
}

pub(crate) fn put_told(batch: Batch, protocol: &str, key: &ObjectKey, state: u64) -> Batch {
    let mut record = BytesMut::with_capacity(9);
    record.put_u8(FORMAT);
    record.put_u64(state);
    batch.put(TOLD, told_key(protocol, key), record)
}

pub(crate) fn remove_told(batch: Batch, protocol: &str, key: &ObjectKey) -> Batch {
    batch.remove(TOLD, told_key(protocol, key))
}

fn told_key(protocol: &str, key: &ObjectKey) -> Bytes {
    let namespace = key.namespace.as_ref().map(Namespace::as_str).unwrap_or_default();
    format!("{protocol}\0{}\0{namespace}\0{}", key.resource, key.name).into()
}

/// Reads to whom which state of what was told.
pub(crate) fn read_told(key: &[u8], record: &[u8]) -> Result<(String, ObjectKey, u64), Damage> {
    let text = std::str::from_utf8(key).map_err(|_| Damage::Key)?;
    let parts: Vec<&str> = text.split('\0').collect();
    let [protocol, resource, namespace, name] = parts[..] else { return Err(Damage::Key) };
    let namespace = match namespace {
        "" => None,
        namespace => Some(Namespace::parse(namespace).map_err(|_| Damage::Key)?),
    };
    let resource = ResourceType::parse(resource).map_err(|_| Damage::Key)?;
    let key = ObjectKey { resource, namespace, name: ObjectName::parse(name).map_err(|_| Damage::Key)? };
    let state = <[u8; 8]>::try_from(content(record)?).map_err(|_| Damage::Content)?;
    Ok((protocol.to_owned(), key, u64::from_be_bytes(state)))
}

fn content(record: &[u8]) -> Result<&[u8], Damage> {
    match record.split_first() {
        Some((&FORMAT, content)) => Ok(content),
        other => Err(Damage::Format(other.map(|(format, _)| *format))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use store::Write;

    use super::*;

    fn mapper() -> Mapper {
        let info = MapperInfo {
            name: "m".to_owned(),
            version: "v1".to_owned(),
            api_version: "v1.0.0".to_owned(),
            protocol: "modbus".to_owned(),
            address: b"/m.sock".to_vec(),
            state: "ok".to_owned(),
        };
        Mapper::of(info).expect("it is whole")
    }

    fn record(batch: &Batch) -> (Bytes, Bytes) {
        match batch.writes() {
            [Write::Put { key, value, .. }] => (key.clone(), value.clone()),
            other => panic!("one record: {other:?}"),
        }
    }

    #[test]
    fn the_bytes_of_version_1_stay_as_they_are() {
        let (key, value) = record(&put_mapper(Batch::new(), &mapper()));
        assert_eq!(&key[..], b"modbus");
        let json = r#"{"name":"m","version":"v1","api_version":"v1.0.0","protocol":"modbus","address":[47,109,46,115,111,99,107]}"#;
        assert_eq!(&value[..], format!("\u{1}{json}").as_bytes());
        assert_eq!(read_mapper(&value).expect("a good record"), mapper());
        let device = ObjectKey {
            resource: ResourceType::DEVICE,
            namespace: Namespace::parse("default").ok(),
            name: ObjectName::parse("t1").expect("a name"),
        };
        let (key, value) = record(&put_told(Batch::new(), "modbus", &device, 258));
        assert_eq!(&key[..], b"modbus\0device\0default\0t1");
        assert_eq!(&value[..], [1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(read_told(&key, &value).expect("a good record"), ("modbus".to_owned(), device, 258));
    }

    #[test]
    fn what_a_mapper_says_of_itself_is_checked() {
        let said = |name: &str, protocol: &str, version: &str| {
            let (name, protocol) = (name.to_owned(), protocol.to_owned());
            Mapper::of(MapperInfo { name, protocol, version: version.to_owned(), ..MapperInfo::default() })
        };
        assert!(said("m", "p", "").is_ok());
        assert_eq!(said("m", "", ""), Err("the mapper says no protocol".to_owned()));
        assert_eq!(said("", "p", ""), Err("the mapper says no name".to_owned()));
        assert!(said("m", "a\0b", "").is_err() && said("m", &"p".repeat(254), "").is_err());
        assert!(said("m", "p", "\n").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(key in any::<Vec<u8>>(), record in any::<Vec<u8>>()) {
            drop((read_told(&key, &record), read_mapper(&record)));
        }
    }
}

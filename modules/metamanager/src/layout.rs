//! How objects lie in the store.
//!
//! Tree [`OBJECTS`]: the key is type, namespace and name with a zero byte between (the namespace empty for cluster-scoped
//! objects; no part can contain a control character), the value one format byte and the object's JSON.
//! Tree [`ABOUT`]: the key `layout` holds the version of all this, as decimal digits.

use bytes::{BufMut, Bytes, BytesMut};
use protocol::{Namespace, Object, ObjectKey, ObjectName, ResourceType};

/// The tree of objects.
pub(crate) const OBJECTS: &str = "metamanager.objects";
/// The tree that describes the others.
pub(crate) const ABOUT: &str = "metamanager.about";
/// The key in [`ABOUT`] under which the layout's version lies.
pub(crate) const LAYOUT_KEY: &[u8] = b"layout";
/// The version of the layout that this code reads and writes.
pub(crate) const LAYOUT: u32 = 1;

/// The record is the object's JSON as it came.
const FORMAT_RAW_JSON: u8 = 1;

/// Says why a record is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the record's key names no object")]
    Key,
    #[error("the record's format is {0:?}")]
    Format(Option<u8>),
    #[error("the record holds no object: {0}")]
    Content(#[from] protocol::ObjectError),
    #[error("the record holds another object")]
    Misplaced,
}

pub(crate) fn encode_key(key: &ObjectKey) -> Bytes {
    let namespace = key.namespace.as_ref().map_or("", Namespace::as_str);
    format!("{}\0{namespace}\0{}", key.resource, key.name).into()
}

pub(crate) fn decode_key(bytes: &[u8]) -> Result<ObjectKey, Damage> {
    let text = std::str::from_utf8(bytes).map_err(|_| Damage::Key)?;
    let (resource, rest) = text.split_once('\0').ok_or(Damage::Key)?;
    let (namespace, name) = rest.split_once('\0').ok_or(Damage::Key)?;
    let namespace = match namespace {
        "" => None,
        namespace => Some(Namespace::parse(namespace).map_err(|_| Damage::Key)?),
    };
    Ok(ObjectKey {
        resource: ResourceType::parse(resource).map_err(|_| Damage::Key)?,
        namespace,
        name: ObjectName::parse(name).map_err(|_| Damage::Key)?,
    })
}

pub(crate) fn encode_record(object: &Object) -> Bytes {
    let raw = object.raw();
    let mut record = BytesMut::with_capacity(1 + raw.len());
    record.put_u8(FORMAT_RAW_JSON);
    record.put_slice(raw);
    record.freeze()
}

/// Reads a record, whatever object it holds.
pub(crate) fn read_record(mut record: Bytes) -> Result<Object, Damage> {
    match record.first().copied() {
        Some(FORMAT_RAW_JSON) => Ok(Object::parse(record.split_off(1))?),
        other => Err(Damage::Format(other)),
    }
}

/// Reads the record that lies under `key`.
pub(crate) fn decode_record(key: &ObjectKey, record: Bytes) -> Result<Object, Damage> {
    let object = read_record(record)?;
    if names(&object, key) { Ok(object) } else { Err(Damage::Misplaced) }
}

/// Tells whether `object` is the one that `key` names.
pub(crate) fn names(object: &Object, key: &ObjectKey) -> bool {
    let meta = object.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    meta.name == key.name.as_str() && namespace == key.namespace.as_ref().map_or("", Namespace::as_str)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(resource: &str, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey {
            resource: ResourceType::parse(resource).expect("a valid type"),
            namespace: (!namespace.is_empty())
                .then(|| Namespace::parse(namespace).expect("a valid namespace")),
            name: ObjectName::parse(name).expect("a valid name"),
        }
    }

    fn pod() -> Object {
        Object::parse(r#"{"kind":"Pod","metadata":{"name":"a","namespace":"b"},"later":{"x":[1]}}"#)
            .expect("it is an object")
    }

    proptest! {
        #[test]
        fn a_key_reads_back_as_it_was_written(
            resource in "[a-z]{1,12}",
            namespace in "([a-z0-9][a-z0-9.-]{0,10})?",
            name in "[a-z0-9:][a-z0-9.:-]{0,20}",
        ) {
            prop_assume!(![".", ".."].contains(&name.as_str()) && ![".", ".."].contains(&namespace.as_str()));
            let key = key(&resource, &namespace, &name);
            prop_assert_eq!(decode_key(&encode_key(&key)).ok(), Some(key));
        }

        #[test]
        fn no_bytes_make_reading_panic(key in any::<Vec<u8>>(), record in any::<Vec<u8>>()) {
            if let Ok(key) = decode_key(&key) {
                prop_assert!(decode_record(&key, record.into()).is_err());
            }
        }
    }

    #[test]
    fn the_bytes_of_version_1_stay_as_they_are() {
        assert_eq!(&encode_key(&key("pod", "b", "a"))[..], b"pod\0b\0a");
        assert_eq!(&encode_key(&key("node", "", "n1"))[..], b"node\0\0n1");
        let record = encode_record(&pod());
        assert_eq!(record[0], 1);
        assert_eq!(&record[1..], &pod().raw()[..]);
        assert_eq!(decode_record(&key("pod", "b", "a"), record).expect("a good record"), pod());
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        let good = encode_record(&pod());
        let cases: [(&str, Bytes); 5] = [
            ("empty", Bytes::new()),
            ("an unknown format", Bytes::from_static(b"\x02{}")),
            ("truncated", good.slice(..good.len() - 1)),
            ("no object", Bytes::from_static(b"\x01[]")),
            (
                "another object",
                Bytes::from_static(b"\x01{\"metadata\":{\"name\":\"z\",\"namespace\":\"b\"}}"),
            ),
        ];
        for (what, record) in cases {
            assert!(decode_record(&key("pod", "b", "a"), record).is_err(), "{what}");
        }
        for bad in
            [&b"pod"[..], b"pod\0b", b"pod\0b\0a\0c", b"\0b\0a", b"pod\0b\0", b"\xff\0b\0a", b"pod/b/a"]
        {
            assert!(decode_key(bad).is_err(), "{bad:?}");
        }
    }
}

//! Kubernetes objects as they leave the API server.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, Resource};
use protocol::{Object, ObjectError, ObjectKey, Uid};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::kinds::Kind;

/// An object whose bytes are kept as they came, so that fields that nobody here knows survive.
#[derive(Clone)]
pub(crate) struct RawObject {
    /// What kube's watcher needs to see: the name and the version.
    meta: ObjectMeta,
    raw: Bytes,
}

impl RawObject {
    /// Makes the object what travels: with `apiVersion` and `kind`, which the items of a list lack.
    pub(crate) fn into_object(self, kind: &Kind) -> Result<Object, ObjectError> {
        with_type(self.raw, kind)
    }
}

#[derive(Deserialize)]
struct Head {
    metadata: HeadMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMeta {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let Head { metadata } = serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?;
        let meta = ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            resource_version: metadata.resource_version,
            ..ObjectMeta::default()
        };
        Ok(Self { meta, raw: Bytes::from(String::from(Box::<str>::from(raw))) })
    }
}

impl fmt::Debug for RawObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawObject").field("name", &self.meta.name).field("bytes", &self.raw.len()).finish()
    }
}

impl Resource for RawObject {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// Parses `raw` and puts `kind` and `apiVersion` in front where they are missing.
pub(crate) fn with_type(raw: Bytes, kind: &Kind) -> Result<Object, ObjectError> {
    let object = Object::parse(raw)?;
    let (has_kind, has_version) = (object.kind().is_some(), object.api_version().is_some());
    if has_kind && has_version {
        return Ok(object);
    }
    let raw = object.raw();
    let body = raw.iter().position(|byte| *byte == b'{').map_or(0, |brace| brace + 1);
    let mut typed = BytesMut::with_capacity(raw.len() + 64);
    typed.put_u8(b'{');
    if !has_kind {
        typed.put_slice(format!("\"kind\":\"{}\",", kind.kind).as_bytes());
    }
    if !has_version {
        typed.put_slice(format!("\"apiVersion\":\"{}\",", kind.api_version()).as_bytes());
    }
    typed.put_slice(raw.get(body..).unwrap_or_default());
    Object::parse(typed.freeze())
}

/// Makes the object that stands for one which is gone: its name, and its uid if it is known.
pub(crate) fn tombstone(key: &ObjectKey, uid: Option<&Uid>) -> Result<Object, ObjectError> {
    let mut metadata = serde_json::json!({ "name": key.name.as_str() });
    if let Some(namespace) = &key.namespace {
        metadata["namespace"] = namespace.as_str().into();
    }
    if let Some(uid) = uid {
        metadata["uid"] = uid.as_str().into();
    }
    let mut object = serde_json::json!({ "metadata": metadata });
    if let Some(kind) = Kind::of(&key.resource) {
        object["kind"] = kind.kind.into();
        object["apiVersion"] = kind.api_version().into();
    }
    Object::from_value(&object)
}

#[cfg(test)]
mod tests {
    use kube::core::{ObjectList, WatchEvent};
    use protocol::{Namespace, ObjectName, ResourceType};

    use super::*;

    #[test]
    fn lists_and_watches_keep_the_bytes_of_an_object() {
        let raw =
            r#"{"metadata":{"name":"a","namespace":"b","resourceVersion":"7"}, "later":[1e2,{"x":null}]}"#;
        let event = format!(r#"{{"type":"ADDED","object":{raw}}}"#);
        let Ok(WatchEvent::Added(added)) = serde_json::from_str::<WatchEvent<RawObject>>(&event) else {
            panic!("an object was added");
        };
        assert_eq!(&added.raw[..], raw.as_bytes());
        assert_eq!(added.meta.resource_version.as_deref(), Some("7"));

        let list = format!(r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{}},"items":[{raw},{raw}]}}"#);
        let list: ObjectList<RawObject> = serde_json::from_str(&list).expect("a list");
        assert_eq!(list.items.iter().map(|item| &item.raw[..]).collect::<Vec<_>>(), [raw.as_bytes(); 2]);
    }

    #[test]
    fn type_is_filled_in_where_it_is_missing() {
        let kind = Kind::of(&ResourceType::POD).expect("pods are known");
        let cases = [
            (r#"{"metadata":{"name":"a"}}"#, r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}"#),
            (
                " {\n \"metadata\":{\"name\":\"a\"}}",
                "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\n \"metadata\":{\"name\":\"a\"}}",
            ),
            (
                r#"{"kind":"Pod","metadata":{"name":"a"}}"#,
                r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#,
            ),
            (
                r#"{"apiVersion":"v9","kind":"Other","metadata":{"name":"a"}}"#,
                r#"{"apiVersion":"v9","kind":"Other","metadata":{"name":"a"}}"#,
            ),
        ];
        for (raw, expected) in cases {
            let object = with_type(Bytes::from_static(raw.as_bytes()), kind).expect("it is an object");
            assert_eq!(&object.raw()[..], expected.as_bytes());
        }
    }

    #[test]
    fn a_tombstone_names_what_is_gone() {
        let key = ObjectKey {
            resource: ResourceType::POD,
            namespace: Some(Namespace::parse("b").expect("a valid namespace")),
            name: ObjectName::parse("a").expect("a valid name"),
        };
        let uid = Uid::parse("u").expect("a valid uid");
        let object = tombstone(&key, Some(&uid)).expect("it is an object");
        assert_eq!(object.key(ResourceType::POD), Ok(key));
        assert_eq!(object.uid(), Some(uid));
        assert_eq!(object.kind(), Some("Pod"));
    }
}

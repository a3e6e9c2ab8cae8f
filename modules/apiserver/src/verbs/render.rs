//! Objects as a request wants to see them.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use crate::registry::{self, Resource, converts};
use crate::server::call::Call;
use crate::server::reply::Reply;
use crate::storage::object::Stored;
use crate::table;
use crate::verbs::negotiate::Form;

/// Returns an object as a value in the version that is asked for.
pub(crate) fn value(resource: &Resource, object: &Stored) -> Value {
    let value = object.value(&resource.api_version(), &resource.kind);
    if converts(resource) { registry::from_storage(resource, value) } else { value }
}

/// Returns an object as JSON in the version that is asked for.
pub(crate) fn json(resource: &Resource, object: &Stored) -> Bytes {
    if converts(resource) {
        return value(resource, object).to_string().into();
    }
    object.json(&resource.api_version(), &resource.kind)
}

/// Returns an object as lists show it: built-in kinds leave out what the list says already.
fn item(resource: &Resource, object: &Stored) -> Bytes {
    if resource.is_custom() {
        return json(resource, object);
    }
    if !converts(resource) {
        return object.bare().clone();
    }
    let mut value = value(resource, object);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    value.to_string().into()
}

/// Answers with one object in the form that is wanted.
pub(crate) fn one(call: &Call, code: u16, resource: &Resource, object: &Stored, form: &Form) -> Reply {
    match form {
        Form::Plain => Reply::bytes(code, crate::server::reply::JSON, json(resource, object)),
        Form::Table(request) => {
            Reply::json(code, &table::object(resource, &value(resource, object), request, call.now, true))
        }
        Form::Metadata(version) => {
            Reply::json(code, &table::partial_metadata(&value(resource, object), *version))
        }
    }
}

/// Answers with a list in the form that is wanted.
pub(crate) fn many<'a>(
    call: &Call,
    resource: &Resource,
    metadata: Value,
    objects: impl Iterator<Item = &'a Stored>,
    form: &Form,
) -> Reply {
    if matches!(form, Form::Plain) {
        let mut json = BytesMut::with_capacity(1024);
        let head = format!(
            "{{\"kind\":{:?},\"apiVersion\":{:?},\"metadata\":{metadata},\"items\":[",
            resource.list_kind,
            resource.api_version()
        );
        json.put_slice(head.as_bytes());
        for (index, object) in objects.enumerate() {
            if index > 0 {
                json.put_u8(b',');
            }
            json.put_slice(&item(resource, object));
        }
        json.put_slice(b"]}");
        return Reply::bytes(200, crate::server::reply::JSON, json.freeze());
    }
    let items: Vec<_> = objects.map(|object| value(resource, object)).collect();
    let list = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(),
                      "metadata": metadata, "items": items});
    let shown = match form {
        Form::Table(request) => table::list(resource, &list, request, call.now),
        Form::Metadata(version) => table::partial_metadata_list(&list, *version),
        Form::Plain => list,
    };
    Reply::json(200, &shown)
}

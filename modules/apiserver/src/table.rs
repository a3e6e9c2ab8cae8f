//! Objects as rows of a table, which is how kubectl wants to print them.

mod age;
mod cells;
mod columns;
mod custom;
pub(crate) mod jsonpath;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::registry::Resource;

/// A version of the table form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableVersion {
    /// `meta.k8s.io/v1`.
    V1,
    /// `meta.k8s.io/v1beta1`.
    V1Beta1,
}

impl TableVersion {
    /// Returns the `apiVersion` of the table.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        match name {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }
}

/// How much of an object goes with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// What a client wants in place of plain objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// A table.
    Table(TableRequest),
    /// Metadata alone, one object or a list.
    Metadata(TableVersion),
}

/// What a table should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRequest {
    /// The version of the table.
    pub version: TableVersion,
    /// What goes with the rows.
    pub include: Include,
}

/// Returns what an `Accept` header and the query's `includeObject` ask for; `None` for plain JSON.
///
/// # Errors
///
/// When `includeObject` has an unknown value.
pub fn negotiate(accept: &str, include_object: Option<&str>) -> Result<Option<Transform>, String> {
    let include = match include_object.unwrap_or_default() {
        "" | "Metadata" => Include::Metadata,
        "None" => Include::None,
        "Object" => Include::Object,
        other => return Err(format!("unrecognized includeObject value: {other:?}")),
    };
    for offer in accept.split(',') {
        let mut parts = offer.split(';').map(str::trim);
        if !matches!(parts.next(), Some("application/json" | "*/*" | "application/*")) {
            continue;
        }
        let mut kind = None;
        let mut group = "";
        let mut version = "";
        for part in parts {
            match part.split_once('=') {
                Some(("as", value)) => kind = Some(value),
                Some(("g", value)) => group = value,
                Some(("v", value)) => version = value,
                _ => {}
            }
        }
        let Some(kind) = kind else { return Ok(None) };
        let Some(version) = TableVersion::of_name(version).filter(|_| group == "meta.k8s.io") else {
            continue;
        };
        match kind {
            "Table" => return Ok(Some(Transform::Table(TableRequest { version, include }))),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => {
                return Ok(Some(Transform::Metadata(version)));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Returns a list as a table.
#[must_use]
pub fn list(resource: &Resource, list: &Value, request: &TableRequest, now: Timestamp) -> Value {
    let empty = Vec::new();
    let items = list.get("items").and_then(Value::as_array).unwrap_or(&empty);
    let metadata = list.get("metadata").cloned().unwrap_or_else(|| json!({}));
    rows(resource, items, metadata, request, now, true)
}

/// Returns any number of objects as a table with the given metadata; without `columns` for watch
/// events after the first.
#[must_use]
pub fn rows<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: Value,
    request: &TableRequest,
    now: Timestamp,
    columns: bool,
) -> Value {
    let printer = custom::Printer::new(resource);
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let cells = match &printer {
                Some(printer) => printer.cells(object, now),
                None => cells::cells(resource, object, now),
            };
            row(resource, object, cells, request)
        })
        .collect();
    let mut table = json!({"kind": "Table", "apiVersion": request.version.api_version(),
        "metadata": metadata, "columnDefinitions": null, "rows": rows});
    if columns {
        table["columnDefinitions"] = match &printer {
            Some(printer) => printer.definitions(),
            None => definitions(resource),
        };
    }
    table
}

/// Returns one object as a table; without `columns` for watch events after the first.
#[must_use]
pub fn object(
    resource: &Resource,
    object: &Value,
    request: &TableRequest,
    now: Timestamp,
    columns: bool,
) -> Value {
    let mut metadata = Map::new();
    if let Some(version) = object.pointer("/metadata/resourceVersion") {
        metadata.insert("resourceVersion".to_owned(), version.clone());
    }
    rows(resource, [object], Value::Object(metadata), request, now, columns)
}

fn row(resource: &Resource, object: &Value, cells: Vec<Value>, request: &TableRequest) -> Value {
    let object_part = match request.include {
        Include::None => Value::Null,
        Include::Metadata => partial_metadata(object, request.version),
        Include::Object => object.clone(),
    };
    let mut row = json!({"cells": cells, "object": object_part});
    if resource.is("", "pods") {
        let condition = match object.pointer("/status/phase").and_then(Value::as_str) {
            Some("Succeeded") => Some(("Succeeded", "The pod has completed successfully.")),
            Some("Failed") => Some(("Failed", "The pod failed.")),
            _ => None,
        };
        if let Some((reason, message)) = condition {
            row["conditions"] =
                json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]);
        }
    }
    row
}

fn definitions(resource: &Resource) -> Value {
    columns::headings(&resource.group, &resource.plural)
        .iter()
        .map(|heading| definition(heading.name, heading.kind, heading.format, "", i64::from(heading.wide)))
        .collect()
}

fn definition(name: &str, kind: &str, format: &str, description: &str, priority: i64) -> Value {
    json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority})
}

/// Returns the metadata of an object as an object of its own.
#[must_use]
pub fn partial_metadata(object: &Value, version: TableVersion) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": version.api_version(),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({}))})
}

/// Returns the metadata of a list's objects as a list of its own.
#[must_use]
pub fn partial_metadata_list(list: &Value, version: TableVersion) -> Value {
    let items: Vec<Value> = list
        .get("items")
        .and_then(Value::as_array)
        .map(|items| items.iter().map(|item| partial_metadata(item, version)).collect())
        .unwrap_or_default();
    json!({"kind": "PartialObjectMetadataList", "apiVersion": version.api_version(),
        "metadata": list.get("metadata").cloned().unwrap_or_else(|| json!({})), "items": items})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    const V1: TableRequest = TableRequest { version: TableVersion::V1, include: Include::Metadata };

    #[test]
    fn the_first_form_that_can_be_met_is_taken() {
        fn check(accept: &str, expected: Option<Transform>) {
            assert_eq!(negotiate(accept, None).unwrap(), expected, "{accept}");
        }
        let table = |version| Some(Transform::Table(TableRequest { version, include: Include::Metadata }));
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", table(TableVersion::V1));
        check(
            "application/json;as=Table;g=meta.k8s.io;v=v1beta1, application/json",
            table(TableVersion::V1Beta1),
        );
        check("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", None);
        check("application/json", None);
        check("application/vnd.kubernetes.protobuf,application/json", None);
        check(
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            Some(Transform::Metadata(TableVersion::V1)),
        );
        assert!(negotiate("", Some("Everything")).is_err());
    }

    #[test]
    fn every_row_has_a_cell_for_every_column() {
        let registry = Registry::builtin();
        for resource in registry.resources() {
            let object = json!({"metadata": {"name": "x"}});
            let cells = cells::cells(resource, &object, Timestamp::UNIX_EPOCH);
            let headings = columns::headings(&resource.group, &resource.plural);
            assert_eq!(cells.len(), headings.len(), "{}", resource.qualified());
        }
    }

    #[test]
    fn a_list_becomes_a_table() {
        let registry = Registry::builtin();
        let resource = registry.find("", "v1", "configmaps").unwrap();
        let list_value = json!({"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "c",
            "creationTimestamp": "1970-01-01T00:00:00Z"}, "data": {"a": "b"}, "binaryData": {"c": "d"}}]});
        let table = list(resource, &list_value, &V1, Timestamp::from_second(65).unwrap());
        assert_eq!(table["metadata"]["resourceVersion"], "7");
        assert_eq!(table["rows"][0]["cells"], json!(["c", 2, "65s"]));
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(table["columnDefinitions"][0]["format"], "name");
        let bare = TableRequest { include: Include::None, ..V1 };
        let event = object(resource, &list_value["items"][0], &bare, Timestamp::UNIX_EPOCH, false);
        assert_eq!(event["columnDefinitions"], Value::Null);
        assert_eq!(event["rows"][0]["object"], Value::Null);
    }
}

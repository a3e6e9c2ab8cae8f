//! Server-side apply, and the record of who set which field.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::fieldset::{self, FieldSet, children, compare, field_shape, is_atomic, of_object};
use crate::registry::{Registry, Resource};
use crate::schema::FieldErrors;
use crate::schema::types::{ListKind, Shape, Types};

/// The annotation of client-side apply.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The most entries of plain updates that an object keeps.
const UPDATE_ENTRIES_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";
const BEFORE: &str = "before-first-apply";

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub struct Manager<'a> {
    /// The name.
    pub name: &'a str,
    /// The subresource that is written; empty for the object itself.
    pub subresource: &'a str,
    /// When.
    pub now: Timestamp,
}

/// One field that another manager set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Who set it, as messages show it.
    pub manager: String,
    /// The path of the field.
    pub path: String,
}

/// Says why an apply failed.
#[derive(Debug, Clone, PartialEq)]
pub enum ApplyError {
    /// Others set some of the fields differently: 409.
    Conflict(Vec<Conflict>),
    /// The applied object makes no sense: 400.
    Bad(String),
    /// The applied object is not valid: 422.
    Invalid(FieldErrors),
}

impl ApplyError {
    /// Returns the status that says so.
    #[must_use]
    pub fn status(&self, resource: &Resource, name: &str) -> Value {
        let status = |code: u16, reason: &str, message: &str, details: Value| {
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "details": details, "code": code})
        };
        match self {
            Self::Conflict(conflicts) => {
                let causes: Vec<Value> = conflicts
                    .iter()
                    .map(|conflict| {
                        json!({"reason": "FieldManagerConflict", "field": conflict.path,
                            "message": format!("conflict with {}", conflict.manager)})
                    })
                    .collect();
                status(409, "Conflict", &conflict_message(conflicts), json!({ "causes": causes }))
            }
            Self::Bad(message) => status(400, "BadRequest", message, json!({})),
            Self::Invalid(errors) => errors.status(resource, name),
        }
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.path);
    }
    let mut by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        by_manager.entry(&conflict.manager).or_default().push(&conflict.path);
    }
    let mut lines = Vec::new();
    for (manager, paths) in by_manager {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(paths.iter().map(|path| format!("- {path}")));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// What one manager set, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    manager: String,
    apply: bool,
    api_version: String,
    subresource: String,
    time: Option<String>,
    fields: FieldSet,
}

impl Entry {
    fn new(manager: &Manager<'_>, apply: bool, api_version: &str) -> Self {
        Self {
            manager: manager.name.to_owned(),
            apply,
            api_version: api_version.to_owned(),
            subresource: manager.subresource.to_owned(),
            time: None,
            fields: FieldSet::default(),
        }
    }

    fn is_same(&self, other: &Entry) -> bool {
        self.manager == other.manager
            && self.apply == other.apply
            && self.subresource == other.subresource
            && (self.apply || self.api_version == other.api_version)
    }

    fn shown(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.apply {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }

    fn to_value(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
        put("manager", Value::from(self.manager.clone()));
        put("operation", Value::from(if self.apply { "Apply" } else { "Update" }));
        put("apiVersion", Value::from(self.api_version.clone()));
        if let Some(time) = &self.time {
            put("time", Value::from(time.clone()));
        }
        put("fieldsType", Value::from("FieldsV1"));
        put("fieldsV1", self.fields.to_fields());
        if !self.subresource.is_empty() {
            put("subresource", Value::from(self.subresource.clone()));
        }
        Value::Object(entry)
    }

    fn of_value(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let fields = FieldSet::from_fields(value.get("fieldsV1")?);
        Some(Self {
            manager: text("manager"),
            apply: text("operation") == "Apply",
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: value.get("time").and_then(Value::as_str).map(str::to_owned),
            fields,
        })
    }
}

fn entries_of(object: &Value) -> Vec<Entry> {
    object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .map(|entries| entries.iter().filter_map(Entry::of_value).collect())
        .unwrap_or_default()
}

fn set_entries(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if entries.is_empty() {
        metadata.remove("managedFields");
        return;
    }
    entries.sort_by(|left, right| {
        let key = |entry: &Entry| {
            (
                !entry.apply,
                entry.time.clone(),
                entry.manager.clone(),
                entry.api_version.clone(),
                entry.subresource.clone(),
            )
        };
        key(left).cmp(&key(right))
    });
    let entries: Vec<Value> = entries.iter().map(Entry::to_value).collect();
    metadata.insert("managedFields".to_owned(), Value::from(entries));
}

/// Joins the oldest entries of plain updates when there are too many.
fn cap(entries: &mut Vec<Entry>) {
    let mut updates: Vec<Entry> = Vec::new();
    entries.retain(|entry| {
        if !entry.apply {
            updates.push(entry.clone());
        }
        entry.apply
    });
    updates.sort_by(|left, right| left.time.cmp(&right.time));
    while updates.len() > UPDATE_ENTRIES_MAX {
        let oldest = updates.remove(0);
        let Some(next) = updates.iter_mut().find(|entry| entry.api_version == oldest.api_version) else {
            updates.push(oldest);
            break;
        };
        next.fields.union(&oldest.fields);
        ANCIENT.clone_into(&mut next.manager);
        next.subresource.clear();
    }
    entries.append(&mut updates);
}

/// Returns what nobody owns: identity and what the server keeps.
fn unowned() -> FieldSet {
    FieldSet::from_fields(&json!({"f:apiVersion": {}, "f:kind": {}, "f:metadata": {
        "f:name": {}, "f:namespace": {}, "f:creationTimestamp": {}, "f:selfLink": {}, "f:uid": {},
        "f:generation": {}, "f:managedFields": {}, "f:resourceVersion": {}, "f:generateName": {}}}))
}

fn stamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Records what a create, an update or a patch changed. The new object may carry entries that its
/// writer changed; without any it gets those of the old one.
pub fn track(
    registry: &Registry,
    resource: &Resource,
    old: Option<&Value>,
    new: &mut Value,
    manager: &Manager<'_>,
) {
    let reset = new
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .is_some_and(|entries| matches!(entries.as_slice(), [Value::Object(only)] if only.is_empty()));
    let mut entries = match entries_of(new) {
        _ if reset => {
            set_entries(new, Vec::new());
            return;
        }
        given if given.is_empty() => old.map(entries_of).unwrap_or_default(),
        given => given,
    };
    let empty = Value::Object(Map::new());
    let mut difference = compare(registry.types(), &resource.shape, old.unwrap_or(&empty), new);
    difference.changed.remove_trees(&unowned());
    difference.changed.member = false;
    if let Some(metadata) = difference.changed.below.get_mut("f:metadata") {
        metadata.member = false;
    }
    take_over(&mut entries, None, &difference);
    let mut own = Entry::new(manager, false, &resource.api_version());
    if !difference.changed.is_empty() {
        let at = entries.iter().position(|entry| entry.is_same(&own));
        if let Some(at) = at {
            own.fields = entries.remove(at).fields;
        }
        own.fields.union(&difference.changed);
        own.time = Some(stamp(manager.now));
        entries.push(own);
    }
    cap(&mut entries);
    set_entries(new, entries);
}

/// Takes changed and removed fields from everyone but the entry at `except`.
fn take_over(entries: &mut [Entry], except: Option<usize>, difference: &fieldset::Difference) {
    for (at, entry) in entries.iter_mut().enumerate() {
        entry.fields.subtract(&difference.removed);
        if Some(at) != except {
            entry.fields.subtract(&difference.changed);
        }
    }
}

/// Merges what a manager applies into an object, and returns it with the record of its managers.
///
/// # Errors
///
/// When others set fields differently and `force` is not given, or when the applied object makes
/// no sense.
pub fn apply(
    registry: &Registry,
    resource: &Resource,
    live: Option<&Value>,
    applied: &Value,
    manager: &Manager<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    let types = registry.types();
    if applied.pointer("/metadata/managedFields").is_some_and(|entries| !entries.is_null()) {
        return Err(ApplyError::Bad("metadata.managedFields must be nil".to_owned()));
    }
    let applied = without_nulls(applied.clone());
    let empty = json!({"apiVersion": resource.api_version(), "kind": resource.kind, "metadata": {}});
    let before = live.unwrap_or(&empty);
    let mut fields = of_object(types, &resource.shape, &applied).map_err(|duplicate| {
        ApplyError::Bad(format!("{}: duplicate entries for key {}", duplicate.path, duplicate.step))
    })?;
    fields.remove_trees(&unowned());

    let mut entries = entries_of(before);
    if let Some(live) = live.filter(|_| entries.is_empty()) {
        entries.extend(owner_before(types, resource, live));
    }
    let mut own = Entry::new(manager, true, &resource.api_version());
    own.fields = fields;
    let earlier = entries.iter().position(|entry| entry.is_same(&own)).map(|at| entries.remove(at));

    let mut merged = merge(types, &resource.shape, before, &applied);
    if let Some(earlier) = &earlier {
        let mut kept = own.fields.clone();
        for entry in &entries {
            kept.union(&entry.fields);
        }
        prune(types, &resource.shape, &mut merged, &earlier.fields, &kept);
    }
    let mut difference = compare(types, &resource.shape, before, &merged);
    difference.changed.remove_trees(&unowned());

    let conflicts = conflicts_with(&entries, &difference.changed, resource, before, manager, types);
    if !force && !conflicts.is_empty() {
        return Err(ApplyError::Conflict(conflicts));
    }
    take_over(&mut entries, None, &difference);
    own.time = match earlier {
        Some(earlier) if earlier.fields == own.fields && difference.is_nothing() => earlier.time,
        _ => Some(stamp(manager.now)),
    };
    entries.push(own);
    cap(&mut entries);
    set_entries(&mut merged, entries);
    Ok(merged)
}

impl fieldset::Difference {
    fn is_nothing(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Returns an entry for whoever wrote an object before its managers were recorded.
fn owner_before(types: &Types, resource: &Resource, live: &Value) -> Option<Entry> {
    let manager = Manager { name: BEFORE, subresource: "", now: Timestamp::UNIX_EPOCH };
    let mut entry = Entry::new(&manager, false, &resource.api_version());
    let empty = Value::Object(Map::new());
    entry.fields = compare(types, &resource.shape, &empty, live).changed;
    entry.fields.remove_trees(&unowned());
    entry.fields.member = false;
    entry.time = live.pointer("/metadata/creationTimestamp").and_then(Value::as_str).map(str::to_owned);
    (!entry.fields.is_empty()).then_some(entry)
}

fn conflicts_with(
    entries: &[Entry],
    changed: &FieldSet,
    resource: &Resource,
    live: &Value,
    manager: &Manager<'_>,
    types: &Types,
) -> Vec<Conflict> {
    let allowed = last_applied(types, resource, live, manager);
    let mut conflicts = Vec::new();
    for entry in entries {
        let mut both = entry.fields.intersection(changed);
        if let Some(allowed) = &allowed {
            both.subtract(allowed);
        }
        let manager = entry.shown();
        conflicts.extend(both.paths().into_iter().map(|path| Conflict { manager: manager.clone(), path }));
    }
    conflicts
}

/// Returns what kubectl applied client-side and still stands: it may take that over.
fn last_applied(types: &Types, resource: &Resource, live: &Value, manager: &Manager<'_>) -> Option<FieldSet> {
    if manager.name != "kubectl" {
        return None;
    }
    let text = live.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
    let last: Value = serde_json::from_str(text).ok()?;
    let mut fields = of_object(types, &resource.shape, &without_nulls(last.clone())).ok()?;
    let drift = compare(types, &resource.shape, &last, live);
    fields.subtract(&drift.changed);
    Some(fields)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Lays an applied value over a live one.
fn merge(types: &Types, shape: &Shape, live: &Value, applied: &Value) -> Value {
    if is_atomic(types, shape, applied) || is_atomic(types, shape, live) {
        return applied.clone();
    }
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            let mut merged = live.clone();
            for (name, value) in applied {
                let (shape, _) = field_shape(types, shape, name);
                let value = match live.get(name) {
                    Some(current) => merge(types, shape, current, value),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(applied)) => {
            let Shape::List(item, kind) = shape else { return Value::Array(applied.clone()) };
            Value::Array(merge_lists(types, item, kind, live, applied))
        }
        _ => applied.clone(),
    }
}

/// Applied items come in their order; items that only the live list has keep their places between.
fn merge_lists(
    types: &Types,
    item: &Shape,
    kind: &ListKind,
    live: &[Value],
    applied: &[Value],
) -> Vec<Value> {
    let step = |value: &Value| fieldset::item_step(types, item, kind, value);
    let live_steps: Vec<String> = live.iter().map(step).collect();
    let applied_steps: Vec<String> = applied.iter().map(step).collect();
    let mut merged = Vec::with_capacity(live.len() + applied.len());
    let mut next_live = 0;
    for (value, own_step) in applied.iter().zip(&applied_steps) {
        match live_steps.iter().position(|step| step == own_step) {
            Some(at) => {
                while next_live < at {
                    if !applied_steps.contains(&live_steps[next_live]) {
                        merged.push(live[next_live].clone());
                    }
                    next_live += 1;
                }
                next_live = next_live.max(at + 1);
                merged.push(merge(types, item, &live[at], value));
            }
            None => merged.push(value.clone()),
        }
    }
    for at in next_live..live.len() {
        if !applied_steps.contains(&live_steps[at]) {
            merged.push(live[at].clone());
        }
    }
    merged
}

/// Removes what the manager applied before, does not apply any more, and nobody else set.
fn prune(types: &Types, shape: &Shape, value: &mut Value, before: &FieldSet, kept: &FieldSet) {
    if is_atomic(types, shape, value) {
        return;
    }
    let mut doomed: Vec<String> = Vec::new();
    let mut deeper: Vec<String> = Vec::new();
    for child in children(types, shape, value) {
        let Some(earlier) = before.below.get(&child.step) else { continue };
        let was_set = earlier.member || (child.is_field && !earlier.below.is_empty());
        match kept.below.get(&child.step) {
            None if was_set => doomed.push(child.step),
            _ => deeper.push(child.step),
        }
    }
    let nothing = FieldSet::default();
    let below =
        |step: &str| (before.below.get(step).unwrap_or(&nothing), kept.below.get(step).unwrap_or(&nothing));
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !doomed.contains(&format!("f:{name}")));
            for (name, value) in fields.iter_mut() {
                let step = format!("f:{name}");
                if deeper.contains(&step) {
                    let (before, kept) = below(&step);
                    prune(types, field_shape(types, shape, name).0, value, before, kept);
                }
            }
        }
        Value::Array(items) => {
            let Shape::List(item, kind) = shape else { return };
            let step = |value: &Value| fieldset::item_step(types, item, kind, value);
            items.retain(|value| !doomed.contains(&step(value)));
            for value in items.iter_mut() {
                let step = step(value);
                if deeper.contains(&step) {
                    let (before, kept) = below(&step);
                    prune(types, item, value, before, kept);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;

//! Sets of fields: which parts of an object a manager set, in the `FieldsV1` form.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::schema::types::{Field, ListKind, Merging, Shape, Type, Types};

/// A set of paths, as a tree. Steps are in `FieldsV1` form: `f:name`, `k:{"name":"a"}`, `v:"x"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    /// Whether the path that leads here is a member.
    pub(super) member: bool,
    /// What lies below.
    pub(super) below: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    fn leaf() -> Self {
        Self { member: true, below: BTreeMap::new() }
    }

    fn put(&mut self, step: String, set: FieldSet) {
        if !set.is_empty() {
            self.below.insert(step, set);
        }
    }

    pub(super) fn union(&mut self, other: &FieldSet) {
        self.member |= other.member;
        for (step, set) in &other.below {
            self.below.entry(step.clone()).or_default().union(set);
        }
    }

    /// Removes the members of another set.
    pub(super) fn subtract(&mut self, other: &FieldSet) {
        self.member &= !other.member;
        for (step, set) in &other.below {
            if let Some(own) = self.below.get_mut(step) {
                own.subtract(set);
                if own.is_empty() {
                    self.below.remove(step);
                }
            }
        }
    }

    /// Removes the paths of another set with all that lies below them.
    pub(super) fn remove_trees(&mut self, other: &FieldSet) {
        for (step, set) in &other.below {
            if set.member {
                self.below.remove(step);
            } else if let Some(own) = self.below.get_mut(step) {
                own.remove_trees(set);
                if own.is_empty() {
                    self.below.remove(step);
                }
            }
        }
    }

    pub(super) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut both = FieldSet { member: self.member && other.member, below: BTreeMap::new() };
        for (step, set) in &self.below {
            if let Some(theirs) = other.below.get(step) {
                both.put(step.clone(), set.intersection(theirs));
            }
        }
        both
    }

    /// Returns the members' paths as conflicts show them: `.spec.containers[name="a"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, at: &str, paths: &mut Vec<String>) {
        if self.member {
            paths.push(at.to_owned());
        }
        for (step, set) in &self.below {
            set.collect(&format!("{at}{}", shown(step)), paths);
        }
    }

    /// Reads the `FieldsV1` form.
    pub(super) fn from_fields(fields: &Value) -> FieldSet {
        let Value::Object(fields) = fields else { return FieldSet::default() };
        let mut set = FieldSet::default();
        for (step, below) in fields {
            if step == "." {
                set.member = true;
                continue;
            }
            let mut inner = FieldSet::from_fields(below);
            if inner.is_empty() {
                inner.member = true;
            }
            set.below.insert(canonical(step), inner);
        }
        set
    }

    /// Writes the `FieldsV1` form.
    pub(super) fn to_fields(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.below.is_empty() {
            fields.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (step, set) in &self.below {
            fields.insert(step.clone(), set.to_fields());
        }
        Value::Object(fields)
    }
}

/// Writes a step with its JSON in one form, so that equal steps are equal texts.
fn canonical(step: &str) -> String {
    for prefix in ["k:", "v:"] {
        if let Some(json) = step.strip_prefix(prefix)
            && let Ok(value) = serde_json::from_str::<Value>(json)
        {
            return format!("{prefix}{}", sorted(&value));
        }
    }
    step.to_owned()
}

fn sorted(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, &Value> = fields.iter().collect();
            serde_json::to_string(&fields).unwrap_or_default()
        }
        other => other.to_string(),
    }
}

fn shown(step: &str) -> String {
    if let Some(name) = step.strip_prefix("f:") {
        return format!(".{name}");
    }
    if let Some(keys) = step.strip_prefix("k:") {
        let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
        let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        return format!("[{}]", keys.join(","));
    }
    match step.split_once(':') {
        Some(("v", value)) => format!("[={value}]"),
        Some((_, index)) => format!("[{index}]"),
        None => step.to_owned(),
    }
}

/// Says why an object's fields cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Duplicate {
    /// The path of the list.
    pub(super) path: String,
    /// What two items share.
    pub(super) step: String,
}

/// The children of a value: its parts with their steps and shapes; `None` when it has no parts.
pub(super) struct Child<'a> {
    pub(super) step: String,
    pub(super) shape: &'a Shape,
    pub(super) value: &'a Value,
    /// It is a field of a type, not a key of a map or an item of a list.
    pub(super) is_field: bool,
}

/// Returns the shape of an object's part, and whether a type names it.
pub(super) fn field_shape<'a>(
    types: &'a Types,
    shape: &'a Shape,
    name: &str,
) -> (&'a Shape, Option<&'a Field>) {
    const OPEN: &Shape = &Shape::Open;
    match shape {
        Shape::Map(value, _) => (value, None),
        Shape::Named(_) | Shape::Inline(_) => {
            let owner: Option<&Type> = types.resolve(shape);
            match owner.and_then(|owner| owner.fields.get(name)) {
                Some(field) => (&field.shape, Some(field)),
                None => (owner.and_then(|owner| owner.rest.as_ref()).unwrap_or(OPEN), None),
            }
        }
        _ => (OPEN, None),
    }
}

/// Returns whether a value of this shape is replaced whole.
pub(super) fn is_atomic(types: &Types, shape: &Shape, value: &Value) -> bool {
    match (shape, value) {
        (Shape::Named(_) | Shape::Inline(_), Value::Object(_)) => {
            types.resolve(shape).is_none_or(|owner| owner.merging == Merging::Atomic)
        }
        (Shape::Map(_, merging), Value::Object(_)) => *merging == Merging::Atomic,
        (Shape::Open, Value::Object(_)) => false,
        (Shape::List(_, kind), Value::Array(_)) => *kind == ListKind::Atomic,
        _ => true,
    }
}

/// Returns the parts of a value that is not atomic.
pub(super) fn children<'a>(types: &'a Types, shape: &'a Shape, value: &'a Value) -> Vec<Child<'a>> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let (shape, field) = field_shape(types, shape, name);
                Child { step: format!("f:{name}"), shape, value, is_field: field.is_some() }
            })
            .collect(),
        Value::Array(items) => {
            let Shape::List(item, kind) = shape else { return Vec::new() };
            items
                .iter()
                .map(|value| Child {
                    step: item_step(types, item, kind, value),
                    shape: item,
                    value,
                    is_field: false,
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the step that identifies an item of a list.
pub(super) fn item_step(types: &Types, item: &Shape, kind: &ListKind, value: &Value) -> String {
    match kind {
        ListKind::Map(keys) => {
            let owner = types.resolve(item);
            let mut identity: BTreeMap<&str, Value> = BTreeMap::new();
            for key in keys {
                if let Some(found) = value.get(&**key) {
                    identity.insert(key, found.clone());
                } else if let Some(default) = owner.and_then(|owner| key_default(owner, key)) {
                    identity.insert(key, Value::from(default));
                }
            }
            format!("k:{}", serde_json::to_string(&identity).unwrap_or_default())
        }
        ListKind::Set | ListKind::Atomic => format!("v:{}", sorted(value)),
    }
}

fn key_default<'a>(owner: &'a Type, key: &Arc<str>) -> Option<&'a str> {
    owner.fields.get(key)?.key_default.as_deref()
}

/// Returns the fields that an applied object sets.
pub(super) fn of_object(types: &Types, shape: &Shape, value: &Value) -> Result<FieldSet, Duplicate> {
    walk(types, shape, value, "")
}

fn walk(types: &Types, shape: &Shape, value: &Value, at: &str) -> Result<FieldSet, Duplicate> {
    if is_atomic(types, shape, value) {
        return Ok(FieldSet::leaf());
    }
    let mut set = FieldSet::default();
    let is_list = value.is_array();
    for child in children(types, shape, value) {
        let path = format!("{at}{}", shown(&child.step));
        let mut below = walk(types, child.shape, child.value, &path)?;
        let empty = child.value.as_object().is_some_and(Map::is_empty);
        below.member |= is_list || !child.is_field || empty || child.value.is_null();
        if is_list && set.below.contains_key(&child.step) {
            return Err(Duplicate { path: at.to_owned(), step: shown(&child.step) });
        }
        set.put(child.step, below);
    }
    Ok(set)
}

/// How two objects differ.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// What was added or changed.
    pub(super) changed: FieldSet,
    /// What was removed.
    pub(super) removed: FieldSet,
}

/// Compares two objects.
pub(super) fn compare(types: &Types, shape: &Shape, old: &Value, new: &Value) -> Difference {
    let mut difference = Difference::default();
    compare_into(types, shape, old, new, &mut difference);
    difference
}

fn compare_into(types: &Types, shape: &Shape, old: &Value, new: &Value, into: &mut Difference) {
    if old == new {
        return;
    }
    if is_atomic(types, shape, new) || is_atomic(types, shape, old) {
        into.changed.member = true;
        return;
    }
    let before: BTreeMap<String, Child<'_>> =
        children(types, shape, old).into_iter().map(|child| (child.step.clone(), child)).collect();
    let mut seen = std::collections::BTreeSet::new();
    for child in children(types, shape, new) {
        let mut below = Difference::default();
        match before.get(&child.step) {
            Some(earlier) => compare_into(types, child.shape, earlier.value, child.value, &mut below),
            None if is_embedded(types, shape, &child.step) => {
                let empty =
                    if child.value.is_array() { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
                compare_into(types, child.shape, &empty, child.value, &mut below);
            }
            None => below.changed = everything(types, child.shape, child.value),
        }
        into.changed.put(child.step.clone(), below.changed);
        into.removed.put(child.step.clone(), below.removed);
        seen.insert(child.step);
    }
    for (step, child) in before {
        if !seen.contains(&step) {
            into.removed.put(step, everything(types, child.shape, child.value));
        }
    }
}

/// Returns whether typed clients and servers always write this part of an object, be it empty.
fn is_embedded(types: &Types, shape: &Shape, step: &str) -> bool {
    let Some(name) = step.strip_prefix("f:") else { return false };
    match field_shape(types, shape, name) {
        (Shape::Named(_), Some(field)) => !field.pointer,
        (Shape::List(..), Some(field)) => field.always,
        _ => false,
    }
}

/// Returns every path of a value that was not there before.
fn everything(types: &Types, shape: &Shape, value: &Value) -> FieldSet {
    let mut set = FieldSet::leaf();
    if !is_atomic(types, shape, value) {
        for child in children(types, shape, value) {
            set.put(child.step, everything(types, child.shape, child.value));
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const POD: &str = "io.k8s.api.core.v1.Pod";

    #[test]
    fn fields_are_written_as_real_servers_do() {
        let types = Types::builtin();
        let shape = Shape::Named(POD.into());
        let pod = json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["x"]}, "spec": {
            "containers": [{"name": "c", "ports": [{"containerPort": 80}], "args": ["1"], "resources": {}}]}});
        let set = of_object(&types, &shape, &pod).unwrap();
        let expected = json!({
            "f:metadata": {"f:finalizers": {"v:\"x\"": {}}, "f:labels": {"f:a": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:args": {},
                "f:resources": {}, "f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}});
        assert_eq!(set.to_fields(), expected);
        assert_eq!(FieldSet::from_fields(&expected), set);
        assert!(set.paths().contains(&".spec.containers[name=\"c\"].args".to_owned()));
        assert!(set.paths().contains(&".metadata.finalizers[=\"x\"]".to_owned()));
    }

    #[test]
    fn two_items_of_one_identity_are_refused() {
        let types = Types::builtin();
        let pod = json!({"spec": {"containers": [{"name": "c"}, {"name": "c"}]}});
        let refused = of_object(&types, &Shape::Named(POD.into()), &pod).unwrap_err();
        assert_eq!((refused.path.as_str(), refused.step.as_str()), (".spec.containers", "[name=\"c\"]"));
    }

    #[test]
    fn differences_are_found_below_keys() {
        let types = Types::builtin();
        let old = json!({"metadata": {"labels": {"a": "b", "gone": "1"}}, "spec": {"containers": [
            {"name": "c", "image": "1"}]}});
        let new = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
            {"name": "c", "image": "2"}], "nodeName": "n"}});
        let difference = compare(&types, &Shape::Named(POD.into()), &old, &new);
        assert_eq!(difference.changed.paths(), [".spec.containers[name=\"c\"].image", ".spec.nodeName"]);
        assert_eq!(difference.removed.paths(), [".metadata.labels.gone"]);
    }

    #[test]
    fn sets_add_and_subtract() {
        let set = |value: Value| FieldSet::from_fields(&value);
        let mut left = set(json!({"f:a": {}, "f:b": {"f:c": {}, "f:d": {}}}));
        left.subtract(&set(json!({"f:b": {"f:c": {}}})));
        assert_eq!(left.to_fields(), json!({"f:a": {}, "f:b": {"f:d": {}}}));
        left.union(&set(json!({"f:b": {".": {}, "f:e": {}}})));
        assert_eq!(left.to_fields(), json!({"f:a": {}, "f:b": {".": {}, "f:d": {}, "f:e": {}}}));
        assert_eq!(left.intersection(&set(json!({"f:b": {"f:e": {}}, "f:z": {}}))).paths(), [".b.e"]);
    }
}

//! The shape of every API type: what its fields are, how they merge, and their protobuf numbers.
//!
//! Built-in types are read from the tables in `fields/`; those of custom resources are made from
//! their structural schemas.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The tables of built-in types.
const TABLES: [&str; 21] = [
    include_str!("fields/meta.txt"),
    include_str!("fields/core.txt"),
    include_str!("fields/apps.txt"),
    include_str!("fields/batch.txt"),
    include_str!("fields/events.txt"),
    include_str!("fields/authentication.txt"),
    include_str!("fields/authorization.txt"),
    include_str!("fields/autoscaling.txt"),
    include_str!("fields/autoscaling_v2.txt"),
    include_str!("fields/certificates.txt"),
    include_str!("fields/coordination.txt"),
    include_str!("fields/discovery.txt"),
    include_str!("fields/networking.txt"),
    include_str!("fields/node.txt"),
    include_str!("fields/policy.txt"),
    include_str!("fields/rbac.txt"),
    include_str!("fields/scheduling.txt"),
    include_str!("fields/scheduling_v1alpha3.txt"),
    include_str!("fields/storage.txt"),
    include_str!("fields/admissionregistration.txt"),
    include_str!("fields/apiextensions.txt"),
];

/// The package of `ObjectMeta` and its like.
pub(crate) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
/// The full name of `ObjectMeta`.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// The package of custom resource definitions.
pub(crate) const APIEXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// A value without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// True or false.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating point number.
    Double,
    /// Bytes, base64 in JSON.
    Bytes,
    /// An amount such as `100m`.
    Quantity,
    /// A time to the second.
    Time,
    /// A time to the microsecond.
    MicroTime,
    /// A duration such as `1m30s`.
    Duration,
    /// A number or a text.
    IntOrString,
}

/// One of the three places where a JSON schema may stand for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaOr {
    /// A schema or an array of them.
    Array,
    /// A schema or a truth value.
    Bool,
    /// A schema or an array of texts.
    Strings,
}

/// How a list takes part in an apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// Replaced whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Items identified by these keys.
    Map(Vec<Arc<str>>),
}

/// What a value looks like.
#[derive(Debug, Clone)]
pub enum Shape {
    /// A value without parts.
    Scalar(Scalar),
    /// Any JSON; replaced whole.
    Json,
    /// Any JSON; its objects merge key by key.
    Open,
    /// A built-in type by its full name.
    Named(Arc<str>),
    /// A type that only this place has.
    Inline(Arc<Type>),
    /// A list.
    List(Arc<Shape>, ListKind),
    /// A map from text.
    Map(Arc<Shape>, Merging),
    /// A JSON schema or something else.
    SchemaOr(SchemaOr),
    /// A list of texts that protobuf wraps into a message.
    WrappedStrings,
}

/// Whether an object merges part by part or is replaced whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merging {
    /// Part by part.
    Granular,
    /// Whole.
    Atomic,
}

/// How a strategic merge patch treats a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists merge instead of being replaced.
    pub merge: bool,
    /// Objects are replaced instead of merged.
    pub replace: bool,
    /// A `$retainKeys` directive clears the rest; objects only.
    pub retain_keys: bool,
    /// The key that identifies items of a list of objects.
    pub merge_key: Option<Arc<str>>,
}

/// One field of a type.
#[derive(Debug, Clone)]
pub struct Field {
    /// What the value looks like.
    pub shape: Shape,
    /// It is written even when empty.
    pub always: bool,
    /// An empty value differs from an absent one.
    pub pointer: bool,
    /// How a strategic merge patch treats it.
    pub patch: PatchStrategy,
    /// The value that an absent key of a list item has.
    pub key_default: Option<Arc<str>>,
}

/// What a protobuf field number means.
#[derive(Debug, Clone)]
pub enum Slot {
    /// A field of this name.
    Field(Arc<str>),
    /// A message whose fields stand in this type itself.
    Spread(Arc<str>),
}

/// An object type.
#[derive(Debug, Clone)]
pub struct Type {
    /// The full name; empty for inline types.
    pub name: Arc<str>,
    /// Whether it merges part by part on apply.
    pub merging: Merging,
    /// The fields by JSON name.
    pub fields: BTreeMap<Arc<str>, Field>,
    /// The protobuf numbers.
    pub slots: BTreeMap<u32, Slot>,
    /// What fields outside of `fields` look like; `None` when there are none.
    pub rest: Option<Shape>,
}

/// All built-in types.
#[derive(Debug)]
pub struct Types {
    by_name: BTreeMap<Arc<str>, Arc<Type>>,
}

impl Types {
    /// Reads the tables.
    #[must_use]
    pub fn builtin() -> Self {
        let mut raw = Vec::new();
        for table in TABLES {
            parse_table(table, &mut raw);
        }
        let index: BTreeMap<Arc<str>, usize> =
            raw.iter().enumerate().map(|(at, raw)| (Arc::clone(&raw.built.name), at)).collect();
        let by_name = (0..raw.len())
            .map(|at| {
                let mut built = raw[at].built.clone();
                spread(&raw, &index, at, &mut built.fields);
                (Arc::clone(&built.name), Arc::new(built))
            })
            .collect();
        Self { by_name }
    }

    /// Finds a type by its full name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Type>> {
        self.by_name.get(name)
    }

    /// Finds the type behind a shape, if it is an object type.
    #[must_use]
    pub fn resolve<'a>(&'a self, shape: &'a Shape) -> Option<&'a Type> {
        match shape {
            Shape::Named(name) => self.get(name).map(AsRef::as_ref),
            Shape::Inline(inline) => Some(inline),
            _ => None,
        }
    }

    /// Returns all types by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Type>> {
        self.by_name.values()
    }
}

/// Returns the full name of a built-in kind's type.
#[must_use]
pub fn type_name(group: &str, version: &str, kind: &str) -> String {
    match group {
        "" => format!("io.k8s.api.core.{version}.{kind}"),
        "apiextensions.k8s.io" => format!("{APIEXTENSIONS}.{kind}"),
        "meta.k8s.io" => format!("{META}.{kind}"),
        _ => {
            let package = group.split('.').next().unwrap_or(group);
            format!("io.k8s.api.{package}.{version}.{kind}")
        }
    }
}

struct RawType {
    built: Type,
    spreads: Vec<Arc<str>>,
}

fn spread(
    raw: &[RawType],
    index: &BTreeMap<Arc<str>, usize>,
    at: usize,
    fields: &mut BTreeMap<Arc<str>, Field>,
) {
    for name in &raw[at].spreads {
        let inner = *index.get(name).expect("the tables name only types they define");
        for (name, field) in &raw[inner].built.fields {
            fields.insert(Arc::clone(name), field.clone());
        }
        spread(raw, index, inner, fields);
    }
}

fn parse_table(table: &str, raw: &mut Vec<RawType>) {
    let mut package = "";
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("package ") {
            package = name;
        } else if let Some(field) = line.strip_prefix(' ') {
            let current = raw.last_mut().expect("a table begins with a type");
            parse_field(package, field, current);
        } else {
            let (name, flags) = line.split_once(' ').unwrap_or((line, ""));
            let merging = if flags == "atomic" { Merging::Atomic } else { Merging::Granular };
            let name = Arc::from(format!("{package}.{name}"));
            let built = Type { name, merging, fields: BTreeMap::new(), slots: BTreeMap::new(), rest: None };
            raw.push(RawType { built, spreads: Vec::new() });
        }
    }
}

fn parse_field(package: &str, line: &str, into: &mut RawType) {
    let mut words = line.split(' ');
    let mut word = || words.next().expect("a field has a name, a number and a type");
    let (name, number, shape) = (word(), word(), word());
    let number: Option<u32> = number.parse().ok();
    if name == "..." {
        let inner: Arc<str> = Arc::from(full_name(package, shape));
        if let Some(number) = number {
            into.built.slots.insert(number, Slot::Spread(Arc::clone(&inner)));
        }
        into.spreads.push(inner);
        return;
    }
    let name: Arc<str> = Arc::from(name);
    let mut field = Field {
        shape: parse_shape(package, shape),
        always: false,
        pointer: false,
        patch: PatchStrategy::default(),
        key_default: None,
    };
    for flag in words {
        parse_flag(flag, &mut field);
    }
    if let Some(number) = number {
        into.built.slots.insert(number, Slot::Field(Arc::clone(&name)));
    }
    into.built.fields.insert(name, field);
}

fn parse_flag(flag: &str, field: &mut Field) {
    match flag.split_once('=').unwrap_or((flag, "")) {
        ("always", _) => field.always = true,
        ("pointer", _) => field.pointer = true,
        ("default", value) => field.key_default = Some(Arc::from(value)),
        ("patch", value) => {
            let (strategies, key) = value.split_once(':').unwrap_or((value, ""));
            field.patch.merge = strategies.split(',').any(|strategy| strategy == "merge");
            field.patch.replace = strategies.split(',').any(|strategy| strategy == "replace");
            field.patch.retain_keys = strategies.split(',').any(|strategy| strategy == "retainKeys");
            field.patch.merge_key = (!key.is_empty()).then(|| Arc::from(key));
        }
        ("list", value) => {
            let kind = match value.strip_prefix("map:") {
                Some(keys) => ListKind::Map(keys.split(',').map(Arc::from).collect()),
                None => ListKind::Set,
            };
            if let Shape::List(_, current) = &mut field.shape {
                *current = kind;
            }
        }
        ("atomic", _) => {
            if let Shape::Map(_, merging) = &mut field.shape {
                *merging = Merging::Atomic;
            }
        }
        (other, _) => unreachable!("the tables have no flag {other}"),
    }
}

fn parse_shape(package: &str, text: &str) -> Shape {
    let inner = |open: char, close: char| text.strip_prefix(open).and_then(|text| text.strip_suffix(close));
    if let Some(item) = inner('[', ']') {
        return Shape::List(Arc::new(parse_shape(package, item)), ListKind::Atomic);
    }
    if let Some(value) = inner('{', '}') {
        return Shape::Map(Arc::new(parse_shape(package, value)), Merging::Granular);
    }
    match text {
        "string" => Shape::Scalar(Scalar::String),
        "bool" => Shape::Scalar(Scalar::Bool),
        "int32" => Shape::Scalar(Scalar::Int32),
        "int64" => Shape::Scalar(Scalar::Int64),
        "double" => Shape::Scalar(Scalar::Double),
        "bytes" => Shape::Scalar(Scalar::Bytes),
        "quantity" => Shape::Scalar(Scalar::Quantity),
        "time" => Shape::Scalar(Scalar::Time),
        "microTime" => Shape::Scalar(Scalar::MicroTime),
        "duration" => Shape::Scalar(Scalar::Duration),
        "intOrString" => Shape::Scalar(Scalar::IntOrString),
        "json" => Shape::Json,
        "extraValue" => Shape::WrappedStrings,
        "JSONSchemaPropsOrArray" => Shape::SchemaOr(SchemaOr::Array),
        "JSONSchemaPropsOrBool" => Shape::SchemaOr(SchemaOr::Bool),
        "JSONSchemaPropsOrStringArray" => Shape::SchemaOr(SchemaOr::Strings),
        name => Shape::Named(Arc::from(full_name(package, name))),
    }
}

fn full_name(package: &str, name: &str) -> String {
    match name.rsplit_once('.') {
        None => format!("{package}.{name}"),
        Some(("meta.v1", name)) => format!("{META}.{name}"),
        Some((other, name)) => format!("io.k8s.api.{other}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_a_table_names_is_defined() {
        let types = Types::builtin();
        fn check(types: &Types, shape: &Shape, at: &str) {
            match shape {
                Shape::Named(name) => assert!(types.get(name).is_some(), "{at} names {name}"),
                Shape::List(item, _) => check(types, item, at),
                Shape::Map(value, _) => check(types, value, at),
                _ => {}
            }
        }
        for built in types.iter() {
            for (name, field) in &built.fields {
                check(&types, &field.shape, &format!("{}.{name}", built.name));
            }
        }
    }

    #[test]
    fn fields_of_a_spread_type_stand_in_its_parent() {
        let types = Types::builtin();
        let volume = types.get("io.k8s.api.core.v1.Volume").unwrap();
        assert!(volume.fields.contains_key("emptyDir"));
        assert!(
            matches!(&volume.slots[&2], Slot::Spread(name) if &**name == "io.k8s.api.core.v1.VolumeSource")
        );
    }

    #[test]
    fn merge_keys_are_read() {
        let types = Types::builtin();
        let container = types.get("io.k8s.api.core.v1.Container").unwrap();
        let ports = &container.fields["ports"];
        assert_eq!(ports.patch.merge_key.as_deref(), Some("containerPort"));
        assert!(matches!(&ports.shape, Shape::List(_, ListKind::Map(keys)) if keys.len() == 2));
    }
}

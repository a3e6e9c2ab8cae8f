//! Request bodies in protobuf, turned into the JSON that the same client would have sent.
//!
//! Typed clients send `k8s\0`, then an envelope with the kind and the encoded object.

mod reader;
mod scalars;

use serde_json::{Map, Value};

use crate::registry::Registry;
use crate::schema::types::{Field, META, SchemaOr, Shape, Slot, Type, Types, type_name};
use reader::{Reader, Wire};

/// The content type of protobuf bodies.
pub const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";
const DEPTH_MAX: usize = 100;
const JSON_SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Kinds that every group has, whatever its version.
const COMMON: [&str; 6] =
    ["DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "GetOptions", "ListOptions"];

/// Says why a body could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It does not begin as such a body does.
    #[error("the body is no Kubernetes protobuf: it does not begin with \"k8s\\x00\"")]
    Magic,
    /// The kind is none that this server knows.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// The version that the envelope names.
        api_version: String,
        /// The kind that the envelope names.
        kind: String,
    },
    /// The bytes make no sense.
    #[error("the protobuf body is malformed: {0}")]
    Malformed(&'static str),
}

/// Decodes a body into JSON, with `apiVersion` and `kind`.
///
/// # Errors
///
/// When the body is malformed or of a kind that is not built in.
pub fn decode(registry: &Registry, body: &[u8]) -> Result<Value, DecodeError> {
    let envelope = Envelope::read(body.strip_prefix(MAGIC).ok_or(DecodeError::Magic)?)?;
    let types = registry.types();
    let decoder = Decoder { types };
    let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", &envelope.api_version));
    let mut object = if let Some(found) = type_of(types, group, version, &envelope.kind) {
        decoder.message(found, envelope.raw, DEPTH_MAX)?
    } else if let Some(found) =
        envelope.kind.strip_suffix("List").and_then(|kind| type_of(types, group, version, kind))
    {
        decoder.list(found, envelope.raw)?
    } else {
        return Err(DecodeError::UnknownKind { api_version: envelope.api_version, kind: envelope.kind });
    };
    object.insert("apiVersion".to_owned(), Value::from(envelope.api_version));
    object.insert("kind".to_owned(), Value::from(envelope.kind));
    Ok(Value::Object(object))
}

fn type_of<'a>(types: &'a Types, group: &str, version: &str, kind: &str) -> Option<&'a Type> {
    let name =
        if COMMON.contains(&kind) { format!("{META}.{kind}") } else { type_name(group, version, kind) };
    types.get(&name).map(AsRef::as_ref)
}

struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut envelope = Self { api_version: String::new(), kind: String::new(), raw: &[] };
        let mut has_object = false;
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => {
                    let mut inner = Reader::new(wire.bytes()?);
                    while let Some((number, wire)) = inner.field()? {
                        match number {
                            1 => envelope.api_version = wire.text()?,
                            2 => envelope.kind = wire.text()?,
                            _ => {}
                        }
                    }
                }
                2 => {
                    envelope.raw = wire.bytes()?;
                    has_object = true;
                }
                _ => {}
            }
        }
        if has_object { Ok(envelope) } else { Err(DecodeError::Malformed("it carries no object")) }
    }
}

struct Decoder<'a> {
    types: &'a Types,
}

impl Decoder<'_> {
    fn list(&self, item: &Type, bytes: &[u8]) -> Result<Map<String, Value>, DecodeError> {
        let mut list = Map::new();
        let mut items = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => {
                    let metadata = self.named(&format!("{META}.ListMeta"), wire.bytes()?, DEPTH_MAX)?;
                    list.insert("metadata".to_owned(), Value::Object(metadata));
                }
                2 => items.push(Value::Object(self.message(item, wire.bytes()?, DEPTH_MAX)?)),
                _ => {}
            }
        }
        list.insert("items".to_owned(), Value::from(items));
        Ok(list)
    }

    fn named(&self, name: &str, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, DecodeError> {
        let found = self.types.get(name).ok_or(DecodeError::Malformed("it has a message of unknown type"))?;
        self.message(found, bytes, depth)
    }

    fn message(&self, built: &Type, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, DecodeError> {
        let depth = depth.checked_sub(1).ok_or(DecodeError::Malformed("it is nested too deeply"))?;
        let mut object = Map::new();
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            match built.slots.get(&number) {
                Some(Slot::Field(name)) => {
                    if let Some(field) = built.fields.get(name) {
                        self.field(&mut object, name, field, wire, depth)?;
                    }
                }
                Some(Slot::Spread(name)) => {
                    let mut inner = self.named(name, wire.bytes()?, depth)?;
                    object.append(&mut inner);
                }
                None => {}
            }
        }
        Ok(object)
    }

    fn field(
        &self,
        object: &mut Map<String, Value>,
        name: &str,
        field: &Field,
        wire: Wire<'_>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        match &field.shape {
            Shape::List(item, _) => {
                let mut decoded = match (item.as_ref(), wire) {
                    (Shape::Scalar(scalar), Wire::Bytes(bytes)) if scalars::may_be_packed(*scalar) => {
                        scalars::packed(*scalar, bytes)?
                    }
                    (item, wire) => vec![self.value(item, wire, depth)?],
                };
                let slot = object.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(items) = slot {
                    items.append(&mut decoded);
                }
            }
            Shape::Map(value, _) => {
                let (key, decoded) = self.entry(value, wire.bytes()?, depth)?;
                let slot = object.entry(name.to_owned()).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(entries) = slot {
                    entries.insert(key, decoded);
                }
            }
            shape => {
                let decoded = self.value(shape, wire, depth)?;
                if decoded.is_null() || (!field.pointer && !field.always && is_zero(&field.shape, &decoded)) {
                    object.remove(name);
                } else {
                    object.insert(name.to_owned(), decoded);
                }
            }
        }
        Ok(())
    }

    fn entry(&self, shape: &Shape, bytes: &[u8], depth: usize) -> Result<(String, Value), DecodeError> {
        let mut key = String::new();
        let mut value = None;
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => key = wire.text()?,
                2 => value = Some(self.value(shape, wire, depth)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => self.value(shape, Wire::Bytes(&[]), depth)?,
        };
        Ok((key, value))
    }

    fn value(&self, shape: &Shape, wire: Wire<'_>, depth: usize) -> Result<Value, DecodeError> {
        match shape {
            Shape::Scalar(scalar) => scalars::decode(*scalar, wire),
            Shape::Json | Shape::Open | Shape::Inline(_) => scalars::raw_json(wire.bytes()?),
            Shape::Named(name) => self.named(name, wire.bytes()?, depth).map(Value::Object),
            Shape::WrappedStrings => strings(wire.bytes()?, 1),
            Shape::SchemaOr(or) => self.schema_or(*or, wire.bytes()?, depth),
            Shape::List(..) | Shape::Map(..) => Err(DecodeError::Malformed("a list stands inside a list")),
        }
    }

    fn schema_or(&self, or: SchemaOr, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
        let schema = |wire: Wire<'_>| self.named(JSON_SCHEMA, wire.bytes()?, depth).map(Value::Object);
        let mut found = None;
        let mut many = Vec::new();
        let mut allows = false;
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            match (or, number) {
                (SchemaOr::Bool, 2) | (SchemaOr::Array | SchemaOr::Strings, 1) => found = Some(schema(wire)?),
                (SchemaOr::Bool, 1) => allows = wire.varint()? != 0,
                (SchemaOr::Array, 2) => many.push(schema(wire)?),
                (SchemaOr::Strings, 2) => many.push(Value::from(wire.text()?)),
                _ => {}
            }
        }
        Ok(match (or, found) {
            (_, Some(schema)) => schema,
            (SchemaOr::Bool, None) => Value::Bool(allows),
            (SchemaOr::Array | SchemaOr::Strings, None) => Value::Array(many),
        })
    }
}

fn strings(bytes: &[u8], number: u32) -> Result<Value, DecodeError> {
    let mut texts = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((found, wire)) = reader.field()? {
        if found == number {
            texts.push(Value::from(wire.text()?));
        }
    }
    Ok(Value::Array(texts))
}

/// Returns whether a value is what JSON leaves out; amounts and number-or-texts never are.
fn is_zero(shape: &Shape, value: &Value) -> bool {
    use crate::schema::types::Scalar::{IntOrString, Quantity};
    if matches!(shape, Shape::Scalar(Quantity | IntOrString)) {
        return false;
    }
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;

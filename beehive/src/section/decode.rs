//! A deserializer over a JSON value that knows where it is, notes unknown keys, and remembers where
//! it failed and what was expected there.

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde_json::{Map, Value};

use super::nearest;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// What a type asked for at a place where it then failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Hint {
    Any,
    Bool,
    Number,
    Text,
    List,
    Map,
    Choice(&'static [&'static str]),
}

/// What was found while decoding.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Keys that no struct knows, with what to say about each.
    pub(super) unknown: Vec<(Vec<Step>, String)>,
    /// The innermost place that failed.
    pub(super) failed: Option<(Vec<Step>, Hint)>,
}

/// The error of one decoding.
#[derive(Debug)]
pub(super) struct DecodeError(pub(super) String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Decodes one value at one place.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'a> {
    value: &'a Value,
    place: Place<'a>,
    notes: &'a RefCell<Notes>,
}

/// Where a value stands: a list from the inside out.
#[derive(Clone, Copy)]
enum Place<'a> {
    Top,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn steps(&self) -> Vec<Step> {
        let (parent, step) = match *self {
            Place::Top => return Vec::new(),
            Place::Key(parent, key) => (parent, Step::Key(key.to_owned())),
            Place::Index(parent, index) => (parent, Step::Index(index)),
        };
        let mut steps = parent.steps();
        steps.push(step);
        steps
    }
}

impl<'a> Decoder<'a> {
    pub(super) const fn new(value: &'a Value, notes: &'a RefCell<Notes>) -> Self {
        Self { value, place: Place::Top, notes }
    }

    /// Notes that decoding failed here, unless it failed further inside already.
    fn noted<T>(&self, hint: Hint, result: Result<T, DecodeError>) -> Result<T, DecodeError> {
        if result.is_err() {
            let mut notes = self.notes.borrow_mut();
            if notes.failed.is_none() {
                notes.failed = Some((self.place.steps(), hint));
            }
        }
        result
    }

    fn plain<'de, V: Visitor<'de>>(self, hint: Hint, visitor: V) -> Result<V::Value, DecodeError> {
        let visited = match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => visit_number(number, visitor),
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => visitor.visit_seq(Items { decoder: self, items, at: 0 }),
            Value::Object(map) => visitor.visit_map(Entries::open(self, map)),
        };
        self.noted(hint, visited)
    }
}

fn visit_number<'de, V: Visitor<'de>>(
    number: &serde_json::Number,
    visitor: V,
) -> Result<V::Value, DecodeError> {
    if let Some(value) = number.as_u64() {
        visitor.visit_u64(value)
    } else if let Some(value) = number.as_i64() {
        visitor.visit_i64(value)
    } else {
        visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
    }
}

macro_rules! plain {
    ($($method:ident => $hint:expr),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.plain($hint, visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = DecodeError;

    plain! {
        deserialize_any => Hint::Any,
        deserialize_bool => Hint::Bool,
        deserialize_i8 => Hint::Number, deserialize_i16 => Hint::Number,
        deserialize_i32 => Hint::Number, deserialize_i64 => Hint::Number,
        deserialize_u8 => Hint::Number, deserialize_u16 => Hint::Number,
        deserialize_u32 => Hint::Number, deserialize_u64 => Hint::Number,
        deserialize_f32 => Hint::Number, deserialize_f64 => Hint::Number,
        deserialize_char => Hint::Text, deserialize_str => Hint::Text,
        deserialize_string => Hint::Text, deserialize_bytes => Hint::Text,
        deserialize_byte_buf => Hint::Text, deserialize_identifier => Hint::Text,
        deserialize_seq => Hint::List, deserialize_map => Hint::Map,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Object(map) => {
                let entries = Entries::strict(self, map, &[]);
                drop(entries);
                visitor.visit_unit()
            }
            _ => self.plain(Hint::Any, visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.plain(Hint::List, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.plain(Hint::List, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Object(map) => {
                let visited = visitor.visit_map(Entries::strict(self, map, fields));
                self.noted(Hint::Map, visited)
            }
            Value::Array(_) => {
                let refused = de::Error::invalid_type(de::Unexpected::Seq, &visitor);
                self.noted(Hint::Map, Err(refused))
            }
            _ => self.plain(Hint::Map, visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let visited = match self.value {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            Value::Object(map) if map.len() == 1 => match map.iter().next() {
                Some((name, content)) => visitor.visit_enum(Variant { decoder: self, name, content }),
                None => Err(DecodeError("no variant is named".to_owned())),
            },
            Value::Object(_) => Err(DecodeError(format!("expected one of {}", variants.join(", ")))),
            _ => return self.plain(Hint::Choice(variants), visitor),
        };
        let visited = visited.map_err(|error| one_of(error, self.value, variants));
        self.noted(Hint::Choice(variants), visited)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }
}

/// Says what else could be written where a variant is unknown.
fn one_of(error: DecodeError, value: &Value, variants: &'static [&'static str]) -> DecodeError {
    let Some(name) = value.as_str().filter(|name| !variants.contains(name)) else { return error };
    let meant = nearest(name, variants.iter().copied());
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    DecodeError(format!("{name:?} is none of {}{meant}", variants.join(", ")))
}

struct Items<'a> {
    decoder: Decoder<'a>,
    items: &'a [Value],
    at: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(value) = self.items.get(self.at) else { return Ok(None) };
        let place = Place::Index(&self.decoder.place, self.at);
        self.at += 1;
        seed.deserialize(Decoder { value, place, notes: self.decoder.notes }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len().saturating_sub(self.at))
    }
}

/// The entries of a map that are known and not null.
struct Entries<'a> {
    decoder: Decoder<'a>,
    entries: std::vec::IntoIter<(&'a str, &'a Value)>,
    next: Option<(&'a str, &'a Value)>,
}

impl<'a> Entries<'a> {
    /// Takes every key.
    fn open(decoder: Decoder<'a>, map: &'a Map<String, Value>) -> Self {
        let entries: Vec<_> = map.iter().map(|(key, value)| (key.as_str(), value)).collect();
        Self { decoder, entries: entries.into_iter(), next: None }
    }

    /// Takes a struct's keys and notes all others. A null stands for an absent key.
    fn strict(decoder: Decoder<'a>, map: &'a Map<String, Value>, fields: &'static [&'static str]) -> Self {
        let mut entries = Vec::new();
        for (key, value) in map {
            if !fields.contains(&key.as_str()) {
                let steps = Place::Key(&decoder.place, key).steps();
                decoder.notes.borrow_mut().unknown.push((steps, unknown(key, fields)));
            } else if !value.is_null() {
                entries.push((key.as_str(), value));
            }
        }
        Self { decoder, entries: entries.into_iter(), next: None }
    }
}

fn unknown(key: &str, fields: &'static [&'static str]) -> String {
    match nearest(key, fields.iter().copied()) {
        Some(meant) => format!("unknown key; did you mean {meant}?"),
        None if fields.is_empty() => "unknown key; there are none here".to_owned(),
        None => format!("unknown key (known: {})", fields.join(", ")),
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        self.next = self.entries.next();
        let Some((key, _)) = self.next else { return Ok(None) };
        let deserialized = seed.deserialize(MapKey(key));
        let place = Place::Key(&self.decoder.place, key);
        Decoder { place, ..self.decoder }.noted(Hint::Any, deserialized).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DecodeError> {
        let Some((key, value)) = self.next.take() else {
            return Err(DecodeError("a value without its key was asked for".to_owned()));
        };
        let place = Place::Key(&self.decoder.place, key);
        let decoder = Decoder { value, place, notes: self.decoder.notes };
        // A type may refuse what decoded well, after the value was read.
        let deserialized = seed.deserialize(decoder);
        decoder.noted(Hint::Any, deserialized)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A map's key: a text, which a map with keys of another kind may read as that.
struct MapKey<'a>(&'a str);

macro_rules! number_key {
    ($($method:ident $visit:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            match self.0.parse() {
                Ok(number) => visitor.$visit(number),
                Err(_) => visitor.visit_str(self.0),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for MapKey<'_> {
    type Error = DecodeError;

    number_key! {
        deserialize_i8 visit_i8, deserialize_i16 visit_i16, deserialize_i32 visit_i32,
        deserialize_i64 visit_i64, deserialize_u8 visit_u8, deserialize_u16 visit_u16,
        deserialize_u32 visit_u32, deserialize_u64 visit_u64, deserialize_bool visit_bool,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    serde::forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any i128 u128
    }
}

/// A variant with its content.
struct Variant<'a> {
    decoder: Decoder<'a>,
    name: &'a str,
    content: &'a Value,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = DecodeError;
    type Variant = VariantContent<'a>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, VariantContent<'a>), DecodeError> {
        let name = seed.deserialize(MapKey(self.name))?;
        Ok((name, VariantContent { decoder: self.decoder, name: self.name, content: self.content }))
    }
}

struct VariantContent<'a> {
    decoder: Decoder<'a>,
    name: &'a str,
    content: &'a Value,
}

impl VariantContent<'_> {
    fn with<T>(self, decode: impl FnOnce(Decoder<'_>) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let place = Place::Key(&self.decoder.place, self.name);
        decode(Decoder { value: self.content, place, notes: self.decoder.notes })
    }
}

impl<'de> VariantAccess<'de> for VariantContent<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        self.with(|decoder| de::Deserialize::deserialize(decoder))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeError> {
        self.with(|decoder| seed.deserialize(decoder))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.with(|decoder| decoder.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.with(|decoder| decoder.deserialize_struct("", fields, visitor))
    }
}

//! Finds the fields that a type reads, by letting it decode stand-ins and watching what it asks for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess,
    Visitor,
};

/// The fields that a type reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FieldTree {
    /// A value without fields.
    #[default]
    Leaf,
    /// A value that decides by itself what it takes: any key may be in effect.
    Open,
    /// A struct: these keys and no others.
    Struct(BTreeMap<String, FieldTree>),
    /// A list of such values.
    List(Box<FieldTree>),
    /// A map with any keys to such values.
    Map(Box<FieldTree>),
}

impl FieldTree {
    /// Returns whether a value at this place has an effect. Each step is a struct's or a map's key;
    /// lists take no step.
    #[must_use]
    pub fn reads<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> bool {
        let mut tree = self;
        for key in path {
            while let Self::List(items) = tree {
                tree = items;
            }
            tree = match tree {
                Self::Open => return true,
                Self::Map(values) => values,
                Self::Struct(fields) => match fields.get(key) {
                    Some(field) => field,
                    None => return false,
                },
                Self::Leaf | Self::List(_) => return false,
            };
        }
        true
    }
}

/// Deeper than this a type is taken to contain itself.
const DEPTH_MAX: usize = 24;
/// More failures than this mean that a type cannot be watched.
const ROUNDS_MAX: usize = 2_000;

type Path = Vec<String>;

/// What was seen of a type.
#[derive(Default)]
struct Seen {
    tree: FieldTree,
    /// Fields that were looked at already and did not take their stand-in.
    done: BTreeSet<Path>,
    failed: Option<Path>,
}

/// Returns the fields that `C` reads.
#[must_use]
pub fn fields<C: DeserializeOwned>() -> FieldTree {
    let seen = RefCell::new(Seen::default());
    for _ in 0..ROUNDS_MAX {
        seen.borrow_mut().failed = None;
        if C::deserialize(Watcher { path: &[], seen: &seen }).is_ok() {
            break;
        }
        // The place that failed is passed over in the next round.
        let mut seen = seen.borrow_mut();
        match seen.failed.take() {
            Some(path) if seen.done.insert(path.clone()) => {}
            _ => break,
        }
    }
    seen.into_inner().tree
}

impl FieldTree {
    /// Notes what stands at a place; what is known already stays.
    fn note(&mut self, path: &[String], found: Self) {
        let Some((key, rest)) = path.split_first() else {
            if *self == Self::Leaf {
                *self = found;
            }
            return;
        };
        match self {
            Self::Struct(fields) => fields.entry(key.clone()).or_default().note(rest, found),
            Self::List(inner) | Self::Map(inner) => inner.note(rest, found),
            Self::Leaf | Self::Open => {}
        }
    }
}

#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the type did not take its stand-in")
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self
    }
}

/// Gives a type stand-ins, and notes what it asks for.
#[derive(Clone, Copy)]
struct Watcher<'a> {
    path: &'a [String],
    seen: &'a RefCell<Seen>,
}

impl Watcher<'_> {
    fn note(&self, found: FieldTree) {
        self.seen.borrow_mut().tree.note(self.path, found);
    }

    fn failing<T>(&self, result: Result<T, Refused>) -> Result<T, Refused> {
        if result.is_err() {
            let mut seen = self.seen.borrow_mut();
            seen.failed.get_or_insert_with(|| self.path.to_vec());
        }
        result
    }

    fn child(&self, key: &str) -> Path {
        let mut path = self.path.to_vec();
        path.push(key.to_owned());
        path
    }

    fn is_done(&self, path: &Path) -> bool {
        self.seen.borrow().done.contains(path)
    }
}

macro_rules! stand_in {
    ($($method:ident => $visit:ident($($value:expr)?)),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.failing(visitor.$visit($($value)?))
        })*
    };
}

impl<'de> Deserializer<'de> for Watcher<'_> {
    type Error = Refused;

    stand_in! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i8(1), deserialize_i16 => visit_i16(1), deserialize_i32 => visit_i32(1),
        deserialize_i64 => visit_i64(1), deserialize_u8 => visit_u8(1), deserialize_u16 => visit_u16(1),
        deserialize_u32 => visit_u32(1), deserialize_u64 => visit_u64(1), deserialize_f32 => visit_f32(1.0),
        deserialize_f64 => visit_f64(1.0), deserialize_char => visit_char('a'),
        deserialize_str => visit_str("1s"), deserialize_string => visit_str("1s"),
        deserialize_bytes => visit_bytes(b"a"), deserialize_byte_buf => visit_bytes(b"a"),
        deserialize_unit => visit_unit(), deserialize_identifier => visit_str("a"),
        deserialize_ignored_any => visit_unit(),
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.note(FieldTree::Open);
        self.failing(visitor.visit_unit())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        if self.path.len() > DEPTH_MAX {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.failing(visitor.visit_unit())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.note(FieldTree::List(Box::default()));
        let items = Items { watcher: self, left: 1 };
        self.failing(visitor.visit_seq(items))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refused> {
        self.note(FieldTree::List(Box::default()));
        let items = Items { watcher: self, left: len };
        self.failing(visitor.visit_seq(items))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.note(FieldTree::Map(Box::default()));
        let map = Fields { watcher: self, keys: ["1"].iter(), key: None };
        self.failing(visitor.visit_map(map))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.note(FieldTree::Struct(BTreeMap::new()));
        for field in fields {
            self.seen.borrow_mut().tree.note(&self.child(field), FieldTree::Leaf);
        }
        if self.path.len() > DEPTH_MAX {
            return self.failing(Err(Refused));
        }
        let map = Fields { watcher: self, keys: fields.iter(), key: None };
        self.failing(visitor.visit_map(map))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.note(FieldTree::Open);
        let first = variants.first().copied().unwrap_or_default();
        self.failing(visitor.visit_enum(first.into_deserializer()))
    }
}

struct Items<'a> {
    watcher: Watcher<'a>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        let path = self.watcher.child("[]");
        if self.left == 0 || self.watcher.is_done(&path) {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(Watcher { path: &path, seen: self.watcher.seen }).map(Some)
    }
}

struct Fields<'a> {
    watcher: Watcher<'a>,
    keys: std::slice::Iter<'static, &'static str>,
    key: Option<&'static str>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        self.key = self.keys.by_ref().copied().find(|key| !self.watcher.is_done(&self.watcher.child(key)));
        let Some(key) = self.key else { return Ok(None) };
        let path = self.watcher.child(key);
        let deserialized = seed.deserialize(key.into_deserializer());
        Watcher { path: &path, seen: self.watcher.seen }.failing(deserialized).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refused> {
        let path = self.watcher.child(self.key.take().unwrap_or_default());
        let watcher = Watcher { path: &path, seen: self.watcher.seen };
        watcher.failing(seed.deserialize(watcher))
    }
}

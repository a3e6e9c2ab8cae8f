//! Layers of values, each over the one before; every value remembers where it was given.

use std::collections::BTreeMap;

use config::{Config, ConfigError, Source, Value, ValueKind};
use serde_json::Number;

use crate::keys::join;
use crate::problem::Origin;
use crate::yaml::{Node, Tree};

/// The values that hold in the end.
pub(crate) struct Merged {
    pub(crate) root: serde_json::Value,
    origins: BTreeMap<String, Origin>,
}

impl Merged {
    /// Returns where the value at `path`, or the nearest one around it, was given.
    pub(crate) fn origin(&self, path: &str) -> Option<&Origin> {
        let mut path = path;
        loop {
            if let Some(origin) = self.origins.get(path) {
                return Some(origin);
            }
            path = path.rsplit_once(['.', '[']).map(|(around, _)| around)?;
        }
    }

    /// Returns the value at `path`.
    pub(crate) fn get(&self, path: &str) -> Option<&serde_json::Value> {
        path.split('.').try_fold(&self.root, |at, name| at.get(name))
    }
}

/// A tree and where its lines are.
pub(crate) type Given = (Node, Box<dyn Fn(u64) -> Origin>);

/// Lays the trees over each other: maps merge, everything else replaces.
pub(crate) fn merge(layers: Vec<Given>) -> Result<Merged, ConfigError> {
    let mut known = Origins::default();
    let mut builder = Config::builder();
    for (node, origin) in layers {
        builder = builder.add_source(Layer { root: known.tag(node, &*origin) });
    }
    let merged = builder.build()?;
    let mut origins = BTreeMap::new();
    let root = known.untag("", merged.cache, &mut origins);
    Ok(Merged { root, origins })
}

/// The package knows origins as texts: the index of each in a list.
#[derive(Default)]
struct Origins(Vec<Origin>);

impl Origins {
    fn tag(&mut self, node: Node, origin: &dyn Fn(u64) -> Origin) -> Value {
        let index = self.0.len().to_string();
        self.0.push(origin(node.line));
        let kind = match node.value {
            Tree::Null => ValueKind::Nil,
            Tree::Bool(value) => ValueKind::Boolean(value),
            Tree::Number(number) => kind_of(&number),
            Tree::Text(text) => ValueKind::String(text),
            Tree::List(items) => {
                ValueKind::Array(items.into_iter().map(|item| self.tag(item, origin)).collect())
            }
            Tree::Map(entries) => ValueKind::Table(
                entries.into_iter().map(|(key, below)| (key.name, self.tag(below, origin))).collect(),
            ),
        };
        Value::new(Some(&index), kind)
    }

    fn untag(&self, path: &str, value: Value, origins: &mut BTreeMap<String, Origin>) -> serde_json::Value {
        let index = value.origin().and_then(|text| text.parse::<usize>().ok());
        if let Some(origin) = index.and_then(|index| self.0.get(index)) {
            origins.insert(path.to_owned(), origin.clone());
        }
        match value.kind {
            ValueKind::Nil => serde_json::Value::Null,
            ValueKind::Boolean(value) => value.into(),
            ValueKind::I64(value) => value.into(),
            ValueKind::U64(value) => value.into(),
            ValueKind::I128(value) => i64::try_from(value).map_or(serde_json::Value::Null, Into::into),
            ValueKind::U128(value) => u64::try_from(value).map_or(serde_json::Value::Null, Into::into),
            ValueKind::Float(value) => value.into(),
            ValueKind::String(value) => value.into(),
            ValueKind::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| self.untag(&format!("{path}[{at}]"), item, origins))
                .collect(),
            ValueKind::Table(entries) => {
                let entries: BTreeMap<String, Value> = entries.into_iter().collect();
                let entries = entries.into_iter().map(|(name, below)| {
                    let below = self.untag(&join(path, &name), below, origins);
                    (name, below)
                });
                serde_json::Value::Object(entries.collect())
            }
        }
    }
}

fn kind_of(number: &Number) -> ValueKind {
    match (number.as_i64(), number.as_u64()) {
        (Some(value), _) => ValueKind::I64(value),
        (None, Some(value)) => ValueKind::U64(value),
        (None, None) => ValueKind::Float(number.as_f64().unwrap_or_default()),
    }
}

#[derive(Debug, Clone)]
struct Layer {
    root: Value,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<config::Map<String, Value>, ConfigError> {
        self.root.clone().into_table()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::yaml::{origin, parse};

    fn layer(file: &'static str, text: &str) -> Given {
        let root = parse(file, text).unwrap_or_else(|problem| panic!("{problem}"));
        (root, Box::new(move |line| origin(file, line)))
    }

    #[test]
    fn maps_merge_lists_replace_and_names_keep_their_case() {
        let low =
            layer("low", "modules:\n  edgeHub: {heartbeat: 15, list: [1, 2]}\nlabels: {\"a.b/C\": \"1\"}\n");
        let high =
            layer("high", "modules:\n  edgeHub:\n    heartbeat: 30\n    list: [3]\nlabels: {D: \"2\"}\n");
        let merged = merge(vec![low, high]).expect("both are maps");
        assert_eq!(
            merged.root,
            json!({"modules": {"edgeHub": {"heartbeat": 30, "list": [3]}}, "labels": {"a.b/C": "1", "D": "2"}})
        );
        let from = |path: &str| merged.origin(path).expect("it was given").to_string();
        assert_eq!(from("modules.edgeHub.heartbeat"), "high:3");
        assert_eq!(from("modules.edgeHub.list[0]"), "high:4");
        assert_eq!(from("modules.edgeHub.list[9].x"), "high:4");
        assert_eq!(from("labels.a.b/C"), "low:3");
        assert_eq!(merged.get("modules.edgeHub.heartbeat"), Some(&json!(30)));
        assert_eq!(merged.get("modules.missing.heartbeat"), None);
    }

    #[test]
    fn great_numbers_and_fractions_survive() {
        let merged =
            merge(vec![layer("f", "a: 18446744073709551615\nb: -3\nc: 0.9\n")]).expect("it is a map");
        assert_eq!(merged.root, json!({"a": 18_446_744_073_709_551_615_u64, "b": -3, "c": 0.9}));
    }
}

//! Decoding that goes on behind what is wrong: a value that fails is noted and set aside, or replaced
//! by one of the kind that was expected, and the whole is decoded again.

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::decode::{Decoder, Hint, Notes, Step};
use crate::problem::{Problems, join};

/// How many wrong values are looked for; a file with more is not worth more lines.
const FAILURES_MAX: usize = 64;

/// What became of a value.
pub(super) struct Repaired<C> {
    /// What it decodes to without what is wrong in it; none where something made up had to take its
    /// place.
    pub(super) config: Option<C>,
    /// What is wrong in it, sorted by path.
    pub(super) problems: Problems,
}

pub(super) fn decode<C: DeserializeOwned>(value: &Value, path: &str) -> Repaired<C> {
    let mut value = match value {
        Value::Null => Value::Object(Map::new()),
        value => value.clone(),
    };
    let mut problems = Problems::new();
    let mut config = None;
    let mut is_made_up = false;
    for _ in 0..FAILURES_MAX {
        let (result, notes) = attempt::<C>(&value);
        for (steps, message) in &notes.unknown {
            problems.push(print(path, steps), message.clone());
        }
        remove_all(&mut value, notes.unknown);
        let message = match result {
            Ok(decoded) => {
                config = (!is_made_up).then_some(decoded);
                break;
            }
            Err(message) => message,
        };
        let (steps, hint) = notes.failed.unwrap_or((Vec::new(), Hint::Any));
        let place = print(path, &steps);
        // What was taken away because it was wrong is not missing.
        let lacks = missing_field(&message).map(|field| join(&place, field));
        if !lacks.is_some_and(|lacks| problems.iter().any(|problem| problem.path == lacks)) {
            problems.push(place, message.clone());
        }
        match set_aside::<C>(&mut value, &steps, &message, &hint) {
            Some(Aside::Removed) => {}
            Some(Aside::Replaced) => is_made_up = true,
            None => break,
        }
    }
    problems.sort();
    Repaired { config, problems }
}

fn attempt<C: DeserializeOwned>(value: &Value) -> (Result<C, String>, Notes) {
    let notes = RefCell::new(Notes::default());
    let result = C::deserialize(Decoder::new(value, &notes)).map_err(|error| error.0);
    (result, notes.into_inner())
}

/// How a value was set aside.
enum Aside {
    /// It is gone: its default holds.
    Removed,
    /// A made-up one stands in its place.
    Replaced,
}

/// Makes decoding pass the place that failed. Returns how, if it could.
fn set_aside<C: DeserializeOwned>(
    value: &mut Value,
    steps: &[Step],
    message: &str,
    hint: &Hint,
) -> Option<Aside> {
    let mut candidates = vec![(steps.to_vec(), None)];
    match missing_field(message) {
        // A struct that lacks a field is given one of each kind in turn.
        Some(field) => {
            let mut inner = steps.to_vec();
            inner.push(Step::Key(field.to_owned()));
            let given = stand_ins(&Hint::Any).into_iter().map(|stand_in| (inner.clone(), Some(stand_in)));
            candidates.splice(0..0, given);
        }
        None => {
            let given = stand_ins(hint).into_iter().map(|stand_in| (steps.to_vec(), Some(stand_in)));
            candidates.extend(given);
        }
    }
    for (at, stand_in) in candidates {
        let aside = if stand_in.is_none() { Aside::Removed } else { Aside::Replaced };
        let mut candidate = value.clone();
        if replace(&mut candidate, &at, stand_in) && passes::<C>(&candidate, &at) {
            *value = candidate;
            return Some(aside);
        }
    }
    None
}

/// Returns whether decoding comes past a place that was changed.
fn passes<C: DeserializeOwned>(candidate: &Value, changed: &[Step]) -> bool {
    let (Err(next), notes) = attempt::<C>(candidate) else { return true };
    let Some((failed, _)) = notes.failed else { return false };
    match (changed.strip_prefix(failed.as_slice()), missing_field(&next)) {
        // A struct around the change lacks a field: another one than was given or taken away?
        (Some([Step::Key(given), ..]), Some(field)) => field != given,
        (Some(_), _) => false,
        (None, _) => !failed.starts_with(changed),
    }
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Returns values of the kind that was expected.
fn stand_ins(hint: &Hint) -> Vec<Value> {
    let texts = || ["", "1s", "1s..2s", "a", "127.0.0.1", "127.0.0.1:1", "http://a", "/a"].map(Value::from);
    match hint {
        Hint::Bool => vec![json!(false)],
        Hint::Number => vec![json!(1), json!(1000)],
        Hint::Text => texts().to_vec(),
        Hint::List => vec![json!([])],
        Hint::Map => vec![json!({})],
        Hint::Choice(variants) => variants.iter().map(|name| Value::from(*name)).collect(),
        Hint::Any => {
            let mut all = texts().to_vec();
            all.extend([json!(1), json!(false), json!([]), json!({})]);
            all
        }
    }
}

fn remove_all(value: &mut Value, unknown: Vec<(Vec<Step>, String)>) {
    for (steps, _) in unknown {
        replace(value, &steps, None);
    }
}

/// Puts another value at a place, or takes the key there away. Returns whether it could.
fn replace(value: &mut Value, steps: &[Step], by: Option<Value>) -> bool {
    let Some((last, parents)) = steps.split_last() else { return false };
    let mut parent = value;
    for step in parents {
        let child = match step {
            Step::Key(key) => parent.get_mut(key.as_str()),
            Step::Index(index) => parent.get_mut(*index),
        };
        let Some(child) = child else { return false };
        parent = child;
    }
    match (parent, last, by) {
        (Value::Object(map), Step::Key(key), None) => map.remove(key).is_some(),
        (Value::Object(map), Step::Key(key), Some(by)) => {
            map.insert(key.clone(), by);
            true
        }
        (Value::Array(items), Step::Index(index), Some(by)) => {
            items.get_mut(*index).map(|item| *item = by).is_some()
        }
        _ => false,
    }
}

fn print(path: &str, steps: &[Step]) -> String {
    steps.iter().fold(path.to_owned(), |path, step| match step {
        Step::Key(key) => join(&path, key),
        Step::Index(index) => join(&path, &format!("[{index}]")),
    })
}

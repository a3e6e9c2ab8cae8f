//! Strict decoding of configuration: every problem at once, each with its path.
//!
//! Serde stops at the first thing that is wrong. Here a struct's unknown keys are all found, nested
//! ones too, each with the known key that is nearest to it; a value that does not decode is noted and
//! set aside, and decoding goes on behind it.
//!
//! ```
//! use serde::Deserialize;
//!
//! #[derive(Debug, Deserialize)]
//! struct Heater { power: u32, #[serde(default)] name: String }
//!
//! let value = serde_json::json!({ "power": "much", "nmae": "left" });
//! let problems = beehive::section::decode::<Heater>(&value, "modules.heater").unwrap_err();
//! assert_eq!(problems.to_string(), "\
//! modules.heater.nmae: unknown key; did you mean name?
//! modules.heater.power: invalid type: string \"much\", expected u32");
//! ```

mod decode;
mod fields;
mod repair;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use fields::{FieldTree, fields};

use crate::config::ModuleConfig;
use crate::problem::{Problem, Problems, join};
use repair::Repaired;

/// Decodes a section and validates it. A section without a body is an empty one.
///
/// What does not decode does not hide what is not valid: the defaults stand in for values that were set
/// aside, where they have some.
///
/// # Errors
///
/// When keys are unknown, values do not decode, or [`ModuleConfig::validate`] finds problems: all of
/// them, sorted by path, each path beginning with `path`.
pub fn parse<C: ModuleConfig>(value: &Value, path: &str) -> Result<C, Problems> {
    let Repaired { config, mut problems } = repair::decode::<C>(value, path);
    let Some(config) = config else { return Err(problems) };
    let mut found = Problems::new();
    config.validate(&mut found);
    for Problem { path: key, message } in found {
        let at = join(path, &key);
        // A key that was set aside has its problem already.
        if !problems.iter().any(|problem| problem.path == at) {
            problems.push(at, message);
        }
    }
    problems.or_ok(config)
}

/// Decodes a value strictly. A null stands for a key that is absent, and at the top for an empty map.
///
/// # Errors
///
/// When keys are unknown or values do not decode: all of them, sorted by path, each path beginning
/// with `path`.
pub fn decode<C: DeserializeOwned>(value: &Value, path: &str) -> Result<C, Problems> {
    let Repaired { config, problems } = repair::decode(value, path);
    match config {
        Some(config) => problems.or_ok(config),
        None => Err(problems),
    }
}

/// Returns the name that is most like `wrong`, if one is like it at all.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let scored = known.into_iter().map(|name| (distance(&wrong, &name.to_lowercase()), name));
    let (distance, name) = scored.min_by_key(|(distance, name)| (*distance, *name))?;
    let length = wrong.chars().count().max(name.chars().count());
    (distance <= (length / 3).max(1)).then_some(name)
}

/// Counts the letters to insert, remove, replace or swap with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (at, letter) in from.iter().enumerate() {
        let mut row = vec![at + 1];
        for (beside, other) in to.iter().enumerate() {
            let replaced = rows[at][beside] + usize::from(letter != other);
            let mut least = replaced.min(rows[at][beside + 1] + 1).min(row[beside] + 1);
            let is_swap = at > 0 && beside > 0 && *letter == to[beside - 1] && from[at - 1] == *other;
            if is_swap {
                least = least.min(rows[at - 1][beside - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_found_and_strangers_are_not() {
        let known = ["heartbeat", "websocket", "quic", "nodeName"];
        assert_eq!(nearest("heartbaet", known), Some("heartbeat"));
        assert_eq!(nearest("nodename", known), Some("nodeName"));
        assert_eq!(nearest("quick", known), Some("quic"));
        assert_eq!(nearest("certificate", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("x", []), None);
    }
}

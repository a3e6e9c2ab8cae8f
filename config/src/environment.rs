//! Environment variables that override keys of the file.
//!
//! A variable is named by the key's path: `BEEHIVE_MODULES_EDGEHUB_HEARTBEAT` or, the same,
//! `BEEHIVE__modules__edgeHub__heartbeat`. Its value is YAML, except for a key that takes a text.

use std::collections::BTreeMap;

use beehive::section::nearest;

use crate::keys::{KeyInfo, Keys, Kind};
use crate::problem::{Origin, Problem};
use crate::yaml::{Key, Node, Tree, parse_value};

/// What the names begin with.
pub const PREFIX: &str = "BEEHIVE_";

/// Variables that begin like overrides and are options of the command line.
pub(crate) const OPTIONS: &[&str] = &["BEEHIVE_CONFIG", "BEEHIVE_KUBECONFIG", "BEEHIVE_LOG"];

/// Returns the variables of this process that concern its configuration.
///
/// # Errors
///
/// When one of them is not valid UTF-8.
pub fn environment() -> Result<BTreeMap<String, String>, Problem> {
    let mut found = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let origin = Origin::Environment { name: name.to_owned() };
        let value =
            value.into_string().map_err(|_raw| Problem::new(Some(origin), "", "is not valid UTF-8"))?;
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

/// One override, as a tree that holds it alone.
pub(crate) struct Override {
    pub(crate) origin: Origin,
    pub(crate) root: Node,
}

/// Finds the keys that `variables` name.
pub(crate) fn overrides(keys: &Keys, variables: &BTreeMap<String, String>) -> (Vec<Override>, Vec<Problem>) {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|_| !OPTIONS.contains(&name.as_str())) else {
            continue;
        };
        let origin = Origin::Environment { name: name.clone() };
        let words = rest.trim_start_matches('_').replace("__", "_").to_ascii_uppercase();
        let Some((path, info)) = resolve(&keys.root, &words) else {
            problems.push(Problem::new(Some(origin), "", unknown(keys, &words)));
            continue;
        };
        match value_of(info, text) {
            Ok(value) => {
                let leaf = Node { line: 0, value };
                let root = path.iter().rev().fold(leaf, |below, name| Node {
                    line: 0,
                    value: Tree::Map(vec![(Key { line: 0, name: (*name).to_owned() }, below)]),
                });
                found.push(Override { origin, root });
            }
            Err(message) => problems.push(Problem::new(Some(origin), &path.join("."), message)),
        }
    }
    (found, problems)
}

fn value_of(info: &KeyInfo, text: &str) -> Result<Tree, String> {
    match info.kind {
        Kind::Text | Kind::Duration => Ok(Tree::Text(text.to_owned())),
        _ => parse_value(text),
    }
}

/// Finds the path that `words` spell. A key may hold an underscore itself, so each is tried.
fn resolve<'a>(at: &'a KeyInfo, words: &str) -> Option<(Vec<&'a str>, &'a KeyInfo)> {
    at.below.iter().find_map(|(name, info)| {
        let rest = words.strip_prefix(&name.to_ascii_uppercase())?;
        if rest.is_empty() {
            return Some((vec![name.as_str()], info));
        }
        let (mut path, info) = resolve(info, rest.strip_prefix('_')?)?;
        path.insert(0, name);
        Some((path, info))
    })
}

fn unknown(keys: &Keys, words: &str) -> String {
    let mut names = OPTIONS.iter().map(|name| (*name).to_owned()).collect();
    spell(&keys.root, PREFIX, &mut names);
    match nearest(&format!("{PREFIX}{words}"), names.iter().map(String::as_str)) {
        Some(name) => format!("names no key; did you mean {name}?"),
        None => "names no key".to_owned(),
    }
}

fn spell(at: &KeyInfo, prefix: &str, names: &mut Vec<String>) {
    for (name, info) in &at.below {
        let name = format!("{prefix}{}", name.to_ascii_uppercase());
        spell(info, &format!("{name}_"), names);
        names.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Process;
    use crate::keys::ModuleKeys;

    fn run(name: &str, value: &str) -> Result<String, String> {
        let module = ModuleKeys {
            section: "thermostat".to_owned(),
            fields: vec!["max_age".to_owned(), "max".to_owned()],
        };
        let keys = Keys::new(Process::EdgeCore, &[module]);
        let variables = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let (found, problems) = overrides(&keys, &variables);
        match problems.first() {
            Some(problem) => Err(problem.to_string()),
            None => Ok(found.iter().map(|found| show(&found.root)).collect()),
        }
    }

    fn show(node: &Node) -> String {
        match &node.value {
            Tree::Map(entries) => {
                entries.iter().map(|(key, value)| format!("{}.{}", key.name, show(value))).collect()
            }
            other => other.kind().to_owned(),
        }
    }

    #[test]
    fn both_spellings_name_the_key() {
        for name in [
            "BEEHIVE_MODULES_EDGEHUB_HEARTBEAT",
            "BEEHIVE__modules__edgeHub__heartbeat",
            "BEEHIVE__MODULES__EDGEHUB__HEARTBEAT",
        ] {
            assert_eq!(run(name, "30").as_deref(), Ok("modules.edgeHub.heartbeat.an integer"), "{name}");
        }
    }

    #[test]
    fn a_key_may_hold_an_underscore() {
        assert_eq!(
            run("BEEHIVE_MODULES_THERMOSTAT_MAX_AGE", "3").as_deref(),
            Ok("modules.thermostat.max_age.an integer")
        );
        assert_eq!(
            run("BEEHIVE_MODULES_THERMOSTAT_MAX", "[a]").as_deref(),
            Ok("modules.thermostat.max.a list")
        );
    }

    #[test]
    fn a_text_stays_a_text() {
        let found = run("BEEHIVE_MODULES_EDGEHUB_TOKEN", "0123");
        assert_eq!(found.as_deref(), Ok("modules.edgeHub.token.a text"));
    }

    #[test]
    fn an_unknown_variable_is_a_problem_and_an_option_is_not() {
        let problem = run("BEEHIVE_MODULES_EDGEHUB_HARTBEAT", "30").expect_err("it is a typo");
        assert_eq!(
            problem,
            "environment variable BEEHIVE_MODULES_EDGEHUB_HARTBEAT: names no key; \
             did you mean BEEHIVE_MODULES_EDGEHUB_HEARTBEAT?"
        );
        assert_eq!(run("BEEHIVE_LOG", "debug").as_deref(), Ok(""));
    }
}

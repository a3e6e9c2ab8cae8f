//! From a file and the environment to what a process starts with.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use beehive::{Catalog, Sections};

use crate::Process;
use crate::check::check;
use crate::environment::overrides;
use crate::keys::{Keys, ModuleKeys};
use crate::layers::{Given, Merged, merge};
use crate::notice::Notices;
use crate::problem::{ConfigError, Problem};
use crate::sections::{of_modules, read_sections};
use crate::settings::Settings;
use crate::yaml::{self, BYTES_MAX, Tree};

/// A configuration that was accepted.
pub struct Loaded {
    /// What concerns the process.
    pub settings: Settings,
    /// What was given and has no effect. To be logged once.
    pub notices: Notices,
    pub(crate) merged: Merged,
    pub(crate) sections: Sections,
}

/// Without values: they may be secret.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("settings", &self.settings)
            .field("sections", &self.sections().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// Returns the modules' sections by name, each with its keys of effect.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &serde_json::Value)> {
        of_modules(&self.merged)
    }

    /// Returns the value of a key, dotted, that was given.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&serde_json::Value> {
        self.merged.get(path)
    }

    /// Says where the key `path` was given, and what is wrong with it.
    #[must_use]
    pub fn problem(&self, path: &str, message: &str) -> Problem {
        Problem::new(self.merged.origin(path).cloned(), path, message)
    }
}

/// Reads a configuration file.
///
/// # Errors
///
/// When it cannot be read, is too long, or is no text.
pub fn read_file(path: &Path) -> Result<String, Problem> {
    let name = path.display().to_string();
    let fail = |message: String| Problem::of_file(&name, None, message);
    let file = File::open(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    let mut text = String::new();
    let limit = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_string(&mut text).map_err(|error| fail(format!("cannot be read: {error}")))?;
    Ok(text)
}

/// Checks the file's `text`, lays the environment's overrides over it, lets the modules of `catalog`
/// check their sections, and reports everything that is wrong at once. Pure: the outside world is
/// given.
///
/// # Errors
///
/// When anything is wrong.
pub fn load(
    process: Process,
    catalog: &Catalog,
    file: Option<(&str, &str)>,
    variables: &BTreeMap<String, String>,
) -> Result<Loaded, ConfigError> {
    let keys = Keys::new(process, &ModuleKeys::of_catalog(catalog));
    let mut problems = Vec::new();
    let mut notices = Notices::default();
    let mut layers: Vec<Given> = Vec::new();

    if let Some((name, text)) = file {
        let mut root = yaml::parse(name, text)?;
        if root.value == Tree::Null {
            root.value = Tree::Map(Vec::new());
        }
        let name = name.to_owned();
        let origin = move |line| yaml::origin(&name, line);
        let checked = check(&keys, root, &origin);
        problems.extend(checked.problems);
        notices.extend(checked.notices);
        layers.push((checked.root, Box::new(origin)));
    }

    let (found, wrong) = overrides(&keys, variables);
    problems.extend(wrong);
    for variable in found {
        let origin = move |_line| variable.origin.clone();
        let checked = check(&keys, variable.root, &origin);
        problems.extend(checked.problems);
        notices.extend(checked.notices);
        layers.push((checked.root, Box::new(origin)));
    }

    let merged = merge(layers).map_err(|error| Problem::new(None, "", error.to_string()))?;
    check_head(process, &merged, &mut problems);
    let settings = Settings::read(process, &merged, &mut problems);
    let sections = read_sections(catalog, &merged, &mut problems);
    if problems.is_empty() {
        Ok(Loaded { settings, notices, merged, sections })
    } else {
        Err(ConfigError::new(problems))
    }
}

/// A file for the other process, or of a format to come, is not one with many unknown keys.
fn check_head(process: Process, merged: &Merged, problems: &mut Vec<Problem>) {
    let mut refuse = |path: &str, message: String| {
        problems.push(Problem::new(merged.origin(path).cloned(), path, message));
    };
    if let Some(kind) = merged.get("kind").and_then(serde_json::Value::as_str)
        && kind != process.kind()
    {
        refuse("kind", format!("must be {} for {}", process.kind(), process.name()));
    }
    if let Some(given) = merged.get("apiVersion").and_then(serde_json::Value::as_str) {
        let group = process.api_group();
        let known = ["v1alpha1", "v1alpha2"];
        if !known.iter().any(|version| given == format!("{group}/{version}")) {
            refuse("apiVersion", format!("must be {group}/v1alpha1 or {group}/v1alpha2"));
        }
    }
}

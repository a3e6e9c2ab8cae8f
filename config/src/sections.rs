//! From merged values to what a node is launched with.

use beehive::section::{decode, parse};
use beehive::{Catalog, LaunchError, ModuleConfig, Problems, RestartPolicy, Section, Sections};
use serde_json::Value;

use crate::layers::Merged;
use crate::load::Loaded;
use crate::problem::{ConfigError, Problem};

impl Loaded {
    /// Returns the modules' sections as a node takes them.
    #[must_use]
    pub fn node_sections(&self) -> Sections {
        self.sections.clone()
    }

    /// Reads the section of a module that the process itself reads as well. One that is not there
    /// says nothing.
    ///
    /// # Errors
    ///
    /// When the section is not valid.
    pub fn module<C: ModuleConfig>(&self, sections: &Sections, name: &str) -> Result<C, ConfigError> {
        let body = sections.get(name).map(|section| section.body.clone()).unwrap_or_default();
        parse::<C>(&body, &format!("modules.{name}")).map_err(|problems| self.locate(&problems))
    }

    /// Says of each problem where its value was given.
    #[must_use]
    pub fn locate(&self, problems: &Problems) -> ConfigError {
        ConfigError::new(locate(&self.merged, problems))
    }

    /// Says of each problem of a launch where its value was given.
    #[must_use]
    pub fn explain(&self, error: &LaunchError) -> ConfigError {
        self.locate(&error.problems)
    }
}

/// Tells whether a module runs that runs unless its section says otherwise.
#[must_use]
pub fn is_enabled(sections: &Sections, name: &str) -> bool {
    sections.get(name).and_then(|section| section.enable).unwrap_or(true)
}

/// Reads the modules' sections and lets the catalog check them.
pub(crate) fn read_sections(catalog: &Catalog, merged: &Merged, problems: &mut Vec<Problem>) -> Sections {
    let mut found = Problems::new();
    let sections: Sections = of_modules(merged)
        .map(|(name, body)| (name.to_owned(), section(body, &format!("modules.{name}"), &mut found)))
        .collect();
    found.extend(catalog.check(&sections));
    problems.extend(locate(merged, &found));
    sections
}

/// Returns what stands below `modules`.
pub(crate) fn of_modules(merged: &Merged) -> impl Iterator<Item = (&str, &Value)> {
    let modules = merged.get("modules").and_then(Value::as_object);
    modules.into_iter().flatten().map(|(name, section)| (name.as_str(), section))
}

fn locate(merged: &Merged, problems: &Problems) -> Vec<Problem> {
    let located = problems.iter().map(|problem| {
        let origin = merged.origin(&problem.path).cloned();
        Problem::new(origin, &problem.path, &problem.message)
    });
    located.collect()
}

fn section(body: &Value, path: &str, problems: &mut Problems) -> Section {
    let mut body = body.clone();
    let mut take = |key: &str| body.as_object_mut().and_then(|keys| keys.remove(key));
    let enable = take("enable").and_then(|value| value.as_bool());
    let mailbox = take("mailbox").map(|value| value.as_u64().and_then(|size| usize::try_from(size).ok()));
    if mailbox == Some(None) {
        problems.push(format!("{path}.mailbox"), "must be a number of messages");
    }
    let restart = take("restart").and_then(|value| {
        let policy = decode::<RestartPolicy>(&value, &format!("{path}.restart"));
        policy.map_err(|found| problems.extend(found)).ok()
    });
    Section { enable, restart, mailbox: mailbox.flatten(), body }
}

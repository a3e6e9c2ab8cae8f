//! From an accepted configuration to what a node is launched with.

use beehive::section::{decode, parse};
use beehive::{LaunchError, ModuleConfig, Problems, RestartPolicy, Section, Sections};
use serde_json::Value;

use crate::load::Loaded;
use crate::problem::ConfigError;

impl Loaded {
    /// Returns the modules' sections as a node takes them.
    ///
    /// # Errors
    ///
    /// When what every section may hold, such as `restart`, is wrong in one.
    pub fn node_sections(&self) -> Result<Sections, ConfigError> {
        let mut problems = Problems::new();
        let sections = self.sections().map(|(name, body)| {
            let path = format!("modules.{name}");
            (name.to_owned(), section(body, &path, &mut problems))
        });
        let sections: Sections = sections.collect();
        if problems.is_empty() { Ok(sections) } else { Err(self.locate(&problems)) }
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
        ConfigError::new(
            problems.iter().map(|problem| self.problem(&problem.path, &problem.message)).collect(),
        )
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

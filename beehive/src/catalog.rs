//! What a process can run, and how to make each of it.

use std::sync::Arc;

use crate::launch::{Blueprint, Plan, check_modules, facts};
use crate::module::Module;
use crate::name::{Group, ModuleName};
use crate::node::Sections;
use crate::problem::Problems;
use crate::section::{FieldTree, fields};

/// The modules that a process can run, in start order.
#[derive(Default)]
pub struct Catalog {
    pub(crate) blueprints: Vec<Box<dyn Blueprint>>,
}

impl Catalog {
    /// Makes an empty catalog.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a module, to be started after those before it and stopped before them.
    #[must_use]
    pub fn with<M: Module>(mut self, ports: M::Ports) -> Self {
        self.blueprints.push(Box::new(Plan::<M>::new(ports)));
        self
    }

    /// Returns the modules' names, in start order.
    #[must_use]
    pub fn names(&self) -> Vec<ModuleName> {
        self.blueprints.iter().map(|blueprint| blueprint.name()).collect()
    }

    /// Returns what is known of each module before it runs, in start order.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.blueprints.iter().map(|blueprint| blueprint.entry()).collect()
    }

    /// Returns everything that would keep a node with these sections from its launch and can be told
    /// without building a module, sorted by path: sections that no module reads, keys and values that
    /// are wrong, requests that nobody serves. Pure: nothing is built and nothing outside is touched.
    ///
    /// The section of a disabled module is not read.
    #[must_use]
    pub fn check(&self, sections: &Sections) -> Problems {
        let facts = facts(&self.blueprints, sections);
        let mut problems = Problems::new();
        check_modules(&facts, sections, &mut problems);
        for (blueprint, facts) in self.blueprints.iter().zip(&facts) {
            if facts.is_enabled {
                problems.extend(blueprint.check(sections.get(facts.section)));
            }
        }
        problems.sort();
        problems
    }
}

/// What is known of a module before it runs.
#[derive(Clone)]
pub struct Entry {
    /// Its name.
    pub name: ModuleName,
    /// Its group.
    pub group: Group,
    /// The key of its section.
    pub section: &'static str,
    fields: Arc<FieldTree>,
}

impl Entry {
    pub(crate) fn of<M: Module>() -> Self {
        let fields = Arc::new(fields::<M::Config>());
        Self { name: M::NAME, group: M::GROUP, section: M::SECTION, fields }
    }

    /// Returns the fields that its section may have.
    #[must_use]
    pub fn fields(&self) -> &FieldTree {
        &self.fields
    }
}

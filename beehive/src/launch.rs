//! From a catalog and its sections to running modules, or to everything that keeps them from running.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Entry;
use crate::context::Chance;
use crate::core::{Core, Permits};
use crate::engine::{Engine, Factory, StopSignal};
use crate::host::Handle;
use crate::mailbox::{Mailbox, Reader};
use crate::metrics::Cell;
use crate::module::{Asked, Manner, Module, Wiring};
use crate::name::{Group, ModuleName};
use crate::node::{Section, Sections};
use crate::parcel::Parcels;
use crate::problem::{Problems, join};
use crate::route::{ModuleId, RoutesBuilder};
use crate::section::{nearest, parse};
use crate::supervise::{RestartPolicy, Supervisor};

/// The path of all modules' sections.
pub(crate) const MODULES: &str = "modules";

/// A module of a catalog, without its type.
pub(crate) trait Blueprint {
    fn name(&self) -> ModuleName;
    fn entry(&self) -> Entry;
    fn facts(&self) -> Facts;
    /// Finds what is wrong with the section.
    fn check(&self, section: Option<&Section>) -> Problems;
    /// Builds the first value; the section must have been checked.
    fn build(self: Box<Self>, section: Option<&Section>, mailbox: usize) -> Result<Box<dyn Built>, Problems>;
}

/// What launch checks about a module.
pub(crate) struct Facts {
    pub(crate) name: ModuleName,
    pub(crate) group: Group,
    pub(crate) section: &'static str,
    pub(crate) handled: Vec<(TypeId, &'static str, bool)>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) is_enabled: bool,
}

/// A module that is built and does not run yet.
pub(crate) trait Built {
    fn name(&self) -> ModuleName;
    fn cell(&self) -> Cell;
    fn permits(&self) -> Permits;
    fn add_routes(&self, routes: &mut RoutesBuilder, id: ModuleId);
    #[cfg(feature = "test-util")]
    fn add_records(&self, routes: &mut RoutesBuilder, record: &Arc<crate::probe::Record>, recorder: ModuleId);
    fn start(self: Box<Self>, core: Arc<Core>, id: ModuleId, settings: Settings) -> Handle;
}

/// What all engines of a node have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) stuck_after: Duration,
}

/// A module's type and ports.
pub(crate) struct Plan<M: Module> {
    ports: M::Ports,
}

impl<M: Module> Plan<M> {
    pub(crate) const fn new(ports: M::Ports) -> Self {
        Self { ports }
    }
}

impl<M: Module> Blueprint for Plan<M> {
    fn name(&self) -> ModuleName {
        M::NAME
    }

    fn entry(&self) -> Entry {
        Entry::of::<M>()
    }

    fn facts(&self) -> Facts {
        let wiring = Wiring::<M>::of();
        Facts {
            name: M::NAME,
            group: M::GROUP,
            section: M::SECTION,
            handled: wiring.handled.iter().map(|it| (it.type_id, it.name, it.replies_unit)).collect(),
            asked: wiring.asked,
            is_enabled: M::ENABLED,
        }
    }

    fn check(&self, section: Option<&Section>) -> Problems {
        let path = join(MODULES, M::SECTION);
        let mut problems = Problems::new();
        if section.is_some_and(|section| section.mailbox == Some(0)) {
            problems.push(join(&path, "mailbox"), "a mailbox has room for at least one message");
        }
        let body = section.map_or(&serde_json::Value::Null, |section| &section.body);
        if let Err(found) = parse::<M::Config>(body, &path) {
            problems.extend(found);
        }
        problems
    }

    fn build(self: Box<Self>, section: Option<&Section>, mailbox: usize) -> Result<Box<dyn Built>, Problems> {
        let path = join(MODULES, M::SECTION);
        let body = section.map_or(serde_json::Value::Null, |section| section.body.clone());
        let restart = section.and_then(|section| section.restart).unwrap_or_default();
        let capacity = section.and_then(|section| section.mailbox).unwrap_or(mailbox);
        let ports = self.ports;
        let at = path.clone();
        let factory: Factory<M> = Box::new(move || {
            let config = parse::<M::Config>(&body, &at).map_err(|problems| problems.to_string())?;
            M::build(config, ports.clone()).map_err(|error| error.to_string())
        });
        Ready::new(factory, restart, capacity)
            .map(|ready| Box::new(ready) as Box<dyn Built>)
            .map_err(|error| one_problem(&path, error))
    }
}

fn one_problem(path: &str, message: String) -> Problems {
    let mut problems = Problems::new();
    problems.push(path, message);
    problems
}

/// A module with its first value and its mailbox.
pub(crate) struct Ready<M: Module> {
    first: M,
    factory: Factory<M>,
    restart: RestartPolicy,
    sender: Mailbox<Parcels<M>>,
    mailbox: Reader<Parcels<M>>,
    wiring: Wiring<M>,
}

impl<M: Module> Ready<M> {
    pub(crate) fn new(factory: Factory<M>, restart: RestartPolicy, capacity: usize) -> Result<Self, String> {
        let first = factory()?;
        let (sender, mailbox) = Mailbox::new(capacity);
        Ok(Self { first, factory, restart, sender, mailbox, wiring: Wiring::of() })
    }

    /// Returns the module's mailbox, as a module's own task would have it.
    #[cfg(feature = "test-util")]
    pub(crate) fn me(&self, id: ModuleId) -> crate::parcel::Me<M> {
        crate::parcel::Me::new(self.sender.clone(), id)
    }
}

impl<M: Module> Built for Ready<M> {
    fn name(&self) -> ModuleName {
        M::NAME
    }

    fn cell(&self) -> Cell {
        Cell::new(M::NAME, M::GROUP, Box::new(self.sender.clone()))
    }

    fn permits(&self) -> Permits {
        let asks = self.wiring.asked.iter().map(|asked| (asked.type_id, asked.group, asked.manner));
        let mut asks: Vec<_> = asks.collect();
        asks.sort_unstable();
        let mut publishes: Vec<_> = self.wiring.published.iter().map(|it| it.type_id).collect();
        publishes.sort_unstable();
        Permits { asks, publishes }
    }

    fn add_routes(&self, routes: &mut RoutesBuilder, id: ModuleId) {
        self.wiring.add_routes(routes, &self.sender, id);
    }

    #[cfg(feature = "test-util")]
    fn add_records(
        &self,
        routes: &mut RoutesBuilder,
        record: &Arc<crate::probe::Record>,
        recorder: ModuleId,
    ) {
        for published in &self.wiring.published {
            (published.record)(routes, record, recorder);
        }
    }

    fn start(self: Box<Self>, core: Arc<Core>, id: ModuleId, settings: Settings) -> Handle {
        Handle::start(Engine {
            core,
            id,
            first: Some(self.first),
            factory: self.factory,
            mailbox: self.mailbox,
            sender: self.sender,
            supervisor: Supervisor::new(self.restart),
            chance: Chance { seed: settings.seed, generation: 0 },
            stuck_after: settings.stuck_after,
            stop: Rc::new(StopSignal::default()),
        })
    }
}

/// Gathers what launch checks about the modules of a catalog.
pub(crate) fn facts(blueprints: &[Box<dyn Blueprint>], sections: &Sections) -> Vec<Facts> {
    let said = |key: &str| sections.get(key).and_then(|section| section.enable);
    let facts = blueprints.iter().map(|blueprint| {
        let facts = blueprint.facts();
        Facts { is_enabled: said(facts.section).unwrap_or(facts.is_enabled), ..facts }
    });
    facts.collect()
}

/// Finds what is wrong between the modules, whatever stands in their sections.
pub(crate) fn check_modules(facts: &[Facts], sections: &Sections, problems: &mut Problems) {
    if facts.len() >= usize::from(u16::MAX) {
        problems.push("", "a catalog has at most 65,534 modules");
    }
    check_sections(facts, sections, problems);
    check_names(facts, problems);
    check_wiring(facts, problems);
}

/// Finds sections that no module reads.
fn check_sections(facts: &[Facts], sections: &Sections, problems: &mut Problems) {
    let known: Vec<&str> = facts.iter().map(|facts| facts.section).collect();
    for key in sections.keys().filter(|key| !known.contains(&key.as_str())) {
        let meant = match nearest(key, known.iter().copied()) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        let mut sorted = known.clone();
        sorted.sort_unstable();
        let known = sorted.join(", ");
        problems.push(join(MODULES, key), format!("there is no such module{meant} (known: {known})"));
    }
}

/// Finds modules that cannot be told apart, and messages that a module handles twice.
fn check_names(facts: &[Facts], problems: &mut Problems) {
    for (at, one) in facts.iter().enumerate() {
        let path = join(MODULES, one.section);
        let mut before = facts.iter().take(at);
        if before.clone().any(|other| other.name == one.name) {
            problems.push(path.clone(), format!("two modules are named {}", one.name));
        }
        if before.any(|other| other.section == one.section && other.name != one.name) {
            problems.push(path.clone(), "two modules read this section");
        }
        for (at, (id, name, _)) in one.handled.iter().enumerate() {
            if one.handled.iter().take(at).any(|(other, _, _)| other == id) {
                problems.push(path.clone(), format!("{} declares twice that it handles {name}", one.name));
            }
        }
    }
}

/// Finds requests that several modules of a group serve, and requests that nobody serves.
fn check_wiring(facts: &[Facts], problems: &mut Problems) {
    let enabled = || facts.iter().filter(|facts| facts.is_enabled);
    let mut servers: BTreeMap<(TypeId, Group), Vec<&Facts>> = BTreeMap::new();
    for one in enabled() {
        for (id, _, _) in &one.handled {
            servers.entry((*id, one.group)).or_default().push(one);
        }
    }
    for ((id, group), all) in servers.iter().filter(|(_, all)| all.len() > 1) {
        let asks =
            || enabled().flat_map(|one| &one.asked).filter(|it| it.type_id == *id && it.group == *group);
        let singly = asks().any(|asked| asked.manner != Manner::All);
        let all_at_once = asks().any(|asked| asked.manner == Manner::All);
        let Some((_, request, is_event)) =
            all.first().and_then(|one| one.handled.iter().find(|it| it.0 == *id))
        else {
            continue;
        };
        if singly || !(all_at_once || *is_event) {
            let mut names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            names.sort_unstable();
            let message = format!("{} all serve {request} in group {group}; one may", names.join(" and "));
            problems.push(MODULES, message);
        }
    }
    for one in enabled() {
        for asked in one.asked.iter().filter(|asked| asked.manner == Manner::Must) {
            if !servers.contains_key(&(asked.type_id, asked.group)) {
                problems.push(join(MODULES, one.section), nobody_serves(one, asked, facts));
            }
        }
    }
}

fn nobody_serves(asker: &Facts, asked: &Asked, facts: &[Facts]) -> String {
    let serves = |one: &&Facts| one.handled.iter().any(|(id, _, _)| *id == asked.type_id);
    let here: Vec<&str> = facts
        .iter()
        .filter(|one| one.group == asked.group && !one.is_enabled)
        .filter(serves)
        .map(|one| one.section)
        .collect();
    let elsewhere: Vec<String> = facts
        .iter()
        .filter(|one| one.group != asked.group)
        .filter(serves)
        .map(|one| format!("{} in group {}", one.name, one.group))
        .collect();
    let mut text =
        format!("{} asks group {} for {}, which nobody there serves", asker.name, asked.group, asked.name);
    if !here.is_empty() {
        text.push_str(&format!("; it would be served if this were enabled: {}", here.join(", ")));
    }
    if !elsewhere.is_empty() {
        text.push_str(&format!("; it is served by {}", elsewhere.join(", ")));
    }
    text
}

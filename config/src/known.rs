//! All keys that a process's file may hold, for the documentation and for tools.

use beehive::Catalog;

use crate::Process;
use crate::keys::{Effect, KeyInfo, Keys, Kind, ModuleKeys, join};

/// Whether a key does anything in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acts {
    /// It does.
    Here,
    /// KubeEdge has it; here it is accepted and reported.
    Ignored,
    /// KubeEdge had it up to this version; here it is accepted and reported.
    Outdated(&'static str),
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// Its path, dotted.
    pub path: String,
    /// What it takes, for people.
    pub takes: &'static str,
    /// Whether it does anything.
    pub acts: Acts,
}

/// Lists the keys of `process` whose modules are those of `catalog`, in the order of their paths.
#[must_use]
pub fn known_keys(process: Process, catalog: &Catalog) -> Vec<KnownKey> {
    let keys = Keys::new(process, &ModuleKeys::of_catalog(catalog));
    let mut found = Vec::new();
    collect("", &keys.root, &mut found);
    found
}

fn collect(path: &str, at: &KeyInfo, found: &mut Vec<KnownKey>) {
    for (name, info) in &at.below {
        let path = join(path, name);
        if info.below.is_empty() {
            let acts = match info.effect {
                Effect::Here => Acts::Here,
                Effect::Ignored => Acts::Ignored,
                Effect::Outdated(last) => Acts::Outdated(last),
            };
            found.push(KnownKey { path, takes: takes(info.kind), acts });
        } else {
            collect(&path, info, found);
        }
    }
}

fn takes(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Text => "text",
        Kind::Duration => "duration",
        Kind::Texts => "list of texts",
        Kind::List => "list",
        Kind::Map => "map of texts",
        Kind::Keys => "map",
        Kind::Any => "its own form",
    }
}

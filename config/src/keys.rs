//! The keys that a process's file may hold: those of every KubeEdge version, and Beehive's own.

use std::collections::BTreeMap;

use beehive::Catalog;
use beehive::section::{FieldTree, nearest};

use crate::Process;
use crate::yaml::{Node, Tree};

const CLOUDCORE: &str = include_str!("keys/cloudcore.txt");
const EDGECORE: &str = include_str!("keys/edgecore.txt");

/// Keys outside `modules` that this crate itself puts into effect, with their kinds.
const OF_BOTH: &[(&str, Kind)] = &[
    ("apiVersion", Kind::Text),
    ("kind", Kind::Text),
    ("database.dataSource", Kind::Text),
    ("log.level", Kind::Text),
    ("log.format", Kind::Text),
];
const OF_CLOUDCORE: &[(&str, Kind)] = &[
    ("kubeAPIConfig.kubeConfig", Kind::Text),
    ("kubeAPIConfig.master", Kind::Text),
    ("kubeAPIServer.address", Kind::Text),
    ("kubeAPIServer.port", Kind::Integer),
    ("kubeAPIServer.directory", Kind::Text),
    ("leaderElection.enable", Kind::Bool),
];

/// Keys of every module that the bus puts into effect.
const OF_MODULES: &[(&str, Kind)] = &[
    ("enable", Kind::Bool),
    ("mailbox", Kind::Integer),
    ("restart.when", Kind::Text),
    ("restart.backoff", Kind::Text),
    ("restart.giveUpAfter", Kind::Integer),
    ("restart.stuckFor", Kind::Duration),
];

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Integer,
    Number,
    Text,
    /// A text such as `1m30s`.
    Duration,
    Texts,
    List,
    /// A map of texts whose keys are the user's.
    Map,
    /// A map whose keys are listed.
    Keys,
    /// Whatever its owner accepts.
    Any,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "bool" => Self::Bool,
            "int" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::Text,
            "duration" => Self::Duration,
            "strings" => Self::Texts,
            "list" => Self::List,
            "map" => Self::Map,
            "any" => Self::Any,
            _ => return None,
        })
    }

    /// Says what is wanted if `value` is not of this kind.
    pub(crate) fn mismatch(self, value: &Tree) -> Option<&'static str> {
        let (fits, wanted) = match self {
            Self::Bool => (matches!(value, Tree::Bool(_)), "true or false"),
            Self::Integer => (matches!(value, Tree::Number(number) if !number.is_f64()), "an integer"),
            Self::Number => (matches!(value, Tree::Number(_)), "a number"),
            Self::Text => (matches!(value, Tree::Text(_)), "a text"),
            Self::Duration => (matches!(value, Tree::Text(_)), "a duration such as 1m30s"),
            Self::Texts => (is_texts(value), "a list of texts"),
            Self::List => (matches!(value, Tree::List(_)), "a list"),
            Self::Map | Self::Keys => (matches!(value, Tree::Map(_)), "a map"),
            Self::Any => (true, ""),
        };
        (!fits).then_some(wanted)
    }
}

impl Kind {
    /// Makes texts of numbers and of truth values where texts are wanted, as KubeEdge's YAML
    /// library does.
    pub(crate) fn adapt(self, node: Node) -> Node {
        let line = node.line;
        let value = match (self, node.value) {
            (Self::Text, Tree::Bool(value)) => Tree::Text(value.to_string()),
            (Self::Text, Tree::Number(value)) => Tree::Text(value.to_string()),
            (Self::Texts, Tree::List(items)) => {
                Tree::List(items.into_iter().map(|item| Self::Text.adapt(item)).collect())
            }
            (Self::Map, Tree::Map(entries)) => {
                Tree::Map(entries.into_iter().map(|(key, below)| (key, Self::Text.adapt(below))).collect())
            }
            (_, value) => value,
        };
        Node { line, value }
    }
}

fn is_texts(value: &Tree) -> bool {
    matches!(value, Tree::List(items) if items.iter().all(|item| matches!(item.value, Tree::Text(_))))
}

/// Whether a key does anything in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It does.
    Here,
    /// KubeEdge knows it, Beehive does not act on it.
    Ignored,
    /// Only KubeEdge versions up to this one knew it.
    Outdated(&'static str),
}

/// A key and what stands below it.
#[derive(Debug, Clone)]
pub(crate) struct KeyInfo {
    pub(crate) kind: Kind,
    pub(crate) effect: Effect,
    pub(crate) below: BTreeMap<String, KeyInfo>,
}

/// A module of the catalog, as far as its section is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleKeys {
    /// The key of its section below `modules`.
    pub section: String,
    /// The paths of the keys that it acts on, dotted, relative to the section.
    pub fields: Vec<String>,
}

impl ModuleKeys {
    /// Returns what the modules of a catalog read.
    #[must_use]
    pub fn of_catalog(catalog: &Catalog) -> Vec<Self> {
        let entries = catalog.entries();
        let keys = entries.iter().map(|entry| {
            let mut fields = Vec::new();
            list_fields("", entry.fields(), &mut fields);
            Self { section: entry.section.to_owned(), fields }
        });
        keys.collect()
    }
}

fn list_fields(path: &str, tree: &FieldTree, found: &mut Vec<String>) {
    match tree {
        FieldTree::Struct(fields) if !fields.is_empty() => {
            for (name, below) in fields {
                list_fields(&join(path, name), below, found);
            }
        }
        _ if path.is_empty() => {}
        _ => found.push(path.to_owned()),
    }
}

/// All keys of a process.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) root: KeyInfo,
}

impl KeyInfo {
    fn empty() -> Self {
        Self { kind: Kind::Keys, effect: Effect::Ignored, below: BTreeMap::new() }
    }

    /// Finds a key below this one as KubeEdge does: exactly, else without regard to case.
    pub(crate) fn find(&self, name: &str) -> Option<(&str, &Self)> {
        if let Some((name, info)) = self.below.get_key_value(name) {
            return Some((name, info));
        }
        let mut matches = self.below.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        matches.next().map(|(name, info)| (name.as_str(), info))
    }

    fn insert(&mut self, path: &str, kind: Kind, effect: &Effect) {
        let mut at = self;
        at.effect = stronger(&at.effect, effect);
        for segment in path.split('.') {
            let fresh = || Self { effect: effect.clone(), ..Self::empty() };
            at = at.below.entry(segment.to_owned()).or_insert_with(fresh);
            at.effect = stronger(&at.effect, effect);
        }
        at.kind = kind;
    }

    /// Marks a key that a module acts on. What KubeEdge says of it and keeps below it is kept; a
    /// key that KubeEdge does not have is the module's to check.
    fn take_effect(&mut self, path: &str) {
        let mut at = self;
        for segment in path.split('.') {
            at.effect = Effect::Here;
            if at.kind == Kind::Any {
                at.kind = Kind::Keys;
            }
            at = at.below.entry(segment.to_owned()).or_insert_with(|| Self {
                kind: Kind::Any,
                effect: Effect::Here,
                below: BTreeMap::new(),
            });
        }
        at.effect = Effect::Here;
    }
}

/// A key is as much in effect as the most effective key below it, and as new as the newest.
fn stronger(one: &Effect, other: &Effect) -> Effect {
    match (one, other) {
        (Effect::Here, _) | (_, Effect::Here) => Effect::Here,
        (Effect::Ignored, _) | (_, Effect::Ignored) => Effect::Ignored,
        (Effect::Outdated(one), Effect::Outdated(other)) => {
            Effect::Outdated(if minor(one) >= minor(other) { one } else { other })
        }
    }
}

fn minor(version: &str) -> u32 {
    version.rsplit('.').next().and_then(|minor| minor.parse().ok()).unwrap_or_default()
}

impl Keys {
    /// Collects the keys of `process` whose catalog has `modules`.
    pub(crate) fn new(process: Process, modules: &[ModuleKeys]) -> Self {
        let mut root = KeyInfo { effect: Effect::Outdated("0"), ..KeyInfo::empty() };
        let table = match process {
            Process::CloudCore => CLOUDCORE,
            Process::EdgeCore => EDGECORE,
        };
        for (path, kind, effect) in table.lines().filter(|line| !line.starts_with('#')).map(parse_line) {
            root.insert(path, kind, &effect);
        }
        for (path, kind) in OF_BOTH {
            root.insert(path, *kind, &Effect::Here);
        }
        if process == Process::CloudCore {
            for (path, kind) in OF_CLOUDCORE {
                root.insert(path, *kind, &Effect::Here);
            }
        }
        for module in modules {
            for (path, kind) in OF_MODULES {
                root.insert(&format!("modules.{}.{path}", module.section), *kind, &Effect::Here);
            }
            for field in &module.fields {
                let path = format!("modules.{}.{field}", module.section);
                root.take_effect(&path);
            }
        }
        Self { root }
    }

    /// Says which key somebody may have meant by `name` below the key `path`.
    pub(crate) fn suggest(&self, at: &KeyInfo, path: &str, name: &str) -> Option<String> {
        if let Some(sibling) = nearest(name, at.below.keys().map(String::as_str)) {
            return Some(join(path, sibling));
        }
        let mut elsewhere = Vec::new();
        collect_named(&self.root, "", name, &mut elsewhere);
        elsewhere.into_iter().min_by_key(|found| found.len())
    }
}

fn parse_line(line: &'static str) -> (&'static str, Kind, Effect) {
    let mut words = line.split(' ');
    let (Some(path), Some(kind), Some(versions)) = (words.next(), words.next(), words.next()) else {
        unreachable!("the table is tested: {line}")
    };
    let kind = Kind::parse(kind).expect("the table is tested");
    let effect = match versions.split_once('-') {
        Some((_, "")) | None => Effect::Ignored,
        Some((_, last)) => Effect::Outdated(last),
    };
    (path, kind, effect)
}

fn collect_named(at: &KeyInfo, path: &str, name: &str, found: &mut Vec<String>) {
    for (key, info) in &at.below {
        let path = join(path, key);
        if key.eq_ignore_ascii_case(name) {
            found.push(path.clone());
        }
        collect_named(info, &path, name, found);
    }
}

/// Joins a path and a key below it.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_well_formed_and_stands_once() {
        for table in [CLOUDCORE, EDGECORE] {
            let mut seen = std::collections::BTreeSet::new();
            for line in table.lines().filter(|line| !line.starts_with('#')) {
                let words: Vec<&str> = line.split(' ').collect();
                let [path, kind, versions] = words[..] else { panic!("{line}") };
                assert!(Kind::parse(kind).is_some(), "{line}");
                let (first, last) = versions.split_once('-').unwrap_or_else(|| panic!("{line}"));
                assert!((3..=23).contains(&minor(first)), "{line}");
                assert!(last.is_empty() || minor(last) < 23 && minor(first) <= minor(last), "{line}");
                assert!(seen.insert(path), "{line}");
            }
            assert!(seen.len() > 100);
        }
    }

    #[test]
    fn a_section_is_as_new_as_its_newest_key() {
        let keys = Keys::new(Process::EdgeCore, &[]);
        let modules = keys.root.find("modules").expect("it is known").1;
        let mesh = modules.find("edgemesh").expect("case does not matter");
        assert_eq!((mesh.0, &mesh.1.effect), ("edgeMesh", &Effect::Outdated("1.7")));
        assert_eq!(modules.find("edged").expect("it is known").1.effect, Effect::Ignored);
    }

    #[test]
    fn the_catalog_says_what_is_in_effect() {
        let module = ModuleKeys {
            section: "edgeHub".to_owned(),
            fields: vec!["heartbeat".to_owned(), "websocket.server".to_owned(), "own".to_owned()],
        };
        let keys = Keys::new(Process::EdgeCore, &[module]);
        let hub =
            keys.root.find("modules").and_then(|(_, info)| info.find("edgeHub")).expect("it is known").1;
        let find = |path: &str| path.split('.').fold(hub, |at, name| at.find(name).expect("it is known").1);
        for path in ["heartbeat", "websocket", "websocket.server", "own", "enable", "restart.backoff"] {
            assert!(find(path).effect == Effect::Here, "{path}");
        }
        for path in ["projectID", "websocket.readDeadline", "quic"] {
            assert!(find(path).effect != Effect::Here, "{path}");
        }
        assert_eq!(find("heartbeat").kind, Kind::Integer);
        assert_eq!(find("own").kind, Kind::Any);
        assert_eq!(
            keys.suggest(hub, "modules.edgeHub", "hartbeat").as_deref(),
            Some("modules.edgeHub.heartbeat")
        );
        let misplaced = keys.suggest(&keys.root, "", "remoteQueryTimeout");
        assert_eq!(misplaced.as_deref(), Some("modules.metaManager.remoteQueryTimeout"));
    }
}

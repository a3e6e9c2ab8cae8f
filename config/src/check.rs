//! Compares what was given with what is known: problems, what has no effect, and the rest.

use crate::keys::{Effect, KeyInfo, Keys, Kind, join};
use crate::notice::Notices;
use crate::problem::{Origin, Problem};
use crate::yaml::{Key, Node, Tree};

/// What one source gave: its values under the keys' proper names, without those of no effect.
pub(crate) struct Checked {
    pub(crate) root: Node,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notices: Notices,
}

/// Checks `root`, whose values stand where `origin` says of their lines.
pub(crate) fn check(keys: &Keys, root: Node, origin: impl Fn(u64) -> Origin) -> Checked {
    let mut checker = Checker { keys, origin, problems: Vec::new(), notices: Notices::default() };
    let line = root.line;
    let kept = checker.value("", &keys.root, root);
    let root = kept.unwrap_or(Node { line, value: Tree::Map(Vec::new()) });
    Checked { root, problems: checker.problems, notices: checker.notices }
}

struct Checker<'a, O> {
    keys: &'a Keys,
    origin: O,
    problems: Vec<Problem>,
    notices: Notices,
}

impl<O: Fn(u64) -> Origin> Checker<'_, O> {
    fn problem(&mut self, line: u64, path: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(Some((self.origin)(line)), path, message));
    }

    /// Returns what of `node` is in effect. Nothing at all is KubeEdge's way to say "the default".
    fn value(&mut self, path: &str, info: &KeyInfo, node: Node) -> Option<Node> {
        if node.value == Tree::Null {
            return None;
        }
        let node = info.kind.adapt(node);
        if let Some(wanted) = info.kind.mismatch(&node.value) {
            self.problem(node.line, path, format!("expected {wanted}, found {}", node.value.kind()));
            return None;
        }
        match node.value {
            Tree::Map(entries) if info.kind == Kind::Keys => {
                let entries = self.entries(path, info, entries);
                Some(Node { line: node.line, value: Tree::Map(entries) })
            }
            value => Some(Node { line: node.line, value }),
        }
    }

    fn entries(&mut self, path: &str, info: &KeyInfo, entries: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
        let mut kept: Vec<(Key, Node)> = Vec::new();
        let mut seen: Vec<(String, u64)> = Vec::new();
        for (key, node) in entries {
            let Some((name, below)) = info.find(&key.name) else {
                self.unknown(path, info, &key);
                continue;
            };
            let path = join(path, name);
            if let Some((_, first)) = seen.iter().find(|(other, _)| other == name) {
                self.problem(key.line, &path, format!("is given twice, first on line {first}"));
                continue;
            }
            seen.push((name.to_owned(), key.line));
            let given = node.value != Tree::Null;
            let value = self.value(&path, below, node);
            match &below.effect {
                Effect::Here => {
                    kept.extend(value.map(|node| (Key { name: name.to_owned(), ..key }, node)));
                }
                Effect::Ignored | Effect::Outdated(_) if below.kind == Kind::Keys => {}
                Effect::Ignored if given => self.notices.ignored(&path),
                Effect::Outdated(last) if given => self.notices.outdated(&path, last),
                Effect::Ignored | Effect::Outdated(_) => {}
            }
        }
        kept
    }

    fn unknown(&mut self, path: &str, info: &KeyInfo, key: &Key) {
        let known = match self.keys.suggest(info, path, &key.name) {
            Some(suggestion) => format!("; did you mean {suggestion}?"),
            None if info.below.len() <= 24 => {
                let names: Vec<&str> = info.below.keys().map(String::as_str).collect();
                format!("; known here: {}", names.join(", "))
            }
            None => String::new(),
        };
        let what = if path == "modules" { "no such module" } else { "no such key" };
        self.problem(key.line, &join(path, &key.name), format!("{what}{known}"));
    }
}

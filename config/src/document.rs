//! A configuration file that a tool writes: values over what stands there already.

use std::collections::BTreeMap;

use beehive::Catalog;
use serde_json::{Map, Value};

use crate::Process;
use crate::assignment::{self, Assignment, Given, Step};
use crate::check::check;
use crate::keys::{Effect, Keys, Kind, ModuleKeys};
use crate::load::{Loaded, load};
use crate::problem::{ConfigError, Origin, Problem};
use crate::yaml::{self, Key, Node, Tree};

/// What a file of one process holds. Its values may be secret, so it has no `Debug`.
#[derive(Clone)]
pub struct Document {
    process: Process,
    keys: Keys,
    root: Value,
}

impl Document {
    /// Begins a file that says only for which process it is. `catalog` is that of the process.
    #[must_use]
    pub fn new(process: Process, catalog: &Catalog) -> Self {
        let mut document = Self {
            process,
            keys: Keys::new(process, &ModuleKeys::of_catalog(catalog)),
            root: Value::Object(Map::new()),
        };
        document.set("apiVersion", format!("{}/v1alpha2", process.api_group()));
        document.set("kind", process.kind());
        document
    }

    /// Begins with what the file `name` holds.
    ///
    /// # Errors
    ///
    /// When its text is no YAML.
    pub fn read(process: Process, catalog: &Catalog, name: &str, text: &str) -> Result<Self, ConfigError> {
        let root = yaml::parse(name, text)?;
        let mut document = Self::new(process, catalog);
        match value(root) {
            Value::Null => {}
            found @ Value::Object(_) => document.root = found,
            _ => return Err(Problem::of_file(name, None, "must be a map of keys").into()),
        }
        Ok(document)
    }

    /// Gives the key `path`, dotted, a value. Names match without regard to case, as in files.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        let steps: Vec<Step> = path.split('.').map(|name| Step::Key(name.to_owned())).collect();
        put(&mut self.root, &steps, Some(value.into()));
    }

    /// Returns the value of a key, dotted, that was given.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        path.split('.')
            .try_fold(&self.root, |at, name| find(at.as_object()?, name).and_then(|key| at.get(key)))
    }

    /// Tells whether a key, dotted, does anything in the process.
    #[must_use]
    pub fn acts(&self, path: &str) -> bool {
        let found =
            path.split('.').try_fold(&self.keys.root, |at, name| at.find(name).map(|(_, below)| below));
        found.is_some_and(|info| info.effect == Effect::Here)
    }

    /// Assigns what one `flag` of a command line says: `a.b=1,list[0]=x,list={a,b}`. An empty `null`
    /// takes the key away.
    ///
    /// # Errors
    ///
    /// When it is no assignment, no key is called so, or the key takes no such value.
    pub fn assign(&mut self, flag: &str, text: &str) -> Result<(), ConfigError> {
        let origin = || Origin::Flag { name: flag.to_owned() };
        let assignments = assignment::parse(text)
            .map_err(|message| ConfigError::from(Problem::new(Some(origin()), "", message)))?;
        for Assignment { path, value } in &assignments {
            let value = self.typed(path, value);
            put(&mut self.root, path, value);
        }
        let checked = check(&self.keys, node(&self.root), |_line| origin());
        let assigned: Vec<String> = assignments.iter().map(|it| dotted(&it.path)).collect();
        let concerns = |problem: &Problem| assigned.iter().any(|path| is_related(path, &problem.path));
        let problems: Vec<Problem> = checked.problems.into_iter().filter(concerns).collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::new(problems)) }
    }

    /// Returns the file's text, with `remark` as its first lines.
    ///
    /// # Errors
    ///
    /// When a value cannot be written as YAML.
    pub fn render(&self, remark: &[&str]) -> Result<String, Problem> {
        let body = to_yaml(&self.root)?;
        let remark: String = remark.iter().map(|line| format!("# {line}\n")).collect();
        Ok(format!("{remark}\n{body}"))
    }

    /// Loads the text as the process would, without its environment: all that is wrong is told. `name`
    /// is what the file is called.
    ///
    /// # Errors
    ///
    /// When anything is wrong.
    pub fn load(&self, catalog: &Catalog, name: &str, text: &str) -> Result<Loaded, ConfigError> {
        load(self.process, catalog, Some((name, text)), &BTreeMap::new())
    }

    /// Returns the value as its key takes it; none takes the key away.
    fn typed(&self, path: &[Step], given: &Given) -> Option<Value> {
        let kind = self.kind(path);
        match given {
            Given::Plain(text) if text == "null" && kind != Kind::Text => None,
            other => Some(typed(kind, other)),
        }
    }

    fn kind(&self, path: &[Step]) -> Kind {
        let mut at = &self.keys.root;
        for step in path {
            match step {
                Step::Index(_) if matches!(at.kind, Kind::Texts | Kind::Map) => return Kind::Text,
                Step::Index(_) => return Kind::Any,
                Step::Key(_) if at.kind == Kind::Map => return Kind::Text,
                Step::Key(name) => match at.find(name) {
                    Some((_, below)) => at = below,
                    None => return Kind::Any,
                },
            }
        }
        at.kind
    }
}

/// Writes a value as YAML.
///
/// # Errors
///
/// When it cannot be written.
pub fn to_yaml(value: &Value) -> Result<String, Problem> {
    serde_saphyr::to_string(value)
        .map_err(|error| Problem::new(None, "", format!("cannot be written as YAML: {error}")))
}

fn typed(kind: Kind, given: &Given) -> Value {
    let below = match kind {
        Kind::Texts | Kind::Map => Kind::Text,
        _ => Kind::Any,
    };
    match given {
        Given::Quoted(text) => Value::String(text.clone()),
        Given::Plain(text) if matches!(kind, Kind::Text | Kind::Duration) => Value::String(text.clone()),
        Given::Plain(text) if kind == Kind::Texts => Value::Array(vec![Value::String(text.clone())]),
        Given::Plain(text) => plain(text),
        Given::List(items) if items.is_empty() && matches!(kind, Kind::Map | Kind::Keys) => {
            Value::Object(Map::new())
        }
        Given::List(items) => Value::Array(items.iter().map(|item| typed(below, item)).collect()),
        Given::Map(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), typed(below, value))).collect())
        }
    }
}

/// Reads a value whose key does not say what it takes: as Helm does, and fractions.
fn plain(text: &str) -> Value {
    let is_number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        digits == "0"
            || digits.starts_with("0.")
            || digits.starts_with(|first: char| ('1'..='9').contains(&first))
    };
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text if is_number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => {
                serde_json::Number::from_f64(number).map_or_else(|| text.into(), Value::Number)
            }
            _ => text.into(),
        },
        text => text.into(),
    }
}

/// Puts a value, or takes it away, and makes what is missing on the way.
fn put(at: &mut Value, path: &[Step], value: Option<Value>) {
    let Some((step, rest)) = path.split_first() else {
        *at = value.unwrap_or_default();
        return;
    };
    match step {
        Step::Key(name) => {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let Some(map) = at.as_object_mut() else { return };
            let name = find(map, name).unwrap_or(name).to_owned();
            match value {
                None if rest.is_empty() => {
                    map.remove(&name);
                }
                value => put(map.entry(name).or_insert(Value::Null), rest, value),
            }
        }
        Step::Index(index) => {
            if !at.is_array() {
                *at = Value::Array(Vec::new());
            }
            let Some(list) = at.as_array_mut() else { return };
            if list.len() <= *index {
                list.resize(index + 1, Value::Null);
            }
            if let Some(item) = list.get_mut(*index) {
                put(item, rest, value);
            }
        }
    }
}

fn find<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let keys = || map.keys().map(String::as_str);
    keys().find(|key| *key == name).or_else(|| keys().find(|key| key.eq_ignore_ascii_case(name)))
}

fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(name) if text.is_empty() => text.push_str(name),
            Step::Key(name) => text.push_str(&format!(".{name}")),
            // The check knows lists as a whole.
            Step::Index(_) => break,
        }
    }
    text
}

/// Tells whether one path is the other or stands above it.
fn is_related(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let begins = long.get(..short.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(short));
    begins
        && (long.len() == short.len() || short.is_empty() || long.as_bytes().get(short.len()) == Some(&b'.'))
}

fn value(node: Node) -> Value {
    match node.value {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(value),
        Tree::Number(number) => Value::Number(number),
        Tree::Text(text) => Value::String(text),
        Tree::List(items) => Value::Array(items.into_iter().map(value).collect()),
        Tree::Map(entries) => {
            Value::Object(entries.into_iter().map(|(key, below)| (key.name, value(below))).collect())
        }
    }
}

fn node(value: &Value) -> Node {
    let tree = match value {
        Value::Null => Tree::Null,
        Value::Bool(value) => Tree::Bool(*value),
        Value::Number(number) => Tree::Number(number.clone()),
        Value::String(text) => Tree::Text(text.clone()),
        Value::Array(items) => Tree::List(items.iter().map(node).collect()),
        Value::Object(entries) => Tree::Map(
            entries.iter().map(|(name, below)| (Key { line: 0, name: name.clone() }, node(below))).collect(),
        ),
    };
    Node { line: 0, value: tree }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn document() -> Document {
        Document::new(Process::EdgeCore, &Catalog::new())
    }

    fn assigned(text: &str) -> Result<Value, String> {
        let mut document = document();
        document.assign("--set", text).map_err(|error| error.problems()[0].to_string())?;
        Ok(document.root["modules"].clone())
    }

    #[test]
    fn a_value_becomes_what_its_key_takes() {
        for (text, expect) in [
            ("modules.edgeHub.heartbeat=30", json!({"edgeHub": {"heartbeat": 30}})),
            ("modules.edgehub.TOKEN=007", json!({"edgehub": {"TOKEN": "007"}})),
            (
                "modules.edged.nodeLabels={zone:1,spot:true}",
                json!({"edged": {"nodeLabels": {"zone": "1", "spot": "true"}}}),
            ),
            ("modules.edged.nodeLabels.a=1", json!({"edged": {"nodeLabels": {"a": "1"}}})),
            (
                "modules.edged.tailoredKubeletConfig.clusterDNS={169.254.96.16},modules.edgeStream.enable=true",
                json!({"edged": {"tailoredKubeletConfig": {"clusterDNS": ["169.254.96.16"]}}, "edgeStream": {"enable": true}}),
            ),
            (
                "modules.edged.tailoredKubeletConfig.clusterDNS[1]=a",
                json!({"edged": {"tailoredKubeletConfig": {"clusterDNS": [null, "a"]}}}),
            ),
            (
                "modules.edged.tailoredKubeletConfig.memoryThrottlingFactor=0.8",
                json!({"edged": {"tailoredKubeletConfig": {"memoryThrottlingFactor": 0.8}}}),
            ),
            ("modules.edgeHub.heartbeat=30,modules.edgeHub.heartbeat=null", json!({"edgeHub": {}})),
        ] {
            let given = assigned(text);
            if text.contains("clusterDNS[1]") {
                let problem = given.expect_err("the first is missing");
                assert!(problem.contains("clusterDNS: expected a list of texts"), "{problem}");
            } else {
                assert_eq!(given, Ok(expect), "{text}");
            }
        }
    }

    #[test]
    fn what_no_key_takes_is_told_with_the_flag() {
        for (text, expect) in [
            (
                "modules.edgeHub.hartbeat=30",
                "--set: modules.edgeHub.hartbeat: no such key; did you mean modules.edgeHub.heartbeat?",
            ),
            (
                "modules.edgeHub.heartbeat=soon",
                "--set: modules.edgeHub.heartbeat: expected an integer, found a text",
            ),
            (
                "modules.edgeHub.heartbeat.x=1",
                "--set: modules.edgeHub.heartbeat: expected an integer, found a map",
            ),
            ("heartbeat", "--set: must be KEY=VALUE, such as modules.edgeHub.heartbeat=30"),
        ] {
            assert_eq!(assigned(text), Err(expect.to_owned()), "{text}");
        }
    }

    #[test]
    fn values_are_laid_over_a_file_whose_keys_are_spelled_in_another_way() {
        let text = "kind: EdgeCore\nmodules:\n  EDGEHUB: {heartbeat: 3, token: t}\n";
        let read = Document::read(Process::EdgeCore, &Catalog::new(), "old.yaml", text);
        let mut document = read.unwrap_or_else(|error| panic!("{error}"));
        document.set("modules.edgeHub.heartBeat", 4);
        assert_eq!(document.root["modules"], json!({"EDGEHUB": {"heartbeat": 4, "token": "t"}}));
        assert_eq!(document.get("modules.edgehub.heartbeat"), Some(&json!(4)));
        assert_eq!(document.get("modules.edgehub.none"), None);
        for text in ["[1]", "a: ["] {
            assert!(Document::read(Process::EdgeCore, &Catalog::new(), "old.yaml", text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_key_that_the_process_reads_acts() {
        for (path, acts) in
            [("log.level", true), ("modules.edgeHub.heartbeat", false), ("modules.nobody", false)]
        {
            assert_eq!(document().acts(path), acts, "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read_as_the_same(label in "[ -~é]{0,12}", other in "(yes|0x1|1e3|~|null|-|: a|#|007|\\.5|on)") {
            let mut before = document();
            before.set("modules.edged.nodeLabels", json!({"a": label, "b": other, "c": [1, 0.5, true], "d": {}}));
            let text = before.render(&["one", "two"]).unwrap_or_else(|problem| panic!("{problem}"));
            prop_assert!(text.starts_with("# one\n# two\n\n"));
            let after = Document::read(Process::EdgeCore, &Catalog::new(), "f", &text);
            let after = after.unwrap_or_else(|error| panic!("{error}\n{text}"));
            prop_assert_eq!(&after.root, &before.root);
        }
    }
}

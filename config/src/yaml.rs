//! YAML with the line of each value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;

use crate::problem::{Origin, Problem};

/// The greatest file that is read.
pub(crate) const BYTES_MAX: usize = 1 << 20;

/// A value and the line on which it stands.
#[derive(Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: u64,
    pub(crate) value: Tree,
}

/// A value. It may be secret, so it has no `Debug`.
#[derive(Clone, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and the line on which it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) line: u64,
    pub(crate) name: String,
}

impl Tree {
    /// Names the kind of the value, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(number) if number.is_f64() => "a fraction",
            Self::Number(_) => "an integer",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Parses the one document of `text`; an empty one is an empty map.
pub(crate) fn parse(file: &str, text: &str) -> Result<Node, Problem> {
    if text.len() > BYTES_MAX {
        let message = format!("is longer than {} KiB", BYTES_MAX >> 10);
        return Err(Problem::of_file(file, None, message));
    }
    let options = serde_saphyr::options! { with_snippet: false };
    match serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options) {
        Ok(root) => Ok(node(root)),
        Err(error) => {
            let line = error.location().map(|location| location.line());
            Err(Problem::of_file(file, line, format!("is not valid YAML: {}", error.without_snippet())))
        }
    }
}

/// Parses a value that stands outside a file, such as an environment variable.
pub(crate) fn parse_value(text: &str) -> Result<Tree, String> {
    if text.len() > BYTES_MAX {
        return Err("is too long".to_owned());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options::<Tree>(text, options)
        .map_err(|error| format!("is not valid YAML: {}", error.without_snippet()))
}

/// Returns where a value of `file` stands.
pub(crate) fn origin(file: &str, line: u64) -> Origin {
    Origin::File { name: file.to_owned(), line: (line > 0).then_some(line) }
}

fn node(spanned: Spanned<Tree>) -> Node {
    Node { line: spanned.referenced.line(), value: spanned.value }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        Number::from_f64(value).map(Tree::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            list.push(node(item));
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<Tree>, Spanned<Tree>>()? {
            let line = key.referenced.line();
            let name = match key.value {
                Tree::Text(text) => text,
                Tree::Bool(value) => value.to_string(),
                Tree::Number(value) => value.to_string(),
                other => return Err(A::Error::custom(format!("a key is {}", other.kind()))),
            };
            map.push((Key { line, name }, node(value)));
        }
        Ok(Tree::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Vec<(Key, Node)> {
        match parse("test.yaml", text).unwrap_or_else(|problem| panic!("{problem}")).value {
            Tree::Map(map) => map,
            other => panic!("it is {}", other.kind()),
        }
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "a: 1\nb:\n  c: [x, 2.5]\n  d:\n";
        let root = map(text);
        assert_eq!(root[0].0, Key { line: 1, name: "a".to_owned() });
        let Tree::Map(inner) = &root[1].1.value else { panic!("b is a map") };
        assert_eq!(inner[0].0.line, 3);
        let Tree::List(items) = &inner[0].1.value else { panic!("c is a list") };
        assert_eq!(items.iter().map(|item| item.value.kind()).collect::<Vec<_>>(), ["a text", "a fraction"]);
        assert!(inner[1].1.value == Tree::Null);
    }

    #[test]
    fn booleans_are_those_of_the_go_library() {
        for (text, expect) in [("true", true), ("yes", true), ("On", true), ("False", false), ("off", false)]
        {
            assert!(map(&format!("a: {text}"))[0].1.value == Tree::Bool(expect), "{text}");
        }
        assert!(map("a: 'yes'")[0].1.value == Tree::Text("yes".to_owned()));
    }

    #[test]
    fn an_alias_stands_for_its_anchor() {
        let root = map("a: &x {b: 1}\nc: *x\n");
        assert_eq!(root[1].1.value.kind(), "a map");
    }

    #[test]
    fn garbage_is_one_problem_with_its_line() {
        let bomb = (1..30).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
            format!("{text}a{n}: &a{n} [*a{m}, *a{m}, *a{m}, *a{m}]\n", m = n - 1)
        });
        let deep = "[".repeat(200_000);
        let cases = ["a: [", "a: 1\na: 2\n", "a: 1\n---\nb: 2\n", "? [x]\n: 1\n", "a: .nan", &bomb, &deep];
        for text in cases {
            let shown: String = text.chars().take(40).collect();
            let Err(problem) = parse("test.yaml", text) else { panic!("{shown:?} was accepted") };
            let problem = problem.to_string();
            assert!(problem.starts_with("test.yaml"), "{problem}");
            assert!(problem.len() < 400, "{problem}");
        }
        let long = "#".repeat(BYTES_MAX + 1);
        assert!(parse("test.yaml", &long).is_err());
    }
}

//! Paths of the REST listener: `/<node>/<namespace>/<path of a rule>[/<more>]`.

use std::cmp::Reverse;

use protocol::{Namespace, NodeName};

/// A segment of a rule's path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Text(String),
    /// `{name}`: any text.
    Any,
}

/// A rule's path. Two that the same requests fit are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pattern(Vec<Segment>);

impl Pattern {
    /// Reads `sourceResource.path` of a rule. Slashes at its ends do not count.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.strip_prefix('/').unwrap_or(text);
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        let segments = trimmed.split('/').map(|segment| {
            let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let name = name.filter(|name| !name.is_empty() && !name.contains(['{', '}']));
            match name {
                _ if !is_segment(segment) => {
                    Err(format!("the path {text:?} has an empty or a dotted segment"))
                }
                _ if segment.contains(['?', '#']) => Err(format!("the path {text:?} has a query")),
                Some(_) => Ok(Segment::Any),
                None if segment.contains(['{', '}']) => {
                    Err(format!("a parameter of the path {text:?} is not a whole segment, as {{name}} is"))
                }
                None => Ok(Segment::Text(segment.to_owned())),
            }
        });
        segments.collect::<Result<_, _>>().map(Self)
    }

    /// Returns how much of a request's path is left over, if the path is one of this pattern's.
    fn rest<'a>(&self, segments: &'a [&'a str]) -> Option<&'a [&'a str]> {
        let (own, rest) = segments.split_at_checked(self.0.len())?;
        let fits = |(segment, text): (&Segment, &&str)| match segment {
            Segment::Text(own) => own == text,
            Segment::Any => true,
        };
        self.0.iter().zip(own).all(fits).then_some(rest)
    }

    /// Orders patterns: what says more of a path comes first.
    pub(crate) fn weight(&self) -> impl Ord + use<> {
        let literal: Vec<bool> = self.0.iter().map(|segment| *segment == Segment::Any).collect();
        (Reverse(literal.len()), literal)
    }
}

/// Segments that climb would leave what the rule's author named.
fn is_segment(text: &str) -> bool {
    let dotted = text.to_ascii_lowercase().replace("%2e", ".");
    !matches!(dotted.as_str(), "" | "." | "..")
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) node: NodeName,
    pub(crate) namespace: Namespace,
    path: String,
    query: Option<String>,
}

/// What a request has beyond the path of the rule that it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tail {
    path: String,
    query: Option<String>,
}

impl Address {
    /// Reads a request's path with its query.
    pub(crate) fn parse(uri: &str) -> Result<Self, String> {
        let (path, query) = match uri.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (uri, None),
        };
        let form = || "the path must be /<node>/<namespace>/<path of a rule>".to_owned();
        let mut parts = path.strip_prefix('/').ok_or_else(form)?.splitn(3, '/');
        let (Some(node), Some(namespace), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(form());
        };
        let node = NodeName::parse(node).map_err(|error| error.to_string())?;
        let namespace = Namespace::parse(namespace).map_err(|error| error.to_string())?;
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.split('/').any(|segment| !is_segment(segment)) {
            return Err(form());
        }
        Ok(Self { node, namespace, path: path.to_owned(), query })
    }

    /// Returns what is left over, if the request fits the pattern.
    pub(crate) fn tail(&self, pattern: &Pattern) -> Option<Tail> {
        let segments: Vec<&str> = self.path.split('/').collect();
        let rest = pattern.rest(&segments)?;
        Some(Tail { path: rest.join("/"), query: self.query.clone() })
    }
}

impl Tail {
    /// Appends the path to an MQTT topic. A query is none of it.
    pub(crate) fn topic(&self, topic: &str) -> String {
        join(topic, &self.path)
    }

    /// Appends the path and the query to the path of a service.
    pub(crate) fn service(&self, path: &str) -> String {
        let (path, own_query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let queries: Vec<&str> = own_query.into_iter().chain(self.query.as_deref()).collect();
        let path = join(path, &self.path);
        if queries.is_empty() { path } else { format!("{path}?{}", queries.join("&")) }
    }
}

fn join(base: &str, tail: &str) -> String {
    if tail.is_empty() {
        return base.to_owned();
    }
    format!("{}/{tail}", base.strip_suffix('/').unwrap_or(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(pattern: &str, uri: &str) -> Option<Tail> {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        Address::parse(uri).expect("an address").tail(&pattern)
    }

    #[test]
    fn a_request_fits_whole_segments_and_may_say_more() {
        for (pattern, uri, topic) in [
            ("/a", "/edge-1/default/a", Some("t")),
            ("a/", "/edge-1/default/a/", Some("t")),
            ("a", "/edge-1/default/a/b/c", Some("t/b/c")),
            ("a", "/edge-1/default/ab", None),
            ("a/b", "/edge-1/default/a", None),
            ("a/{id}/b", "/edge-1/default/a/7/b/x", Some("t/x")),
            ("a/{id}/b", "/edge-1/default/a/7/c", None),
            ("a", "/edge-1/default/a?x=1", Some("t")),
        ] {
            let found = tail(pattern, uri).map(|tail| tail.topic("t"));
            assert_eq!(found.as_deref(), topic, "{pattern} {uri}");
        }
    }

    #[test]
    fn a_service_is_told_the_query_too() {
        for (path, uri, expect) in [
            ("/target", "/n/default/a", "/target"),
            ("/target/", "/n/default/a/b?x=1&y", "/target/b?x=1&y"),
            ("/target?k=v", "/n/default/a/b?x=1", "/target/b?k=v&x=1"),
            ("/", "/n/default/a/b", "/b"),
        ] {
            assert_eq!(tail("a", uri).expect("it fits").service(path), expect);
        }
    }

    #[test]
    fn what_leads_nowhere_or_out_of_a_rule_is_refused() {
        for uri in [
            "",
            "/",
            "/n",
            "/n/default",
            "/n/default/",
            "//default/a",
            "/n//a",
            "/n/default/a//b",
            "/n/default/a/../b",
            "/n/default/a/%2E%2e/b",
            "/n/default/./a",
            "/N O/default/a",
            "*",
        ] {
            assert!(Address::parse(uri).is_err(), "{uri}");
        }
        for pattern in ["", "/", "a//b", "a/..", "a?b", "a{b}", "{a}{b}"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_pattern_that_says_more_comes_first() {
        let mut all = ["a", "{x}/b", "a/b", "a/{x}", "a/b/c"]
            .map(|text| (Pattern::parse(text).expect("a pattern"), text));
        all.sort_by_key(|(pattern, _)| pattern.weight());
        assert_eq!(all.map(|(_, text)| text), ["a/b/c", "a/b", "a/{x}", "{x}/b", "a"]);
        assert_eq!(Pattern::parse("a/{x}"), Pattern::parse("/a/{y}/"));
    }
}

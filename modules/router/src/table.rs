//! All rules and endpoints, and what they make of each other.

use std::collections::{BTreeMap, BTreeSet};

use api::rules::{RuleEndpointSpec, RuleSpec, RuleStatus};
use protocol::NodeName;
use protocol::filter::matches;
use protocol::rules::NodeRules;

use crate::path::{Address, Tail};
use crate::rule::{Key, Route, Source, Target};

/// A rule as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) uid: String,
    /// When it was made: RFC 3339 in UTC, so that the order of the texts is that of the times.
    pub(crate) created: String,
    pub(crate) spec: RuleSpec,
    pub(crate) status: RuleStatus,
}

/// A thing of a list that may begin anew, as a watch tells it.
#[derive(Debug)]
struct Listed<T> {
    things: BTreeMap<Key, T>,
    listing: Option<BTreeSet<Key>>,
    is_known: bool,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { things: BTreeMap::new(), listing: None, is_known: false }
    }
}

/// What a watch told.
#[derive(Debug)]
pub(crate) enum Seen<T> {
    Begin,
    Here(Key, T),
    Gone(Key),
    End,
}

impl<T> Listed<T> {
    fn see(&mut self, seen: Seen<T>) {
        match seen {
            Seen::Begin => self.listing = Some(BTreeSet::new()),
            Seen::Here(key, thing) => {
                if let Some(listing) = &mut self.listing {
                    listing.insert(key.clone());
                }
                self.things.insert(key, thing);
            }
            Seen::Gone(key) => {
                self.things.remove(&key);
            }
            Seen::End => {
                self.is_known = true;
                if let Some(listing) = self.listing.take() {
                    self.things.retain(|key, _| listing.contains(key));
                }
            }
        }
    }
}

/// A rule that works, by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Working {
    pub(crate) key: Key,
    pub(crate) route: Route,
}

/// All rules and endpoints.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rules: Listed<Rule>,
    endpoints: Listed<RuleEndpointSpec>,
    working: Vec<Working>,
    problems: BTreeMap<Key, String>,
}

impl Table {
    pub(crate) fn see_rule(&mut self, seen: Seen<Rule>) {
        self.rules.see(seen);
        self.settle();
    }

    pub(crate) fn see_endpoint(&mut self, seen: Seen<RuleEndpointSpec>) {
        self.endpoints.see(seen);
        self.settle();
    }

    /// Tells whether both lists were read. Before, what is missing may be there.
    pub(crate) fn is_known(&self) -> bool {
        self.rules.is_known && self.endpoints.is_known
    }

    pub(crate) fn rule(&self, key: &Key) -> Option<&Rule> {
        self.rules.things.get(key)
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = (&Key, &Rule)> {
        self.rules.things.iter()
    }

    /// Returns what keeps a rule from working.
    pub(crate) fn problem(&self, key: &Key) -> Option<&str> {
        self.problems.get(key).map(String::as_str)
    }

    /// Makes the routes anew. Of two rules with one source the older works, as KubeEdge admits no second.
    fn settle(&mut self) {
        if !self.is_known() || self.rules.listing.is_some() || self.endpoints.listing.is_some() {
            return;
        }
        let mut in_order: Vec<(&Key, &Rule)> = self.rules.things.iter().collect();
        in_order.sort_by_key(|(key, rule)| (&rule.created, *key));
        let mut sources: BTreeMap<Source, Key> = BTreeMap::new();
        (self.working, self.problems) = (Vec::new(), BTreeMap::new());
        for (key, rule) in in_order {
            let read = Route::read(&key.0, &rule.spec, &self.endpoints.things);
            let problem = match read {
                Ok(route) => match sources.get(&route.source) {
                    Some((namespace, name)) => format!("source properties exist in Rule {namespace}/{name}"),
                    None => {
                        sources.insert(route.source.clone(), key.clone());
                        self.working.push(Working { key: key.clone(), route });
                        continue;
                    }
                },
                Err(problem) => problem,
            };
            self.problems.insert(key.clone(), problem);
        }
    }

    /// Finds the rule that a REST request fits best.
    pub(crate) fn of_request(&self, address: &Address) -> Option<(&Working, Tail)> {
        let fitting = self.working.iter().filter_map(|working| match &working.route.source {
            Source::Rest(namespace, pattern) if *namespace == address.namespace => {
                Some((pattern.weight(), working, address.tail(pattern)?))
            }
            _ => None,
        });
        let best = fitting.min_by(|(one, ..), (other, ..)| one.cmp(other));
        best.map(|(_, working, tail)| (working, tail))
    }

    /// Finds the rules that want what was published to a topic of a node.
    pub(crate) fn of_topic(&self, node: &NodeName, topic: &str) -> Vec<Working> {
        let wants = |source: &Source| matches!(source, Source::Topic(of, filter) if of == node && matches(filter, topic));
        self.working.iter().filter(|working| wants(&working.route.source)).cloned().collect()
    }

    /// Finds the rule of a URL that an application of a node has called.
    pub(crate) fn of_url(&self, node: &NodeName, url: &str) -> Option<Working> {
        let wants =
            |source: &Source| matches!(source, Source::Url(of, wanted) if of == node && wanted == url);
        self.working.iter().find(|working| wants(&working.route.source)).cloned()
    }

    /// Returns the nodes of which rules want something.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeName> {
        let of = |working: &Working| match &working.route.source {
            Source::Topic(node, _) | Source::Url(node, _) => Some(node.clone()),
            Source::Rest(..) => None,
        };
        self.working.iter().filter_map(of).collect()
    }

    /// Returns all that the rules want of a node.
    pub(crate) fn of_node(&self, node: &NodeName) -> NodeRules {
        let mut rules = NodeRules::default();
        for working in &self.working {
            match &working.route.source {
                Source::Topic(of, topic) if of == node => rules.topics.insert(topic.clone()),
                Source::Url(of, url) if of == node => rules.urls.insert(url.clone()),
                _ => continue,
            };
        }
        rules
    }
}

impl Working {
    /// Returns the endpoint that messages go to, where they go to one.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        match &self.route.target {
            Target::Rest(url, _) => Some(url),
            Target::Topic(_) | Target::Service(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn key(name: &str) -> Key {
        ("default".to_owned(), name.to_owned())
    }

    fn endpoint(kind: &str) -> RuleEndpointSpec {
        serde_json::from_value(json!({ "ruleEndpointType": kind })).expect("an endpoint")
    }

    fn rule(created: &str, source: &str, from: Value, target: &str, to: Value) -> Rule {
        let spec =
            json!({ "source": source, "sourceResource": from, "target": target, "targetResource": to });
        Rule {
            uid: "u".to_owned(),
            created: created.to_owned(),
            spec: serde_json::from_value(spec).expect("a rule"),
            status: RuleStatus::default(),
        }
    }

    fn from_topic(created: &str, topic: &str) -> Rule {
        let (from, to) = (json!({ "topic": topic, "node_name": "n" }), json!({ "resource": "http://h" }));
        rule(created, "bus", from, "rest", to)
    }

    fn known(rules: Vec<(&str, Rule)>) -> Table {
        let mut table = Table::default();
        for kind in ["rest", "eventbus"] {
            let name = if kind == "rest" { "rest" } else { "bus" };
            table.see_endpoint(Seen::Here(key(name), endpoint(kind)));
        }
        table.see_endpoint(Seen::End);
        rules.into_iter().for_each(|(name, rule)| table.see_rule(Seen::Here(key(name), rule)));
        table.see_rule(Seen::End);
        table
    }

    fn node() -> NodeName {
        NodeName::parse("n").expect("a name")
    }

    #[test]
    fn of_two_rules_with_one_source_the_older_works_until_it_is_gone() {
        let mut table = known(vec![
            ("a", from_topic("2026-01-02T00:00:00Z", "t")),
            ("b", from_topic("2026-01-01T00:00:00Z", "/t/")),
        ]);
        let works = |table: &Table| table.of_topic(&node(), "default/t").first().map(|it| it.key.1.clone());
        assert_eq!(works(&table).as_deref(), Some("b"));
        assert_eq!(table.problem(&key("a")), Some("source properties exist in Rule default/b"));
        table.see_rule(Seen::Gone(key("b")));
        assert_eq!(works(&table).as_deref(), Some("a"));
        assert_eq!(table.problem(&key("a")), None);
    }

    #[test]
    fn a_rule_works_from_when_its_endpoints_are_there() {
        let mut table = known(vec![("a", from_topic("1", "t"))]);
        table.see_endpoint(Seen::Gone(key("rest")));
        assert_eq!(table.problem(&key("a")), Some("target ruleEndpoint default/rest has not been created"));
        assert_eq!(table.of_node(&node()), NodeRules::default());
        table.see_endpoint(Seen::Here(key("rest"), endpoint("rest")));
        assert_eq!(table.of_node(&node()).topics, ["default/t".to_owned()].into());
        assert_eq!(table.nodes(), [node()].into());
    }

    #[test]
    fn a_list_that_begins_anew_takes_nothing_away_before_it_ends() {
        let mut table = known(vec![("a", from_topic("1", "t")), ("b", from_topic("1", "u"))]);
        table.see_rule(Seen::Begin);
        table.see_rule(Seen::Here(key("b"), from_topic("1", "u")));
        assert_eq!(table.of_node(&node()).topics.len(), 2);
        table.see_rule(Seen::End);
        assert_eq!(table.of_node(&node()).topics, ["default/u".to_owned()].into());
        assert!(table.rule(&key("a")).is_none());
    }

    #[test]
    fn a_filter_takes_all_topics_that_it_fits() {
        let table = known(vec![("a", from_topic("1", "+/level")), ("b", from_topic("1", "tank/level"))]);
        let names = |topic: &str| -> Vec<String> {
            table.of_topic(&node(), topic).into_iter().map(|it| it.key.1).collect()
        };
        assert_eq!(names("default/tank/level"), ["a", "b"]);
        assert_eq!(names("default/x/level"), ["a"]);
        assert_eq!(names("other/tank/level"), [""; 0]);
        let other = NodeName::parse("m").expect("a name");
        assert_eq!(table.of_topic(&other, "default/tank/level"), []);
    }

    #[test]
    fn a_request_goes_by_the_rule_that_says_most_of_its_path() {
        let rest = |path: &str| rule("1", "rest", json!({ "path": path }), "bus", json!({ "topic": "t" }));
        let table = known(vec![("a", rest("a")), ("ab", rest("a/b")), ("any", rest("{x}/b"))]);
        let found = |uri: &str| {
            let address = Address::parse(uri).expect("an address");
            table.of_request(&address).map(|(working, tail)| (working.key.1.clone(), tail.topic("t")))
        };
        assert_eq!(found("/n/default/a/b/c"), Some(("ab".to_owned(), "t/c".to_owned())));
        assert_eq!(found("/n/default/a/x"), Some(("a".to_owned(), "t/x".to_owned())));
        assert_eq!(found("/n/default/z/b"), Some(("any".to_owned(), "t".to_owned())));
        assert_eq!(found("/n/other/a"), None);
        assert_eq!(found("/n/default/z"), None);
    }
}

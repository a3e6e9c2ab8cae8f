//! A rule with its endpoints, read and checked.

use std::collections::BTreeMap;

use api::rules::{RuleEndpointSpec, RuleEndpointType, RuleSpec};
use protocol::filter::{is_filter, is_topic};
use protocol::{Namespace, NodeName};

use crate::path::Pattern;

/// The longest text of a rule, in bytes.
const TEXT_BYTES_MAX: usize = 2048;

/// The namespace and the name of a rule, or of an endpoint.
pub(crate) type Key = (String, String);

/// From where a rule takes messages. No two rules may have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// REST clients, by the path under their namespace.
    Rest(Namespace, Pattern),
    /// MQTT clients of a node, by their topic.
    Topic(NodeName, String),
    /// HTTP clients of a node, by the URL that they have called.
    Url(NodeName, String),
}

/// What of an application's request an endpoint is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The base64 text of the whole request, as KubeEdge's router sends it.
    Base64,
    /// The whole request, `{"method", "targetURL", "payload"}`.
    Request,
    /// The payload in it.
    Payload,
}

/// Where a rule takes messages to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// MQTT clients of the node that the request names.
    Topic(String),
    /// A service of that node.
    Service(u16, String),
    /// A REST endpoint.
    Rest(String, Form),
}

/// A rule that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) source: Source,
    pub(crate) target: Target,
}

impl Route {
    /// Reads a rule of a namespace.
    pub(crate) fn read(
        namespace: &str,
        spec: &RuleSpec,
        endpoints: &BTreeMap<Key, RuleEndpointSpec>,
    ) -> Result<Self, String> {
        let endpoint = |role: &str, name: &str| {
            let found = endpoints.get(&(namespace.to_owned(), name.to_owned()));
            found.ok_or_else(|| format!("{role} ruleEndpoint {namespace}/{name} has not been created"))
        };
        let source = endpoint("source", &spec.source)?;
        let target = endpoint("target", &spec.target)?;
        let route = Self {
            source: read_source(namespace, source, &spec.source_resource)?,
            target: read_target(target, &spec.target_resource)?,
        };
        match (&route.source, &route.target) {
            (Source::Rest(..), Target::Topic(_) | Target::Service(..))
            | (Source::Topic(..) | Source::Url(..), Target::Rest(..)) => Ok(route),
            _ => Err(format!(
                "no message goes from a ruleEndpoint of type {} to one of type {}: rest goes to eventbus and \
                 servicebus, and these go to rest",
                word(source.rule_endpoint_type),
                word(target.rule_endpoint_type)
            )),
        }
    }
}

fn word(kind: RuleEndpointType) -> &'static str {
    match kind {
        RuleEndpointType::Rest => "rest",
        RuleEndpointType::Eventbus => "eventbus",
        RuleEndpointType::Servicebus => "servicebus",
    }
}

type Resource = BTreeMap<String, String>;

fn property<'a>(
    resource: &'a Resource,
    key: &str,
    of: &str,
    kind: RuleEndpointType,
) -> Result<&'a str, String> {
    match resource.get(key) {
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            Err(format!("{key:?} in {of} has more than {TEXT_BYTES_MAX} bytes"))
        }
        Some(text) => Ok(text),
        None => Err(format!("{key:?} property missed in {of} when ruleEndpoint is {:?}", word(kind))),
    }
}

fn read_source(namespace: &str, end: &RuleEndpointSpec, resource: &Resource) -> Result<Source, String> {
    let kind = end.rule_endpoint_type;
    let property = |key: &str| property(resource, key, "sourceResource", kind);
    let node = || {
        let name = property("node_name")?;
        NodeName::parse(name).map_err(|error| format!("\"node_name\" in sourceResource: {error}"))
    };
    match kind {
        RuleEndpointType::Rest => {
            let namespace = Namespace::parse(namespace).map_err(|error| error.to_string())?;
            Ok(Source::Rest(namespace, Pattern::parse(property("path")?)?))
        }
        RuleEndpointType::Eventbus => {
            let (topic, node) = (property("topic")?, node()?);
            Ok(Source::Topic(node, topic_of(namespace, topic)?))
        }
        RuleEndpointType::Servicebus => match (property("target_url")?, node()?) {
            ("", _) => Err("\"target_url\" in sourceResource is empty".to_owned()),
            (url, node) => Ok(Source::Url(node, url.to_owned())),
        },
    }
}

/// Returns the topic to which local clients publish for a rule: it begins with the rule's namespace, as
/// KubeEdge's router has it, so that no rule reads what another namespace's do.
fn topic_of(namespace: &str, topic: &str) -> Result<String, String> {
    let levels: Vec<&str> = topic.split('/').filter(|level| !level.is_empty()).collect();
    let topic = format!("{namespace}/{}", levels.join("/"));
    if levels.is_empty() || levels.iter().any(|level| matches!(*level, "." | "..")) || !is_filter(&topic) {
        return Err(format!("{topic:?} in sourceResource is no MQTT topic or filter"));
    }
    Ok(topic)
}

fn read_target(end: &RuleEndpointSpec, resource: &Resource) -> Result<Target, String> {
    let kind = end.rule_endpoint_type;
    let property = |key: &str| property(resource, key, "targetResource", kind);
    match kind {
        RuleEndpointType::Rest => {
            let url = property("resource")?;
            if !is_url(url) {
                return Err(format!("{url:?} in targetResource is no URL with http or https"));
            }
            let form = match resource.get("body").map(String::as_str) {
                None | Some("base64") => Form::Base64,
                Some("request") => Form::Request,
                Some("payload") => Form::Payload,
                Some(other) => {
                    return Err(format!(
                        "\"body\" in targetResource is {other:?}, not base64, request or payload"
                    ));
                }
            };
            Ok(Target::Rest(url.to_owned(), form))
        }
        RuleEndpointType::Eventbus => {
            let topic = property("topic")?;
            match is_topic(topic) {
                true => Ok(Target::Topic(topic.to_owned())),
                false => Err(format!("{topic:?} in targetResource is no MQTT topic")),
            }
        }
        RuleEndpointType::Servicebus => {
            let path = property("path")?;
            if path.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
                return Err(format!("{path:?} in targetResource is no path"));
            }
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            Ok(Target::Service(service_port(end)?, path))
        }
    }
}

fn service_port(end: &RuleEndpointSpec) -> Result<u16, String> {
    let text = end.properties.as_ref().and_then(|properties| properties.get("service_port"));
    let port = text.and_then(|text| text.parse::<u16>().ok()).filter(|port| *port != 0);
    port.ok_or_else(|| {
        "\"service_port\" in properties of the target ruleEndpoint must be a port from 1 to 65535".to_owned()
    })
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
    !host.is_empty() && !text.chars().any(|letter| letter.is_control() || letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoints() -> BTreeMap<Key, RuleEndpointSpec> {
        let all = json!({
            "rest": { "ruleEndpointType": "rest" },
            "bus": { "ruleEndpointType": "eventbus" },
            "service": { "ruleEndpointType": "servicebus", "properties": { "service_port": "8080" } },
            "portless": { "ruleEndpointType": "servicebus" },
        });
        let all: BTreeMap<String, RuleEndpointSpec> = serde_json::from_value(all).expect("endpoints");
        all.into_iter().map(|(name, spec)| (("default".to_owned(), name), spec)).collect()
    }

    fn read(
        source: &str,
        from: serde_json::Value,
        target: &str,
        to: serde_json::Value,
    ) -> Result<Route, String> {
        let spec =
            json!({ "source": source, "sourceResource": from, "target": target, "targetResource": to });
        Route::read("default", &serde_json::from_value(spec).expect("a spec"), &endpoints())
    }

    #[test]
    fn the_four_pairs_of_upstream_are_read() {
        let node = NodeName::parse("n").expect("a name");
        let namespace = Namespace::parse("default").expect("a name");
        let path = |text: &str| Pattern::parse(text).expect("a path");
        for (route, source, target) in [
            (
                read("rest", json!({ "path": "/a" }), "bus", json!({ "topic": "foo" })),
                Source::Rest(namespace.clone(), path("a")),
                Target::Topic("foo".to_owned()),
            ),
            (
                read("rest", json!({ "path": "a" }), "service", json!({ "path": "x" })),
                Source::Rest(namespace, path("a")),
                Target::Service(8080, "/x".to_owned()),
            ),
            (
                read(
                    "bus",
                    json!({ "topic": "/a//b/", "node_name": "n" }),
                    "rest",
                    json!({ "resource": "http://h/x" }),
                ),
                Source::Topic(node.clone(), "default/a/b".to_owned()),
                Target::Rest("http://h/x".to_owned(), Form::Base64),
            ),
            (
                read(
                    "service",
                    json!({ "target_url": "http://h/x", "node_name": "n" }),
                    "rest",
                    json!({ "resource": "https://h", "body": "payload" }),
                ),
                Source::Url(node, "http://h/x".to_owned()),
                Target::Rest("https://h".to_owned(), Form::Payload),
            ),
        ] {
            assert_eq!(route, Ok(Route { source, target }));
        }
    }

    #[test]
    fn a_rule_that_cannot_work_says_why() {
        let (path, topic, url) = (
            json!({ "path": "a" }),
            json!({ "topic": "a", "node_name": "n" }),
            json!({ "resource": "http://h" }),
        );
        for (route, expect) in [
            (
                read("none", path.clone(), "bus", topic.clone()),
                "source ruleEndpoint default/none has not been created",
            ),
            (
                read("rest", path.clone(), "none", topic.clone()),
                "target ruleEndpoint default/none has not been created",
            ),
            (
                read("rest", path.clone(), "rest", url.clone()),
                "no message goes from a ruleEndpoint of type rest to one of type rest",
            ),
            (
                read("bus", topic.clone(), "bus", topic.clone()),
                "no message goes from a ruleEndpoint of type eventbus",
            ),
            (
                read("rest", json!({}), "bus", topic.clone()),
                "\"path\" property missed in sourceResource when ruleEndpoint is \"rest\"",
            ),
            (read("rest", json!({ "path": "/" }), "bus", topic.clone()), "the path \"/\" has"),
            (read("bus", json!({ "topic": "a" }), "rest", url.clone()), "\"node_name\" property missed"),
            (
                read("bus", json!({ "topic": "../b", "node_name": "n" }), "rest", url.clone()),
                "\"default/../b\" in sourceResource is no MQTT topic",
            ),
            (
                read("bus", json!({ "topic": "a#", "node_name": "n" }), "rest", url.clone()),
                "\"default/a#\" in sourceResource is no MQTT topic",
            ),
            (
                read("bus", json!({ "topic": "a", "node_name": "N O" }), "rest", url),
                "\"node_name\" in sourceResource",
            ),
            (
                read("bus", topic.clone(), "rest", json!({ "resource": "ftp://h" })),
                "\"ftp://h\" in targetResource is no URL",
            ),
            (
                read("bus", topic.clone(), "rest", json!({ "resource": "http:///x" })),
                "\"http:///x\" in targetResource is no URL",
            ),
            (
                read("bus", topic, "rest", json!({ "resource": "http://h", "body": "x" })),
                "\"body\" in targetResource is \"x\"",
            ),
            (
                read("rest", path.clone(), "bus", json!({ "topic": "a/#" })),
                "\"a/#\" in targetResource is no MQTT topic",
            ),
            (
                read("rest", path.clone(), "portless", json!({ "path": "/" })),
                "\"service_port\" in properties",
            ),
            (
                read("rest", path, "service", json!({ "path": "/a b" })),
                "\"/a b\" in targetResource is no path",
            ),
        ] {
            let problem = route.expect_err(expect);
            assert!(problem.starts_with(expect), "{problem} is not {expect}");
        }
    }
}

//! `rules.kubeedge.io/v1`: routes of messages between the cloud and the edge.

use std::collections::BTreeMap;

use crate::ResourceKind;
use crate::definition::{Definition, Part, Version};
use crate::shape::{shape, words};

/// A route of messages from one end to another.
pub const RULE: ResourceKind = ResourceKind {
    group: "rules.kubeedge.io",
    version: "v1",
    kind: "Rule",
    plural: "rules",
    is_namespaced: true,
};

/// An end of a route.
pub const RULE_ENDPOINT: ResourceKind =
    ResourceKind { kind: "RuleEndpoint", plural: "ruleendpoints", ..RULE };

pub(crate) fn definitions() -> [Definition; 2] {
    // The schemas of both name neither `apiVersion` nor `kind` nor `metadata`, which every schema has anyway.
    [
        Definition::new(RULE, "A route of messages from one end to another.").version(
            Version::stored("v1")
                .without_header()
                .spec(Part::may::<RuleSpec>())
                .status(Part::may::<RuleStatus>()),
        ),
        Definition::new(RULE_ENDPOINT, "An end of a route of messages.")
            .short(&["re"])
            .version(Version::stored("v1").without_header().spec(Part::may::<RuleEndpointSpec>())),
    ]
}

words! {
    /// What an end of a route is.
    pub enum RuleEndpointType { Rest = "rest", Eventbus = "eventbus", Servicebus = "servicebus", }
}

shape! {
    /// From where to where messages go.
    pub struct RuleSpec {
        /// The name of the end that messages come from.
        must source: String,
        /// What of the source is meant, as a topic or a path.
        must source_resource: BTreeMap<String, String>,
        /// The name of the end that messages go to.
        must target: String,
        /// What of the target is meant.
        must target_resource: BTreeMap<String, String>,
    }

    /// What went over a route.
    pub struct RuleStatus {
        /// How many messages arrived.
        may success_messages: isize,
        /// How many did not.
        may fail_messages: isize,
        /// Why they did not.
        may errors: Vec<String>,
    }

    /// What an end is.
    pub struct RuleEndpointSpec {
        /// Its type.
        must rule_endpoint_type: RuleEndpointType,
        /// What the type needs, as a service's port.
        may properties: BTreeMap<String, String>,
    }
}

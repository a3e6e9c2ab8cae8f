//! Rules: what is routed between REST endpoints of the cloud and the local clients and services of nodes.
//!
//! A rule's ends are of three types, as KubeEdge's `RuleEndpoint` has them: `rest`, an HTTP endpoint of the
//! cloud; `eventbus`, the MQTT clients of a node; `servicebus`, the HTTP services and clients of a node.

use std::collections::{BTreeMap, BTreeSet};

use beehive::Message;
use bytes::Bytes;

use crate::edge::MetaError;
use crate::name::NodeName;

/// The headers of an HTTP message, as Go's `http.Header` has them: each name with its values.
pub type Headers = BTreeMap<String, Vec<String>>;

/// The largest body that a service on a node may answer with, and that an application on a node may send
/// to the cloud, in bytes: `maxBodySize` of KubeEdge's service bus.
pub const SERVICE_BODY_BYTES_MAX: usize = 5_000_000;

/// The reason of a refusal that is the answer of a rule's endpoint: its code is the status and its message
/// the body.
pub const ENDPOINT_ANSWERED: &str = "EndpointAnswered";

/// Who answers where a node's own agent does, in the header `Server`.
pub const AGENT: &str = "kubeedge-edgecore";

/// Headers that are about a connection, or that each end of one makes itself.
const OF_CONNECTION: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Tells whether a header is about a connection, and so does not go over a rule.
#[must_use]
pub fn is_of_connection(name: &str) -> bool {
    OF_CONNECTION.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// A call of an HTTP service on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCall {
    /// The service's port on the node's loopback address.
    pub port: u16,
    /// The path, with the query if there is one. It begins with `/`.
    pub path: String,
    /// The method, such as `POST`.
    pub method: String,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// What an HTTP service on a node answered, or the node for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl HttpAnswer {
    /// Makes the answer of a node's agent where no service answered.
    #[must_use]
    pub fn of_agent(status: u16, text: impl Into<String>) -> Self {
        let headers = [("Server", AGENT), ("Content-Type", "text/plain; charset=utf-8")];
        Self {
            status,
            headers: headers.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into(),
            body: text.into().into(),
        }
    }

    /// Tells whether the node's agent answers for a service that did not.
    #[must_use]
    pub fn is_of_agent(&self) -> bool {
        self.headers.get("Server").is_some_and(|values| values.iter().any(|value| value == AGENT))
    }
}

/// All that the rules want of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeRules {
    /// The MQTT topics, or filters, that are to be subscribed to and passed to the cloud.
    pub topics: BTreeSet<String>,
    /// The URLs that local applications may have called by the cloud.
    pub urls: BTreeSet<String>,
}

impl NodeRules {
    /// Returns the single commands that lead from `before` to this, as KubeEdge's cloud sends them.
    ///
    /// What is wanted is said again, though it was before: a node that lost its disk knows none of it.
    #[must_use]
    pub fn commands_after(&self, before: &Self) -> Vec<NodeCommand> {
        let gone = before.topics.difference(&self.topics).cloned().map(NodeCommand::Unsubscribe);
        let gone = gone.chain(before.urls.difference(&self.urls).cloned().map(NodeCommand::ForbidUrl));
        let wanted = self.topics.iter().cloned().map(NodeCommand::Subscribe);
        gone.chain(wanted).chain(self.urls.iter().cloned().map(NodeCommand::AllowUrl)).collect()
    }
}

/// What the cloud wants of a node for its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeCommand {
    /// Passes exactly this to the cloud. Only the native codec has it.
    Route(NodeRules),
    /// Passes what is published to a topic, too.
    Subscribe(String),
    /// Passes a topic no longer.
    Unsubscribe(String),
    /// Lets local applications have a URL called, too.
    AllowUrl(String),
    /// Lets a URL be called no longer.
    ForbidUrl(String),
    /// Publishes to the node's MQTT clients.
    Publish {
        /// The topic.
        topic: String,
        /// What it says.
        payload: Bytes,
    },
    /// Calls a service on the node.
    Call(HttpCall),
}

impl NodeCommand {
    /// Returns how many bytes of foreign making it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Route(NodeRules { topics, urls }) => topics.iter().chain(urls).map(String::len).sum(),
            Self::Subscribe(text)
            | Self::Unsubscribe(text)
            | Self::AllowUrl(text)
            | Self::ForbidUrl(text) => text.len(),
            Self::Publish { topic, payload } => topic.len() + payload.len(),
            Self::Call(call) => {
                let header = |(name, values): (&String, &Vec<String>)| {
                    name.len() + values.iter().map(String::len).sum::<usize>()
                };
                call.path.len() + call.headers.iter().map(header).sum::<usize>() + call.body.len()
            }
        }
    }
}

/// What became of a [`NodeCommand`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandReply {
    /// It is done: on the node's disk, or with its broker. An edge of KubeEdge does not say so: there it
    /// is given to the link.
    Done,
    /// A service answered, or the node for it.
    Answer(HttpAnswer),
    /// The node could not do it.
    Refused(String),
}

/// Says why a node was not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The node has no session.
    #[error("the node is not connected")]
    NotConnected,
    /// The node's session ended before it answered. It may have acted.
    #[error("the node's connection ended before it answered")]
    Lost,
    /// Too much waits for the node already.
    #[error("too many calls wait for the node")]
    Overloaded,
    /// The node's agent is older than rules.
    #[error("the node's edgecore is too old for rules")]
    Unsupported,
}

/// Tells a node something for its rules and waits for what comes of it; served by the cloud hub.
#[derive(Debug, Clone, Message)]
#[reply(Result<CommandReply, CommandError>)]
pub struct CommandNode {
    /// The node.
    pub node: NodeName,
    /// What it is to do.
    pub command: NodeCommand,
}

/// How a set of texts changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetChange {
    /// It has this, too.
    Add(String),
    /// It has this no longer.
    Remove(String),
    /// It has exactly these.
    Replace(BTreeSet<String>),
}

impl SetChange {
    /// Returns the set after the change.
    #[must_use]
    pub fn apply(self, before: &BTreeSet<String>) -> BTreeSet<String> {
        let mut after = before.clone();
        match self {
            Self::Add(text) => {
                after.insert(text);
            }
            Self::Remove(text) => {
                after.remove(&text);
            }
            Self::Replace(all) => after = all,
        }
        after
    }
}

/// Changes which topics are passed to the cloud for its rules; served by the event bus. `Ok` means that it
/// is on disk.
#[derive(Debug, Clone, Message)]
#[reply(Result<(), MetaError>)]
pub struct ChangeTopics(pub SetChange);

/// Changes which URLs local applications may have called by the cloud; served by the service bus. `Ok`
/// means that it is on disk.
#[derive(Debug, Clone, Message)]
#[reply(Result<(), MetaError>)]
pub struct ChangeUrls(pub SetChange);

/// Says why local clients were not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// The broker is away, or its connection ended before it confirmed the message.
    #[error("the node's MQTT broker is not connected")]
    Away,
    /// Too much waits for the broker.
    #[error("the node's MQTT broker takes messages too slowly")]
    Overloaded,
    /// The broker does not take a message of this size.
    #[error("the message is too large for the node's MQTT broker")]
    TooLarge,
    /// Nothing can be published to this topic.
    #[error("{0:?} is no MQTT topic")]
    NoTopic(String),
}

/// Publishes to local clients; served by the event bus. `Ok` means that the broker has the message.
#[derive(Debug, Clone, Message)]
#[reply(Result<(), DeliverError>)]
pub struct DeliverLocal {
    /// The topic.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
}

/// Calls a service on the node; served by the service bus. Whatever goes wrong is an answer of the agent.
#[derive(Debug, Clone, Message)]
#[reply(HttpAnswer)]
pub struct CallService(pub HttpCall);

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_gone_is_said_once_and_what_is_wanted_each_time() {
        let before = NodeRules { topics: set(&["a", "b"]), urls: set(&["u"]) };
        let now = NodeRules { topics: set(&["b", "c"]), urls: set(&[]) };
        let text = |text: &str| text.to_owned();
        let expected = [
            NodeCommand::Unsubscribe(text("a")),
            NodeCommand::ForbidUrl(text("u")),
            NodeCommand::Subscribe(text("b")),
            NodeCommand::Subscribe(text("c")),
        ];
        assert_eq!(now.commands_after(&before), expected);
        assert_eq!(now.commands_after(&now), expected[2..]);
        assert_eq!(NodeRules::default().commands_after(&NodeRules::default()), []);
    }

    #[test]
    fn an_answer_of_the_agent_tells_whose_it_is() {
        let answer = HttpAnswer::of_agent(404, "error to call service");
        assert!(answer.is_of_agent());
        assert!(!HttpAnswer { headers: Headers::new(), ..answer }.is_of_agent());
    }
}

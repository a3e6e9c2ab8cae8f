//! Requests of REST clients: to the MQTT clients of a node, or to a service on it.

use std::time::Duration;

use beehive::{AskError, Bus};
use bytes::Bytes;
use protocol::rules::{
    CommandError, CommandNode, CommandReply, Headers, HttpAnswer, HttpCall, NodeCommand, is_of_connection,
};
use protocol::{NodeName, group};

use crate::path::{Address, Tail};
use crate::ports::{RestAnswer, RestRequest};
use crate::rule::Target;

/// What KubeEdge's router answers once it has sent a message to a node.
const DELIVERED: &str = "message delivered";

/// Makes an answer of the router's own.
pub(crate) fn answer(status: u16, text: impl Into<Bytes>) -> RestAnswer {
    let mut headers = Headers::new();
    headers.insert("Content-Type".to_owned(), vec!["text/plain; charset=utf-8".to_owned()]);
    if status == 503 {
        headers.insert("Retry-After".to_owned(), vec!["1".to_owned()]);
    }
    RestAnswer { status, headers, body: text.into() }
}

/// Leaves out what is about one connection only: what the standard names, and what `Connection` does.
fn end_to_end(headers: Headers) -> Headers {
    let named: Vec<String> = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
        .flat_map(|(_, values)| values.iter().flat_map(|value| value.split(',')))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let passes = |name: &str| {
        let name = name.to_ascii_lowercase();
        !is_of_connection(&name) && !named.contains(&name) && name != "trailer"
    };
    headers.into_iter().filter(|(name, _)| passes(name)).collect()
}

/// A request with the rule's target that it goes to.
pub(crate) struct Passage {
    pub(crate) node: NodeName,
    pub(crate) command: NodeCommand,
}

impl Passage {
    /// Makes what the node is told; `None` where the target is none of a node.
    pub(crate) fn new(request: RestRequest, address: &Address, tail: &Tail, target: &Target) -> Option<Self> {
        let command = match target {
            Target::Topic(topic) => NodeCommand::Publish { topic: tail.topic(topic), payload: request.body },
            Target::Service(port, path) => NodeCommand::Call(HttpCall {
                port: *port,
                path: tail.service(path),
                method: request.method,
                headers: end_to_end(request.headers),
                body: request.body,
            }),
            Target::Rest(..) => return None,
        };
        Some(Self { node: address.node.clone(), command })
    }

    /// Tells the node and returns what the client is answered, with why it is a failure if it is one.
    pub(crate) async fn pass(self, bus: Bus, within: Duration) -> (RestAnswer, Result<(), String>) {
        let Self { node, command } = self;
        let ask = CommandNode { node: node.clone(), command };
        let (status, text) = match bus.to(group::CLOUDHUB).ask(ask).within(within).await {
            Ok(Ok(CommandReply::Done)) => return (answer(200, DELIVERED), Ok(())),
            Ok(Ok(CommandReply::Answer(answer))) => return of_service(&node, answer),
            Ok(Ok(CommandReply::Refused(text))) => (502, format!("node {node}: {text}")),
            Ok(Err(error)) => (status_of(&error), format!("node {node}: {error}")),
            Err(AskError::TimedOut { .. }) => {
                (504, format!("node {node} did not answer within {} s; it may have acted", within.as_secs()))
            }
            Err(error) => (503, format!("node {node} cannot be told: {error}")),
        };
        (answer(status, text.clone()), Err(text))
    }
}

fn status_of(error: &CommandError) -> u16 {
    match error {
        CommandError::NotConnected | CommandError::Overloaded => 503,
        CommandError::Lost => 502,
        CommandError::Unsupported => 501,
    }
}

/// Passes on what a service answered. That the node's agent answers in its place is a failure.
fn of_service(node: &NodeName, answered: HttpAnswer) -> (RestAnswer, Result<(), String>) {
    let is_failure = answered.is_of_agent();
    let HttpAnswer { status, headers, body } = answered;
    if !(200..600).contains(&status) {
        let text = format!("node {node}: the service answered with status {status}");
        return (answer(502, text.clone()), Err(text));
    }
    let outcome = match is_failure {
        true => Err(format!("node {node}: {status} {}", String::from_utf8_lossy(&body))),
        false => Ok(()),
    };
    (RestAnswer { status, headers: end_to_end(headers), body }, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_connection_stay_with_it() {
        let headers = [
            ("host", "h"),
            ("Connection", "close, X-Own"),
            ("x-own", "1"),
            ("Content-Length", "1"),
            ("Transfer-Encoding", "chunked"),
            ("X-Test", "y"),
            ("authorization", "Bearer t"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into();
        let passed: Vec<String> = end_to_end(headers).into_keys().collect();
        assert_eq!(passed, ["X-Test", "authorization"]);
    }

    #[test]
    fn what_the_agent_answers_in_a_service_s_place_is_passed_and_is_a_failure() {
        let node = NodeName::parse("n").expect("a name");
        let (passed, outcome) = of_service(&node, HttpAnswer::of_agent(404, "error to call service"));
        assert_eq!((passed.status, &passed.body[..]), (404, &b"error to call service"[..]));
        assert_eq!(outcome, Err("node n: 404 error to call service".to_owned()));
        let own = HttpAnswer { status: 404, headers: Headers::new(), body: Bytes::new() };
        assert_eq!(of_service(&node, own).1, Ok(()));
        let strange = HttpAnswer { status: 42, headers: Headers::new(), body: Bytes::new() };
        assert_eq!(of_service(&node, strange).0.status, 502);
    }
}

//! The native codec's shapes of what rules route.

use std::collections::BTreeSet;

use bytes::Bytes;
use protocol::rules::{CommandReply, Headers, HttpAnswer, HttpCall, NodeCommand, NodeRules};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(in crate::codec) enum CommandForm {
    Route { topics: BTreeSet<String>, urls: BTreeSet<String> },
    Subscribe(String),
    Unsubscribe(String),
    AllowUrl(String),
    ForbidUrl(String),
    Publish { topic: String, payload: Bytes },
    Call { port: u16, path: String, method: String, headers: Headers, body: Bytes },
}

#[derive(Serialize, Deserialize)]
pub(in crate::codec) enum CommandReplyForm {
    Done,
    Answer { status: u16, headers: Headers, body: Bytes },
    Refused(String),
}

impl From<NodeCommand> for CommandForm {
    fn from(command: NodeCommand) -> Self {
        match command {
            NodeCommand::Route(NodeRules { topics, urls }) => Self::Route { topics, urls },
            NodeCommand::Subscribe(topic) => Self::Subscribe(topic),
            NodeCommand::Unsubscribe(topic) => Self::Unsubscribe(topic),
            NodeCommand::AllowUrl(url) => Self::AllowUrl(url),
            NodeCommand::ForbidUrl(url) => Self::ForbidUrl(url),
            NodeCommand::Publish { topic, payload } => Self::Publish { topic, payload },
            NodeCommand::Call(HttpCall { port, path, method, headers, body }) => {
                Self::Call { port, path, method, headers, body }
            }
        }
    }
}

impl From<CommandForm> for NodeCommand {
    fn from(form: CommandForm) -> Self {
        match form {
            CommandForm::Route { topics, urls } => Self::Route(NodeRules { topics, urls }),
            CommandForm::Subscribe(topic) => Self::Subscribe(topic),
            CommandForm::Unsubscribe(topic) => Self::Unsubscribe(topic),
            CommandForm::AllowUrl(url) => Self::AllowUrl(url),
            CommandForm::ForbidUrl(url) => Self::ForbidUrl(url),
            CommandForm::Publish { topic, payload } => Self::Publish { topic, payload },
            CommandForm::Call { port, path, method, headers, body } => {
                Self::Call(HttpCall { port, path, method, headers, body })
            }
        }
    }
}

impl From<CommandReply> for CommandReplyForm {
    fn from(reply: CommandReply) -> Self {
        match reply {
            CommandReply::Done => Self::Done,
            CommandReply::Answer(HttpAnswer { status, headers, body }) => {
                Self::Answer { status, headers, body }
            }
            CommandReply::Refused(text) => Self::Refused(text),
        }
    }
}

impl From<CommandReplyForm> for CommandReply {
    fn from(form: CommandReplyForm) -> Self {
        match form {
            CommandReplyForm::Done => Self::Done,
            CommandReplyForm::Answer { status, headers, body } => {
                Self::Answer(HttpAnswer { status, headers, body })
            }
            CommandReplyForm::Refused(text) => Self::Refused(text),
        }
    }
}

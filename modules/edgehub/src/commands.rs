//! What the cloud has this node do for its rules, handed to who does it.

use std::collections::BTreeSet;
use std::time::Duration;

use beehive::{AskError, Bus};
use protocol::group;
use protocol::rules::{
    CallService, ChangeTopics, ChangeUrls, CommandReply, DeliverLocal, HttpAnswer, NodeCommand, SetChange,
};

/// Commands that are being done at a time.
pub(crate) const COMMANDS_MAX: usize = 64;
/// How long the disk may take for what is routed, and a broker for a message.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
const DELIVER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a call may take. The service bus itself gives a service ten seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Does a command and returns what came of it.
pub(crate) async fn obey(bus: Bus, command: NodeCommand) -> CommandReply {
    let done = match command {
        NodeCommand::Route(rules) => {
            let topics = change_topics(&bus, SetChange::Replace(rules.topics)).await;
            match change_urls(&bus, SetChange::Replace(rules.urls)).await {
                Ok(()) => topics,
                refused => refused,
            }
        }
        NodeCommand::Subscribe(topic) => change_topics(&bus, SetChange::Add(topic)).await,
        NodeCommand::Unsubscribe(topic) => change_topics(&bus, SetChange::Remove(topic)).await,
        NodeCommand::AllowUrl(url) => change_urls(&bus, SetChange::Add(url)).await,
        NodeCommand::ForbidUrl(url) => change_urls(&bus, SetChange::Remove(url)).await,
        NodeCommand::Publish { topic, payload } => {
            let ask = bus.to(group::BUS).ask(DeliverLocal { topic, payload });
            match ask.within(DELIVER_TIMEOUT).await {
                Ok(delivered) => delivered.map_err(|error| error.to_string()),
                Err(error) => Err(in_words(&error, NO_EVENTBUS)),
            }
        }
        NodeCommand::Call(call) => {
            let answer = bus.to(group::BUS).ask(CallService(call)).within(CALL_TIMEOUT).await;
            return CommandReply::Answer(answer.unwrap_or_else(|error| failed_call(&error)));
        }
    };
    match done {
        Ok(()) => CommandReply::Done,
        Err(text) => CommandReply::Refused(text),
    }
}

/// What a command is answered by that finds all places taken.
pub(crate) fn busy(command: &NodeCommand) -> CommandReply {
    let text = "too many calls are under way on the node";
    match command {
        NodeCommand::Call(_) => CommandReply::Answer(HttpAnswer::of_agent(503, text)),
        _ => CommandReply::Refused(text.to_owned()),
    }
}

const NO_EVENTBUS: &str = "the node has no event bus: modules.eventBus.enable is false there";
const NO_SERVICEBUS: &str = "the node has no service bus: modules.serviceBus.enable is false there";

fn failed_call(error: &AskError) -> HttpAnswer {
    let status = match error {
        AskError::TimedOut { .. } => 504,
        _ => 503,
    };
    HttpAnswer::of_agent(status, in_words(error, NO_SERVICEBUS))
}

fn in_words(error: &AskError, nobody: &str) -> String {
    match error {
        AskError::NobodyServes { .. } => nobody.to_owned(),
        error => error.to_string(),
    }
}

/// Nobody is needed to route nothing.
fn is_nothing(change: &SetChange) -> bool {
    match change {
        SetChange::Add(_) => false,
        SetChange::Remove(_) => true,
        SetChange::Replace(all) => *all == BTreeSet::new(),
    }
}

async fn change_topics(bus: &Bus, change: SetChange) -> Result<(), String> {
    let is_nothing = is_nothing(&change);
    match bus.to(group::BUS).ask(ChangeTopics(change)).within(CHANGE_TIMEOUT).await {
        Ok(changed) => changed.map_err(|error| error.to_string()),
        Err(AskError::NobodyServes { .. }) if is_nothing => Ok(()),
        Err(error) => Err(in_words(&error, NO_EVENTBUS)),
    }
}

async fn change_urls(bus: &Bus, change: SetChange) -> Result<(), String> {
    let is_nothing = is_nothing(&change);
    match bus.to(group::BUS).ask(ChangeUrls(change)).within(CHANGE_TIMEOUT).await {
        Ok(changed) => changed.map_err(|error| error.to_string()),
        Err(AskError::NobodyServes { .. }) if is_nothing => Ok(()),
        Err(error) => Err(in_words(&error, NO_SERVICEBUS)),
    }
}

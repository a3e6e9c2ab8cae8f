//! Which objects the cloud is being asked for, and who waits for them.

use std::collections::BTreeMap;
use std::time::Duration;

use beehive::{AskError, Bus, Responder};
use protocol::edge::{AskCloud, CloudError, GetError};
use protocol::{NodeReply, NodeRequest, Object, ObjectKey, ResourceType, group};

use crate::layout;

/// How many requests may wait for the cloud at once.
const WAITING_MAX: usize = 1024;

/// What an asker gets.
pub(crate) type Answer = Result<Object, GetError>;

/// Says what joining a fetch came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// Nobody asked for it yet: the caller must ask the cloud.
    First,
    /// The cloud is being asked already.
    Another,
    /// Too many wait; the asker was told so.
    Refused,
}

/// One object that the cloud is being asked for.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    /// Who waits.
    pub(crate) waiting: Vec<Responder<Answer>>,
    /// Whether a change of the object came from the cloud in the meantime, which is newer than the answer may be.
    pub(crate) overtaken: bool,
}

impl Fetch {
    pub(crate) fn reply(self, answer: &Answer) {
        for responder in self.waiting {
            responder.reply(answer.clone());
        }
    }
}

/// All that the cloud is being asked for.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    fetches: BTreeMap<ObjectKey, Fetch>,
    waiting: usize,
}

impl Fetches {
    /// Adds an asker to the one fetch of its object.
    pub(crate) fn join(&mut self, key: &ObjectKey, responder: Responder<Answer>) -> Joined {
        if self.waiting >= WAITING_MAX {
            let cause = CloudError::Overloaded;
            responder.reply(Err(GetError::Unavailable { key: key.clone(), cause }));
            return Joined::Refused;
        }
        self.waiting += 1;
        let is_new = self.begin(key);
        self.fetches.entry(key.clone()).or_default().waiting.push(responder);
        if is_new { Joined::First } else { Joined::Another }
    }

    /// Begins the fetch of an object that nobody waits for; `false` if it is being fetched.
    pub(crate) fn begin(&mut self, key: &ObjectKey) -> bool {
        let is_new = !self.fetches.contains_key(key);
        self.fetches.entry(key.clone()).or_default();
        is_new
    }

    /// Notes that a change of the object came by itself.
    pub(crate) fn overtake(&mut self, key: &ObjectKey) {
        if let Some(fetch) = self.fetches.get_mut(key) {
            fetch.overtaken = true;
        }
    }

    /// Ends the fetch of an object.
    pub(crate) fn finish(&mut self, key: &ObjectKey) -> Fetch {
        let fetch = self.fetches.remove(key).unwrap_or_default();
        self.waiting -= fetch.waiting.len();
        fetch
    }
}

/// Asks the cloud.
pub(crate) async fn ask_cloud(
    bus: &Bus,
    request: NodeRequest,
    within: Duration,
) -> Result<NodeReply, CloudError> {
    match bus.to(group::HUB).ask(AskCloud(request)).within(within).await {
        Ok(answer) => answer,
        Err(AskError::TimedOut { .. }) => Err(CloudError::NoAnswer),
        Err(AskError::Full { .. }) => Err(CloudError::Overloaded),
        Err(_) => Err(CloudError::Disconnected),
    }
}

/// Tells whether what the cloud answered may be kept: leases, events and certificate requests are
/// of the moment.
pub(crate) fn is_kept(resource: &ResourceType) -> bool {
    !matches!(resource.as_str(), "lease" | "event" | "certificatesigningrequest" | "serviceaccounttoken")
}

/// Reads the cloud's answer to a query for `key`. An answer that is no object is never taken for one.
pub(crate) fn read_answer(key: &ObjectKey, answer: Result<NodeReply, CloudError>) -> Answer {
    let refused = |message: String| Err(GetError::Refused { key: key.clone(), message });
    match answer {
        Ok(NodeReply::Object(object)) if layout::names(&object, key) => Ok(object),
        Ok(NodeReply::Object(_)) => refused("the answer is another object".to_owned()),
        Ok(NodeReply::Refused(status)) if status.is_not_found() => Err(GetError::NotFound(key.clone())),
        Ok(NodeReply::Refused(status)) => refused(status.message),
        Ok(NodeReply::Done | NodeReply::Text(_)) => refused("the answer is no object".to_owned()),
        Err(cause) => Err(GetError::Unavailable { key: key.clone(), cause }),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ApiStatus, ObjectName};

    use super::*;

    fn config_map() -> ObjectKey {
        ObjectKey {
            resource: ResourceType::CONFIG_MAP,
            namespace: Some(protocol::Namespace::parse("ns").expect("a valid namespace")),
            name: ObjectName::parse("a").expect("a valid name"),
        }
    }

    fn object(namespace: &str, name: &str) -> Object {
        Object::parse(format!(r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}"}}}}"#))
            .expect("it is an object")
    }

    #[test]
    fn only_the_object_that_was_asked_for_is_taken() {
        let read = |answer| read_answer(&config_map(), answer);
        let refused =
            |message: &str| Err(GetError::Refused { key: config_map(), message: message.to_owned() });
        assert_eq!(read(Ok(NodeReply::Object(object("ns", "a")))), Ok(object("ns", "a")));
        let other = refused("the answer is another object");
        assert_eq!(read(Ok(NodeReply::Object(object("ns", "b")))), other);
        assert_eq!(read(Ok(NodeReply::Object(object("other", "a")))), other);
        assert_eq!(read(Ok(NodeReply::Done)), refused("the answer is no object"));
        let not_found = ApiStatus::new(404, "NotFound", "configmaps \"a\" not found");
        assert_eq!(read(Ok(NodeReply::Refused(not_found))), Err(GetError::NotFound(config_map())));
        let forbidden = ApiStatus::new(403, "Forbidden", "no");
        assert_eq!(read(Ok(NodeReply::Refused(forbidden))), refused("no"));
        let cause = CloudError::Disconnected;
        assert_eq!(read(Err(cause.clone())), Err(GetError::Unavailable { key: config_map(), cause }));
    }
}

//! What is kept for clients that subscribe later.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventbus::ports::Qos;
use protocol::filter::matches;

use super::encode::Message;

/// Messages that are kept, and their bytes together.
pub(super) const RETAINED_MAX: usize = 1024;
pub(super) const RETAINED_BYTES_MAX: usize = 4 << 20;

/// The newest retained message of each topic.
#[derive(Debug, Default)]
pub(super) struct Retained {
    messages: BTreeMap<String, (Arc<Message>, Qos)>,
    bytes: usize,
}

impl Retained {
    /// Keeps a message in place of the one before it; one without a payload takes that away. Returns false
    /// if there is no room: then none of the topic is kept, since the older one is not true any more.
    pub(super) fn keep(&mut self, message: &Arc<Message>, qos: Qos) -> bool {
        if let Some((older, _)) = self.messages.remove(&message.topic) {
            self.bytes -= older.bytes();
        }
        if message.payload.is_empty() {
            return true;
        }
        if self.messages.len() >= RETAINED_MAX || self.bytes + message.bytes() > RETAINED_BYTES_MAX {
            return false;
        }
        self.bytes += message.bytes();
        self.messages.insert(message.topic.clone(), (Arc::clone(message), qos));
        true
    }

    /// Returns what a new subscription gets, by topic.
    pub(super) fn matching(&self, filter: &str) -> Vec<(Arc<Message>, Qos)> {
        let kept = self.messages.iter().filter(|(topic, _)| matches(filter, topic));
        kept.map(|(_, (message, qos))| (Arc::clone(message), *qos)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: impl ToString, bytes: usize) -> Arc<Message> {
        Arc::new(Message { topic: topic.to_string(), payload: vec![1; bytes].into() })
    }

    fn topics(retained: &Retained, filter: &str) -> Vec<String> {
        retained.matching(filter).iter().map(|(message, _)| message.topic.clone()).collect()
    }

    #[test]
    fn the_newest_of_each_topic_is_kept_until_one_without_a_payload() {
        let mut retained = Retained::default();
        assert!(retained.keep(&message("a/b", 1), Qos::AtMostOnce));
        assert!(retained.keep(&message("a/b", 2), Qos::AtLeastOnce));
        assert!(retained.keep(&message("$hw/x", 1), Qos::AtMostOnce));
        let found = retained.matching("a/#");
        assert_eq!(
            found.iter().map(|(it, qos)| (it.payload.len(), *qos)).collect::<Vec<_>>(),
            [(2, Qos::AtLeastOnce)]
        );
        assert_eq!(topics(&retained, "#"), ["a/b"]);
        assert_eq!(topics(&retained, "$hw/#"), ["$hw/x"]);
        assert!(retained.keep(&message("a/b", 0), Qos::AtMostOnce));
        assert!(retained.keep(&message("$hw/x", 0), Qos::AtMostOnce));
        assert_eq!((topics(&retained, "#").len(), retained.bytes), (0, 0));
    }

    #[test]
    fn number_and_bytes_are_bounded_and_what_is_not_true_any_more_is_not_kept() {
        let mut retained = Retained::default();
        for number in 0..RETAINED_MAX {
            assert!(retained.keep(&message(number, 1), Qos::AtMostOnce));
        }
        assert!(!retained.keep(&message("more", 1), Qos::AtMostOnce));
        assert!(retained.keep(&message("7", 3), Qos::AtMostOnce));
        assert!(!retained.keep(&message("7", RETAINED_BYTES_MAX), Qos::AtMostOnce));
        assert_eq!(topics(&retained, "7"), [""; 0]);
        assert!(retained.keep(&message("more", 1), Qos::AtMostOnce));
    }
}

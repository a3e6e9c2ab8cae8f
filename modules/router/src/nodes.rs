//! What each node was told to route, and what it is to be told: always all of it, so that a node that was
//! away, or lost its disk, routes what the rules want and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::NodeName;
use protocol::rules::{CommandError, CommandReply, NodeRules};

/// The pause before a node that could not do it is told again.
pub(crate) const RETRY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Node {
    /// Its session, as far as it was heard of.
    session: Option<u64>,
    told: Option<NodeRules>,
    is_being_told: bool,
    /// Whether it waits for its next session, or for the pause to be over.
    waits: bool,
}

/// All nodes of which rules want something, or that have a session.
#[derive(Debug, Default)]
pub(crate) struct Nodes(BTreeMap<NodeName, Node>);

/// What is to be done after a node was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Whatever changed meanwhile.
    Look,
    /// Telling it again after a pause.
    Pause,
}

impl Nodes {
    /// Notes that a node's session began: it may know nothing.
    pub(crate) fn arrive(&mut self, node: &NodeName, session: u64) {
        let entry = self.0.entry(node.clone()).or_default();
        (entry.session, entry.told, entry.waits) = (Some(session), None, false);
    }

    /// Notes that a session ended; a newer one may have begun.
    pub(crate) fn leave(&mut self, node: &NodeName, session: u64) {
        if let Some(entry) = self.0.get_mut(node).filter(|entry| entry.session == Some(session)) {
            (entry.session, entry.told) = (None, None);
            if !entry.is_being_told {
                self.0.remove(node);
            }
        }
    }

    /// Returns the nodes that are known here.
    pub(crate) fn names(&self) -> Vec<NodeName> {
        self.0.keys().cloned().collect()
    }

    /// Tells whether a node is to be told this now, and notes that it is being told. A node that was not
    /// heard of is told, too: its session may be older than this module.
    pub(crate) fn tell(&mut self, node: &NodeName, wanted: &NodeRules) -> bool {
        let entry = self.0.entry(node.clone()).or_default();
        if entry.session.is_none() && !entry.is_being_told && *wanted == NodeRules::default() {
            // Should it be there all the same, it is told when it comes the next time.
            self.0.remove(node);
            return false;
        }
        let is_needed = entry.told.as_ref() != Some(wanted);
        if entry.is_being_told || entry.waits || !is_needed {
            return false;
        }
        entry.is_being_told = true;
        true
    }

    /// Notes what came of telling a node in a session.
    pub(crate) fn told(
        &mut self,
        node: &NodeName,
        session: Option<u64>,
        rules: NodeRules,
        outcome: &Result<CommandReply, Option<CommandError>>,
    ) -> Next {
        let Some(entry) = self.0.get_mut(node) else { return Next::Look };
        entry.is_being_told = false;
        if entry.session != session {
            return Next::Look;
        }
        match outcome {
            Ok(CommandReply::Done) => {
                entry.told = Some(rules);
                Next::Look
            }
            Err(Some(CommandError::NotConnected | CommandError::Unsupported)) => {
                entry.waits = true;
                Next::Look
            }
            Ok(_) | Err(_) => {
                entry.waits = true;
                Next::Pause
            }
        }
    }

    /// Returns a node's session, as far as it was heard of.
    pub(crate) fn session(&self, node: &NodeName) -> Option<u64> {
        self.0.get(node).and_then(|entry| entry.session)
    }

    /// Ends a pause, unless the node has another session by now.
    pub(crate) fn resume(&mut self, node: &NodeName, session: Option<u64>) {
        if let Some(entry) = self.0.get_mut(node).filter(|entry| entry.session == session) {
            entry.waits = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeName {
        NodeName::parse("n").expect("a name")
    }

    fn rules(topic: &str) -> NodeRules {
        NodeRules { topics: [topic.to_owned()].into(), ..NodeRules::default() }
    }

    const DONE: Result<CommandReply, Option<CommandError>> = Ok(CommandReply::Done);

    #[test]
    fn a_node_is_told_once_and_what_changes_meanwhile_afterwards() {
        let mut nodes = Nodes::default();
        nodes.arrive(&node(), 1);
        assert!(nodes.tell(&node(), &rules("a")));
        assert!(!nodes.tell(&node(), &rules("b")));
        assert_eq!(nodes.told(&node(), Some(1), rules("a"), &DONE), Next::Look);
        assert!(!nodes.tell(&node(), &rules("a")));
        assert!(nodes.tell(&node(), &rules("b")));
    }

    #[test]
    fn each_session_is_told_anew_and_what_an_older_one_was_told_counts_for_nothing() {
        let mut nodes = Nodes::default();
        nodes.arrive(&node(), 1);
        assert!(nodes.tell(&node(), &rules("a")));
        nodes.leave(&node(), 1);
        nodes.arrive(&node(), 2);
        assert_eq!(nodes.told(&node(), Some(1), rules("a"), &DONE), Next::Look);
        assert!(nodes.tell(&node(), &rules("a")));
        nodes.told(&node(), Some(2), rules("a"), &DONE);
        nodes.leave(&node(), 1);
        assert!(!nodes.tell(&node(), &rules("a")));
        nodes.leave(&node(), 2);
        assert_eq!(nodes.names(), []);
    }

    #[test]
    fn a_node_that_cannot_is_told_again_after_a_pause_and_one_that_is_away_when_it_comes() {
        let mut nodes = Nodes::default();
        assert!(nodes.tell(&node(), &rules("a")), "its session may be older than this module");
        let away = Err(Some(CommandError::NotConnected));
        assert_eq!(nodes.told(&node(), None, rules("a"), &away), Next::Look);
        assert!(!nodes.tell(&node(), &rules("a")));
        nodes.arrive(&node(), 1);
        assert!(nodes.tell(&node(), &rules("a")));
        let refused = Ok(CommandReply::Refused("the disk is full".to_owned()));
        assert_eq!(nodes.told(&node(), Some(1), rules("a"), &refused), Next::Pause);
        assert!(!nodes.tell(&node(), &rules("a")));
        nodes.resume(&node(), Some(1));
        assert!(nodes.tell(&node(), &rules("a")));
    }
}

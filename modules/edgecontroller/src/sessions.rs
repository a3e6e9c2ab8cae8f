//! Which nodes are connected.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Held, NodeName};

#[derive(Debug)]
struct Session {
    number: u64,
    /// What the node holds, until it was compared with what it must know.
    unsettled: Option<Option<Vec<Held>>>,
}

/// The nodes' sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<NodeName, Session>,
    /// Every node of which a session was seen to begin or end: nothing of these was missed.
    known: BTreeSet<NodeName>,
}

impl Sessions {
    /// Notes that a session began; `false` if a newer one did before.
    pub(crate) fn begin(&mut self, node: NodeName, number: u64, held: Option<Vec<Held>>) -> bool {
        if self.sessions.get(&node).is_some_and(|session| session.number > number) {
            return false;
        }
        self.known.insert(node.clone());
        self.sessions.insert(node, Session { number, unsettled: Some(held) });
        true
    }

    /// Notes that a session ended; `false` if it was not the node's newest.
    pub(crate) fn end(&mut self, node: &NodeName, number: u64) -> bool {
        let newest = self.number(node) == Some(number);
        if newest {
            self.sessions.remove(node);
        }
        self.known.insert(node.clone());
        newest
    }

    /// Returns the number of the node's session, if it is connected.
    pub(crate) fn number(&self, node: &NodeName) -> Option<u64> {
        self.sessions.get(node).map(|session| session.number)
    }

    /// Tells whether changes are for the node now. One that said what it holds is told the
    /// difference first, which contains all that changed until then.
    pub(crate) fn takes_changes(&self, node: &NodeName) -> bool {
        self.sessions.get(node).is_some_and(|session| !matches!(session.unsettled, Some(Some(_))))
    }

    /// Takes what the node holds, once.
    pub(crate) fn take_unsettled(&mut self, node: &NodeName) -> Option<Option<Vec<Held>>> {
        self.sessions.get_mut(node)?.unsettled.take()
    }

    /// Tells, once for each node, whether it has a session whose beginning was missed: this module
    /// was restarted since.
    pub(crate) fn is_missed(&mut self, node: &NodeName) -> bool {
        if self.known.contains(node) {
            return false;
        }
        self.known.insert(node.clone());
        true
    }

    /// Takes a node for connected that cannot be made to connect anew; `false` if it did meanwhile.
    pub(crate) fn assume(&mut self, node: &NodeName) -> bool {
        if self.sessions.contains_key(node) {
            return false;
        }
        self.begin(node.clone(), 0, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeName {
        NodeName::parse("n").expect("a valid name")
    }

    #[test]
    fn the_newest_session_counts() {
        let mut sessions = Sessions::default();
        assert!(sessions.begin(node(), 2, None));
        assert!(!sessions.begin(node(), 1, None));
        assert!(!sessions.end(&node(), 1));
        assert_eq!(sessions.number(&node()), Some(2));
        assert!(sessions.end(&node(), 2));
        assert_eq!(sessions.number(&node()), None);
    }

    #[test]
    fn what_a_node_holds_is_settled_once_per_session() {
        let mut sessions = Sessions::default();
        sessions.begin(node(), 1, Some(Vec::new()));
        assert!(!sessions.takes_changes(&node()));
        assert_eq!(sessions.take_unsettled(&node()), Some(Some(Vec::new())));
        assert_eq!(sessions.take_unsettled(&node()), None);
        assert!(sessions.takes_changes(&node()));
        sessions.begin(node(), 2, None);
        assert!(sessions.takes_changes(&node()), "there will be no difference");
        assert_eq!(sessions.take_unsettled(&node()), Some(None));
    }

    #[test]
    fn only_a_node_that_was_never_heard_of_was_missed() {
        let mut sessions = Sessions::default();
        assert!(sessions.is_missed(&node()));
        assert!(!sessions.is_missed(&node()));
        assert!(sessions.assume(&node()));
        assert!(!sessions.assume(&node()));
        let mut sessions = Sessions::default();
        sessions.begin(node(), 1, None);
        sessions.end(&node(), 1);
        assert!(!sessions.is_missed(&node()), "a late request of a session that ended");
    }
}

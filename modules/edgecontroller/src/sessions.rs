//! Which nodes are connected.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use protocol::cloud::Holdings;
use protocol::{NodeName, ObjectChange};

use crate::desired::settle::Settling;

#[derive(Debug)]
struct Session {
    number: u64,
    /// What the node holds, until it was compared with what it must know.
    unsettled: Option<Holdings>,
    /// How far it was told the difference, until it was told all of it.
    settling: Option<Settling>,
    /// How many changes were for the node since the session began.
    changes: u64,
}

/// What is done for one session, and whether it may still be done.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    session: u64,
    newest: Rc<Cell<u64>>,
}

impl Epoch {
    /// Tells whether a newer session of the node began.
    pub(crate) fn is_over(&self) -> bool {
        self.newest.get() > self.session
    }
}

/// The nodes' sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<NodeName, Session>,
    /// The newest session of every node of which one was seen to begin or end: nothing of these was
    /// missed.
    known: BTreeMap<NodeName, Rc<Cell<u64>>>,
}

impl Sessions {
    /// Notes that a session began; `false` if a newer one did before.
    pub(crate) fn begin(&mut self, node: NodeName, number: u64, holds: Holdings) -> bool {
        if self.epoch(&node, number).is_over() {
            return false;
        }
        self.sessions.insert(node, Session { number, unsettled: Some(holds), settling: None, changes: 0 });
        true
    }

    /// Notes that a session began that is not to be told anything yet. Tells whether it ended an
    /// older one.
    pub(crate) fn arrive(&mut self, node: &NodeName, number: u64) -> bool {
        let is_newest = !self.epoch(node, number).is_over();
        let is_older = self.number(node).is_some_and(|older| older < number);
        is_newest && is_older && self.sessions.remove(node).is_some()
    }

    /// Notes that something is to be done for a session.
    pub(crate) fn epoch(&mut self, node: &NodeName, session: u64) -> Epoch {
        let newest = Rc::clone(self.known.entry(node.clone()).or_default());
        newest.set(newest.get().max(session));
        Epoch { session, newest }
    }

    /// Notes that a session ended; `false` if it was not the node's newest.
    pub(crate) fn end(&mut self, node: &NodeName, number: u64) -> bool {
        let newest = self.number(node) == Some(number);
        if newest {
            self.sessions.remove(node);
        }
        self.epoch(node, number);
        newest
    }

    /// Returns the number of the node's session, if it is connected.
    pub(crate) fn number(&self, node: &NodeName) -> Option<u64> {
        self.sessions.get(node).map(|session| session.number)
    }

    /// Tells whether changes are for the node now. One that said what it holds is told the
    /// difference first, which contains all that changed until then.
    pub(crate) fn takes_changes(&self, node: &NodeName) -> bool {
        self.sessions.get(node).is_some_and(|session| !matches!(session.unsettled, Some(Holdings::Said(_))))
    }

    /// Counts a change for the node.
    pub(crate) fn count_change(&mut self, node: &NodeName) {
        if let Some(session) = self.sessions.get_mut(node) {
            session.changes += 1;
        }
    }

    /// Notes that a change is for the node besides the difference that it is told.
    pub(crate) fn note_change(&mut self, node: &NodeName, change: &ObjectChange) {
        self.count_change(node);
        if let Some(settling) = self.settling(node) {
            settling.note(change);
        }
    }

    /// Notes that the node is told a difference from now on.
    pub(crate) fn begin_settling(&mut self, node: &NodeName, settling: Settling) {
        if let Some(session) = self.sessions.get_mut(node) {
            session.settling = Some(settling);
        }
    }

    /// Returns how far the node was told a difference, while it is told one.
    pub(crate) fn settling(&mut self, node: &NodeName) -> Option<&mut Settling> {
        self.sessions.get_mut(node)?.settling.as_mut()
    }

    /// Notes that the node was told all of a difference.
    pub(crate) fn end_settling(&mut self, node: &NodeName) {
        if let Some(session) = self.sessions.get_mut(node) {
            session.settling = None;
        }
    }

    /// Returns how many changes were for the node in this session, if it was told all of the difference.
    pub(crate) fn settled_changes(&self, node: &NodeName, number: u64) -> Option<u64> {
        let session = self.sessions.get(node).filter(|session| session.number == number)?;
        (session.unsettled.is_none() && session.settling.is_none()).then_some(session.changes)
    }

    /// Takes what the node holds, once.
    pub(crate) fn take_unsettled(&mut self, node: &NodeName) -> Option<Holdings> {
        self.sessions.get_mut(node)?.unsettled.take()
    }

    /// Tells whether a node may have a session whose beginning was missed, until anything is known of
    /// it: this module was restarted since.
    pub(crate) fn is_missed(&self, node: &NodeName) -> bool {
        !self.known.contains_key(node)
    }

    /// Takes a node for connected that cannot be made to connect anew; `false` if it did meanwhile.
    pub(crate) fn assume(&mut self, node: &NodeName) -> bool {
        if self.sessions.contains_key(node) {
            return false;
        }
        let newest = self.known.get(node).map_or(0, |newest| newest.get());
        self.begin(node.clone(), newest, Holdings::Remembered(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeName {
        NodeName::parse("n").expect("a valid name")
    }

    fn unknown() -> Holdings {
        Holdings::Remembered(Vec::new())
    }

    #[test]
    fn the_newest_session_counts() {
        let mut sessions = Sessions::default();
        assert!(sessions.begin(node(), 2, unknown()));
        assert!(!sessions.begin(node(), 1, unknown()));
        assert!(!sessions.end(&node(), 1));
        assert_eq!(sessions.number(&node()), Some(2));
        assert!(sessions.end(&node(), 2));
        assert_eq!(sessions.number(&node()), None);
    }

    #[test]
    fn what_a_node_holds_is_settled_once_per_session() {
        let mut sessions = Sessions::default();
        sessions.begin(node(), 1, Holdings::Said(Vec::new()));
        assert!(!sessions.takes_changes(&node()));
        assert_eq!(sessions.take_unsettled(&node()), Some(Holdings::Said(Vec::new())));
        assert_eq!(sessions.take_unsettled(&node()), None);
        assert!(sessions.takes_changes(&node()));
        sessions.begin(node(), 2, unknown());
        assert!(sessions.takes_changes(&node()), "there will be no difference");
        assert_eq!(sessions.take_unsettled(&node()), Some(unknown()));
    }

    #[test]
    fn nothing_is_done_for_a_session_once_a_newer_one_is_known() {
        let mut sessions = Sessions::default();
        let first = sessions.epoch(&node(), 1);
        assert!(sessions.begin(node(), 1, unknown()));
        assert!(!first.is_over());
        assert!(sessions.arrive(&node(), 2), "it ends the older one");
        assert!(first.is_over());
        assert_eq!(sessions.number(&node()), None, "it is told nothing before its turn");
        assert!(!sessions.arrive(&node(), 1));
        assert!(!sessions.begin(node(), 1, unknown()), "a late one");
        assert!(sessions.begin(node(), 2, unknown()));
        assert!(!sessions.epoch(&node(), 2).is_over());
        assert!(sessions.epoch(&node(), 1).is_over());
    }

    #[test]
    fn only_a_node_that_was_never_heard_of_was_missed() {
        let mut sessions = Sessions::default();
        assert!(sessions.is_missed(&node()));
        sessions.epoch(&node(), 3);
        assert!(!sessions.is_missed(&node()));
        assert!(sessions.assume(&node()));
        assert_eq!(sessions.number(&node()), Some(3));
        assert!(!sessions.assume(&node()));
        let mut sessions = Sessions::default();
        sessions.begin(node(), 1, unknown());
        sessions.end(&node(), 1);
        assert!(!sessions.is_missed(&node()), "a late request of a session that ended");
    }
}

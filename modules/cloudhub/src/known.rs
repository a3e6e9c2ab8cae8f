//! What nodes are known to hold.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use protocol::rules::NodeRules;
use protocol::{Inventory, NodeName};

/// What one node is known to hold: what it said, and what it acknowledged since. Clones are the same.
///
/// It is never relied on by itself: a digest of the node says whether it is true.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    inventory: Rc<RefCell<Inventory>>,
    rules: Rc<RefCell<NodeRules>>,
}

impl Known {
    pub(crate) fn get(&self) -> Ref<'_, Inventory> {
        self.inventory.borrow()
    }

    pub(crate) fn get_mut(&self) -> RefMut<'_, Inventory> {
        self.inventory.borrow_mut()
    }

    /// Takes what the rules want of the node, and returns what it was told last: an edge of KubeEdge, which
    /// hears of changes only, has to be told what is gone.
    pub(crate) fn replace_rules(&self, rules: NodeRules) -> NodeRules {
        self.rules.replace(rules)
    }
}

/// What all nodes are known to hold, those that are away too. About 150 bytes an object.
#[derive(Debug)]
pub(crate) struct Knowledge {
    nodes: BTreeMap<NodeName, (u64, Known)>,
    nodes_max: usize,
}

impl Knowledge {
    /// Remembers so many nodes.
    pub(crate) fn new(nodes_max: usize) -> Self {
        Self { nodes: BTreeMap::new(), nodes_max }
    }

    /// Returns what is known of a node that comes with this connection. Who has not come for the longest
    /// time is forgotten when there are too many.
    pub(crate) fn of(&mut self, node: &NodeName, connection: u64) -> Known {
        let entry = self.nodes.entry(node.clone()).or_default();
        entry.0 = connection;
        let known = entry.1.clone();
        if self.nodes.len() > self.nodes_max {
            let oldest = self.nodes.iter().min_by_key(|(_, (connection, _))| *connection);
            if let Some(oldest) = oldest.map(|(node, _)| node.clone()) {
                self.nodes.remove(&oldest);
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Held, ObjectKey, ObjectName, ResourceType};

    use super::*;

    #[test]
    fn who_has_not_come_for_the_longest_time_is_forgotten() {
        let node = |name: &str| NodeName::parse(name).expect("a name");
        let name = ObjectName::parse("a").expect("a name");
        let key = ObjectKey { resource: ResourceType::POD, namespace: None, name };
        let mut all = Knowledge::new(2);
        for (connection, name) in (1..).zip(["a", "b", "a"]) {
            let held = Held { key: key.clone(), uid: None, resource_version: None };
            all.of(&node(name), connection).get_mut().insert(held);
        }
        all.of(&node("c"), 4);
        assert_eq!(all.of(&node("a"), 5).get().len(), 1);
        assert_eq!(all.of(&node("b"), 6).get().len(), 0, "it is known no more");
    }
}

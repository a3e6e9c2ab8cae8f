//! Who waits for whom, so that a circle is found before it closes.
//!
//! An edge stands for a handler that cannot go on before another module does: it asked and has no
//! answer, or it sends and the mailbox has no room. A module's own tasks make no edges, since its
//! mailbox goes on beside them. A request that its server deferred has no edge either: the server's
//! mailbox goes on too.

use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Chain;
use crate::name::ModuleName;
use crate::route::ModuleId;

/// Names one edge. Never zero, so that a letter without an edge is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitId(NonZeroU64);

#[derive(Debug, Clone, Copy)]
struct Edge {
    id: WaitId,
    from: ModuleId,
    to: ModuleId,
    what: &'static str,
}

#[derive(Debug, Default)]
struct Edges {
    edges: Vec<Edge>,
    next: u64,
}

/// The node's edges.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<Edges>);

impl Waits {
    fn lock(&self) -> MutexGuard<'_, Edges> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the edge `from -> to`, or returns the circle that it would close, as a path from `from`
    /// to `from`.
    pub(crate) fn add(
        &self,
        from: ModuleId,
        to: ModuleId,
        what: &'static str,
    ) -> Result<WaitId, Vec<ModuleId>> {
        let mut inner = self.lock();
        if let Some(path) = inner.path(to, from) {
            let mut circle = vec![from];
            circle.extend(path);
            return Err(circle);
        }
        let id = WaitId(NonZeroU64::MIN.saturating_add(inner.next));
        inner.next += 1;
        inner.edges.push(Edge { id, from, to, what });
        Ok(id)
    }

    /// Removes an edge; nothing happens if it is gone already.
    pub(crate) fn remove(&self, id: WaitId) {
        let mut inner = self.lock();
        if let Some(at) = inner.edges.iter().position(|edge| edge.id == id) {
            inner.edges.swap_remove(at);
        }
    }

    /// Returns what `from` waits for: module and message.
    pub(crate) fn of(&self, from: ModuleId) -> Option<(ModuleId, &'static str)> {
        let inner = self.lock();
        let edge = inner.edges.iter().filter(|edge| edge.from == from).min_by_key(|edge| edge.id.0)?;
        Some((edge.to, edge.what))
    }
}

impl Edges {
    /// Finds a path along the edges, both ends included.
    fn path(&self, from: ModuleId, to: ModuleId) -> Option<Vec<ModuleId>> {
        if from == to {
            return Some(vec![from]);
        }
        if !self.edges.iter().any(|edge| edge.from == from) {
            return None;
        }
        let mut paths = vec![vec![from]];
        let mut seen = vec![from];
        while let Some(path) = paths.pop() {
            let end = *path.last()?;
            for edge in self.edges.iter().filter(|edge| edge.from == end) {
                let mut longer = path.clone();
                longer.push(edge.to);
                if edge.to == to {
                    return Some(longer);
                }
                if !seen.contains(&edge.to) {
                    seen.push(edge.to);
                    paths.push(longer);
                }
            }
        }
        None
    }
}

/// Names the modules of a circle.
pub(crate) fn chain(circle: &[ModuleId], name: impl Fn(ModuleId) -> ModuleName) -> Chain {
    Chain(circle.iter().map(|id| name(*id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: usize) -> ModuleId {
        ModuleId::at(index)
    }

    #[test]
    fn a_circle_is_refused_and_named_in_order() {
        let waits = Waits::default();
        waits.add(id(0), id(1), "A").unwrap();
        waits.add(id(1), id(2), "B").unwrap();
        assert_eq!(waits.add(id(2), id(0), "C"), Err(vec![id(2), id(0), id(1), id(2)]));
    }

    #[test]
    fn a_module_that_waits_for_itself_is_a_circle() {
        assert_eq!(Waits::default().add(id(3), id(3), "A"), Err(vec![id(3), id(3)]));
    }

    #[test]
    fn an_edge_that_is_gone_closes_no_circle() {
        let waits = Waits::default();
        let edge = waits.add(id(0), id(1), "A").unwrap();
        waits.remove(edge);
        waits.remove(edge);
        assert!(waits.add(id(1), id(0), "B").is_ok());
        assert_eq!(waits.of(id(1)), Some((id(0), "B")));
        assert_eq!(waits.of(id(0)), None);
    }

    #[test]
    fn ways_that_meet_again_are_no_circle() {
        let waits = Waits::default();
        for (from, to) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
            assert!(waits.add(id(from), id(to), "A").is_ok());
        }
        assert!(waits.add(id(3), id(4), "A").is_ok());
        assert!(waits.add(id(4), id(0), "A").is_err());
    }
}

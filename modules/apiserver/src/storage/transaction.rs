//! A write as it is decided: it sees the newest states and stages its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::server::error::ApiError;
use crate::storage::object::{Key, Stored};
use crate::storage::{Change, Space, State};

/// The changes of one write, and the newest states as it sees them.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    state: &'a State,
    version: u64,
    rehearsal: bool,
    changes: Vec<Change>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        Self { state, version: state.version_assigned, rehearsal: false, changes: Vec::new() }
    }

    /// A write that is forgotten: it assigns no versions, so objects keep theirs and new ones have none.
    pub(super) fn rehearsal(state: &'a State) -> Self {
        Self { rehearsal: true, ..Self::new(state) }
    }

    pub(super) fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    /// Returns the newest state of an object, durable or not.
    pub(crate) fn get(&self, space: &str, key: &Key) -> Option<Arc<Stored>> {
        let own = self.changes.iter().rev().find(|change| &*change.space == space && change.key == *key);
        if let Some(change) = own {
            return (!change.deleted).then(|| change.after.clone());
        }
        let staged = self.state.staged.get(&(Space::from(space), key.clone()));
        if let Some((_, object)) = staged {
            return object.clone();
        }
        self.state.resources.get(space)?.objects.get(key).cloned()
    }

    /// Returns the newest states of a resource, of one namespace if it is given.
    pub(crate) fn list(&self, space: &str, namespace: Option<&str>) -> Vec<(Key, Arc<Stored>)> {
        let mut objects: BTreeMap<Key, Arc<Stored>> =
            self.state.resources.get(space).map(|resource| resource.objects.clone()).unwrap_or_default();
        for ((_, key), (_, object)) in self.state.staged.iter().filter(|((other, _), _)| &**other == space) {
            apply(&mut objects, key, object.clone());
        }
        for change in self.changes.iter().filter(|change| &*change.space == space) {
            apply(&mut objects, &change.key, (!change.deleted).then(|| change.after.clone()));
        }
        objects
            .into_iter()
            .filter(|(key, _)| namespace.is_none_or(|wanted| *wanted == *key.namespace))
            .collect()
    }

    /// Stages a new state of an object and returns it with its version.
    pub(crate) fn put(&mut self, space: &Space, key: Key, value: Value) -> Result<Arc<Stored>, ApiError> {
        self.stage(space, key, value, false)
    }

    /// Stages the removal of an object; `last` is its last state.
    pub(crate) fn remove(&mut self, space: &Space, key: Key, last: Value) -> Result<Arc<Stored>, ApiError> {
        self.stage(space, key, last, true)
    }

    fn stage(
        &mut self,
        space: &Space,
        key: Key,
        value: Value,
        deleted: bool,
    ) -> Result<Arc<Stored>, ApiError> {
        let before = self.get(space, &key);
        let version = if self.rehearsal {
            before.as_ref().map_or(0, |before| before.version)
        } else {
            self.version += 1;
            self.version
        };
        let after = Arc::new(Stored::new(value, version)?);
        self.changes.push(Change { space: space.clone(), key, before, after: after.clone(), deleted });
        Ok(after)
    }
}

fn apply(objects: &mut BTreeMap<Key, Arc<Stored>>, key: &Key, object: Option<Arc<Stored>>) {
    match object {
        Some(object) => objects.insert(key.clone(), object),
        None => objects.remove(key),
    };
}

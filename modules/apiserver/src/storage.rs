//! The objects: what is durable, what is on its way to the store, and the watchers' window.
//!
//! Reads and watches see durable states only. Writes are decided under a lock against the newest
//! state, durable or pending, and are answered once their batch is durable. A batch that fails
//! takes all pending ones with it. When the store is open anew it is compared with the durable
//! states, and what differs is repaired with the first batch: a write that failed is undone if it
//! came to be all the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use beehive::latest;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::Shared;
use store::{Batch, Commit, Pages, SharedMedium, SharedStore, Store, StoreError};

pub(crate) mod history;
pub(crate) mod object;
pub(crate) mod transaction;

use crate::server::error::ApiError;
pub use history::HistoryLimits;
use history::{Event, History};
use object::{Key, Stored};
pub(crate) use transaction::Transaction;

const OBJECTS: &str = "apiserver-objects";
const META: &str = "apiserver-meta";
const VERSION_KEY: &[u8] = b"resource-version";
const SCAN_ENTRIES: usize = 512;
/// How many batches may wait for the disk before writers are turned away.
const PENDING_MAX: usize = 4096;
/// The first version, as a fresh cluster's.
const VERSION_FIRST: u64 = 1;

/// The objects of one resource, in whatever version they are served.
pub(crate) type Space = Arc<str>;

/// The states of one resource at one version.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub version: u64,
    pub objects: Vec<(Key, Arc<Stored>)>,
    /// How many follow after the last one.
    pub remaining: usize,
}

/// Which objects of a resource to read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Range {
    /// Only this namespace.
    pub namespace: Option<Arc<str>>,
    /// Only those after this key.
    pub after: Option<Key>,
    /// At this version instead of the latest.
    pub version: Option<u64>,
}

/// Says that the changes after a version are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub floor: u64,
}

#[derive(Debug)]
struct Resource {
    objects: BTreeMap<Key, Arc<Stored>>,
    history: History,
    signal: latest::Sender<u64>,
}

impl Resource {
    fn new(floor: u64, limits: HistoryLimits) -> Self {
        Self {
            objects: BTreeMap::new(),
            history: History::new(floor, limits),
            signal: latest::Sender::new(floor),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Change {
    space: Space,
    key: Key,
    before: Option<Arc<Stored>>,
    after: Arc<Stored>,
    deleted: bool,
}

impl Change {
    /// Tells whether other objects may have to follow.
    fn needs_attention(&self) -> bool {
        let owned_before = self.before.as_ref().map(|before| before.owners.as_slice()).unwrap_or_default();
        self.deleted || self.after.deleting || self.after.owners != owned_before
    }
}

/// How a write ended, once it did.
#[derive(Debug, Clone, Default)]
struct Outcome(Arc<Mutex<Option<Result<(), StoreError>>>>);

impl Outcome {
    fn get(&self) -> Option<Result<(), StoreError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, result: Result<(), StoreError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

#[derive(Debug)]
struct Pending {
    id: u64,
    version: u64,
    commit: Shared<Commit>,
    changes: Vec<Change>,
    outcome: Outcome,
}

/// A state that is not durable yet, `None` for a removal, and the version of its write.
type Staged = (u64, Option<Arc<Stored>>);

#[derive(Debug)]
struct State {
    /// The opening of the store that `dirty` was computed from.
    store: SharedStore,
    /// Whether a batch of this opening failed.
    has_failed: bool,
    resources: BTreeMap<Space, Resource>,
    /// Newest states that are not durable yet, with the version of the write.
    staged: BTreeMap<(Space, Key), Staged>,
    pending: VecDeque<Pending>,
    /// Keys whose record in the store may differ from the durable state.
    dirty: BTreeSet<(Space, Key)>,
    version_assigned: u64,
    version_durable: u64,
    /// The version of the latest change that garbage collection or the end of a namespace or a
    /// definition may depend on.
    attention: latest::Sender<u64>,
    next_id: u64,
    limits: HistoryLimits,
}

/// The objects of one API server.
#[derive(Debug)]
pub(crate) struct Storage {
    medium: SharedMedium,
    state: Mutex<State>,
    submitted: latest::Sender<u64>,
}

impl Storage {
    /// Loads all objects from the store.
    pub(crate) fn open(medium: SharedMedium, limits: HistoryLimits) -> Result<Self, StoreError> {
        let store = medium.store();
        let version = read_version(&*store)?.unwrap_or(VERSION_FIRST);
        let mut state = State {
            store: store.clone(),
            has_failed: false,
            resources: BTreeMap::new(),
            staged: BTreeMap::new(),
            pending: VecDeque::new(),
            dirty: BTreeSet::new(),
            version_assigned: version,
            version_durable: version,
            attention: latest::Sender::new(version),
            next_id: 0,
            limits,
        };
        let mut after: Option<Bytes> = None;
        loop {
            let entries = store.scan(OBJECTS, b"", after.as_deref(), SCAN_ENTRIES)?;
            let Some((last, _)) = entries.last() else { break };
            after = Some(last.clone());
            for (raw_key, raw) in entries {
                let corrupt = || StoreError::corrupt(OBJECTS, &raw_key);
                let (space, key) = parse_record_key(&raw_key).ok_or_else(corrupt)?;
                let object = Stored::parse(raw).map_err(|_| corrupt())?;
                state.version_assigned = state.version_assigned.max(object.version);
                state.resource_mut(&space).objects.insert(key, Arc::new(object));
            }
        }
        state.version_durable = state.version_assigned;
        let version = state.version_durable;
        for resource in state.resources.values_mut() {
            *resource =
                Resource { objects: std::mem::take(&mut resource.objects), ..Resource::new(version, limits) };
        }
        Ok(Self { medium, state: Mutex::new(state), submitted: latest::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves at most a staged entry without a batch, which `write`
        // never does between staging and submitting.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the version of the latest durable state.
    pub(crate) fn version(&self) -> u64 {
        self.lock().version_durable
    }

    pub(crate) fn get(&self, space: &str, key: &Key) -> Option<Arc<Stored>> {
        self.lock().resources.get(space)?.objects.get(key).cloned()
    }

    /// Returns the names of all resources that have or had objects.
    pub(crate) fn spaces(&self) -> Vec<Space> {
        self.lock().resources.keys().cloned().collect()
    }

    /// Reads at most `limit` objects that `wanted` accepts, in key order.
    pub(crate) fn list(
        &self,
        space: &str,
        range: &Range,
        limit: Option<usize>,
        wanted: impl Fn(&Key, &Stored) -> bool,
    ) -> Result<Snapshot, Forgotten> {
        let state = self.lock();
        let version = range.version.unwrap_or(state.version_durable);
        let mut snapshot = Snapshot { version, objects: Vec::new(), remaining: 0 };
        let Some(resource) = state.resources.get(space) else { return Ok(snapshot) };
        let then = match range.version {
            Some(old) if old < state.version_durable => {
                resource.history.undo(old).ok_or(Forgotten { floor: resource.history.floor() })?
            }
            _ => BTreeMap::new(),
        };
        let live = resource.objects.range(range.bounds()).take_while(|(key, _)| range.holds(key));
        let live = live.filter(|(key, _)| !then.contains_key(*key));
        let old = then.iter().filter(|(key, _)| range.holds(key) && range.begins_before(key));
        let old = old.filter_map(|(key, object)| object.as_ref().map(|object| (key, object)));
        let mut merged = merge(live, old).filter(|(key, object)| wanted(key, object));
        let take = limit.unwrap_or(usize::MAX);
        snapshot
            .objects
            .extend(merged.by_ref().take(take).map(|(key, object)| (key.clone(), object.clone())));
        snapshot.remaining = merged.count();
        Ok(snapshot)
    }

    /// Returns the changes after `version`, at most `limit`, and the version up to which they are all.
    pub(crate) fn changes(
        &self,
        space: &str,
        version: u64,
        limit: usize,
    ) -> Result<(Vec<Arc<Event>>, u64), Forgotten> {
        let state = self.lock();
        let Some(resource) = state.resources.get(space) else {
            return Ok((Vec::new(), state.version_durable));
        };
        let events =
            resource.history.after(version, limit).ok_or(Forgotten { floor: resource.history.floor() })?;
        let upto = if events.len() < limit {
            state.version_durable
        } else {
            events.last().map_or(state.version_durable, |event| event.version)
        };
        Ok((events, upto))
    }

    /// Returns the version of the latest change that the upkeep of objects may depend on.
    pub(crate) fn attention(&self) -> u64 {
        self.lock().attention.get()
    }

    /// Watches that version.
    pub(crate) fn watch_attention(&self) -> latest::Receiver<u64> {
        self.lock().attention.subscribe()
    }

    /// Returns the version of the latest change of a resource, or of the server's start.
    pub(crate) fn latest_change(&self, space: &str) -> u64 {
        self.lock().resources.get(space).map_or(0, |resource| resource.signal.get())
    }

    /// Watches for changes of one resource.
    pub(crate) fn subscribe(&self, space: &Space) -> latest::Receiver<u64> {
        self.lock().resource_mut(space).signal.subscribe()
    }

    /// Decides a write under the lock and answers once it is durable. An error of `decide` leaves
    /// everything as it was.
    pub(crate) async fn write<T>(
        &self,
        decide: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let (value, waited) = self.submit(decide)?;
        if let Some((id, outcome)) = waited {
            self.settle(id, &outcome).await.map_err(|error| ApiError::storage(&error))?;
        }
        Ok(value)
    }

    /// Decides a write and forgets it.
    pub(crate) fn rehearse<T>(
        &self,
        decide: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        decide(&mut Transaction::rehearsal(&self.lock()))
    }

    fn submit<T>(
        &self,
        decide: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError>,
    ) -> Result<(T, Option<(u64, Outcome)>), ApiError> {
        let mut state = self.lock();
        self.renew(&mut state).map_err(|error| ApiError::storage(&error))?;
        if state.pending.len() >= PENDING_MAX {
            return Err(ApiError::too_many_requests("too many writes wait for the disk"));
        }
        let mut transaction = Transaction::new(&state);
        let value = decide(&mut transaction)?;
        let changes = transaction.into_changes();
        if changes.is_empty() {
            // What was seen may be pending: it is shown only once it is durable.
            let last = state.pending.back().map(|pending| (pending.id, pending.outcome.clone()));
            return Ok((value, last));
        }
        let repairs = std::mem::take(&mut state.dirty);
        let mut batch = Batch::new();
        for (space, key) in &repairs {
            let durable = state.resources.get(space).and_then(|resource| resource.objects.get(key));
            batch = match durable {
                Some(object) => batch.put(OBJECTS, record_key(space, key), object.bare().clone()),
                None => batch.remove(OBJECTS, record_key(space, key)),
            };
        }
        let mut version = state.version_assigned;
        for change in &changes {
            version = version.max(change.after.version);
            let record = record_key(&change.space, &change.key);
            batch = if change.deleted {
                batch.remove(OBJECTS, record)
            } else {
                batch.put(OBJECTS, record, change.after.bare().clone())
            };
            let staged = (!change.deleted).then(|| change.after.clone());
            state.staged.insert((change.space.clone(), change.key.clone()), (change.after.version, staged));
        }
        batch = batch.put(META, VERSION_KEY, version.to_string());
        state.version_assigned = version;
        state.next_id += 1;
        let id = state.next_id;
        let outcome = Outcome::default();
        // Submitted under the lock, so that batches reach the store in the order of their versions.
        let commit = state.store.commit(batch).shared();
        state.pending.push_back(Pending { id, version, commit, changes, outcome: outcome.clone() });
        drop(state);
        self.submitted.replace(id);
        Ok((value, Some((id, outcome))))
    }

    /// Waits until a write is decided, carrying out those before it.
    async fn settle(&self, id: u64, outcome: &Outcome) -> Result<(), StoreError> {
        loop {
            let (front, commit) = {
                // Outcomes are set under this lock, by whichever thread carries the write out.
                let state = self.lock();
                if let Some(result) = outcome.get() {
                    return result;
                }
                let Some(front) = state.pending.front() else {
                    return Err(StoreError::Closed);
                };
                debug_assert!(front.id <= id, "a pending write precedes its own outcome");
                (front.id, front.commit.clone())
            };
            let result = commit.await;
            self.finish(front, result);
        }
    }

    /// Carries out writes whose requests were dropped before they were durable. Never returns.
    pub(crate) async fn settle_abandoned(&self) {
        let mut submitted = self.submitted.subscribe();
        loop {
            let last = self.lock().pending.back().map(|pending| (pending.id, pending.outcome.clone()));
            if let Some((id, outcome)) = last {
                // The result belongs to the request that asked; here only the progress matters.
                drop(self.settle(id, &outcome).await);
            } else if submitted.changed().await.is_err() {
                return;
            }
        }
    }

    fn finish(&self, id: u64, result: Result<(), StoreError>) {
        let mut state = self.lock();
        if state.pending.front().is_none_or(|pending| pending.id != id) {
            return;
        }
        match result {
            Ok(()) => {
                let Some(pending) = state.pending.pop_front() else { return };
                state.publish(&pending);
                pending.outcome.set(Ok(()));
            }
            Err(error) => {
                if !std::mem::replace(&mut state.has_failed, true) {
                    tracing::error!(%error, "the store refused a write: until it is open anew all writes fail");
                }
                state.fail_all(&error);
            }
        }
    }

    /// Takes the newest opening of the store, if there is another than before.
    fn renew(&self, state: &mut State) -> Result<(), StoreError> {
        if !state.store.is_over() {
            return Ok(());
        }
        state.fail_all(&StoreError::Closed);
        let store = self.medium.store();
        state.dirty = state.differences(&*store)?;
        state.store = store;
        state.has_failed = false;
        tracing::info!(differences = state.dirty.len(), "the store is open anew");
        Ok(())
    }
}

impl State {
    fn resource_mut(&mut self, space: &Space) -> &mut Resource {
        let (floor, limits) = (self.version_durable, self.limits);
        self.resources.entry(space.clone()).or_insert_with(|| Resource::new(floor, limits))
    }

    fn publish(&mut self, pending: &Pending) {
        for change in &pending.changes {
            let staged = (change.space.clone(), change.key.clone());
            if self.staged.get(&staged).is_some_and(|(version, _)| *version == change.after.version) {
                self.staged.remove(&staged);
            }
            let resource = self.resource_mut(&change.space);
            if change.deleted {
                resource.objects.remove(&change.key);
            } else {
                resource.objects.insert(change.key.clone(), change.after.clone());
            }
            resource.history.push(Arc::new(Event {
                version: change.after.version,
                key: change.key.clone(),
                before: change.before.clone(),
                after: change.after.clone(),
                deleted: change.deleted,
            }));
        }
        self.version_durable = self.version_durable.max(pending.version);
        if pending.changes.iter().any(Change::needs_attention) {
            self.attention.replace(pending.version);
        }
        for change in &pending.changes {
            self.resource_mut(&change.space).signal.replace(pending.version);
        }
    }

    fn fail_all(&mut self, error: &StoreError) {
        for pending in std::mem::take(&mut self.pending) {
            pending.outcome.set(Err(error.clone()));
        }
        self.staged.clear();
    }

    /// Returns the keys whose records in the store are not the durable states.
    fn differences(&self, store: &dyn Store) -> Result<BTreeSet<(Space, Key)>, StoreError> {
        let all = self.resources.iter();
        let all =
            all.flat_map(|(space, resource)| resource.objects.keys().map(|key| (space.clone(), key.clone())));
        let mut differing: BTreeSet<(Space, Key)> = all.collect();
        for page in Pages::of(store, OBJECTS) {
            let page = page?;
            let sound = page.entries.iter().map(|(raw_key, raw)| (raw_key, Some(raw)));
            for (raw_key, raw) in sound.chain(page.corrupt.iter().map(|raw_key| (raw_key, None))) {
                let of = parse_record_key(raw_key).ok_or_else(|| StoreError::corrupt(OBJECTS, raw_key))?;
                let durable = self.resources.get(&of.0).and_then(|resource| resource.objects.get(&of.1));
                if raw.is_some() && durable.map(|object| object.bare()) == raw {
                    differing.remove(&of);
                } else {
                    differing.insert(of);
                }
            }
        }
        Ok(differing)
    }
}

impl Range {
    fn bounds(&self) -> (std::ops::Bound<Key>, std::ops::Bound<Key>) {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let start = match (&self.after, &self.namespace) {
            (Some(after), _) => Excluded(after.clone()),
            (None, Some(namespace)) => Included(Key::new(namespace, "")),
            (None, None) => Unbounded,
        };
        (start, Unbounded)
    }

    fn holds(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    }

    fn begins_before(&self, key: &Key) -> bool {
        self.after.as_ref().is_none_or(|after| after < key)
    }
}

fn merge<'a, V>(
    left: impl Iterator<Item = (&'a Key, V)>,
    right: impl Iterator<Item = (&'a Key, V)>,
) -> impl Iterator<Item = (&'a Key, V)> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some((l, _)), Some((r, _))) if r < l => right.next(),
        (Some(_), _) => left.next(),
        (None, _) => right.next(),
    })
}

fn read_version(store: &dyn Store) -> Result<Option<u64>, StoreError> {
    let Some(raw) = store.get(META, VERSION_KEY)? else { return Ok(None) };
    let version = std::str::from_utf8(&raw).ok().and_then(|text| text.parse().ok());
    version
        .map(Some)
        .ok_or_else(|| StoreError::Corrupt { tree: META.to_owned(), key: "resource-version".to_owned() })
}

/// `group/plural \0 namespace \0 name`: no part can contain a zero byte.
fn record_key(space: &str, key: &Key) -> Bytes {
    let mut raw = Vec::with_capacity(space.len() + key.namespace.len() + key.name.len() + 2);
    raw.extend_from_slice(space.as_bytes());
    raw.push(0);
    raw.extend_from_slice(key.namespace.as_bytes());
    raw.push(0);
    raw.extend_from_slice(key.name.as_bytes());
    raw.into()
}

fn parse_record_key(raw: &[u8]) -> Option<(Space, Key)> {
    let mut parts = std::str::from_utf8(raw).ok()?.splitn(3, '\0');
    let (space, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some((space.into(), Key::new(namespace, name)))
}

#[cfg(test)]
mod tests;

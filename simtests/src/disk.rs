//! A machine's disk: what was synced survives a crash, what was not may or may not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocol::Held;
use rand::Rng as _;
use rand::rngs::SmallRng;
use store::{Batch, Commit, SharedStore, Store, StoreError, Survey, Write};
use tokio::time::{Instant, sleep_until};

use crate::check::acknowledged::{self, HELD};
use crate::trace::digest;
use crate::world::World;

/// How long a sync takes on a sound disk.
const SYNC: Range<Duration> = Duration::from_micros(200)..Duration::from_millis(8);

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing of it is seen.
    Refused,
    /// Reads see it, and a crash loses it.
    NotDurable,
    /// It is acknowledged, and a crash loses it: a disk that lies. No schedule has it, since nobody
    /// can keep a promise on such a disk; it shows that checks notice what is lost.
    Forgotten,
}

type Trees = BTreeMap<&'static str, BTreeMap<Bytes, Bytes>>;

#[derive(Debug)]
struct Pending {
    due: Instant,
    batch: Batch,
}

#[derive(Debug)]
struct State {
    rng: SmallRng,
    /// Which opening of the disk is valid; older ones are of a process that crashed.
    opened: u64,
    visible: Trees,
    durable: Trees,
    pending: VecDeque<Pending>,
    writes: u64,
    failing: BTreeMap<u64, DiskFault>,
    corrupt: BTreeSet<(&'static str, Bytes)>,
    is_full: bool,
    slowness: u32,
}

/// A disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct Disk {
    name: Arc<str>,
    world: Arc<World>,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Disk {
    /// Makes an empty disk.
    pub(crate) fn new(name: &Arc<str>, world: &Arc<World>) -> Self {
        let state = State {
            rng: world.rng(&format!("disk of {name}")),
            opened: 0,
            visible: Trees::new(),
            durable: Trees::new(),
            pending: VecDeque::new(),
            writes: 0,
            failing: BTreeMap::new(),
            corrupt: BTreeSet::new(),
            is_full: false,
            slowness: 1,
        };
        Self { name: name.clone(), world: world.clone(), state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the store on the disk as a starting process does. Stores opened before are closed.
    pub(crate) fn open(&self) -> SharedStore {
        let mut state = self.lock();
        state.opened += 1;
        Arc::new(DiskStore { disk: self.clone(), opening: state.opened })
    }

    /// Lets the machine lose what was not synced: of the writes that were under way an arbitrary
    /// number of the oldest survives, each of them whole or not at all.
    pub(crate) fn crash(&self) {
        let mut state = self.lock();
        state.settle(Instant::now());
        let survivors = state.pending.len();
        let survivors = if survivors == 0 { 0 } else { state.rng.random_range(0..=survivors) };
        for _ in 0..survivors {
            let Some(pending) = state.pending.pop_front() else { break };
            write_all(&mut state.durable, &pending.batch);
        }
        let lost = state.pending.len();
        state.pending.clear();
        state.visible = state.durable.clone();
        state.opened += 1;
        self.world.record(format_args!("disk {} crash: {survivors} unsynced kept, {lost} lost", self.name));
    }

    /// Reads the objects that a crash would leave.
    pub(crate) fn held(&self) -> Vec<Held> {
        let mut state = self.lock();
        state.settle(Instant::now());
        let records = state.durable.get(HELD).into_iter().flatten();
        let read = |(key, value): (&Bytes, &Bytes)| {
            let is_corrupt = state.corrupt.contains(&(HELD, key.clone()));
            acknowledged::read(key, Some(value.as_ref()).filter(|_| !is_corrupt))
        };
        records.filter_map(read).collect()
    }

    /// Puts a record where no process knows of it, or takes one away.
    pub(crate) fn tamper(&self, tree: &'static str, key: &[u8], value: Option<&[u8]>) {
        let mut state = self.lock();
        state.settle(Instant::now());
        let key = Bytes::copy_from_slice(key);
        let batch = match value {
            Some(value) => Batch::new().put(tree, key, Bytes::copy_from_slice(value)),
            None => Batch::new().remove(tree, key),
        };
        write_all(&mut state.visible, &batch);
        write_all(&mut state.durable, &batch);
    }

    /// Makes the `after`-th write from here fail.
    pub(crate) fn fail_write(&self, after: u64, fault: DiskFault) {
        let mut state = self.lock();
        let number = state.writes + after;
        state.failing.insert(number, fault);
    }

    /// Refuses every write for as long as it is full.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// Makes syncs take so many times as long.
    pub(crate) fn set_slowness(&self, times: u32) {
        self.lock().slowness = times.max(1);
    }

    /// Ends every fault.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        state.failing.clear();
        state.is_full = false;
        state.slowness = 1;
    }

    /// Damages one synced record of a tree. Returns whether there was any.
    pub(crate) fn damage(&self, tree: &'static str) -> bool {
        let mut state = self.lock();
        let keys: Vec<Bytes> =
            state.durable.get(tree).into_iter().flat_map(BTreeMap::keys).cloned().collect();
        if keys.is_empty() {
            return false;
        }
        let at = state.rng.random_range(0..keys.len());
        keys.get(at).is_some_and(|key| state.corrupt.insert((tree, key.clone())))
    }
}

impl State {
    /// Makes durable what is due.
    fn settle(&mut self, now: Instant) {
        while let Some(pending) = self.pending.pop_front_if(|pending| pending.due <= now) {
            write_all(&mut self.durable, &pending.batch);
        }
    }

    fn apply(&mut self, batch: Batch) -> Result<Instant, StoreError> {
        let now = Instant::now();
        self.settle(now);
        let number = self.writes;
        self.writes += 1;
        let fault = if self.is_full { Some(DiskFault::Refused) } else { self.failing.remove(&number) };
        if fault == Some(DiskFault::Refused) {
            let cause = if self.is_full { "no space left on device" } else { "input/output error" };
            return Err(StoreError::Medium { action: "commit", cause: cause.to_owned() });
        }
        for write in batch.writes() {
            let (Write::Put { tree, key, .. } | Write::Remove { tree, key }) = write;
            self.corrupt.remove(&(*tree, key.clone()));
        }
        write_all(&mut self.visible, &batch);
        if fault == Some(DiskFault::Forgotten) {
            return Ok(now);
        }
        if fault == Some(DiskFault::NotDurable) {
            return Err(StoreError::Medium { action: "sync", cause: "input/output error".to_owned() });
        }
        let takes = self.rng.random_range(SYNC) * self.slowness;
        let newest = self.pending.back().map_or(now, |pending| pending.due);
        let due = newest.max(now + takes);
        self.pending.push_back(Pending { due, batch });
        Ok(due)
    }
}

fn write_all(trees: &mut Trees, batch: &Batch) {
    for write in batch.writes() {
        match write {
            Write::Put { tree, key, value } => {
                trees.entry(tree).or_default().insert(key.clone(), value.clone());
            }
            Write::Remove { tree, key } => {
                trees.entry(tree).or_default().remove(key);
            }
        }
    }
}

/// The store of one run of a process.
struct DiskStore {
    disk: Disk,
    opening: u64,
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("disk", &self.disk.name).finish_non_exhaustive()
    }
}

impl DiskStore {
    fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.disk.lock();
        if state.opened == self.opening { Ok(state) } else { Err(StoreError::Closed) }
    }
}

fn hash(batch: &Batch) -> u64 {
    let mut text = Vec::new();
    for write in batch.writes() {
        match write {
            Write::Put { tree, key, value } => [tree.as_bytes(), key, value].map(|part| text.extend(part)),
            Write::Remove { tree, key } => [tree.as_bytes(), key, b"-"].map(|part| text.extend(part)),
        };
    }
    digest(&text)
}

impl Store for DiskStore {
    fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let state = self.open()?;
        let found = state.visible.get(tree).and_then(|records| records.get(key)).cloned();
        if found.is_some() && state.corrupt.contains(&(tree, Bytes::copy_from_slice(key))) {
            return Err(StoreError::corrupt(tree, key));
        }
        Ok(found)
    }

    fn survey(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Survey, StoreError> {
        let state = self.open()?;
        let mut survey = Survey::default();
        let Some(records) = state.visible.get(tree) else { return Ok(survey) };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = records.range::<[u8], _>((start, Bound::Unbounded));
        for (key, value) in range.take_while(|(key, _)| key.starts_with(prefix)).take(limit) {
            if state.corrupt.contains(&(tree, key.clone())) {
                survey.corrupt.push(key.clone());
            } else {
                survey.entries.push((key.clone(), value.clone()));
            }
        }
        Ok(survey)
    }

    fn commit(&self, batch: Batch) -> Commit {
        let disk = self.disk.clone();
        let (writes, hash) = (batch.writes().len(), hash(&batch));
        let applied = self.open().and_then(|mut state| state.apply(batch));
        let outcome = applied.as_ref().map_or_else(ToString::to_string, |_| "taken".to_owned());
        disk.world.record(format_args!("disk {} commits {writes} writes {hash:016x}: {outcome}", disk.name));
        let opening = self.opening;
        Box::pin(async move {
            sleep_until(applied?).await;
            let mut state = disk.lock();
            if state.opened != opening {
                return Err(StoreError::Closed);
            }
            state.settle(Instant::now());
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;

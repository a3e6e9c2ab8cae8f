//! A machine's disk: what was synced survives a crash, what was not may or may not.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocol::Held;
use rand::Rng as _;
use rand::rngs::SmallRng;
use store::{
    Batch, Commit, Medium, Openings, Over, SharedMedium, SharedStore, Store, StoreError, Survey, Trees, Write,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::check::acknowledged::{self, HELD};
use crate::trace::digest;
use crate::world::World;

/// How long a sync takes on a sound disk.
const SYNC: Range<Duration> = Duration::from_micros(200)..Duration::from_millis(8);

/// The pause before a store that failed is opened anew, and the longest one, as of the real medium.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How a write fails. It is the last of its opening: as after any failure the store is opened anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing of it is seen.
    Refused,
    /// Reads see it, and whether it is there later is as uncertain as of any write that was not synced.
    NotDurable,
    /// It is acknowledged, and a crash loses it: a disk that lies. No schedule has it, since nobody
    /// can keep a promise on such a disk; it shows that checks notice what is lost.
    Forgotten,
}

#[derive(Debug)]
struct Pending {
    due: Instant,
    batch: Batch,
}

#[derive(Debug)]
struct State {
    rng: SmallRng,
    visible: Trees,
    durable: Trees,
    pending: VecDeque<Pending>,
    /// Why this opening takes no more, and since when.
    failure: Option<(StoreError, Instant)>,
    /// The pause before the next opening after a failure, and since when this one goes on.
    pause: Duration,
    since: Instant,
    writes: u64,
    failing: BTreeMap<u64, DiskFault>,
    is_full: bool,
    slowness: u32,
    /// The batches that were taken, and the bytes of their keys and values.
    taken: [u64; 2],
}

/// A disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct Disk {
    name: Arc<str>,
    world: Arc<World>,
    openings: Openings,
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
            visible: Trees::default(),
            durable: Trees::default(),
            pending: VecDeque::new(),
            failure: None,
            pause: PAUSE.0,
            since: world.start,
            writes: 0,
            failing: BTreeMap::new(),
            is_full: false,
            slowness: 1,
            taken: [0, 0],
        };
        Self {
            name: name.clone(),
            world: world.clone(),
            openings: Openings::default(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the store on the disk as a starting process does. What was opened before is closed.
    pub(crate) fn open(&self) -> SharedMedium {
        if self.lock().failure.is_some() {
            self.lose_unsynced("process");
        }
        self.openings.begin();
        Arc::new(self.clone())
    }

    /// Lets the machine lose what was not synced: of the writes that were under way an arbitrary
    /// number of the oldest survives, each of them whole or not at all.
    pub(crate) fn crash(&self) {
        self.lose_unsynced("crash");
        self.openings.begin();
    }

    fn lose_unsynced(&self, why: &str) {
        let mut state = self.lock();
        let now = Instant::now();
        if state.failure.is_none() {
            state.settle(now);
        }
        let survivors = state.pending.len();
        let survivors = if survivors == 0 { 0 } else { state.rng.random_range(0..=survivors) };
        for _ in 0..survivors {
            let Some(pending) = state.pending.pop_front() else { break };
            state.durable.write(&pending.batch);
        }
        let lost = state.pending.len();
        state.pending.clear();
        state.visible = state.durable.clone();
        state.failure = None;
        state.since = now;
        self.world.record(format_args!("disk {} {why}: {survivors} unsynced kept, {lost} lost", self.name));
    }

    /// Opens the store anew after a failure, as soon as the disk takes writes.
    async fn revive(self, opening: u64) {
        loop {
            let pause = self.next_pause();
            sleep(pause).await;
            if self.openings.newest() != opening {
                return;
            }
            if !self.lock().is_full {
                break;
            }
        }
        self.lose_unsynced("opened anew");
        self.openings.begin();
    }

    /// Returns the pause before an attempt; the next is twice as long. An opening that lasted was a
    /// good one, and the first pause after it is short.
    fn next_pause(&self) -> Duration {
        let mut state = self.lock();
        let pause = state.pause;
        state.pause = (pause * 2).min(PAUSE.1);
        pause
    }

    /// Reads the objects that a crash would leave.
    pub(crate) fn held(&self) -> Vec<Held> {
        let mut state = self.lock();
        state.settle(Instant::now());
        let durable = &state.durable;
        let read = |key: &Bytes| acknowledged::read(key, durable.get(HELD, key).ok().flatten().as_deref());
        durable.keys(HELD).filter_map(read).collect()
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
        state.visible.write(&batch);
        state.durable.write(&batch);
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

    /// Returns how many batches were taken, and the bytes of their keys and values.
    pub(crate) fn taken(&self) -> [u64; 2] {
        self.lock().taken
    }

    /// Damages one synced record of a tree. Returns whether there was any.
    pub(crate) fn damage(&self, tree: &'static str) -> bool {
        let mut state = self.lock();
        let keys: Vec<Bytes> = state.durable.keys(tree).cloned().collect();
        if keys.is_empty() {
            return false;
        }
        let at = state.rng.random_range(0..keys.len());
        let Some(key) = keys.get(at) else { return false };
        state.durable.damage(tree, key);
        state.visible.damage(tree, key);
        true
    }

    /// Takes a batch, and returns when it will be durable.
    #[expect(
        clippy::disallowed_methods,
        reason = "a real medium has a thread of its own; this task is as its"
    )]
    fn apply(&self, batch: Batch, opening: u64) -> Result<Instant, StoreError> {
        let mut state = self.opened(opening)?;
        let had_failed = state.failure.is_some();
        let applied = state.apply(batch);
        if !had_failed && applied.is_err() {
            drop(state);
            tokio::task::spawn_local(self.clone().revive(opening));
        }
        applied
    }

    fn opened(&self, opening: u64) -> Result<MutexGuard<'_, State>, StoreError> {
        if self.openings.newest() == opening { Ok(self.lock()) } else { Err(StoreError::Closed) }
    }
}

impl Medium for Disk {
    fn store(&self) -> SharedStore {
        Arc::new(DiskStore { disk: self.clone(), opening: self.openings.newest() })
    }
}

impl State {
    /// Makes durable what is due.
    fn settle(&mut self, now: Instant) {
        while let Some(pending) = self.pending.pop_front_if(|pending| pending.due <= now) {
            self.durable.write(&pending.batch);
        }
    }

    fn apply(&mut self, batch: Batch) -> Result<Instant, StoreError> {
        if let Some((failure, _)) = &self.failure {
            return Err(failure.clone());
        }
        let now = Instant::now();
        self.settle(now);
        let number = self.writes;
        self.writes += 1;
        let fault = if self.is_full { Some(DiskFault::Refused) } else { self.failing.remove(&number) };
        match fault {
            Some(DiskFault::Refused) => {
                let cause = if self.is_full { "no space left on device" } else { "input/output error" };
                Err(self.fail(StoreError::Medium { action: "commit", cause: cause.to_owned() }, now))
            }
            Some(DiskFault::NotDurable) => {
                self.visible.write(&batch);
                self.pending.push_back(Pending { due: now, batch });
                let cause = "input/output error".to_owned();
                Err(self.fail(StoreError::Medium { action: "sync", cause }, now))
            }
            Some(DiskFault::Forgotten) => {
                self.visible.write(&batch);
                Ok(now)
            }
            None => {
                self.visible.write(&batch);
                self.taken[0] += 1;
                self.taken[1] += bytes(&batch);
                let takes = self.rng.random_range(SYNC) * self.slowness;
                let newest = self.pending.back().map_or(now, |pending| pending.due);
                let due = newest.max(now + takes);
                self.pending.push_back(Pending { due, batch });
                Ok(due)
            }
        }
    }

    /// Ends this opening: nothing that is not durable by now will be.
    fn fail(&mut self, failure: StoreError, now: Instant) -> StoreError {
        if now - self.since >= PAUSE.1 {
            self.pause = PAUSE.0;
        }
        self.failure = Some((failure.clone(), now));
        failure
    }
}

/// One opening of the store.
struct DiskStore {
    disk: Disk,
    opening: u64,
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("disk", &self.disk.name).finish_non_exhaustive()
    }
}

fn bytes(batch: &Batch) -> u64 {
    let sizes = batch.writes().iter().map(|write| match write {
        Write::Put { key, value, .. } => key.len() + value.len(),
        Write::Remove { key, .. } => key.len(),
    });
    sizes.map(|size| u64::try_from(size).unwrap_or(u64::MAX)).sum()
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
        self.disk.opened(self.opening)?.visible.get(tree, key)
    }

    fn survey(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Survey, StoreError> {
        Ok(self.disk.opened(self.opening)?.visible.survey(tree, prefix, after, limit))
    }

    fn commit(&self, batch: Batch) -> Commit {
        let (disk, opening) = (self.disk.clone(), self.opening);
        let (writes, hash) = (batch.writes().len(), hash(&batch));
        let applied = disk.apply(batch, opening);
        let outcome = applied.as_ref().map_or_else(ToString::to_string, |_| "taken".to_owned());
        disk.world.record(format_args!("disk {} commits {writes} writes {hash:016x}: {outcome}", disk.name));
        Box::pin(async move {
            let due = applied?;
            sleep_until(due).await;
            let mut state = disk.opened(opening)?;
            if let Some((failure, at)) = &state.failure
                && due > *at
            {
                return Err(failure.clone());
            }
            state.settle(Instant::now());
            Ok(())
        })
    }

    fn over(&self) -> Over {
        self.disk.openings.end_of(self.opening)
    }

    fn is_over(&self) -> bool {
        self.disk.openings.newest() != self.opening
    }
}

#[cfg(test)]
mod tests;

//! What all parts of one simulation share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use crate::check::Ledger;
use crate::mischief::Mischief;
use crate::trace::{Recorder, digest};

/// The name under which what belongs to no node is recorded.
const OUTSIDE: &str = "scenario";

/// One simulation's shared part. It is given to each port.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    pub(crate) start: Instant,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) ledger: Ledger,
    pub(crate) mischief: Arc<Mischief>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    current: Mutex<Arc<str>>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let start = Instant::now();
        let recorder = Arc::new(Recorder::new(start));
        Arc::new(Self {
            seed,
            start,
            mischief: Arc::new(Mischief::new(seed, &recorder)),
            recorder,
            ledger: Ledger::default(),
            faults: Mutex::default(),
            current: Mutex::new(OUTSIDE.into()),
        })
    }

    /// Returns the randomness of one part, which others do not disturb.
    pub(crate) fn rng(&self, part: &str) -> SmallRng {
        SmallRng::seed_from_u64(self.derived_seed(part))
    }

    /// Returns the seed of one part.
    pub(crate) fn derived_seed(&self, part: &str) -> u64 {
        self.seed.rotate_left(23) ^ digest(part.as_bytes())
    }

    /// Adds a line to the trace.
    pub(crate) fn record(&self, line: fmt::Arguments<'_>) {
        self.recorder.line(line);
    }

    /// Counts a fault that was injected, and records it.
    pub(crate) fn fault(&self, kind: &'static str, where_: fmt::Arguments<'_>) {
        *self.lock_faults().entry(kind).or_default() += 1;
        self.record(format_args!("fault {kind} {where_}"));
    }

    /// Returns how many faults of each kind there were.
    pub(crate) fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.lock_faults().clone()
    }

    fn lock_faults(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the node whose code runs at present.
    pub(crate) fn current(&self) -> Arc<str> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs code of a node.
    pub(crate) fn as_node<T>(&self, node: &Arc<str>, run: impl FnOnce() -> T) -> T {
        let swap = |to: Arc<str>| {
            std::mem::replace(&mut *self.current.lock().unwrap_or_else(PoisonError::into_inner), to)
        };
        let before = swap(node.clone());
        let result = run();
        swap(before);
        result
    }
}

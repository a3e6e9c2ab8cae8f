//! What modules let go wrong on purpose in a run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use beehive::Buggify;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::trace::{Recorder, digest};

/// Which share of the points takes part in a run, and how often one that does strikes.
const POINTS: f64 = 0.3;
const STRIKES: f64 = 0.05;

/// The points of all nodes. Each takes part in a whole run or not at all.
#[derive(Debug)]
pub(crate) struct Mischief {
    seed: u64,
    recorder: Arc<Recorder>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    is_on: bool,
    rng: SmallRng,
    struck: BTreeMap<&'static str, u64>,
}

impl Mischief {
    /// Makes what strikes nowhere until it is turned on.
    pub(crate) fn new(seed: u64, recorder: &Arc<Recorder>) -> Self {
        let state = State { is_on: false, rng: SmallRng::seed_from_u64(seed), struck: BTreeMap::new() };
        Self { seed, recorder: recorder.clone(), state: Mutex::new(state) }
    }

    pub(crate) fn turn(&self, is_on: bool) {
        self.lock().is_on = is_on;
    }

    /// Returns how often each point struck.
    pub(crate) fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.lock().struck.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn takes_part(&self, point: &str) -> bool {
        SmallRng::seed_from_u64(self.seed ^ digest(point.as_bytes())).random_bool(POINTS)
    }
}

impl Buggify for Mischief {
    fn strikes(&self, node: &str, point: &'static str) -> bool {
        let mut state = self.lock();
        let strikes = state.is_on && self.takes_part(point) && state.rng.random_bool(STRIKES);
        if strikes {
            *state.struck.entry(point).or_default() += 1;
            self.recorder.line(format_args!("buggify {node} {point}"));
        }
        strikes
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_point_strikes_in_some_runs_and_then_sometimes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _context = runtime.enter();
        let mut runs = 0;
        for seed in 0..100 {
            let mischief = Mischief::new(seed, &Arc::new(Recorder::new(Instant::now())));
            assert!((0..100).all(|_| !mischief.strikes("a", "point")), "it is not turned on");
            mischief.turn(true);
            let strikes = (0..1000).filter(|_| mischief.strikes("a", "point")).count();
            assert!(strikes == 0 || (20..100).contains(&strikes), "{strikes}");
            runs += u32::from(strikes > 0);
        }
        assert!((15..45).contains(&runs), "{runs}");
    }
}

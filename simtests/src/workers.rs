//! Seeds on several threads, told in the order of the seeds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

/// How far ahead of the oldest seed that is not told yet others may be done, for each thread.
const AHEAD: usize = 4;

/// Runs `run` for each seed on `jobs` threads, and gives what comes out to `tell` in the order of
/// the seeds. Ends early when `tell` returns `false` or fails.
pub(crate) fn in_order<T: Send, E>(
    seeds: std::ops::Range<u64>,
    jobs: usize,
    run: impl Fn(u64) -> T + Sync,
    mut tell: impl FnMut(u64, T) -> Result<bool, E>,
) -> Result<(), E> {
    let (next, is_over) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (sender, receiver) = mpsc::sync_channel(jobs.saturating_mul(AHEAD));
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, seeds, next, is_over, run) = (sender.clone(), &seeds, &next, &is_over, &run);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // The receiver goes away when no more is wanted.
                    if !seeds.contains(&seed) || sender.send((seed, run(seed))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = seeds.start;
        for (seed, result) in receiver {
            early.insert(seed, result);
            while let Some(result) = early.remove(&due) {
                let told = tell(due, result);
                due += 1;
                if !matches!(told, Ok(true)) {
                    is_over.store(true, Ordering::Relaxed);
                    return told.map(|_| ());
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Early seeds take longest, so that they are done in another order than they began.
    fn told(jobs: usize, stop_at: u64) -> Vec<u64> {
        let mut told = Vec::new();
        let run = |seed: u64| {
            for _ in 0..(20_u64.saturating_sub(seed) * 1000) {
                thread::yield_now();
            }
            seed * 2
        };
        let outcome: Result<(), ()> = in_order(3..20, jobs, run, |seed, double| {
            assert_eq!(double, seed * 2);
            told.push(seed);
            Ok(seed != stop_at)
        });
        assert_eq!(outcome, Ok(()));
        told
    }

    #[test]
    fn all_seeds_are_told_in_order_whatever_the_number_of_threads() {
        for jobs in [1, 2, 5, 40] {
            assert_eq!(told(jobs, u64::MAX), (3..20).collect::<Vec<_>>(), "{jobs} jobs");
        }
    }

    #[test]
    fn nothing_is_told_after_the_end() {
        assert_eq!(told(4, 7), (3..=7).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_ends_it() {
        let outcome =
            in_order(0..100, 3, |seed| seed, |seed, _| if seed == 5 { Err("full") } else { Ok(true) });
        assert_eq!(outcome, Err("full"));
    }
}

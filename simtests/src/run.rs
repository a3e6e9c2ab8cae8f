//! Running a scenario: once, or twice to see that the seed decides everything.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crate::failure::Failure;
use crate::report::Outcome;
use crate::sim::Sim;

/// Runs a scenario once.
pub fn run(seed: u64, scenario: impl Fn(&mut Sim) -> Result<(), Failure>) -> Outcome {
    let mut sim = Sim::new(seed);
    let result = catch_unwind(AssertUnwindSafe(|| scenario(&mut sim)));
    let failure = match result {
        Ok(result) => result.err(),
        Err(panic) => Some(Failure::Crash(text(&*panic))),
    };
    Outcome { seed, trace: sim.trace(), summary: sim.summary(), failure }
}

/// Runs a scenario twice, and compares the traces.
pub fn verify(seed: u64, scenario: impl Fn(&mut Sim) -> Result<(), Failure>) -> Outcome {
    let mut first = run(seed, &scenario);
    let second = run(seed, &scenario);
    if let Some(divergence) = first.trace.divergence(&second.trace) {
        first.failure.get_or_insert(Failure::Determinism(divergence));
    }
    first
}

/// Verifies a scenario and panics with everything that is known when it fails: for tests.
///
/// Prints the run's line behind the name of the thread, which in a test is the test's name: two
/// processes that print the same lines ran the same runs.
///
/// # Panics
///
/// When the scenario fails.
#[expect(clippy::print_stdout, reason = "what a test says of itself is its standard output")]
pub fn check(seed: u64, scenario: impl Fn(&mut Sim) -> Result<(), Failure>) {
    let outcome = verify(seed, scenario);
    println!("scenario={} {}", thread::current().name().unwrap_or("none"), outcome.line());
    assert!(outcome.failure.is_none(), "{outcome}");
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

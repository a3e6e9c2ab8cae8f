//! What a run amounts to, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::failure::Failure;
use crate::trace::Trace;

/// How many lines of the trace a failure shows.
const TAIL_LINES: usize = 40;

/// The figures of a run, or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Simulated time.
    pub simulated: Duration,
    /// Lines of the trace.
    pub events: u64,
    /// Injected faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Strikes by the point at which modules let something go wrong on purpose.
    pub points: BTreeMap<&'static str, u64>,
    /// Checks by invariant.
    pub checked: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// Adds the figures of another run.
    pub fn add(&mut self, other: &Self) {
        self.simulated += other.simulated;
        self.events += other.events;
        let parts = [
            (&mut self.faults, &other.faults),
            (&mut self.points, &other.points),
            (&mut self.checked, &other.checked),
        ];
        for (sum, part) in parts {
            for (name, count) in part {
                *sum.entry(name).or_default() += count;
            }
        }
    }

    /// Returns how many faults were injected in all.
    #[must_use]
    pub fn faults_total(&self) -> u64 {
        self.faults.values().sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "simulated  {:.1} s", self.simulated.as_secs_f64())?;
        writeln!(f, "events     {}", self.events)?;
        writeln!(f, "faults     {}", self.faults_total())?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {kind:<30} {count:>10}")?;
        }
        writeln!(f, "points that struck")?;
        for (point, count) in &self.points {
            writeln!(f, "  {point:<30} {count:>10}")?;
        }
        writeln!(f, "invariants checked")?;
        for (invariant, count) in &self.checked {
            writeln!(f, "  {invariant:<30} {count:>10}")?;
        }
        Ok(())
    }
}

/// One run to its end.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What decided it.
    pub seed: u64,
    /// What happened.
    pub trace: Trace,
    /// Its figures.
    pub summary: Summary,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

impl Outcome {
    /// Returns the run's line in a list of many: `seed=<n> trace=<hash> sim=<seconds> events=<n> faults=<n>`.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { seed, trace, summary, .. } = self;
        format!(
            "seed={seed} trace={:016x} sim={:.3} events={} faults={}",
            trace.hash(),
            summary.simulated.as_secs_f64(),
            summary.events,
            summary.faults_total()
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(failure) = &self.failure else {
            return write!(f, "seed {} holds, trace {:016x}", self.seed, self.trace.hash());
        };
        writeln!(f, "the last lines of the trace:")?;
        for line in self.trace.tail(TAIL_LINES) {
            writeln!(f, "  {line}")?;
        }
        writeln!(
            f,
            "seed {} fails after {:.3} simulated seconds",
            self.seed,
            self.summary.simulated.as_secs_f64()
        )?;
        write!(f, "{failure}")
    }
}

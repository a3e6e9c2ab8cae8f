//! What the soak can run.

use std::time::Duration;

use simtests::{Failure, Outcome, Profile, Schedule, Sim, carry_out, cut_and_heal, run, verify};

/// The scenario in which a whole fleet comes back at once.
const FLEET: &str = "fleet";
/// How many edges it has when nobody says.
const FLEET_EDGES: u32 = 1000;
/// Within which time everything must be right after the links came back.
const FLEET_PATIENCE: Duration = Duration::from_secs(60);

/// A scenario, which a seed makes a run.
#[derive(Debug)]
pub(crate) enum Scenario {
    /// A schedule of faults and of users' work.
    Faults(Profile),
    /// A tenth as many edges as are cut keep their links.
    Fleet { cut: u32 },
}

impl Scenario {
    /// Returns the scenario of a name, with so many edges instead of its own number of them.
    pub(crate) fn named(name: &str, edges: Option<u32>) -> Option<Self> {
        if name == FLEET {
            return Some(Self::Fleet { cut: edges.unwrap_or(FLEET_EDGES) });
        }
        let mut profile = Profile::named(name)?;
        profile.edges = edges.unwrap_or(profile.edges);
        Some(Self::Faults(profile))
    }

    /// Returns all names.
    pub(crate) fn names() -> Vec<&'static str> {
        Profile::names().chain([FLEET]).collect()
    }

    /// Returns the number of edges that `--edges` would give.
    pub(crate) const fn edges(&self) -> u32 {
        match self {
            Self::Faults(profile) => profile.edges,
            Self::Fleet { cut } => *cut,
        }
    }

    /// Runs it twice and compares the runs, or only once.
    pub(crate) fn run(&self, seed: u64, is_once: bool) -> Outcome {
        let scenario = |sim: &mut Sim| self.carry_out(seed, sim);
        if is_once { run(seed, scenario) } else { verify(seed, scenario) }
    }

    fn carry_out(&self, seed: u64, sim: &mut Sim) -> Result<(), Failure> {
        match self {
            Self::Faults(profile) => carry_out(sim, &Schedule::generate(seed, profile)),
            Self::Fleet { cut } => cut_and_heal(sim, *cut, cut.div_ceil(10), FLEET_PATIENCE).map(drop),
        }
    }
}

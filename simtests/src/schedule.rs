//! What happens in a run, made from a seed: faults, their ends, and the work of users.

use std::fmt;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::api::ApiTrouble;
use crate::disk::DiskFault;
use crate::link::{Direction, Shape};
use crate::profile::{Class, Profile};
use crate::runtime::RuntimeTrouble;
use crate::site::CLOUD;
use crate::workload::Work;

/// Something that goes wrong, or an end of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A process is dropped as it stands.
    Crash(String),
    /// An edge loses its power.
    PowerOff(String),
    /// What crashed is started.
    Restart(String),
    /// Nothing comes through in one direction.
    Cut(String, Direction),
    /// Connections break.
    ResetLinks(String),
    /// Connections stick.
    StickLinks(String),
    /// The way is slow, narrow or lossy.
    ShapeLink(String, Shape),
    /// The way is as it was.
    HealLink(String),
    /// A write to a disk fails: so many writes from here.
    FailWrite(String, u64, DiskFault),
    /// A disk is full.
    FillDisk(String),
    /// A disk takes so many times as long.
    SlowDisk(String, u32),
    /// One record that an edge has synced can be read no longer.
    DamageDisk(String),
    /// A disk is as it was.
    HealDisk(String),
    /// The API fails the cloud's modules.
    TroubleApi(ApiTrouble),
    /// The API is as it was.
    HealApi,
    /// All watches of the API end.
    EndWatches,
    /// A container runtime fails.
    TroubleRuntime(String, RuntimeTrouble),
    /// A container runtime is as it was.
    HealRuntime(String),
    /// A container ends from outside.
    CrashContainer(String),
    /// A wall clock jumps by milliseconds.
    JumpClock(String, i64),
    /// A wall clock is right.
    SetClockRight(String),
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// By the simulation.
    Fault(Fault),
    /// By a user of the cluster.
    Work(Work),
}

/// An action and when it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// After the beginning of the schedule.
    pub at: Duration,
    /// The action.
    pub action: Action,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} {:?}", self.at.as_secs_f64(), self.action)
    }
}

/// A run as it is planned.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What everything else is decided by.
    pub seed: u64,
    /// What the run is like.
    pub profile: Profile,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// Makes a schedule. The same seed and profile make the same one.
    #[must_use]
    pub fn generate(seed: u64, profile: &Profile) -> Self {
        let mut maker = Maker { rng: SmallRng::seed_from_u64(seed), profile, steps: Vec::new(), pods: 0 };
        for _ in 0..profile.works {
            let at = maker.moment();
            let work = maker.work();
            maker.add(at, Action::Work(work));
        }
        if !profile.classes.is_empty() {
            for _ in 0..profile.faults {
                maker.fault();
            }
        }
        let mut steps = maker.steps;
        steps.sort_by_key(|step| step.at);
        Self { seed, profile: profile.clone(), steps }
    }
}

struct Maker<'a> {
    rng: SmallRng,
    profile: &'a Profile,
    steps: Vec<Step>,
    pods: u32,
}

impl Maker<'_> {
    fn add(&mut self, at: Duration, action: Action) {
        self.steps.push(Step { at, action });
    }

    fn moment(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(0..self.millis()))
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.profile.duration.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn edge(&mut self) -> String {
        edge_name(self.rng.random_range(0..self.profile.edges.max(1)))
    }

    fn anyone(&mut self) -> String {
        if self.rng.random_bool(0.3) { CLOUD.to_owned() } else { self.edge() }
    }

    fn work(&mut self) -> Work {
        let config = self.rng.random_range(0..self.profile.configs.max(1));
        match self.rng.random_range(0..10) {
            0..=3 => {
                self.pods += 1;
                Work::CreatePod { number: self.pods, edge: self.edge(), config }
            }
            4..=6 => Work::DeletePod {
                number: self.rng.random_range(0..=self.pods),
                grace: *[0, 1, 1, 5].choose(&mut self.rng).unwrap_or(&1),
            },
            7..=8 => Work::ChangeConfigMap { number: config },
            _ => Work::ChangeSecret { number: config },
        }
    }

    /// Adds a fault, and its end where it does not end by itself.
    fn fault(&mut self) {
        let at = self.moment();
        let rest = u64::try_from((self.profile.duration - at).as_millis()).unwrap_or(0).max(1);
        let longest = self.rng.random_range(1..=rest).min(120_000);
        let end = at + Duration::from_millis(self.rng.random_range(0..longest.max(1)));
        let Some(class) = self.profile.classes.choose(&mut self.rng).copied() else { return };
        let (fault, heal) = match class {
            Class::Crashes => self.crash(),
            Class::Links => self.link(),
            Class::Disks => self.disk(),
            Class::Api => self.api(),
            Class::Runtimes => self.runtime(),
            Class::Clocks => self.clock(),
        };
        self.add(at, Action::Fault(fault));
        if let Some(heal) = heal {
            self.add(end, Action::Fault(heal));
        }
    }

    fn crash(&mut self) -> (Fault, Option<Fault>) {
        if self.rng.random_bool(0.3) {
            let edge = self.edge();
            return (Fault::PowerOff(edge.clone()), Some(Fault::Restart(edge)));
        }
        let name = self.anyone();
        (Fault::Crash(name.clone()), Some(Fault::Restart(name)))
    }

    fn link(&mut self) -> (Fault, Option<Fault>) {
        let edge = self.edge();
        let heal = Some(Fault::HealLink(edge.clone()));
        match self.rng.random_range(0..6) {
            0 => (Fault::ResetLinks(edge), None),
            1 => (Fault::StickLinks(edge), None),
            2 | 3 => {
                let direction = *Direction::BOTH.choose(&mut self.rng).unwrap_or(&Direction::Up);
                (Fault::Cut(edge, direction), heal)
            }
            _ => {
                let shape = Shape {
                    latency: Duration::from_millis(self.rng.random_range(1..800)),
                    jitter: Duration::from_millis(self.rng.random_range(0..800)),
                    bytes_per_second: self
                        .rng
                        .random_bool(0.5)
                        .then(|| self.rng.random_range(2_000..200_000)),
                    loss: if self.rng.random_bool(0.5) { self.rng.random_range(0.0..0.2) } else { 0.0 },
                };
                (Fault::ShapeLink(edge, shape), heal)
            }
        }
    }

    fn disk(&mut self) -> (Fault, Option<Fault>) {
        let name = self.anyone();
        let heal = Some(Fault::HealDisk(name.clone()));
        match self.rng.random_range(0..5) {
            0 => (Fault::FillDisk(name), heal),
            // The cloud has nobody who would send it again what its disk has lost.
            1 => (Fault::DamageDisk(self.edge()), None),
            2 => (Fault::SlowDisk(name, self.rng.random_range(10..1000)), heal),
            _ => {
                let fault =
                    if self.rng.random_bool(0.5) { DiskFault::Refused } else { DiskFault::NotDurable };
                (Fault::FailWrite(name, self.rng.random_range(0..20), fault), None)
            }
        }
    }

    fn api(&mut self) -> (Fault, Option<Fault>) {
        if self.rng.random_bool(0.2) {
            return (Fault::EndWatches, None);
        }
        let mut share =
            |most: f64| if self.rng.random_bool(0.4) { self.rng.random_range(0.0..most) } else { 0.0 };
        let trouble = ApiTrouble {
            conflicts: share(0.5),
            gone: share(1.0),
            throttled: share(0.3),
            broken: share(0.3),
            unavailable: share(1.0),
            slowness: Duration::from_secs_f64(share(5.0)),
            ..ApiTrouble::default()
        };
        let watches_end =
            self.rng.random_bool(0.3).then(|| Duration::from_secs(self.rng.random_range(1..30)));
        (Fault::TroubleApi(ApiTrouble { watches_end, ..trouble }), Some(Fault::HealApi))
    }

    fn runtime(&mut self) -> (Fault, Option<Fault>) {
        let edge = self.edge();
        if self.rng.random_bool(0.3) {
            return (Fault::CrashContainer(edge), None);
        }
        let trouble = RuntimeTrouble {
            failing: self.rng.random_range(0.0..0.6),
            unanswered: self.rng.random_range(0.0..0.3),
            is_away: self.rng.random_bool(0.2),
            slowness: Duration::from_millis(self.rng.random_range(0..8_000)),
        };
        (Fault::TroubleRuntime(edge.clone(), trouble), Some(Fault::HealRuntime(edge)))
    }

    fn clock(&mut self) -> (Fault, Option<Fault>) {
        let name = self.anyone();
        let by_ms = match self.rng.random_range(0..3) {
            0 => self.rng.random_range(-3_000..3_000),
            1 => self.rng.random_range(-600_000..600_000),
            _ => self.rng.random_range(-86_400_000..86_400_000),
        };
        (Fault::JumpClock(name.clone(), by_ms), Some(Fault::SetClockRight(name)))
    }
}

/// Returns the name of an edge of a schedule.
pub(crate) fn edge_name(number: u32) -> String {
    format!("edge-{:02}", number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_schedule_and_every_lasting_fault_ends_within_it() {
        let profile = Profile::named("all").expect("it is known");
        for seed in 0..200 {
            let schedule = Schedule::generate(seed, &profile);
            assert_eq!(schedule, Schedule::generate(seed, &profile));
            assert!(schedule.steps.iter().all(|step| step.at <= profile.duration), "seed {seed}");
            assert!(schedule.steps.is_sorted_by_key(|step| step.at), "seed {seed}");
            let count = |wanted: fn(&Fault) -> bool| {
                let is_wanted = |step: &&Step| matches!(&step.action, Action::Fault(fault) if wanted(fault));
                schedule.steps.iter().filter(is_wanted).count()
            };
            let crashes = count(|fault| matches!(fault, Fault::Crash(_) | Fault::PowerOff(_)));
            assert_eq!(crashes, count(|fault| matches!(fault, Fault::Restart(_))), "seed {seed}");
        }
        assert_ne!(Schedule::generate(1, &profile).steps, Schedule::generate(2, &profile).steps);
    }
}

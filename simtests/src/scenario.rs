//! What the soak can run.

use std::time::Duration;

use simtests::{
    Failure, Outcome, Profile, Schedule, Sim, carry_out, cut_and_heal, resync, run, telemetry, verify,
};

/// The scenario in which a whole fleet comes back at once.
const FLEET: &str = "fleet";
/// How many edges it has when nobody says.
const FLEET_EDGES: u32 = 1000;
/// Within which time everything must be right after the links came back.
const FLEET_PATIENCE: Duration = Duration::from_secs(60);

/// The scenario in which every node needs thousands of objects at once.
const RESYNC: &str = "resync";
/// How many edges, and objects for each, it has when nobody says.
const RESYNC_SIZE: (u32, u32) = (40, 2000);
/// How late a lease may be there.
const LEASE_PATIENCE: Duration = Duration::from_secs(1);
/// Within which time all nodes must have got the objects.
const RESYNC_PATIENCE: Duration = Duration::from_secs(600);

/// The scenario in which devices report while things go wrong.
const DEVICES: &str = "devices";
/// How many edges, and devices on each, it has when nobody says.
const DEVICES_SIZE: (u32, u32) = (20, 500);
/// Within which time the API must show what they reported, after the last fault.
const DEVICES_PATIENCE: Duration = Duration::from_secs(300);

/// A scenario, which a seed makes a run.
#[derive(Debug)]
pub(crate) enum Scenario {
    /// A schedule of faults and of users' work.
    Faults(Profile),
    /// A tenth as many edges as are cut keep their links.
    Fleet { cut: u32 },
    /// Every edge needs so many objects at once.
    Resync { edges: u32, objects: u32 },
    /// Every edge has so many devices.
    Devices { edges: u32, devices: u32 },
}

impl Scenario {
    /// Returns the scenario of a name, with so many edges and objects instead of its own numbers.
    pub(crate) fn named(name: &str, edges: Option<u32>, objects: Option<u32>) -> Option<Self> {
        match name {
            FLEET => return Some(Self::Fleet { cut: edges.unwrap_or(FLEET_EDGES) }),
            RESYNC => {
                let (default_edges, default_objects) = RESYNC_SIZE;
                return Some(Self::Resync {
                    edges: edges.unwrap_or(default_edges),
                    objects: objects.unwrap_or(default_objects),
                });
            }
            DEVICES => {
                let (default_edges, default_devices) = DEVICES_SIZE;
                return Some(Self::Devices {
                    edges: edges.unwrap_or(default_edges),
                    devices: objects.unwrap_or(default_devices),
                });
            }
            _ => {}
        }
        let mut profile = Profile::named(name)?;
        profile.edges = edges.unwrap_or(profile.edges);
        Some(Self::Faults(profile))
    }

    /// Returns all names.
    pub(crate) fn names() -> Vec<&'static str> {
        Profile::names().chain([FLEET, RESYNC, DEVICES]).collect()
    }

    /// Returns the arguments that give it this size.
    pub(crate) fn size(&self) -> String {
        match self {
            Self::Faults(Profile { edges, .. }) | Self::Fleet { cut: edges } => format!("--edges {edges}"),
            Self::Resync { edges, objects } | Self::Devices { edges, devices: objects } => {
                format!("--edges {edges} --objects {objects}")
            }
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
            Self::Resync { edges, objects } => {
                resync(sim, *edges, *objects, LEASE_PATIENCE, RESYNC_PATIENCE).map(drop)
            }
            Self::Devices { edges, devices } => {
                telemetry(sim, seed, (*edges, *devices), DEVICES_PATIENCE).map(drop)
            }
        }
    }
}

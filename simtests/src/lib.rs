//! A deterministic simulation of a whole cluster: the production modules, unchanged, on one thread,
//! with one seed that decides every delay, every fault and every order.
//!
//! A scenario is a function of a [`Sim`]:
//!
//! ```
//! use std::time::Duration;
//! use simtests::{Sim, cluster};
//!
//! simtests::check(7, |sim: &mut Sim| {
//!     sim.cloud("")?;
//!     sim.edge("edge-01", "")?;
//!     let kube = sim.kube();
//!     let minute = Duration::from_secs(60);
//!     sim.until("the node is ready", minute, async || cluster::node_is_ready(&kube, "edge-01").await)
//! });
//! ```
//!
//! [`check`] runs it twice and compares the traces. `docs/simulation.md` is the guide.

pub mod cluster;

mod api;
mod check;
mod clock;
mod disk;
mod explore;
mod failure;
mod fleet;
mod link;
mod log;
mod machine;
mod mischief;
mod node;
mod profile;
mod report;
mod resync;
mod run;
mod runtime;
mod schedule;
mod sim;
mod site;
mod telemetry;
mod trace;
mod workload;
mod world;

pub use api::ApiTrouble;
pub use check::{Invariant, Violation};
pub use disk::DiskFault;
pub use explore::{carry_out, explore};
pub use failure::Failure;
pub use fleet::{Return, cut_and_heal};
pub use link::{Direction, Shape};
pub use profile::{Class, Profile};
pub use report::{Outcome, Summary};
pub use resync::{Resync, resync};
pub use run::{check, run, verify};
pub use runtime::RuntimeTrouble;
pub use schedule::{Action, Fault, Schedule, Step};
pub use sim::Sim;
pub use telemetry::{Telemetry, telemetry};
pub use trace::{Divergence, Trace};
pub use workload::Work;

#![doc = include_str!("../README.md")]

pub mod config;
pub mod latest;
pub mod section;

mod ask;
mod buggify;
mod bus;
mod catalog;
mod clock;
mod context;
mod core;
mod engine;
mod error;
mod host;
mod launch;
mod mailbox;
mod message;
mod metrics;
mod module;
mod name;
mod node;
mod parcel;
mod problem;
mod progress;
mod reply;
mod route;
mod run;
mod supervise;
mod task;
mod timer;
mod trace;
mod wait;

#[cfg(feature = "test-util")]
pub mod probe;

pub use ask::{Ask, AskAll};
pub use buggify::Buggify;
pub use bus::{Bus, To};
pub use catalog::{Catalog, Entry};
pub use clock::{Clock, SystemClock};
pub use config::ModuleConfig;
pub use context::{Context, Rng};
pub use error::{
    AskError, BuildError, Chain, Delivered, Failure, LaunchError, NodeFailure, PublishError, SendError,
};
pub use message::Message;
pub use metrics::{Health, ModuleHealth, ModuleMetrics, ModuleState, Stuck};
pub use module::{Defer, Handler, Module, Wiring};
pub use name::{Group, ModuleName};
pub use node::{Node, NodeOptions, Section, Sections, Stopped};
pub use parcel::Me;
#[cfg(feature = "test-util")]
pub use probe::Probe;
pub use problem::{Problem, Problems};
pub use reply::Responder;
pub use run::block_on;
pub use supervise::{Backoff, Restart, RestartPolicy, Supervisor, Verdict};
pub use task::TaskKey;
pub use timer::TimerKey;
pub use trace::{BusEvent, EventKind, TraceRing, TraceSink};

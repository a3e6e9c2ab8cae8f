//! For authors of device mappers.
//!
//! A mapper connects devices of one protocol to a node: it registers with the node's edgecore over DMI, is
//! told which devices there are, writes the values that are wanted of them and reports the ones that they
//! have. An author implements [`Driver`], which opens, reads and writes one device; [`run`] does the rest:
//!
//! - it registers, and again when edgecore was replaced,
//! - it serves edgecore's calls and keeps one task for each device,
//! - it reads each property every `collectCycle` and reports it, and the device's state every
//!   `stateReport.reportCycle`,
//! - it writes values that are wanted until the device has taken them,
//! - it opens a device again that was lost,
//! - it sends values every `reportCycle` to where `pushMethod` says: a web server, an MQTT broker, a collector
//!   of OpenTelemetry, InfluxDB 2.
//!
//! The configuration file is that of KubeEdge's `mapper-framework`: see [`Config`].
//! `examples/mapper-thermostat` is the smallest mapper.

mod config;
mod device;
mod driver;
mod edge;
mod host;
mod panel;
mod program;
mod push;
mod run;
mod schedule;
mod service;
mod value;
mod worker;

pub use config::{Config, ConfigError};
pub use device::{Device, Property, PushMethod};
pub use driver::{Driver, DriverError};
pub use host::{Host, Secret};
pub use program::main_with;
pub use run::{RunError, run};
pub use value::{Kind, Value, ValueError};

//! The edge's pod lifecycle over a container runtime port.

pub mod backoff;
pub mod config;
pub mod data;
pub mod env;
pub mod events;
pub mod fields;
pub mod hollow;
pub mod memory_files;
pub mod net;
pub mod node;
pub mod observed;
pub mod patch;
pub mod pod;
pub mod ports;
pub mod probe;
pub mod qos;
pub mod quantity;
pub mod spec;
pub mod status;
pub mod sync;
pub mod time;
pub mod volumes;

#[cfg(test)]
mod fixtures;

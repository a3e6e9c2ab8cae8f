//! The edge's pod lifecycle over a container runtime port.

pub mod ports;

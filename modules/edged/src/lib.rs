//! The edge's pod lifecycle over a container runtime port

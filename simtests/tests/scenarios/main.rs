//! Scenarios: whole clusters under faults, each decided by its seed.

mod api;
mod determinism;
mod links;
mod pods;
mod soak;

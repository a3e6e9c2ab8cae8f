//! Scenarios: whole clusters under faults, each decided by its seed.

mod api;
mod checks;
mod determinism;
mod disks;
mod links;
mod pods;
mod soak;

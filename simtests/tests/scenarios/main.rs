//! Scenarios: whole clusters under faults, each decided by its seed.

mod pods;

//! Scenarios: whole clusters under faults, each decided by its seed.

mod api;
mod checks;
mod cold_boot;
mod determinism;
mod devices;
mod disks;
mod idle;
mod inventory;
mod links;
mod mappers;
mod offline;
mod pods;
mod records;
mod rules;
mod soak;
mod telemetry;

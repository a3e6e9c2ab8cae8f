//! Deterministic simulation and repository checks

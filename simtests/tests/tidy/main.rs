//! Holds the repository to its own rules: who may depend on whom, which names stay where, how
//! large a file may grow, and that each invariant in ARCHITECTURE.md names a test that exists.

mod dependencies;
mod invariants;
mod names;
mod sizes;
mod source;

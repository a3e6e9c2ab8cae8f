//! The durable key-value store port, its in-memory form and its conformance suite.
//!
//! A store holds named trees of ordered keys. Reads see every batch that was committed before,
//! durable or not; a batch is durable, all of it or nothing, when its commit resolves.

mod batch;
mod error;
mod memory;
mod port;

#[cfg(feature = "test-util")]
pub mod conformance;

pub use batch::{Batch, Write};
pub use error::StoreError;
pub use memory::{Fault, MemoryStore};
pub use port::{Commit, Entry, SharedStore, Store, Survey};

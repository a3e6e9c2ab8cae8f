//! The durable key-value store port, its in-memory form and its conformance suite.
//!
//! A store holds named trees of ordered keys. Reads see every batch that was committed before,
//! durable or not; a batch is durable, all of it or nothing, when its commit resolves.
//!
//! A commit that fails is the last of its opening: nobody knows what is on the medium then, and nothing
//! more is acknowledged until the medium was opened anew and read. A [`Medium`] does so by itself, as
//! soon as it takes writes again.

mod batch;
mod error;
mod memory;
mod openings;
mod pages;
mod port;
mod texts;
mod trees;

#[cfg(feature = "test-util")]
pub mod conformance;

pub use batch::{Batch, Write};
pub use error::StoreError;
pub use memory::{Fault, MemoryStore};
pub use openings::{Openings, Over};
pub use pages::{Pages, read_all};
pub use port::{Commit, Entry, Medium, SharedMedium, SharedStore, Store, Survey};
pub use texts::Texts;
pub use trees::Trees;

//! The sled adapter of the store port.
//!
//! - Batches are applied in the order of calls and seen by reads at once. One thread flushes and
//!   fsyncs them in groups; a commit resolves after the fsync of its group.
//! - All trees live in one sled tree, since sled applies a batch atomically only within one.
//! - Each record carries a CRC-32 of its key and value.
//! - sled takes a file whose end it cannot read for an older one. Batches are counted, and the count of
//!   those acknowledged is kept beside: what is missing is noticed at the next opening.
//! - sled may panic on a damaged file. Each call into it is guarded: a panic becomes an error.
//!
//! A store's directory holds `lock` (the process that has the store open), `data` (sled's files)
//! and `data.corrupt-N` (what recoveries moved aside).

mod disk;
mod guard;
mod mark;
mod open;
mod record;
mod store;
mod writer;

pub use open::{OpenError, Opened, Recovery};
pub use store::SledStore;

//! The sled adapter of the store port.
//!
//! - Batches are seen by reads at once. One thread gives sled all that came while it wrote as one batch, and
//!   flushes and fsyncs it; a commit resolves after the fsync of its group.
//! - All trees live in one sled tree, since sled applies a batch atomically only within one.
//! - Each record carries a CRC-32 of its key and value.
//! - sled takes a file whose end it cannot read for an older one. Batches are counted, and the count of
//!   those acknowledged is kept beside: what is missing is noticed at the next opening.
//! - After a failed write nothing more is acknowledged. The medium's own thread opens the directory anew
//!   once it takes writes again, after it has let the system forget what it holds of the files.
//! - sled may panic on a damaged file. Each call into it is guarded: a panic becomes an error.
//!
//! A store's directory holds `lock` (the process that has the store open), `data` or `data-N` (sled's files)
//! and `data.corrupt-N` (what recoveries moved aside); `probe` is there while the disk is tried.

mod alarm;
mod data;
mod disk;
mod examine;
mod guard;
mod mark;
mod medium;
mod open;
mod pending;
mod record;
mod store;
mod survey;
mod writer;

pub use examine::{Examined, examine};
pub use guard::hush_panics;
pub use medium::SledMedium;
pub use open::{OnDamage, OpenError, Opened, Recovery};
pub use store::SledStore;

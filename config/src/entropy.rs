//! Randomness from the system: the one place where a process takes it.

use std::fs::File;
use std::io::{self, Read};

/// Returns bytes that nobody can guess.
///
/// # Errors
///
/// When the system gives none.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Returns a seed for a node.
///
/// # Errors
///
/// When the system gives no randomness.
pub fn random_seed() -> io::Result<u64> {
    random_bytes().map(u64::from_ne_bytes)
}

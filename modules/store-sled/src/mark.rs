//! How many batches were made durable, kept beside sled's files.
//!
//! sled ends its recovery at the first message it cannot read, and opens with what came before: a
//! damaged file looks like an older one. Each batch counts itself inside sled, and the mark, written
//! after the fsync of its group, says how many there must be at least. The mark is not fsynced: after
//! a power loss it may be behind, never ahead.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::guard::guarded;
use crate::record::{decode_value, encode_value};

/// sled's key of the count. No tree's record begins with a NUL.
const COUNT_KEY: &[u8] = b"\0batches";

const MARK_FILE: &str = "acknowledged";
const NUMBER_LENGTH: usize = 8;
const MARK_LENGTH: usize = NUMBER_LENGTH + 4;

/// The mark of an open store.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
}

impl Mark {
    /// Opens the mark in `data`, which is made if it is missing, and moves it to `count`.
    pub(crate) fn open(data: &Path, count: u64) -> io::Result<Self> {
        let name = data.join(MARK_FILE);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(name)?;
        let mark = Self { file };
        mark.advance(count)?;
        mark.file.sync_all()?;
        Ok(mark)
    }

    /// Notes that batches up to `count` are durable.
    pub(crate) fn advance(&self, count: u64) -> io::Result<()> {
        let mut content = encode_value(COUNT_KEY, &count.to_le_bytes());
        content.truncate(MARK_LENGTH);
        self.file.write_all_at(&content, 0)
    }
}

/// Adds to a batch that it is the batch `count`.
pub(crate) fn count_in(changes: &mut sled::Batch, count: u64) {
    changes.insert(COUNT_KEY, encode_value(COUNT_KEY, &count.to_le_bytes()));
}

/// Returns how many batches the store holds, after comparing that with its mark.
///
/// # Errors
///
/// What is wrong, when a count is damaged or batches are missing.
pub(crate) fn check(database: &sled::Db, data: &Path) -> Result<u64, String> {
    let held = match guarded(|| database.get(COUNT_KEY))? {
        Some(encoded) => number(&encoded).ok_or("the count of its batches is damaged")?,
        None => 0,
    };
    let marked = match std::fs::read(data.join(MARK_FILE)) {
        Ok(content) => number(&content).ok_or("the mark of its last batch is damaged")?,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(format!("the mark of its last batch cannot be read: {error}")),
    };
    if held < marked {
        return Err(format!("of {marked} batches that were acknowledged, only {held} can be read"));
    }
    Ok(held)
}

fn number(encoded: &[u8]) -> Option<u64> {
    let value = decode_value(COUNT_KEY, encoded)?;
    Some(u64::from_le_bytes(value.as_ref().try_into().ok()?))
}

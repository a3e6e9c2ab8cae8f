//! What single small batches cost the disk beneath the store.
//!
//! `cargo run --release -p store-sled --example amplification -- DIRECTORY [BATCHES] [BYTES]` commits so many
//! batches of so many bytes one after another, each made durable before the next, over 100 keys that are
//! written again and again, in a directory that must be on a real disk. It prints what the kernel counts as
//! written by this process (`write_bytes` of `/proc/self/io`).

use std::fs;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use store::{Batch, Store as _};
use store_sled::SledStore;

const KEYS: u64 = 100;
/// Within this time sled has cleaned up after the last batch.
const CLEANING: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    let (Some(directory), Ok(batches), Ok(bytes)) = (arguments.first(), number(1, 1000), number(2, 400))
    else {
        return ExitCode::from(2);
    };
    match measure(directory, batches, bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let told = writeln!(io::stderr(), "{error}");
            told.map_or(ExitCode::from(3), |()| ExitCode::FAILURE)
        }
    }
}

fn measure(directory: &str, batches: u64, bytes: u64) -> Result<(), Box<dyn std::error::Error>> {
    let store = SledStore::open(directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let value = vec![0x5a_u8; usize::try_from(bytes)?];
    let before = written()?;
    for batch in 0..batches {
        let key = (batch % KEYS).to_be_bytes().to_vec();
        runtime.block_on(store.commit(Batch::new().put("amplification", key, value.clone())))?;
    }
    sleep(CLEANING);
    let written = written()? - before;
    writeln!(
        io::stdout(),
        "{batches} batches of {bytes} bytes: the kernel wrote {written} bytes, {} for each batch",
        written / batches.max(1)
    )?;
    Ok(())
}

/// Returns how many bytes the kernel has counted as written to disks by this process.
fn written() -> Result<u64, Box<dyn std::error::Error>> {
    let counts = fs::read_to_string("/proc/self/io")?;
    let line = counts.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("the kernel does not count")?.trim().parse()?)
}

//! Whether there is room.

use std::path::Path;

use crate::finding::Finding;
use crate::world::World;

const CHECK: &str = "disk";
const MIB: u64 = 1 << 20;
/// Stores stop taking writes soon.
const FAIL_BELOW: u64 = 64 * MIB;
/// Below these parts of a hundred, pods are refused by the defaults of `evictionHard`.
const WARN_BELOW_BYTES: u64 = 10;
const WARN_BELOW_INODES: u64 = 5;

/// Measures the file system that holds `path`.
pub(crate) fn look(world: &dyn World, path: &Path) -> Finding {
    let space = match world.space(path) {
        Ok(space) => space,
        Err(error) => {
            let seen = format!("{}: {error}", path.display());
            return Finding::failed(CHECK, seen, "mount the file system, or choose another directory");
        }
    };
    let of_hundred = |part: u64, all: u64| part.saturating_mul(100).checked_div(all).unwrap_or(100);
    let bytes = of_hundred(space.bytes_available, space.bytes);
    let inodes = of_hundred(space.inodes_available, space.inodes);
    let seen = format!(
        "{}: {} MiB free, {bytes} % of the bytes and {inodes} % of the inodes",
        path.display(),
        space.bytes_available / MIB
    );
    let todo = "make room: unused images (crictl rmi --prune), logs below /var/log, old files";
    if space.bytes_available < FAIL_BELOW || (space.inodes > 0 && space.inodes_available == 0) {
        Finding::failed(CHECK, seen, todo)
    } else if bytes < WARN_BELOW_BYTES || inodes < WARN_BELOW_INODES {
        Finding::warning(CHECK, seen, todo)
    } else {
        Finding::ok(CHECK, seen)
    }
}

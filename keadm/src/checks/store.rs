//! Whether the store of a process can be read.

use std::path::Path;

use node_config::Process;

use crate::finding::Finding;
use crate::world::{StoreSeen, World};

const CHECK: &str = "store";

/// Reads the store in a directory, unless a process has it open.
pub(crate) async fn look(world: &dyn World, process: Process, directory: &Path) -> Finding {
    let at = directory.display();
    let lost = match process {
        Process::EdgeCore => {
            "start edgecore: it moves what is damaged aside, and the cloud tells it everything again"
        }
        Process::CloudCore => {
            "restore the directory from a copy: cloudcore does not start with less than it had"
        }
    };
    match world.store(directory).await {
        StoreSeen::Missing => Finding::ok(CHECK, format!("{at} is not there yet")),
        StoreSeen::InUse { holder } => Finding::ok(CHECK, format!("{at} is open in process {holder}")),
        StoreSeen::Large { bytes } => {
            Finding::ok(CHECK, format!("{at} has {} MiB, too many to read them all", bytes >> 20))
        }
        StoreSeen::Read(found) if found.corrupt > 0 => Finding::failed(
            CHECK,
            format!("{at}: {} of {} records are corrupt", found.corrupt, found.corrupt + found.records),
            format!("look for a failing disk (dmesg, smartctl), then {lost}"),
        ),
        StoreSeen::Read(found) if found.moved_aside > 0 => Finding::warning(
            CHECK,
            format!("{at}: {} records, and {} damaged stores beside them", found.records, found.moved_aside),
            "look for a failing disk (dmesg, smartctl), then remove data.corrupt-* there",
        ),
        StoreSeen::Read(found) => Finding::ok(CHECK, format!("{at}: {} records, all sound", found.records)),
        StoreSeen::Broken { cause } => Finding::failed(
            CHECK,
            format!("{at}: {cause}"),
            format!("look for a full or failing disk, then {lost}"),
        ),
    }
}

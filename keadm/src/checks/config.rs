//! Whether a process would start with its configuration.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use beehive::Catalog;
use node_config::{Loaded, Process};

use crate::finding::Finding;
use crate::world::World;

const CHECK: &str = "config";

/// Loads a file as the process would, with the findings that come of it.
pub(crate) fn look(
    world: &dyn World,
    process: Process,
    catalog: &Catalog,
    file: &Path,
) -> (Vec<Finding>, Option<Loaded>) {
    let at = file.display().to_string();
    let text = match world.read(file) {
        Ok(text) => text,
        Err(error) => {
            let todo = match process {
                _ if error.kind() == ErrorKind::PermissionDenied => {
                    "run keadm doctor as root: sudo keadm doctor"
                }
                Process::EdgeCore => {
                    "join a cluster: keadm join; or name the file: keadm doctor edge --config FILE"
                }
                Process::CloudCore => {
                    "set the cloud up: keadm init; or name the file: keadm doctor cloud --config FILE"
                }
            };
            return (vec![Finding::failed(CHECK, format!("{at}: {error}"), todo)], None);
        }
    };
    match node_config::load(process, catalog, Some((&at, &text)), &BTreeMap::new()) {
        Ok(loaded) if loaded.notices.is_empty() => {
            (vec![Finding::ok(CHECK, format!("{at} is valid"))], Some(loaded))
        }
        Ok(loaded) => {
            let seen = format!("{at} is valid; {}", loaded.notices);
            (vec![Finding::ok(CHECK, seen)], Some(loaded))
        }
        Err(error) => {
            let all = error
                .problems()
                .iter()
                .map(|problem| Finding::failed(CHECK, problem.to_string(), format!("correct it in {at}")));
            (all.collect(), None)
        }
    }
}

//! `keadm migrate`: takes over what KubeEdge's edgecore kept, so that the node's pods go on without a cloud.

mod database;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use metamanager::{ImportError, import};
use node_config::{Causes, ConfigError, Ending, Process};
use protocol::{Object, ObjectKey};
use store::Medium;
use store_sled::{OnDamage, OpenError, SledMedium};

use crate::root::Root;
use crate::say::{say, warn};
use crate::world::World;
use crate::written::{self, FileError};
use database::{DatabaseError, Kept};

pub(crate) const EXAMPLES: &str = "\
Examples:
  systemctl stop edgecore && keadm migrate          before edgecore of Beehive runs for the first time
  keadm migrate --dry-run                           says what would be taken over

KubeEdge's database is only read; the way back is to start KubeEdge's edgecore again. See docs/migration.md.";

/// The flags of `keadm migrate`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Migrate {
    /// KubeEdge's database; database.dataSource of edgecore.yaml if not given.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,

    /// The configuration of edgecore; that below /etc/kubeedge/config if not given.
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Says what would be taken over, and changes nothing.
    #[arg(short = 'd', long)]
    dry_run: bool,

    #[command(flatten)]
    root: Root,
}

/// Says why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    #[error("nothing was changed: edgecore runs as process {0}; stop it first: systemctl stop edgecore")]
    Running(u32),
    #[error("there is no {}: name edgecore's configuration by --config", .0.display())]
    NoConfig(PathBuf),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{}: name KubeEdge's database by --database", path.display())]
    Database {
        path: PathBuf,
        #[source]
        cause: DatabaseError,
    },
    #[error("the store of edgecore cannot be opened")]
    Store(#[from] OpenError),
    #[error("what was read could not be kept")]
    Import(#[from] ImportError),
}

/// Takes over what KubeEdge's edgecore kept.
pub(crate) async fn run(flags: Migrate, world: &dyn World) -> Result<Ending, MigrateError> {
    if flags.root.is_machine()
        && let Some(found) = world.processes().into_iter().find(|seen| seen.name == "edgecore")
    {
        return Err(MigrateError::Running(found.id));
    }
    let config = flags.config.clone().unwrap_or_else(|| flags.root.config(Process::EdgeCore));
    let text = written::read(&config)?.ok_or_else(|| MigrateError::NoConfig(config.clone()))?;
    let name = config.display().to_string();
    let catalog = edgecore::inert_catalog();
    let loaded = node_config::load(Process::EdgeCore, &catalog, Some((&name, &text)), &BTreeMap::new())?;
    let directory = &loaded.settings.store;
    // The store is the directory beside KubeEdge's file whose name ends in `.d`.
    let path = flags.database.clone().unwrap_or_else(|| directory.with_extension(""));
    let kept = database::read(&path).map_err(|cause| MigrateError::Database { path: path.clone(), cause })?;
    tell(&kept);
    if flags.dry_run {
        say("with --dry-run nothing is changed");
        return Ok(Ending::Asked);
    }
    let medium = SledMedium::open(directory, OnDamage::Refuse)?;
    let taken = import(&*medium.store(), &kept.objects).await?;
    say(&format!(
        "{taken} objects were taken over into {}, {} were there already",
        directory.display(),
        kept.objects.len() - taken
    ));
    Ok(Ending::Asked)
}

fn tell(kept: &Kept) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, _) in &kept.objects {
        *counts.entry(key.resource.as_str()).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    say(&format!(
        "KubeEdge kept {}",
        if counts.is_empty() { "no objects".to_owned() } else { counts.join(", ") }
    ));
    for (key, reason) in &kept.skipped {
        warn(&format!("{key} is left out: {reason}"));
    }
}

/// An object as KubeEdge named it.
pub(crate) type Named = (ObjectKey, Object);

/// Says why a row is left out.
fn reason(error: &dyn std::error::Error) -> String {
    Causes(error).to_string()
}

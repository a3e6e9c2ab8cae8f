//! `keadm reset`: undoes what `keadm init` or `keadm join` did to this machine.

mod edge;
mod removal;

#[cfg(test)]
mod tests;

use std::io::BufRead;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use node_config::{Ending, Process};

use crate::root::Root;
use crate::say::{say, warn};
use crate::script::{self, ScriptError};
use crate::services::Services;
use crate::world::World;
use crate::written::FileError;

use removal::{Removal, removal};

pub(crate) const EXAMPLES: &str = "\
Examples:
  keadm reset edge            asks before it removes anything
  keadm reset edge --force    does not ask
  keadm reset cloud --force   removes cloudcore's own cluster, if it has one, with all that is in it

The node stays known to the cluster: kubectl delete node NAME.";

/// The flags of `keadm reset`.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Reset {
    #[command(subcommand)]
    part: Option<Part>,

    #[command(flatten)]
    all: How,
}

/// What to undo.
#[derive(Debug, Clone, Subcommand)]
enum Part {
    /// Undoes a join: stops edgecore and its pods, and removes its files.
    Edge(How),
    /// Undoes an init: stops cloudcore and removes its files.
    Cloud(How),
}

/// How it is undone.
#[derive(Debug, Clone, clap::Args)]
struct How {
    /// Does not ask.
    #[arg(long)]
    force: bool,

    /// The socket of the container runtime whose pods are removed; that of edgecore.yaml if not given.
    #[arg(long, value_name = "SOCKET")]
    remote_runtime_endpoint: Option<String>,

    /// Without a meaning here: keadm installs nothing into a cluster.
    #[arg(
        long,
        alias = "kubeconfig",
        value_name = "FILE",
        help_heading = "Flags of KubeEdge without a meaning here"
    )]
    kube_config: Option<PathBuf>,

    /// A script that runs first.
    #[arg(long, value_name = "SCRIPT")]
    pre_run: Option<PathBuf>,

    /// A script that runs in the end.
    #[arg(long, value_name = "SCRIPT")]
    post_run: Option<PathBuf>,

    #[command(flatten)]
    root: Root,
}

/// Says why this machine was not reset.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResetError {
    #[error("nothing was changed: keadm does not run as root (sudo keadm reset ...)")]
    Rights,
    #[error("nothing was changed: the answer was not yes")]
    Refused,
    #[error(
        "nothing was removed: {name} still runs as process {id}; stop it (kill {id}), and run keadm reset again"
    )]
    Running { name: &'static str, id: u32 },
    #[error(
        "nothing was removed: the pods of this node could not be ended; --remote-runtime-endpoint names another runtime"
    )]
    Pods(#[from] edge::PodError),
    #[error("{0} is still mounted: what is below it is not removed")]
    Mounted(String),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// Undoes what was done to this machine.
pub(crate) async fn run(
    flags: Reset,
    world: &dyn World,
    services: &dyn Services,
    answers: &mut (dyn BufRead + Send),
) -> Result<Ending, ResetError> {
    let (processes, how) = match flags.part {
        Some(Part::Edge(how)) => (vec![Process::EdgeCore], how),
        Some(Part::Cloud(how)) => (vec![Process::CloudCore], how),
        None => (vec![Process::EdgeCore, Process::CloudCore], flags.all),
    };
    if how.kube_config.is_some() {
        warn(
            "--kube-config has no meaning here: keadm installs nothing into a cluster, so there is nothing to take out",
        );
    }
    let here = |cause| FileError::new("find", Path::new("."), cause);
    let how = How { root: how.root.clone().absolute().map_err(here)?, ..how };
    let mut removals = Vec::new();
    for process in processes {
        removals.extend(removal(process, &how.root, world).await);
    }
    if removals.is_empty() {
        say("neither keadm init nor keadm join left anything on this machine");
        return Ok(Ending::Asked);
    }
    if how.root.is_machine() && !world.is_root() {
        return Err(ResetError::Rights);
    }
    if let Some(path) = &how.pre_run {
        script::run(path).await?;
    }
    if !how.force && !confirmed(&removals, answers) {
        return Err(ResetError::Refused);
    }
    for removal in &removals {
        undo(removal, &how, world, services).await?;
    }
    if let Some(path) = &how.post_run {
        script::run(path).await?;
    }
    Ok(Ending::Asked)
}

fn confirmed(removals: &[Removal], answers: &mut dyn BufRead) -> bool {
    for removal in removals {
        say(&format!("{} is stopped, and this is removed:", removal.process.name()));
        for path in removal.paths() {
            say(&format!("  {}", path.display()));
        }
        if let Some(warning) = &removal.warning {
            say(&format!("  {warning}"));
        }
    }
    say("go on? [y/N]");
    let mut answer = String::new();
    match answers.read_line(&mut answer) {
        Ok(_) => matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"),
        Err(error) => {
            tracing::debug!(%error, "there is no answer");
            false
        }
    }
}

async fn undo(
    removal: &Removal,
    how: &How,
    world: &dyn World,
    services: &dyn Services,
) -> Result<(), ResetError> {
    let process = removal.process;
    let has_services = how.root.is_machine() && services.is_there();
    if has_services && let Err(error) = services.stop(process).await {
        warn(&node_config::Causes(&error).to_string());
    }
    if how.root.is_machine()
        && let Some(found) = world.processes().into_iter().find(|seen| seen.name == process.name())
    {
        return Err(ResetError::Running { name: process.name(), id: found.id });
    }
    if let Some(node) = &removal.node {
        edge::end_pods(node, how.remote_runtime_endpoint.as_deref()).await?;
        edge::unmount(&node.root_directory)?;
    }
    removal.remove()?;
    if has_services && let Err(error) = services.reload().await {
        warn(&node_config::Causes(&error).to_string());
    }
    say(&format!("{} is gone from this machine", process.name()));
    Ok(())
}

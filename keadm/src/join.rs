//! `keadm join`: makes this machine a node of a cluster.

mod check;
mod flags;
mod plan;
mod token;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use beehive::SystemClock;
use edgecore::certificate::CertificateFacts;
use edgecore::enrol::{EnrolError, Enrolment};
use node_config::{Ending, Process};
use tokio::time::timeout;

use crate::finding::{Failures, print};
use crate::say::{say, warn};
use crate::script::{self, ScriptError};
use crate::services::{ServiceError, Services, unit};
use crate::world::World;
use crate::written::{self, Absent, FileError};

pub(crate) use flags::{EXAMPLES, Join};
use plan::{Plan, PlanError};

/// The cloud was there a moment ago: this is enough for one certificate.
const ENROL_PATIENCE: Duration = Duration::from_secs(60);
/// Readable by root: `--set` may have put secrets into it.
const CONFIG_MODE: u32 = 0o600;
const UNIT_MODE: u32 = 0o644;

/// Says why this machine did not join.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error("this machine's host name is not known, so give one: --edgenode-name ({0})")]
    HostName(String),
    #[error("nothing was changed")]
    Plan(#[from] PlanError),
    #[error("nothing was changed: {0}")]
    Checks(Failures),
    #[error("the node gets no certificate of the cloud, and nothing was changed")]
    Enrol(#[from] EnrolError),
    #[error("the cloud gave no certificate within {ENROL_PATIENCE:?}, and nothing was changed")]
    EnrolSilent,
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("edgecore was installed and could not be started; see journalctl -u edgecore")]
    Service(#[from] ServiceError),
}

/// Makes this machine a node, or says why not. Nothing is written before everything was checked.
pub(crate) async fn run(
    mut flags: Join,
    world: &dyn World,
    services: &dyn Services,
) -> Result<Ending, JoinError> {
    flags.unused.tell();
    let here = |cause| FileError::new("find", Path::new("."), cause);
    flags.root = flags.root.absolute().map_err(here)?;
    if let Some(path) = flags.pre_run.as_deref().filter(|_| !flags.dry_run) {
        script::run(path).await?;
    }
    let config = flags.root.config(Process::EdgeCore);
    let before = written::read(&config)?;
    let host_name = match &flags.edgenode_name {
        Some(name) => name.clone(),
        None => world.host_name().map_err(JoinError::HostName)?,
    };
    let plan = Plan::new(&flags, &host_name, before.as_deref(), shares(&flags, world))?;
    let program = world.program(Process::EdgeCore);
    let findings = check::check(&plan, &flags, world, program.as_deref()).await;
    print(&findings);
    if !plan.notices.is_empty() {
        say(&format!("note     {} has keys {}", config.display(), plan.notices));
    }
    if let Some(failures) = Failures::of(&findings) {
        return Err(JoinError::Checks(failures));
    }
    let program = program.unwrap_or_else(|| PathBuf::from("/usr/local/bin/edgecore"));
    let unit = unit(Process::EdgeCore, &program, &config);
    if flags.dry_run {
        show(&plan, &flags, &config, &unit);
        return Ok(Ending::Asked);
    }
    enrol(&plan).await?;
    install(&plan, &flags, &config, &unit)?;
    start(&plan, &flags, &program, &config, services).await?;
    if let Some(path) = &flags.post_run {
        script::run(path).await?;
    }
    Ok(Ending::Asked)
}

/// Tells whether this machine is a cloud too, whose files of certificates have the same default names.
fn shares(flags: &Join, world: &dyn World) -> bool {
    world.exists(&flags.root.config(Process::CloudCore))
}

/// Gets the node's certificate with the token, which is not needed any more after that.
async fn enrol(plan: &Plan) -> Result<(), JoinError> {
    let mut hub = plan.hub.clone();
    hub.token = plan.token.secret.clone();
    let certificate = hub.tls_cert_file.clone();
    // One of another authority would be kept as the node's own.
    let believed = CertificateFacts::of_file(&hub.tls_ca_file)
        .is_ok_and(|authority| authority.fingerprint.eq_ignore_ascii_case(&plan.token.fingerprint));
    let mut aside = Vec::new();
    for path in [&certificate, &hub.tls_ca_file].into_iter().filter(|_| !believed) {
        aside.extend(written::move_aside(path)?.map(|aside| (aside, path.clone())));
    }
    let absent = Absent::of(&[&hub.tls_ca_file, &certificate, &hub.tls_private_key_file]);
    let enrolment = Enrolment::new(&hub, plan.node.clone(), Arc::new(SystemClock))?;
    let failure = match timeout(ENROL_PATIENCE, enrolment.ensure()).await {
        Ok(Ok(())) => {
            say(&format!("{} is the node's certificate", certificate.display()));
            return Ok(());
        }
        Ok(Err(error)) => error.into(),
        Err(_) => JoinError::EnrolSilent,
    };
    absent.restore()?;
    for (aside, path) in &aside {
        fs::rename(aside, path).map_err(|cause| FileError::new("put back", path, cause))?;
    }
    Err(failure)
}

fn directories(plan: &Plan) -> [PathBuf; 3] {
    let kubelet = &plan.edged.tailored_kubelet_config;
    [plan.store.clone(), plan.edged.root_directory.clone(), kubelet.pod_logs_dir.clone()]
}

fn install(plan: &Plan, flags: &Join, config: &Path, unit: &str) -> Result<(), FileError> {
    for directory in directories(plan) {
        fs::create_dir_all(&directory).map_err(|cause| FileError::new("make", &directory, cause))?;
    }
    written::write(config, &plan.text, CONFIG_MODE)?;
    say(&format!("{} is written", config.display()));
    let path = flags.root.unit(Process::EdgeCore);
    written::write(&path, unit, UNIT_MODE)?;
    say(&format!("{} is written", path.display()));
    Ok(())
}

async fn start(
    plan: &Plan,
    flags: &Join,
    program: &Path,
    config: &Path,
    services: &dyn Services,
) -> Result<(), JoinError> {
    let node = &plan.node;
    if flags.root.is_machine() && services.is_there() {
        services.start(Process::EdgeCore).await?;
        say(&format!("edgecore runs as {node}; its log: journalctl -u edgecore -f"));
    } else {
        let why =
            if flags.root.is_machine() { "systemd does not run this machine" } else { "--root is not /" };
        warn(&format!("{why}, so that edgecore was not started"));
        say(&format!("start it by hand: {} --config {}", program.display(), config.display()));
    }
    say(&format!("on the cloud's side: kubectl get node {node}"));
    Ok(())
}

fn show(plan: &Plan, flags: &Join, config: &Path, unit: &str) {
    say("\nwith --dry-run nothing is changed; this would be done:");
    let hub = &plan.hub;
    say(&format!(
        "get a certificate of {} for {}: {}, {}, {}",
        hub.http_server,
        plan.node,
        hub.tls_ca_file.display(),
        hub.tls_cert_file.display(),
        hub.tls_private_key_file.display()
    ));
    for directory in directories(plan) {
        say(&format!("make {}", directory.display()));
    }
    say(&format!("write {}:\n\n{}", config.display(), plan.text));
    say(&format!("write {}:\n\n{unit}", flags.root.unit(Process::EdgeCore).display()));
}

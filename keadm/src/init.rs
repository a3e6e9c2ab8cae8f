//! `keadm init`: makes this machine the cloud of a cluster. cloudcore is a program of the machine, not a
//! pod of the cluster that it serves.

mod flags;
mod plan;

#[cfg(test)]
mod tests;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloudhub::CloudHubConfig;
use node_config::{Ending, Process};
use tokio::time::{Instant, sleep};

use crate::checks::{disk, process};
use crate::finding::{Failures, Finding, print};
use crate::say::{say, warn};
use crate::services::{ServiceError, Services, unit};
use crate::world::World;
use crate::written::{self, FileError};

pub(crate) use flags::{EXAMPLES, Init};
use plan::{Plan, PlanError};

const CONFIG_MODE: u32 = 0o600;
const UNIT_MODE: u32 = 0o644;
/// How long cloudcore may take until it gives certificates.
const START_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// Says why this machine did not become a cloud.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("nothing was changed")]
    Plan(#[from] PlanError),
    #[error("nothing was changed: {0}")]
    Checks(Failures),
    #[error(
        "nothing was changed: there is {path} already; start cloudcore to go on as it is, add --force to \
         lay these flags over it, or undo it: keadm reset cloud"
    )]
    Exists { path: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cloudcore was installed and could not be started; see journalctl -u cloudcore")]
    Service(#[from] ServiceError),
    #[error(
        "cloudcore was started and gives no certificates after {START_PATIENCE:?}; its log says why: \
         journalctl -u cloudcore -e"
    )]
    Silent,
}

/// Makes this machine a cloud, or says why not. Nothing is written before everything was checked.
pub(crate) async fn run(
    mut flags: Init,
    world: &dyn World,
    services: &dyn Services,
) -> Result<Ending, InitError> {
    flags.tell_unused();
    let here = |cause| FileError::new("find", Path::new("."), cause);
    flags.root = flags.root.absolute().map_err(here)?;
    let config = flags.root.config(Process::CloudCore);
    let before = written::read(&config)?;
    if before.is_some() && !flags.force {
        return Err(InitError::Exists { path: config.display().to_string() });
    }
    let plan = Plan::new(&flags, before.as_deref()).await?;
    let program = world.program(Process::CloudCore);
    if !flags.skip_preflight_checks {
        let findings = check(&plan, &flags, world, program.as_deref()).await;
        print(&findings);
        if let Some(failures) = Failures::of(&findings) {
            return Err(InitError::Checks(failures));
        }
    }
    if !plan.notices.is_empty() {
        say(&format!("note     {} has keys {}", config.display(), plan.notices));
    }
    let program = program.unwrap_or_else(|| PathBuf::from("/usr/local/bin/cloudcore"));
    let unit = unit(Process::CloudCore, &program, &config);
    let unit_path = flags.root.unit(Process::CloudCore);
    if flags.dry_run {
        say("\nwith --dry-run nothing is changed; this would be done:");
        say(&format!("write {}:\n\n{}", config.display(), plan.text));
        say(&format!("write {}:\n\n{unit}", unit_path.display()));
        return Ok(Ending::Asked);
    }
    fs::create_dir_all(&plan.store).map_err(|cause| FileError::new("make", &plan.store, cause))?;
    written::write(&config, &plan.text, CONFIG_MODE)?;
    say(&format!("{} is written", config.display()));
    written::write(&unit_path, &unit, UNIT_MODE)?;
    say(&format!("{} is written", unit_path.display()));
    start(&plan, &flags, &program, &config, world, services).await?;
    Ok(Ending::Asked)
}

async fn check(plan: &Plan, flags: &Init, world: &dyn World, program: Option<&Path>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match (world.is_root(), flags.root.is_machine()) {
        (false, true) => Finding::failed(
            "rights",
            "keadm does not run as root",
            "sudo keadm init ..., or another --root to try",
        ),
        _ => Finding::ok("rights", "they suffice"),
    });
    findings.push(match program {
        Some(path) => Finding::ok("program", path.display().to_string()),
        None => Finding::failed(
            "program",
            "cloudcore is neither in /usr/local/bin nor in /usr/bin nor beside keadm",
            "install -m 755 cloudcore /usr/local/bin/",
        ),
    });
    if process::is_running(world, Process::CloudCore) && flags.root.is_machine() {
        findings.push(Finding::failed(
            "process",
            "cloudcore runs already",
            "stop it: systemctl stop cloudcore, or undo it: keadm reset cloud",
        ));
    } else {
        findings.extend(ports(plan, world));
    }
    if let Some(path) = &plan.kubeconfig {
        findings.push(match world.kube(path).await {
            Ok(version) => {
                Finding::ok("api", format!("the cluster of {} answers, {version}", path.display()))
            }
            Err(error) => Finding::failed(
                "api",
                format!("the cluster of {}: {error}", path.display()),
                "correct --kube-config, or leave it out: cloudcore then serves a cluster of its own",
            ),
        });
    }
    findings.push(names(&plan.hub));
    findings.push(disk::look(world, &plan.store));
    findings
}

fn ports(plan: &Plan, world: &dyn World) -> Vec<Finding> {
    let address = |ip: &str, port| ip.parse().map(|ip| SocketAddr::new(ip, port)).ok();
    let hub = &plan.hub;
    let wanted = [
        (address(&hub.websocket.address, hub.websocket.port), "modules.cloudHub.websocket.port"),
        (address(&hub.https.address, hub.https.port), "modules.cloudHub.https.port"),
        (plan.api, "kubeAPIServer.port"),
    ];
    let looked = wanted.into_iter().filter_map(|(address, key)| {
        let address = address?;
        Some(match world.is_free(address) {
            Ok(()) => Finding::ok("port", format!("{address} is free")),
            Err(error) => Finding::failed(
                "port",
                format!("{address} cannot be listened on: {error}"),
                format!("end the process that has it (ss -lntp), or choose another: --set {key}=PORT"),
            ),
        })
    });
    looked.collect()
}

fn names(hub: &CloudHubConfig) -> Finding {
    let names: Vec<&str> = hub.advertise_address.iter().chain(&hub.dns_names).map(String::as_str).collect();
    if names.is_empty() {
        Finding::warning(
            "names",
            "edges reach the cloud by this machine's own address only",
            "where edges use another address or a name: --advertise-address, --domain-name",
        )
    } else {
        Finding::ok("names", format!("edges reach the cloud as {}", names.join(", ")))
    }
}

async fn start(
    plan: &Plan,
    flags: &Init,
    program: &Path,
    config: &Path,
    world: &dyn World,
    services: &dyn Services,
) -> Result<(), InitError> {
    let gettoken = match (&plan.kubeconfig, flags.root.is_machine()) {
        (None, true) => "keadm gettoken".to_owned(),
        (None, false) => format!("keadm gettoken --kube-config {}", plan.own_kubeconfig.display()),
        (Some(path), _) => format!("keadm gettoken --kube-config {}", path.display()),
    };
    if flags.root.is_machine() && services.is_there() {
        services.start(Process::CloudCore).await?;
        wait(plan, world).await?;
        say("cloudcore runs; its log: journalctl -u cloudcore -f");
    } else {
        let why =
            if flags.root.is_machine() { "systemd does not run this machine" } else { "--root is not /" };
        warn(&format!("{why}, so that cloudcore was not started"));
        say(&format!("start it by hand: {} --config {}", program.display(), config.display()));
    }
    if plan.kubeconfig.is_none() {
        say(&format!("its cluster: kubectl --kubeconfig {} get nodes", plan.own_kubeconfig.display()));
    }
    let host = plan.hub.advertise_address.iter().chain(&plan.hub.dns_names).next();
    let host = host.map_or("THIS-MACHINE", String::as_str);
    let port = plan.hub.websocket.port;
    say(&format!("the token for edges: {gettoken}"));
    say(&format!("on each edge: keadm join --cloudcore-ipport={host}:{port} --token=TOKEN"));
    Ok(())
}

/// Waits until the port for certificates takes connections.
async fn wait(plan: &Plan, world: &dyn World) -> Result<(), InitError> {
    let end = Instant::now() + START_PATIENCE;
    let server = format!("127.0.0.1:{}", plan.hub.https.port);
    while world.connect(&server).await.is_err() {
        if Instant::now() >= end {
            return Err(InitError::Silent);
        }
        sleep(LOOK_PERIOD).await;
    }
    Ok(())
}

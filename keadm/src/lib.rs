//! The operator's tool of Beehive: `keadm up` runs a whole cluster in one process; `init`, `join`,
//! `reset` and `doctor` look after machines that run cloudcore and edgecore as services.

mod checks;
mod config_update;
mod doctor;
mod edge;
mod finding;
mod images;
mod init;
mod join;
mod kubernetes;
mod logs;
mod migrate;
mod mqtt;
#[cfg(test)]
mod play;
mod reset;
mod root;
mod say;
mod script;
mod services;
mod strangers;
mod token;
mod unused;
mod up;
mod version;
mod world;
mod written;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand, ValueEnum};
use node_config::{Ending, LogLevel, report};

use crate::config_update::ConfigUpdate;
use crate::doctor::Doctor;
use crate::images::Images;
use crate::init::Init;
use crate::join::Join;
use crate::migrate::Migrate;
use crate::reset::Reset;
use crate::say::warn;
use crate::services::Systemd;
use crate::token::GetToken;
use crate::version::Version;
use crate::world::ThisMachine;

const EXAMPLES: &str = "\
Examples:
  keadm up --data-dir ./beehive-data                       a cluster with this machine as its node
  keadm up --data-dir ./beehive-data --runtime hollow      no container is real
  keadm up --data-dir ./beehive-data --nodes 3             and three hollow nodes more
  kubectl --kubeconfig ./beehive-data/kubeconfig get nodes,pods -A -o wide";

/// The operator's tool of Beehive.
#[derive(Debug, Parser)]
#[command(name = "keadm", version, after_help = EXAMPLES, infer_long_args = false)]
struct Keadm {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a cluster in this process: an API server, a scheduler, the cloud and its edge nodes.
    #[command(after_help = EXAMPLES)]
    Up(Up),
    /// Makes this machine the cloud of a cluster: cloudcore as a service.
    #[command(after_help = init::EXAMPLES)]
    Init(Box<Init>),
    /// Makes this machine a node of a cluster: edgecore as a service.
    #[command(after_help = join::EXAMPLES)]
    Join(Box<Join>),
    /// Prints the token with which edges join.
    Gettoken(GetToken),
    /// Says what is wrong with this machine as a node or as a cloud, and what to do.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(Doctor),
    /// Undoes init or join.
    #[command(after_help = reset::EXAMPLES)]
    Reset(Box<Reset>),
    /// Takes over what KubeEdge's edgecore kept on this node.
    #[command(after_help = migrate::EXAMPLES)]
    Migrate(Migrate),
    /// Changes keys of edgecore.yaml, and restarts edgecore.
    ConfigUpdate(ConfigUpdate),
    /// The container images that a node needs beside those of its pods.
    Config(Config),
    /// Prints the version.
    Version(Version),
    #[command(external_subcommand)]
    Stranger(Vec<String>),
}

#[derive(Debug, clap::Args)]
struct Config {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Lists or fetches images.
    Images {
        #[command(subcommand)]
        command: Images,
    },
}

/// What runs pods on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Runtime {
    /// The first container runtime that answers, and the hollow one where none does.
    Auto,
    /// containerd, or any other runtime with CRI v1.
    Containerd,
    /// Nothing runs: containers are played.
    Hollow,
}

impl Runtime {
    fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Containerd => "containerd",
            Self::Hollow => "hollow",
        }
    }
}

/// The flags of `keadm up`.
#[derive(Debug, Clone, clap::Args)]
struct Up {
    /// Where everything is kept; the same directory continues the same cluster.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,

    /// What runs pods on this machine.
    #[arg(long, value_enum, default_value = "auto")]
    runtime: Runtime,

    /// The socket of the container runtime.
    #[arg(long, value_name = "SOCKET", default_value = "unix:///run/containerd/containerd.sock")]
    runtime_endpoint: String,

    /// So many hollow nodes besides this machine.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    nodes: u16,

    /// The name of this machine's node; its host name if not given.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,

    /// Where the API server listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    api_address: IpAddr,

    /// The port of the API server.
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    api_port: u16,

    /// The port on which devices and mappers of this machine reach its node by MQTT, on loopback; the first
    /// free one from 1884 to 1893 if not given.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    mqtt_port: Option<u16>,

    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn", env = "BEEHIVE_LOG", value_parser = level)]
    log_level: LogLevel,
}

fn level(text: &str) -> Result<LogLevel, String> {
    LogLevel::parse(text).ok_or_else(|| "must be error, warn, info, debug or trace".to_owned())
}

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    let Keadm { command } = match Keadm::try_parse() {
        Ok(keadm) => keadm,
        Err(error) => return not_understood(&error),
    };
    store_sled::hush_panics();
    let (world, services) = (ThisMachine, Systemd);
    match command {
        Command::Version(flags) => version::print(&flags).into(),
        Command::Gettoken(flags) => ended(beehive::block_on(token::print(flags))),
        Command::Up(flags) => finished(beehive::block_on(up::run(flags))),
        Command::Init(flags) => ended(beehive::block_on(init::run(*flags, &world, &services))),
        Command::Join(flags) => ended(beehive::block_on(join::run(*flags, &world, &services))),
        Command::Doctor(flags) => finished(beehive::block_on(doctor::run(flags, &world, &services))),
        Command::Reset(flags) => {
            let mut answers = std::io::BufReader::new(std::io::stdin());
            ended(beehive::block_on(reset::run(*flags, &world, &services, &mut answers)))
        }
        Command::Migrate(flags) => ended(beehive::block_on(migrate::run(flags, &world))),
        Command::ConfigUpdate(flags) => ended(beehive::block_on(config_update::run(flags, &services))),
        Command::Config(Config { command: ConfigCommand::Images { command } }) => {
            ended(beehive::block_on(images::run(command)))
        }
        Command::Stranger(words) => {
            warn(&strangers::instead(&words));
            Ending::Misconfigured.into()
        }
    }
}

/// Prints what is wrong with a command line, and what to write in place of a flag that is gone.
fn not_understood(error: &clap::Error) -> ExitCode {
    if let Err(closed) = error.print() {
        tracing::debug!(%closed, "nobody reads");
    }
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
        && let Some(instead) = unused::removed(flag)
    {
        warn(&format!("\n{flag} was a flag of KubeEdge's keadm: {instead}"));
    }
    if error.use_stderr() { Ending::Misconfigured.into() } else { ExitCode::SUCCESS }
}

fn ended<E: std::error::Error + 'static, R: std::error::Error + 'static>(
    outcome: Result<Result<Ending, E>, R>,
) -> ExitCode {
    match outcome {
        Ok(Ok(ending)) => ending.into(),
        Ok(Err(error)) => unprepared(&error),
        Err(error) => unprepared(&error),
    }
}

fn finished<E: std::error::Error + 'static>(outcome: Result<Ending, E>) -> ExitCode {
    match outcome {
        Ok(ending) => ending.into(),
        Err(error) => unprepared(&error),
    }
}

fn unprepared(error: &dyn std::error::Error) -> ExitCode {
    report(error);
    Ending::Unprepared.into()
}

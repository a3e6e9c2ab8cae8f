//! The operator's tool of Beehive: `keadm up` runs a whole cluster in one process.

mod edge;
mod logs;
mod say;
mod token;
mod up;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use node_config::{Ending, LogLevel, report};

const EXAMPLES: &str = "\
Examples:
  keadm up --data-dir ./beehive-data                       a cluster with this machine as its node
  keadm up --data-dir ./beehive-data --runtime hollow      no container is real
  keadm up --data-dir ./beehive-data --nodes 3             and three hollow nodes more
  kubectl --kubeconfig ./beehive-data/kubeconfig get nodes,pods -A -o wide";

/// The operator's tool of Beehive.
#[derive(Debug, Parser)]
#[command(name = "keadm", version, after_help = EXAMPLES)]
struct Keadm {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a cluster in this process: an API server, a scheduler, the cloud and its edge nodes.
    #[command(after_help = EXAMPLES)]
    Up(Up),
    /// Prints the token with which edges join a cloud that runs as a process of its own.
    Gettoken(GetToken),
    /// Prints the version.
    Version,
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

    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn", env = "BEEHIVE_LOG", value_parser = level)]
    log_level: LogLevel,
}

/// The flags of `keadm gettoken`.
#[derive(Debug, Clone, clap::Args)]
struct GetToken {
    /// The kubeconfig of the cluster that the cloud serves; its own one is in kubeAPIServer.directory.
    #[arg(long, value_name = "FILE", default_value = "/var/lib/kubeedge/kube-api/kubeconfig")]
    kubeconfig: PathBuf,
}

fn level(text: &str) -> Result<LogLevel, String> {
    LogLevel::parse(text).ok_or_else(|| "must be error, warn, info, debug or trace".to_owned())
}

/// Runs the tool.
#[must_use]
pub fn main() -> ExitCode {
    match Keadm::parse().command {
        Command::Version => node_config::print(concat!("keadm ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Gettoken(flags) => ended(beehive::block_on(token::print(flags))),
        Command::Up(flags) => ended(beehive::block_on(up::run(flags))),
    }
}

fn ended<E: std::error::Error + 'static>(outcome: Result<Ending, E>) -> ExitCode {
    match outcome {
        Ok(ending) => ending.into(),
        Err(error) => {
            report(&error);
            Ending::Unprepared.into()
        }
    }
}

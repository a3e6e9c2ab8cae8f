//! How a process starts, waits and ends.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use beehive::{Catalog, Node, NodeFailure};
use tokio::signal::unix::{SignalKind, signal};

use crate::Process;
use crate::args::ProcessArgs;
use crate::environment::environment;
use crate::load::{Loaded, load, read_file};
use crate::logging::start_logging;
use crate::problem::ConfigError;
use crate::settings::LogFormat;

/// Why a process ended, as its exit code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to end.
    Asked,
    /// A module was given up, or the process broke while it ran.
    Broken,
    /// The command line or the configuration is wrong.
    Misconfigured,
    /// What it needs from the machine cannot be had: a store, a port, a certificate.
    Unprepared,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Asked => Self::SUCCESS,
            Ending::Broken => Self::from(1),
            Ending::Misconfigured => Self::from(2),
            Ending::Unprepared => Self::from(3),
        }
    }
}

/// Reads the file that the flags name, lays the environment over it and begins to log. What has no
/// effect is logged once.
///
/// # Errors
///
/// When the file cannot be read or anything in it, or in the environment, is wrong.
pub fn start(process: Process, args: &ProcessArgs, catalog: &Catalog) -> Result<Loaded, ConfigError> {
    let path = args.config.clone().unwrap_or_else(|| PathBuf::from(process.default_file()));
    let text = read_file(&path)?;
    let name = path.display().to_string();
    let loaded = load(process, catalog, Some((&name, &text)), &environment()?)?;
    start_logging(args.log_level(Some(&loaded.settings)), loaded.settings.log_format);
    if !loaded.notices.is_empty() {
        tracing::warn!(file = name, "{}", loaded.notices);
    }
    Ok(loaded)
}

/// Logs why a process does not start, with every cause.
pub fn report(error: &dyn std::error::Error) {
    start_logging(crate::LogLevel::Info, LogFormat::Text);
    tracing::error!("{}", Causes(error));
}

/// An error and, behind colons, what caused it.
pub struct Causes<'a>(pub &'a dyn std::error::Error);

impl fmt::Debug for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Resolves when the process is asked to end, by Ctrl-C or by the system.
pub async fn asked_to_end() {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        tracing::warn!("signals cannot be received: the process ends without stopping its modules");
        return std::future::pending().await;
    };
    let name = tokio::select! {
        biased;
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    };
    tracing::info!(signal = name, "stopping");
}

/// Runs a node until the process is asked to end or a module is given up, then stops it.
pub async fn run(node: Node) -> Ending {
    let failure = until_over(&node).await;
    node.stop().await;
    match failure {
        None => Ending::Asked,
        Some(_) => Ending::Broken,
    }
}

async fn until_over(node: &Node) -> Option<NodeFailure> {
    tokio::select! {
        biased;
        () = asked_to_end() => None,
        failure = node.failed() => {
            tracing::error!(%failure, "a module was given up: the process ends");
            Some(failure)
        }
    }
}

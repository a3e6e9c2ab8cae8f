//! Log lines on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{LogFormat, LogLevel};

/// Libraries that say at `info` and `debug` what only their authors need.
const QUIET: [&str; 7] = ["sled", "hyper", "h2", "tower", "rustls", "tungstenite", "kube"];

/// It says of each call that failed what its caller is told and says as well.
const SILENT: &str = ",kube_client::client::builder=off";

/// Begins to log. Only the first call in a process has an effect.
pub fn start_logging(level: LogLevel, format: LogFormat) {
    let quiet = if level == LogLevel::Trace { "debug" } else { "warn" };
    let quiet = QUIET.map(|library| format!(",{library}={quiet}")).concat();
    let filter = EnvFilter::new(format!("{}{quiet}{SILENT}", level.as_str()));
    let lines = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    let started = match format {
        LogFormat::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).finish().try_init()
        }
        LogFormat::Json => lines.json().finish().try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging has begun already");
    }
}

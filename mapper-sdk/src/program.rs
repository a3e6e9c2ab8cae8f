//! The `main` of a mapper.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::driver::Driver;
use crate::host::Host;
use crate::run::run;

const USAGE: &str =
    "the arguments are [--config-file PATH] [--v LEVEL]; LEVEL is error, warn, info, debug or trace";

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    config: PathBuf,
    level: String,
}

/// Runs a mapper as a program: `--config-file` names its configuration, `./config.yaml` if it is left out, as
/// in KubeEdge; it stops in order at SIGTERM and SIGINT.
pub fn main_with<D: Driver>(driver: D) -> ExitCode {
    let arguments = read(std::env::args().skip(1));
    let level = arguments.as_ref().map_or("info", |arguments| arguments.level.as_str());
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let started =
        arguments.and_then(|arguments| Config::read(&arguments.config).map_err(|error| error.to_string()));
    let outcome = started.and_then(|config| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("the system gives no runtime: {error}"))?;
        runtime.block_on(async {
            let stop = stopped()?;
            run(config, driver, Host::of_process(), stop).await.map_err(|error| error.to_string())
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn stopped() -> Result<impl Future<Output = ()>, String> {
    let of = |kind| signal(kind).map_err(|error| format!("signals cannot be taken: {error}"));
    let (mut terminate, mut interrupt) = (of(SignalKind::terminate())?, of(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn read(arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut read = Arguments { config: PathBuf::from("./config.yaml"), level: "info".to_owned() };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, arguments.next()),
        };
        let value = value.ok_or_else(|| format!("{name} has no value: {USAGE}"))?;
        match name.as_str() {
            "--config-file" => read.config = PathBuf::from(value),
            "--v" | "-v" => read.level = level(&value),
            _ => return Err(format!("{name} is not known: {USAGE}")),
        }
    }
    Ok(read)
}

/// KubeEdge's mappers have levels from 0 to 4.
fn level(text: &str) -> String {
    match text {
        "0" | "1" => "info".to_owned(),
        "2" | "3" => "debug".to_owned(),
        "4" => "trace".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_kubeedge_s() {
        let read = |text: &str| read(text.split_whitespace().map(str::to_owned));
        let expect =
            |config: &str, level: &str| Ok(Arguments { config: config.into(), level: level.to_owned() });
        assert_eq!(read(""), expect("./config.yaml", "info"));
        assert_eq!(read("--config-file /c.yaml --v 2"), expect("/c.yaml", "debug"));
        assert_eq!(read("--config-file=/c.yaml -v=warn"), expect("/c.yaml", "warn"));
        assert!(read("--config-file").is_err() && read("--confg x").is_err());
    }
}

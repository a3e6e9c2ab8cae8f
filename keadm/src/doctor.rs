//! `keadm doctor`: what is wrong with this machine as a node or as a cloud, and what to do.

mod cloud;
mod edge;

#[cfg(test)]
mod tests;

use clap::ValueEnum;
use node_config::{Ending, Process};
use serde::Serialize;

use crate::finding::{Finding, State, print, worst};
use crate::root::Root;
use crate::say::say;
use crate::services::Services;
use crate::world::World;

pub(crate) const EXAMPLES: &str = "\
Examples:
  keadm doctor                what this machine is by its configuration files
  keadm doctor edge -o json   for programs; exit code 1 if anything failed
  keadm doctor cloud

Nothing is changed. A line has the state (ok, warning or failed), the check, what was seen, and what to do.";

/// What to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// An edge node.
    Edge,
    /// A cloud.
    Cloud,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The flags of `keadm doctor`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Doctor {
    /// What to look at; what the machine has a configuration of, if not given.
    #[arg(value_enum)]
    pub(crate) part: Option<Part>,

    /// The configuration file; that below /etc/kubeedge/config if not given.
    #[arg(short = 'c', long, value_name = "FILE", requires = "part")]
    pub(crate) config: Option<std::path::PathBuf>,

    /// How findings are printed.
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    pub(crate) output: Output,

    /// Where the installation is.
    #[command(flatten)]
    pub(crate) root: Root,
}

/// What was found of one part.
#[derive(Debug, Serialize)]
struct Report {
    part: &'static str,
    state: State,
    findings: Vec<Finding>,
}

/// Looks at everything, prints it, and ends with code 1 if anything failed.
pub(crate) async fn run(flags: Doctor, world: &dyn World, services: &dyn Services) -> Ending {
    let mut reports = Vec::new();
    for part in parts(&flags, world) {
        let findings = look(part, &flags, world, services).await;
        reports.push(Report { part: part.name(), state: worst(&findings), findings });
    }
    match flags.output {
        Output::Text => tell(&reports),
        Output::Json => match serde_json::to_string_pretty(&reports) {
            Ok(text) => say(&text),
            Err(error) => tracing::error!(%error, "the findings cannot be written as JSON"),
        },
    }
    if reports.iter().any(|report| report.state == State::Failed) { Ending::Broken } else { Ending::Asked }
}

impl Part {
    fn process(self) -> Process {
        match self {
            Self::Edge => Process::EdgeCore,
            Self::Cloud => Process::CloudCore,
        }
    }

    fn name(self) -> &'static str {
        self.process().name()
    }
}

fn parts(flags: &Doctor, world: &dyn World) -> Vec<Part> {
    if let Some(part) = flags.part {
        return vec![part];
    }
    let both = [Part::Cloud, Part::Edge];
    let found: Vec<Part> =
        both.into_iter().filter(|part| world.exists(&flags.root.config(part.process()))).collect();
    // A machine without any is one that should have joined.
    if found.is_empty() { vec![Part::Edge] } else { found }
}

async fn look(part: Part, flags: &Doctor, world: &dyn World, services: &dyn Services) -> Vec<Finding> {
    let process = part.process();
    let file = flags.config.clone().unwrap_or_else(|| flags.root.config(process));
    match part {
        Part::Edge => edge::look(&file, flags.root.is_machine(), world, services).await,
        Part::Cloud => cloud::look(&file, flags.root.is_machine(), world, services).await,
    }
}

fn tell(reports: &[Report]) {
    for report in reports {
        let count = |state| report.findings.iter().filter(|finding| finding.state == state).count();
        say(&format!("{}:", report.part));
        print(&report.findings);
        say(&format!(
            "{} ok, {} warnings, {} failed",
            count(State::Ok),
            count(State::Warning),
            count(State::Failed)
        ));
    }
}

//! How cloudcore and edgecore are configured and started: KubeEdge's files as they are, Beehive's
//! own keys, overrides from the environment, and what all mains have in common.
//!
//! - A key that some KubeEdge version knew and that does nothing here is accepted and told once.
//! - A key that nobody knows is a problem that names the nearest one known. All problems are
//!   reported together, each with its file and line, or its variable.
//! - What a module's section may hold is what the process's catalog says, whoever wrote the module,
//!   and its own check of the values is part of the same report.

mod args;
mod assignment;
mod check;
mod document;
mod entropy;
mod environment;
mod keys;
mod known;
mod layers;
mod load;
mod logging;
mod notice;
mod problem;
mod process;
mod sections;
mod settings;
mod shipped;
mod start;
mod yaml;

pub use args::ProcessArgs;
pub use document::{Document, to_yaml};
pub use entropy::{random_bytes, random_seed};
pub use environment::{PREFIX, environment};
pub use keys::ModuleKeys;
pub use known::{Acts, KnownKey, known_keys};
pub use load::{Loaded, load, read_file};
pub use logging::start_logging;
pub use notice::Notices;
pub use problem::{ConfigError, Origin, Problem};
pub use process::{StartError, execute, prepare};
pub use sections::is_enabled;
pub use settings::{ApiServerSettings, LogFormat, LogLevel, Settings};
pub use shipped::print;
pub use start::{Causes, Ending, asked_to_end, report, run, start};

/// The process that a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// The cloud process.
    CloudCore,
    /// The edge process.
    EdgeCore,
}

impl Process {
    /// Returns the program's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CloudCore => "cloudcore",
            Self::EdgeCore => "edgecore",
        }
    }

    /// Returns the `kind` of its files.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::CloudCore => "CloudCore",
            Self::EdgeCore => "EdgeCore",
        }
    }

    /// Returns the file that is read if no other is named.
    #[must_use]
    pub const fn default_file(self) -> &'static str {
        match self {
            Self::CloudCore => "/etc/kubeedge/config/cloudcore.yaml",
            Self::EdgeCore => "/etc/kubeedge/config/edgecore.yaml",
        }
    }

    fn api_group(self) -> &'static str {
        match self {
            Self::CloudCore => "cloudcore.config.kubeedge.io",
            Self::EdgeCore => "edgecore.config.kubeedge.io",
        }
    }
}

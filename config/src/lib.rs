//! Configuration of cloudcore and edgecore: KubeEdge's files as they are, Beehive's own keys, and
//! overrides from the environment.
//!
//! - A key that some KubeEdge version knew and that does nothing here is accepted and told once.
//! - A key that nobody knows is a problem that names the nearest one known. All problems are
//!   reported together, each with its file and line, or its variable.
//! - What a module's section may hold is what the process's catalog says, whoever wrote the module.

mod args;
mod check;
mod environment;
mod keys;
mod layers;
mod load;
mod nearest;
mod notice;
mod problem;
mod settings;
mod shipped;
mod yaml;

pub use args::ProcessArgs;
pub use environment::{PREFIX, environment};
pub use keys::ModuleKeys;
pub use load::{Loaded, load, read_file};
pub use notice::Notices;
pub use problem::{ConfigError, Origin, Problem};
pub use settings::{ApiServerSettings, LogFormat, LogLevel, Settings};

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
    pub fn default_file(self) -> &'static str {
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

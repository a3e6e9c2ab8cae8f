//! What concerns the process and not one module.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crate::Process;
use crate::layers::Merged;
use crate::problem::Problem;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What a person must act on.
    Error,
    /// And what was unexpected and recovered.
    Warn,
    /// And what begins and ends.
    Info,
    /// And each connection.
    Debug,
    /// And each message.
    Trace,
}

impl LogLevel {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Error, "error"),
        (Self::Warn, "warn"),
        (Self::Info, "info"),
        (Self::Debug, "debug"),
        (Self::Trace, "trace"),
    ];

    /// Reads a level's name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(level, _)| *level)
    }

    /// Returns the level for KubeEdge's number after `-v`.
    #[must_use]
    pub fn of_verbosity(number: u8) -> Self {
        match number {
            0..=3 => Self::Info,
            4 => Self::Debug,
            5.. => Self::Trace,
        }
    }

    /// Returns the level's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(level, _)| *level == self).map_or("info", |(_, name)| name)
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Settings of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directory of the store. KubeEdge's `database.dataSource` names a file of SQLite; the
    /// store is the directory beside it whose name ends in `.d`.
    pub store: PathBuf,
    /// How much is logged.
    pub log_level: LogLevel,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The kubeconfig of the cluster to serve; without one, cloudcore serves its own.
    pub kubeconfig: Option<PathBuf>,
    /// The URL that overrides the kubeconfig's server.
    pub master: Option<String>,
    /// Where cloudcore's own cluster is served.
    pub api_server: ApiServerSettings,
    /// Whether cloudcores of one cluster agree on the one that serves it.
    pub elects_leader: bool,
}

/// Where the embedded API server listens and keeps its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiServerSettings {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Its keys and its kubeconfig.
    pub directory: PathBuf,
}

impl Settings {
    pub(crate) fn read(process: Process, merged: &Merged, problems: &mut Vec<Problem>) -> Self {
        let mut reader = Reader { merged, problems };
        let default = match process {
            Process::CloudCore => "/var/lib/kubeedge/cloudcore.db",
            Process::EdgeCore => "/var/lib/kubeedge/edgecore.db",
        };
        let source = reader.text("database.dataSource").unwrap_or(default);
        if !Path::new(source).is_absolute() {
            reader.problem("database.dataSource", "must be an absolute path");
        }
        let kubeconfig = reader.text("kubeAPIConfig.kubeConfig").map(PathBuf::from);
        if kubeconfig.as_ref().is_some_and(|path| !path.is_absolute()) {
            reader.problem("kubeAPIConfig.kubeConfig", "must be an absolute path");
        }
        Self {
            store: PathBuf::from(format!("{source}.d")),
            log_level: reader.choice("log.level", LogLevel::Info, LogLevel::parse),
            log_format: reader.choice("log.format", LogFormat::Text, |text| match text {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            }),
            kubeconfig,
            master: reader.text("kubeAPIConfig.master").map(str::to_owned),
            api_server: reader.api_server(),
            elects_leader: merged
                .get("leaderElection.enable")
                .and_then(|value| value.as_bool())
                .unwrap_or(true),
        }
    }
}

struct Reader<'a> {
    merged: &'a Merged,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn problem(&mut self, path: &str, message: &str) {
        self.problems.push(Problem::new(self.merged.origin(path).cloned(), path, message));
    }

    /// An empty text is KubeEdge's way to say "none".
    fn text(&self, path: &str) -> Option<&'a str> {
        self.merged.get(path).and_then(|value| value.as_str()).filter(|text| !text.is_empty())
    }

    fn api_server(&mut self) -> ApiServerSettings {
        let address = self.text("kubeAPIServer.address").map(str::parse::<IpAddr>);
        if matches!(address, Some(Err(_))) {
            self.problem("kubeAPIServer.address", "must be an IP address, such as 127.0.0.1");
        }
        let port = self.merged.get("kubeAPIServer.port").map_or(Some(6443), |port| {
            port.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
        });
        if port.is_none() {
            self.problem("kubeAPIServer.port", "must be between 1 and 65535");
        }
        let directory = self.text("kubeAPIServer.directory").unwrap_or("/var/lib/kubeedge/kube-api");
        if !Path::new(directory).is_absolute() {
            self.problem("kubeAPIServer.directory", "must be an absolute path");
        }
        ApiServerSettings {
            address: address.and_then(Result::ok).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: port.unwrap_or_default(),
            directory: PathBuf::from(directory),
        }
    }

    fn choice<T>(&mut self, path: &str, default: T, parse: impl Fn(&str) -> Option<T>) -> T {
        let Some(text) = self.text(path) else { return default };
        parse(text).unwrap_or_else(|| {
            let message = match path {
                "log.level" => "must be error, warn, info, debug or trace",
                _ => "must be text or json",
            };
            self.problem(path, message);
            default
        })
    }
}

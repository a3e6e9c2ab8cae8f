//! The mapper's configuration file, as `mapper-framework` of KubeEdge has it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What is in `config.yaml`. Keys that are not known are ignored, as there.
///
/// ```yaml
/// grpc_server:
///   socket_path: /etc/kubeedge/thermostat.sock
/// common:
///   name: thermostat-mapper
///   version: v1.13.0
///   api_version: v1.0.0
///   protocol: thermostat
///   edgecore_sock: /etc/kubeedge/dmi.sock
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// Where the mapper listens.
    pub grpc_server: GrpcServer,
    /// Who it is.
    pub common: Common,
}

/// Where the mapper listens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GrpcServer {
    /// The absolute path of its socket. Edgecore must reach it under the same path.
    pub socket_path: PathBuf,
}

/// Who the mapper is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Common {
    /// Its name, one on a node.
    pub name: String,
    /// Its version, for people.
    #[serde(default)]
    pub version: String,
    /// The version of its interface, for people.
    #[serde(default)]
    pub api_version: String,
    /// The protocol whose devices it has: their `spec.protocol.protocolName`.
    pub protocol: String,
    /// Edgecore's socket.
    #[serde(default = "edgecore_sock")]
    pub edgecore_sock: PathBuf,
}

fn edgecore_sock() -> PathBuf {
    PathBuf::from("/etc/kubeedge/dmi.sock")
}

/// Says why a configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// It is not YAML, or misses a key.
    #[error("{0}")]
    Yaml(String),
    /// A value is not allowed.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not valid.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::File { path: path.display().to_string(), error })?;
        Self::parse(&text)
    }

    /// Reads a configuration's text.
    ///
    /// # Errors
    ///
    /// When it is not valid.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self =
            serde_saphyr::from_str(text).map_err(|error| ConfigError::Yaml(error.to_string()))?;
        for (key, text) in
            [("common.name", &config.common.name), ("common.protocol", &config.common.protocol)]
        {
            if text.is_empty() {
                return Err(ConfigError::Value { key, problem: "must not be empty" });
            }
        }
        let paths = [
            ("grpc_server.socket_path", &config.grpc_server.socket_path),
            ("common.edgecore_sock", &config.common.edgecore_sock),
        ];
        for (key, path) in paths {
            if !path.is_absolute() {
                return Err(ConfigError::Value { key, problem: "must be an absolute path" });
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As KubeEdge's template has it, with a protocol.
    const TEMPLATE: &str = "grpc_server:
  socket_path: /etc/kubeedge/Template.sock
common:
  name: Template-mapper
  version: v1.13.0
  api_version: v1.0.0
  protocol: modbus # a comment";

    #[test]
    fn kubeedge_s_file_is_read() {
        let text = format!(
            "{TEMPLATE}\n  address: 127.0.0.1\n  edgecore_sock: /run/dmi.sock\n  http_port: \"7777\"\n"
        );
        let config = Config::parse(&text).expect("it is valid");
        assert_eq!(config.grpc_server.socket_path, Path::new("/etc/kubeedge/Template.sock"));
        assert_eq!(
            (config.common.name.as_str(), config.common.protocol.as_str()),
            ("Template-mapper", "modbus")
        );
        assert_eq!(config.common.edgecore_sock, Path::new("/run/dmi.sock"));
        let config = Config::parse(TEMPLATE).expect("it is valid");
        assert_eq!(config.common.edgecore_sock, Path::new("/etc/kubeedge/dmi.sock"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, expect: &str| {
            let error = Config::parse(text).expect_err(text).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("common: {name: a, protocol: b}", "grpc_server");
        check(
            "grpc_server: {socket_path: /a}\ncommon: {name: a, protocol: ''}",
            "common.protocol: must not be empty",
        );
        check(
            "grpc_server: {socket_path: a}\ncommon: {name: a, protocol: b}",
            "grpc_server.socket_path: must be an absolute",
        );
    }
}

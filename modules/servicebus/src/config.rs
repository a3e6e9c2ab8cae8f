//! The section `serviceBus` of edgecore.yaml.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

use crate::ports::{ListenOn, TlsFiles};

/// The longest `timeout`: an hour.
const TIMEOUT_MAX: u32 = 3600;

const LOCALHOST: &str = "localhost";

/// How services and applications on the node speak with the cloud. Upstream's keys with upstream's meanings
/// and defaults, and one of our own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceBusConfig {
    /// The address at which applications reach the cloud. Nobody is asked who he is: one that others than
    /// the node's own applications reach is warned of. Default `127.0.0.1`.
    pub server: String,
    /// Its port. Default 9060.
    pub port: u16,
    /// How long an application waits for the cloud, in seconds. Default 60.
    pub timeout: u32,
    /// The certificate that applications are shown, with its chain, as a PEM file; it must be for
    /// server authentication. With it they are served over HTTPS. Default empty.
    pub tls_cert_file: PathBuf,
    /// The certificate's private key, as a PEM file. Default empty.
    pub tls_private_key_file: PathBuf,
    /// The ports on the node's loopback address that rules may call; empty, all. Default empty.
    pub service_ports: Vec<u16>,
}

impl Default for ServiceBusConfig {
    fn default() -> Self {
        Self {
            server: "127.0.0.1".to_owned(),
            port: 9060,
            timeout: 60,
            tls_cert_file: PathBuf::new(),
            tls_private_key_file: PathBuf::new(),
            service_ports: Vec::new(),
        }
    }
}

impl ServiceBusConfig {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }

    pub(crate) fn may_call(&self, port: u16) -> bool {
        self.service_ports.is_empty() || self.service_ports.contains(&port)
    }

    /// Tells whether only this machine reaches the listener.
    pub(crate) fn is_local(&self) -> bool {
        self.server == LOCALHOST || self.server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    pub(crate) fn listen_on(&self) -> ListenOn {
        let files = TlsFiles { cert: self.tls_cert_file.clone(), key: self.tls_private_key_file.clone() };
        ListenOn {
            address: self.server.clone(),
            port: self.port,
            tls: Some(files).filter(|files| !files.cert.as_os_str().is_empty()),
            answer_timeout: self.timeout(),
        }
    }
}

impl ModuleConfig for ServiceBusConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.server != LOCALHOST && self.server.parse::<IpAddr>().is_err() {
            problems.push("server", "must be an IP address of this machine, such as 127.0.0.1");
        }
        if !(1..=TIMEOUT_MAX).contains(&self.timeout) {
            problems.push("timeout", format!("must be from 1 to {TIMEOUT_MAX} seconds"));
        }
        if self.tls_cert_file.as_os_str().is_empty() != self.tls_private_key_file.as_os_str().is_empty() {
            problems.push("tlsCertFile", "must be given together with tlsPrivateKeyFile, or both be empty");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(section: serde_json::Value) -> Vec<String> {
        let config: ServiceBusConfig = serde_json::from_value(section).expect("a section");
        let mut problems = Problems::new();
        config.validate(&mut problems);
        problems.iter().map(|problem| problem.path.clone()).collect()
    }

    #[test]
    fn the_defaults_are_upstream_s_and_without_problem() {
        let config = ServiceBusConfig::default();
        assert_eq!((config.server.as_str(), config.port, config.timeout), ("127.0.0.1", 9060, 60));
        assert_eq!(problems(serde_json::json!({})), [""; 0]);
        assert!(config.may_call(1));
        let config = ServiceBusConfig { service_ports: vec![8080], ..config };
        assert!(config.may_call(8080) && !config.may_call(10350));
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let section = serde_json::json!({"server": "x", "timeout": 0, "tlsPrivateKeyFile": "/key"});
        assert_eq!(problems(section), ["server", "timeout", "tlsCertFile"]);
    }

    #[test]
    fn a_listener_that_others_reach_is_told_from_a_local_one() {
        for (server, is_local) in
            [("127.0.0.1", true), ("localhost", true), ("::1", true), ("0.0.0.0", false)]
        {
            let config = ServiceBusConfig { server: server.to_owned(), ..ServiceBusConfig::default() };
            assert_eq!(config.is_local(), is_local, "{server}");
        }
    }
}

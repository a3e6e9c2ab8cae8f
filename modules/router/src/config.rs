//! The section `router` of cloudcore.yaml.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

use crate::ports::{ListenOn, TlsFiles};

/// The longest `restTimeout`: an hour.
const REST_TIMEOUT_MAX: u32 = 3600;

/// How REST clients reach nodes. Upstream's keys with upstream's meanings and defaults, and three of our own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RouterConfig {
    /// The address that the REST listener binds. Default `0.0.0.0`.
    pub address: String,
    /// Its port. Default 9443.
    pub port: u16,
    /// How long a REST client waits for a node, in seconds. Default 60.
    pub rest_timeout: u32,
    /// The certificate that the listener shows, with its chain, as a PEM file. With it the listener speaks
    /// HTTPS; empty, it speaks HTTP as upstream's does. Default empty.
    pub tls_cert_file: PathBuf,
    /// The certificate's private key, as a PEM file. Default empty.
    pub tls_private_key_file: PathBuf,
    /// Certificate authorities that servers of `https` endpoints may have a certificate of, besides the
    /// system's, as a PEM file. Default empty.
    pub endpoint_ca_file: PathBuf,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            address: "0.0.0.0".to_owned(),
            port: 9443,
            rest_timeout: 60,
            tls_cert_file: PathBuf::new(),
            tls_private_key_file: PathBuf::new(),
            endpoint_ca_file: PathBuf::new(),
        }
    }
}

impl RouterConfig {
    pub(crate) fn rest_timeout(&self) -> Duration {
        Duration::from_secs(self.rest_timeout.into())
    }

    /// Returns where the REST listener listens.
    pub(crate) fn listen_on(&self) -> ListenOn {
        let files = TlsFiles { cert: self.tls_cert_file.clone(), key: self.tls_private_key_file.clone() };
        ListenOn {
            address: self.address.clone(),
            port: self.port,
            tls: Some(files).filter(|files| !files.cert.as_os_str().is_empty()),
            request_timeout: self.rest_timeout(),
        }
    }

    /// Returns the file of further authorities, if there is one.
    pub(crate) fn endpoint_ca(&self) -> Option<PathBuf> {
        Some(self.endpoint_ca_file.clone()).filter(|file| !file.as_os_str().is_empty())
    }
}

impl ModuleConfig for RouterConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.address.parse::<IpAddr>().is_err() {
            problems.push("address", "must be an IP address of this machine, or 0.0.0.0 for all");
        }
        if !(1..=REST_TIMEOUT_MAX).contains(&self.rest_timeout) {
            problems.push("restTimeout", format!("must be from 1 to {REST_TIMEOUT_MAX} seconds"));
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
        let config: RouterConfig = serde_json::from_value(section).expect("a section");
        let mut problems = Problems::new();
        config.validate(&mut problems);
        problems.iter().map(|problem| problem.path.clone()).collect()
    }

    #[test]
    fn the_defaults_are_upstream_s_and_without_problem() {
        let config = RouterConfig::default();
        assert_eq!((config.address.as_str(), config.port, config.rest_timeout), ("0.0.0.0", 9443, 60));
        assert_eq!(config.listen_on().tls, None);
        assert_eq!(problems(serde_json::json!({})), [""; 0]);
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let section = serde_json::json!({"address": "x", "restTimeout": 0, "tlsCertFile": "/crt"});
        assert_eq!(problems(section), ["address", "restTimeout", "tlsCertFile"]);
    }
}

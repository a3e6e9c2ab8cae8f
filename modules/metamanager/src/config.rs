//! The section `metaManager` of the configuration.

use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

/// Configures the metadata manager.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetaManagerConfig {
    /// Seconds to wait for the cloud's answer when an object is not held here.
    pub remote_query_timeout: u32,
    /// How long after its end a service-account token is still given to pods while the cloud is away.
    #[serde(with = "beehive::config::duration")]
    pub token_grace_period: Duration,
}

impl Default for MetaManagerConfig {
    fn default() -> Self {
        Self { remote_query_timeout: 60, token_grace_period: Duration::from_secs(30 * 24 * 3600) }
    }
}

impl MetaManagerConfig {
    pub(crate) fn query_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.remote_query_timeout))
    }
}

impl ModuleConfig for MetaManagerConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.remote_query_timeout == 0 {
            problems.push("remoteQueryTimeout", "must be at least 1 second");
        }
    }
}

//! A machine for tests.

use std::net::IpAddr;

use async_trait::async_trait;

use crate::ports::{FileError, NodeFacts, NodeInfo, NodeUsage};

/// A machine that is short of nothing, whatever the one that a test runs on lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmpleMachine {
    hostname: String,
}

impl AmpleMachine {
    /// The address that it is reached by, one for documentation.
    pub const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// Makes a machine of this host name.
    #[must_use]
    pub fn named(hostname: &str) -> Self {
        Self { hostname: hostname.to_owned() }
    }
}

#[async_trait]
impl NodeInfo for AmpleMachine {
    async fn facts(&self) -> Result<NodeFacts, FileError> {
        Ok(NodeFacts {
            hostname: self.hostname.clone(),
            addresses: vec![Self::ADDRESS],
            cpu_millis: 4000,
            memory_bytes: 8 << 30,
            storage_bytes: 2 << 40,
            operating_system: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            ..NodeFacts::default()
        })
    }

    async fn usage(&self) -> Result<NodeUsage, FileError> {
        Ok(NodeUsage {
            memory_available_bytes: 4 << 30,
            storage_available_bytes: 1 << 40,
            storage_bytes: 2 << 40,
            inodes_available: 1 << 20,
            inodes: 2 << 20,
            pids_available: 1 << 15,
        })
    }
}

//! The section `cloudHub` of cloudcore.yaml.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;
use wire::link::{ListenOn, TlsFiles, Transport};

/// The largest frame that a cloud accepts of an edge.
pub(crate) const FRAME_BYTES_MAX: usize = 8 << 20;
/// Connections that may be in their handshake at a time.
const HANDSHAKES_MAX: usize = 256;
/// The time that a connection's handshakes may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How edges reach the cloud. Upstream's keys with upstream's meanings and defaults.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CloudHubConfig {
    /// Addresses by which edges reach the cloud, for its certificate. Default none: those of this host.
    pub advertise_address: Vec<String>,
    /// Host names by which edges reach the cloud, for its certificate. Default none.
    pub dns_names: Vec<String>,
    /// Days that an edge's certificate is valid. Default 365.
    pub edge_cert_signing_duration: u32,
    /// Where edges get their certificates.
    pub https: HttpsConfig,
    /// Seconds of silence after which an edge on the KubeEdge codec is gone. Default 30.
    pub keepalive_interval: u32,
    /// The most nodes that may be connected. Default 500.
    pub node_limit: u32,
    /// The certificate authority of the edges. Default `/etc/kubeedge/ca/rootCA.crt`.
    #[serde(rename = "tlsCAFile")]
    pub tls_ca_file: PathBuf,
    /// The authority's private key. Default `/etc/kubeedge/ca/rootCA.key`.
    #[serde(rename = "tlsCAKeyFile")]
    pub tls_ca_key_file: PathBuf,
    /// The cloud's certificate. Default `/etc/kubeedge/certs/server.crt`.
    pub tls_cert_file: PathBuf,
    /// The cloud's private key. Default `/etc/kubeedge/certs/server.key`.
    pub tls_private_key_file: PathBuf,
    /// Hours after which the join token is made anew; one is valid for twice as long. Default 12.
    pub token_refresh_duration: u32,
    /// Seconds that one frame may take to be written. Default 30.
    pub write_timeout: u32,
    /// The WebSocket transport.
    pub websocket: WebSocketConfig,
    /// The QUIC transport, for edges that speak the native codec.
    pub quic: QuicConfig,
    /// Sessions per second that begin to be told what their nodes must know; the others wait for their
    /// turn, alive. 0 is no limit. Default 50.
    pub resyncs_per_second: u32,
    /// Mebibytes of changes that may wait for one node, before its session ends. Default 16.
    pub node_queue_mib: u32,
    /// Mebibytes of changes that may wait for all nodes together, before the sessions of those with
    /// the most end. An object that waits for several nodes counts once. Default 256.
    pub queue_mib: u32,
}

/// The WebSocket transport.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WebSocketConfig {
    /// Whether it is used. Default true.
    pub enable: bool,
    /// The address to listen on. Default `0.0.0.0`.
    pub address: String,
    /// The port to listen on. Default 10000.
    pub port: u16,
}

/// The QUIC transport.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct QuicConfig {
    /// Whether it is used. Default false.
    pub enable: bool,
    /// The address to listen on. Default `0.0.0.0`.
    pub address: String,
    /// The UDP port to listen on. Default 10001.
    pub port: u16,
}

/// Where edges get their certificates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpsConfig {
    /// Whether they can get any. Default true.
    pub enable: bool,
    /// The address to listen on. Default `0.0.0.0`.
    pub address: String,
    /// The port to listen on. Default 10002.
    pub port: u16,
}

impl Default for CloudHubConfig {
    fn default() -> Self {
        Self {
            advertise_address: Vec::new(),
            dns_names: Vec::new(),
            edge_cert_signing_duration: 365,
            https: HttpsConfig::default(),
            keepalive_interval: 30,
            node_limit: 500,
            tls_ca_file: "/etc/kubeedge/ca/rootCA.crt".into(),
            tls_ca_key_file: "/etc/kubeedge/ca/rootCA.key".into(),
            tls_cert_file: "/etc/kubeedge/certs/server.crt".into(),
            tls_private_key_file: "/etc/kubeedge/certs/server.key".into(),
            token_refresh_duration: 12,
            write_timeout: 30,
            websocket: WebSocketConfig::default(),
            quic: QuicConfig::default(),
            resyncs_per_second: 50,
            node_queue_mib: 16,
            queue_mib: 256,
        }
    }
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self { enable: true, address: "0.0.0.0".to_owned(), port: 10000 }
    }
}

impl Default for QuicConfig {
    fn default() -> Self {
        Self { enable: false, address: "0.0.0.0".to_owned(), port: 10001 }
    }
}

impl Default for HttpsConfig {
    fn default() -> Self {
        Self { enable: true, address: "0.0.0.0".to_owned(), port: 10002 }
    }
}

impl CloudHubConfig {
    /// Returns where to listen for links over `transport`; `None` when it is not used.
    pub(crate) fn listen_on(&self, transport: Transport) -> Option<ListenOn> {
        let (enable, address, port) = match transport {
            Transport::WebSocket => (self.websocket.enable, &self.websocket.address, self.websocket.port),
            Transport::Quic => (self.quic.enable, &self.quic.address, self.quic.port),
        };
        enable.then(|| ListenOn {
            address: address.clone(),
            port,
            tls: TlsFiles {
                ca: self.tls_ca_file.clone(),
                certificate: self.tls_cert_file.clone(),
                key: self.tls_private_key_file.clone(),
            },
            handshake_timeout: HANDSHAKE_TIMEOUT,
            handshakes_max: HANDSHAKES_MAX,
            frame_bytes_max: FRAME_BYTES_MAX,
        })
    }

    pub(crate) fn silence_max(&self) -> Duration {
        Duration::from_secs(self.keepalive_interval.into())
    }

    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_secs(self.write_timeout.into())
    }

    pub(crate) fn node_queue_bytes(&self) -> usize {
        bytes_of_mib(self.node_queue_mib)
    }

    pub(crate) fn queue_bytes(&self) -> usize {
        bytes_of_mib(self.queue_mib)
    }

    pub(crate) fn node_limit(&self) -> usize {
        usize::try_from(self.node_limit).unwrap_or(usize::MAX)
    }
}

fn bytes_of_mib(mib: u32) -> usize {
    usize::try_from(mib).unwrap_or(usize::MAX).saturating_mul(1 << 20)
}

impl ModuleConfig for CloudHubConfig {
    fn validate(&self, problems: &mut Problems) {
        for (path, number) in [
            ("edgeCertSigningDuration", self.edge_cert_signing_duration),
            ("keepaliveInterval", self.keepalive_interval),
            ("nodeLimit", self.node_limit),
            ("nodeQueueMib", self.node_queue_mib),
            ("queueMib", self.queue_mib),
            ("tokenRefreshDuration", self.token_refresh_duration),
            ("writeTimeout", self.write_timeout),
        ] {
            if number == 0 {
                problems.push(path, "must be at least 1");
            }
        }
        for (path, address) in [
            ("https.address", &self.https.address),
            ("websocket.address", &self.websocket.address),
            ("quic.address", &self.quic.address),
        ] {
            if address.parse::<IpAddr>().is_err() {
                problems.push(path, "must be an IP address, such as 0.0.0.0");
            }
        }
        if self.advertise_address.iter().any(|address| address.parse::<IpAddr>().is_err()) {
            problems.push("advertiseAddress", "must be IP addresses; host names stand in dnsNames");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_s_section_is_read_by_its_own_keys() {
        let section = serde_json::json!({
            "advertiseAddress": ["10.0.0.1"], "dnsNames": ["cloud"], "edgeCertSigningDuration": 33,
            "https": {"enable": false, "address": "127.0.0.1", "port": 10012},
            "keepaliveInterval": 31, "nodeLimit": 7, "tlsCAFile": "/ca", "tlsCAKeyFile": "/ca.key",
            "tlsCertFile": "/crt", "tlsPrivateKeyFile": "/key", "tokenRefreshDuration": 34,
            "writeTimeout": 32,
            "websocket": {"enable": false, "address": "127.0.0.1", "port": 10010},
            "quic": {"enable": true, "address": "127.0.0.2", "port": 10011},
        });
        let config: CloudHubConfig = serde_json::from_value(section).expect("a section");
        let expect = CloudHubConfig {
            advertise_address: vec!["10.0.0.1".to_owned()],
            dns_names: vec!["cloud".to_owned()],
            edge_cert_signing_duration: 33,
            https: HttpsConfig { enable: false, address: "127.0.0.1".to_owned(), port: 10012 },
            keepalive_interval: 31,
            node_limit: 7,
            tls_ca_file: "/ca".into(),
            tls_ca_key_file: "/ca.key".into(),
            tls_cert_file: "/crt".into(),
            tls_private_key_file: "/key".into(),
            token_refresh_duration: 34,
            write_timeout: 32,
            websocket: WebSocketConfig { enable: false, address: "127.0.0.1".to_owned(), port: 10010 },
            quic: QuicConfig { enable: true, address: "127.0.0.2".to_owned(), port: 10011 },
            ..CloudHubConfig::default()
        };
        assert_eq!(config, expect);
        let empty: CloudHubConfig = serde_json::from_value(serde_json::json!({})).expect("a section");
        assert_eq!(empty, CloudHubConfig::default());
    }

    #[test]
    fn every_problem_of_a_section_is_found_at_once() {
        let websocket = WebSocketConfig { address: "cloud".to_owned(), ..WebSocketConfig::default() };
        let config = CloudHubConfig {
            advertise_address: vec!["cloud".to_owned()],
            keepalive_interval: 0,
            node_limit: 0,
            websocket,
            quic: QuicConfig { address: "cloud".to_owned(), ..QuicConfig::default() },
            ..CloudHubConfig::default()
        };
        let mut problems = Problems::new();
        config.validate(&mut problems);
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(
            paths,
            ["keepaliveInterval", "nodeLimit", "websocket.address", "quic.address", "advertiseAddress"]
        );
        let mut none = Problems::new();
        CloudHubConfig::default().validate(&mut none);
        assert!(none.is_empty(), "{none}");
    }
}

//! The section `edgeHub` of edgecore.yaml.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;
use wire::Codec;
use wire::link::{TlsFiles, Transport};

/// How an edge reaches its cloud. Upstream's keys with upstream's meanings and defaults.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EdgeHubConfig {
    /// Seconds between two keepalives on the KubeEdge codec. Default 15.
    pub heartbeat: u32,
    /// Where the edge gets its certificate. Default `https://127.0.0.1:10002`.
    pub http_server: String,
    /// Requests per second that the edge sends; 0 is no limit. Default 30.
    #[serde(rename = "messageQPS")]
    pub message_qps: u32,
    /// Requests that may exceed the rate in a burst. Default 60.
    pub message_burst: u32,
    /// The project in the URL and the headers of the connection.
    #[serde(rename = "projectID")]
    pub project_id: String,
    /// Whether the certificate is replaced before it ends. Default true.
    pub rotate_certificates: bool,
    /// The certificate authority of the cloud. Default `/etc/kubeedge/ca/rootCA.crt`.
    pub tls_ca_file: PathBuf,
    /// The edge's certificate. Default `/etc/kubeedge/certs/server.crt`.
    pub tls_cert_file: PathBuf,
    /// The edge's private key. Default `/etc/kubeedge/certs/server.key`.
    pub tls_private_key_file: PathBuf,
    /// The join token, with which the edge gets its first certificate. Default none.
    pub token: Token,
    /// The WebSocket transport.
    pub websocket: WebSocketConfig,
    /// The QUIC transport, which is tried before WebSocket.
    pub quic: QuicConfig,
    /// Which byte forms the edge offers. Default `native`, which falls back to KubeEdge's when
    /// the cloud does not know it.
    pub codec: CodecChoice,
}

/// A join token. It is secret.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Makes a token of its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret text; empty if there is no token.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "***" })
    }
}

/// The WebSocket transport.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WebSocketConfig {
    /// Whether it is used. Default true. Where QUIC is used it is fallen back to even if this is false,
    /// as KubeEdge's files must say then.
    pub enable: bool,
    /// Seconds for connecting and all handshakes. Default 30.
    pub handshake_timeout: u32,
    /// The cloud's `host:port`. Default `127.0.0.1:10000`.
    pub server: String,
    /// Seconds that one frame may take to be written. Default 15.
    pub write_deadline: u32,
}

/// The QUIC transport.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct QuicConfig {
    /// Whether it is used. Default false.
    pub enable: bool,
    /// Seconds for connecting and all handshakes. Default 30.
    pub handshake_timeout: u32,
    /// The cloud's `host:port`, of UDP. Default `127.0.0.1:10001`.
    pub server: String,
    /// Seconds that one frame may take to be written. Default 15.
    pub write_deadline: u32,
}

/// Which byte forms an edge offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodecChoice {
    /// The native one, or KubeEdge's if the cloud does not know it.
    Native,
    /// KubeEdge's.
    Kubeedge,
}

impl Default for EdgeHubConfig {
    fn default() -> Self {
        Self {
            heartbeat: 15,
            http_server: "https://127.0.0.1:10002".to_owned(),
            message_qps: 30,
            message_burst: 60,
            project_id: "e632aba927ea4ac2b575ec1603d56f10".to_owned(),
            rotate_certificates: true,
            tls_ca_file: "/etc/kubeedge/ca/rootCA.crt".into(),
            tls_cert_file: "/etc/kubeedge/certs/server.crt".into(),
            tls_private_key_file: "/etc/kubeedge/certs/server.key".into(),
            token: Token::default(),
            websocket: WebSocketConfig::default(),
            quic: QuicConfig::default(),
            codec: CodecChoice::Native,
        }
    }
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self { enable: true, handshake_timeout: 30, server: "127.0.0.1:10000".to_owned(), write_deadline: 15 }
    }
}

impl Default for QuicConfig {
    fn default() -> Self {
        let server = "127.0.0.1:10001".to_owned();
        Self { enable: false, handshake_timeout: 30, server, write_deadline: 15 }
    }
}

impl EdgeHubConfig {
    /// Returns the codecs to offer over a transport, best first.
    pub(crate) fn codecs(&self, transport: Transport) -> Vec<Codec> {
        match (transport, self.codec) {
            (Transport::Quic, _) => vec![Codec::Native],
            (Transport::WebSocket, CodecChoice::Native) => vec![Codec::Native, Codec::KubeEdge],
            (Transport::WebSocket, CodecChoice::Kubeedge) => vec![Codec::KubeEdge],
        }
    }

    /// Returns where the cloud is met over WebSocket. Files that name it for QUIC only, as KubeEdge's do
    /// when they use QUIC, mean the same host.
    #[must_use]
    pub fn websocket_server(&self) -> String {
        let own = &self.websocket.server;
        let is_meant = self.websocket.enable && *own != WebSocketConfig::default().server;
        match (self.quic.server.rsplit_once(':'), own.rsplit_once(':')) {
            (Some((host, _)), Some((_, port))) if self.quic.enable && !is_meant => format!("{host}:{port}"),
            _ => own.clone(),
        }
    }

    pub(crate) fn server(&self, transport: Transport) -> String {
        match transport {
            Transport::WebSocket => self.websocket_server(),
            Transport::Quic => self.quic.server.clone(),
        }
    }

    /// Returns the files of the edge's certificate.
    #[must_use]
    pub fn tls(&self) -> TlsFiles {
        TlsFiles {
            ca: self.tls_ca_file.clone(),
            certificate: self.tls_cert_file.clone(),
            key: self.tls_private_key_file.clone(),
        }
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat.into())
    }

    pub(crate) fn handshake_timeout(&self, transport: Transport) -> Duration {
        let seconds = match transport {
            Transport::WebSocket => self.websocket.handshake_timeout,
            Transport::Quic => self.quic.handshake_timeout,
        };
        Duration::from_secs(seconds.into())
    }

    pub(crate) fn write_timeout(&self, transport: Transport) -> Duration {
        let seconds = match transport {
            Transport::WebSocket => self.websocket.write_deadline,
            Transport::Quic => self.quic.write_deadline,
        };
        Duration::from_secs(seconds.into())
    }
}

impl ModuleConfig for EdgeHubConfig {
    fn validate(&self, problems: &mut Problems) {
        for (path, seconds) in [
            ("heartbeat", self.heartbeat),
            ("websocket.handshakeTimeout", self.websocket.handshake_timeout),
            ("websocket.writeDeadline", self.websocket.write_deadline),
        ] {
            if seconds == 0 {
                problems.push(path, "must be at least one second");
            }
        }
        if !self.websocket.enable && !self.quic.enable {
            problems.push("websocket.enable", "must be true, or quic.enable");
        }
        if self.quic.enable {
            self.validate_quic(problems);
        }
        if !is_https(&self.http_server) {
            problems.push("httpServer", "must be like https://10.0.0.1:10002");
        }
        if !is_host_and_port(&self.websocket.server) {
            problems.push("websocket.server", "must be a host and a port, such as 10.0.0.1:10000");
        }
    }
}

impl EdgeHubConfig {
    fn validate_quic(&self, problems: &mut Problems) {
        for (path, seconds) in [
            ("quic.handshakeTimeout", self.quic.handshake_timeout),
            ("quic.writeDeadline", self.quic.write_deadline),
        ] {
            if seconds == 0 {
                problems.push(path, "must be at least one second");
            }
        }
        if !is_host_and_port(&self.quic.server) {
            problems.push("quic.server", "must be a host and a port, such as 10.0.0.1:10001");
        }
        if self.codec == CodecChoice::Kubeedge {
            problems
                .push("quic.enable", "must be false with the codec kubeedge, which goes over WebSocket only");
        }
    }
}

fn is_https(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|rest| is_host_and_port(rest.trim_end_matches('/')))
}

fn is_host_and_port(server: &str) -> bool {
    let Some((host, port)) = server.rsplit_once(':') else { return false };
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_s_section_is_read_by_its_own_keys() {
        let section = serde_json::json!({
            "heartbeat": 16, "httpServer": "https://10.0.0.1:10002", "rotateCertificates": false,
            "token": "a.b.c.d", "messageQPS": 31, "messageBurst": 61, "projectID": "p", "tlsCaFile": "/ca",
            "tlsCertFile": "/crt", "tlsPrivateKeyFile": "/key",
            "websocket": {
                "enable": true, "handshakeTimeout": 31, "server": "10.0.0.1:10000",
                "writeDeadline": 17,
            },
            "quic": {
                "enable": true, "handshakeTimeout": 32, "server": "10.0.0.1:10001",
                "writeDeadline": 18,
            },
        });
        let config: EdgeHubConfig = serde_json::from_value(section).expect("a section");
        let websocket = WebSocketConfig {
            enable: true,
            handshake_timeout: 31,
            server: "10.0.0.1:10000".to_owned(),
            write_deadline: 17,
        };
        let expect = EdgeHubConfig {
            heartbeat: 16,
            http_server: "https://10.0.0.1:10002".to_owned(),
            message_qps: 31,
            message_burst: 61,
            project_id: "p".to_owned(),
            rotate_certificates: false,
            tls_ca_file: "/ca".into(),
            tls_cert_file: "/crt".into(),
            tls_private_key_file: "/key".into(),
            token: Token::new("a.b.c.d"),
            websocket,
            quic: QuicConfig {
                enable: true,
                handshake_timeout: 32,
                server: "10.0.0.1:10001".to_owned(),
                write_deadline: 18,
            },
            codec: CodecChoice::Native,
        };
        assert_eq!(config, expect);
        let empty: EdgeHubConfig = serde_json::from_value(serde_json::json!({})).expect("a section");
        assert_eq!(empty, EdgeHubConfig::default());
    }

    #[test]
    fn every_problem_of_a_section_is_found_at_once() {
        let websocket =
            WebSocketConfig { enable: false, server: "x".to_owned(), ..WebSocketConfig::default() };
        let http_server = "http://10.0.0.1:10002".to_owned();
        let config = EdgeHubConfig { heartbeat: 0, http_server, websocket, ..EdgeHubConfig::default() };
        let mut problems = Problems::new();
        config.validate(&mut problems);
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["heartbeat", "websocket.enable", "httpServer", "websocket.server"]);
        let mut none = Problems::new();
        EdgeHubConfig::default().validate(&mut none);
        assert!(none.is_empty(), "{none}");
    }

    #[test]
    fn every_problem_of_quic_is_found_when_it_is_used() {
        let quic = QuicConfig {
            enable: true,
            handshake_timeout: 0,
            server: "10.0.0.1".to_owned(),
            write_deadline: 0,
        };
        let codec = CodecChoice::Kubeedge;
        let mut config = EdgeHubConfig { quic, codec, ..EdgeHubConfig::default() };
        let paths = |config: &EdgeHubConfig| {
            let mut problems = Problems::new();
            config.validate(&mut problems);
            problems.iter().map(|problem| problem.path.clone()).collect::<Vec<_>>()
        };
        let expected = ["quic.handshakeTimeout", "quic.writeDeadline", "quic.server", "quic.enable"];
        assert_eq!(paths(&config), expected);
        config.quic.enable = false;
        assert_eq!(paths(&config), [""; 0]);
        config.websocket.enable = false;
        assert_eq!(paths(&config), ["websocket.enable"]);
    }

    #[test]
    fn what_is_fallen_back_to_is_on_the_host_of_quic_unless_it_is_named() {
        for (quic, websocket, enable, expect) in [
            (Some("cloud:10001"), "127.0.0.1:10000", true, "cloud:10000"),
            // What KubeEdge's keadm leaves there is the node's own address.
            (Some("cloud:10001"), "192.0.2.9:10000", false, "cloud:10000"),
            (Some("[2001:db8::1]:10001"), "192.0.2.9:20000", false, "[2001:db8::1]:20000"),
            (Some("cloud:10001"), "other:10000", true, "other:10000"),
            (None, "other:10000", true, "other:10000"),
            (None, "127.0.0.1:10000", true, "127.0.0.1:10000"),
        ] {
            let mut config = EdgeHubConfig::default();
            config.quic.enable = quic.is_some();
            config.quic.server = quic.unwrap_or("cloud:10001").to_owned();
            config.websocket.enable = enable;
            config.websocket.server = websocket.to_owned();
            assert_eq!(config.websocket_server(), expect, "{quic:?} {websocket} {enable}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let config = EdgeHubConfig { token: Token::new("a.b.c.d"), ..EdgeHubConfig::default() };
        let shown = format!("{config:?}");
        assert!(!shown.contains("a.b.c.d") && shown.contains("***"), "{shown}");
    }

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for (server, expect) in [
            ("10.0.0.1:10000", true),
            ("cloud.example:1", true),
            ("[::1]:10000", true),
            ("", false),
            ("10.0.0.1", false),
            (":10000", false),
            ("a:0", false),
            ("a:b", false),
        ] {
            assert_eq!(is_host_and_port(server), expect, "{server:?}");
        }
    }
}

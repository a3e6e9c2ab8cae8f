//! The section `eventBus` of edgecore.yaml.

mod internal;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use beehive::{ModuleConfig, Problems};
use serde::Deserialize;

use crate::filter::is_filter;
use crate::ports::{ConnectTo, Credentials, Qos, TlsFiles};
use crate::server::{Scheme, ServerUrl};

pub use self::internal::InternalBroker;

/// Upstream's modes: a broker within edgecore, both, and a broker that is a program of its own.
const INTERNAL: u8 = 0;
const BOTH: u8 = 1;
const EXTERNAL: u8 = 2;
/// The largest packet that is read at all. A larger one ends the connection.
const PACKET_BYTES_MAX: usize = 16 << 20;
/// What `mqttMessageBytesMax` may be at most, so that a packet has room for it and its topic.
const MESSAGE_BYTES_MAX: u32 = 15 << 20;
/// Upstream's keepalive.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The time for connecting, and for each answer of the broker.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How local clients are reached. Upstream's keys with upstream's meanings and defaults, and four of our own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EventBusConfig {
    /// Which brokers are used: 0, the one within edgecore; 2, an external one; 1, both. Default 2.
    pub mqtt_mode: u8,
    /// The address of the external broker. Default `tcp://127.0.0.1:1883`.
    pub mqtt_server_external: String,
    /// Where the broker within edgecore listens. Default `tcp://127.0.0.1:1884`.
    pub mqtt_server_internal: String,
    /// The QoS with which edgecore publishes at its own broker. Default 0.
    #[serde(rename = "mqttQOS")]
    pub mqtt_qos: u8,
    /// Whether its own broker keeps what edgecore publishes for clients that come later. Default false.
    pub mqtt_retain: bool,
    /// How many messages may wait for one client of its own broker. Default 100.
    pub mqtt_session_queue_size: u32,
    /// The client id of the connection that subscribes for devices. Default `hub-client-sub-<node>`. The one
    /// that subscribes for the rules of the cloud has this id and `-rule`, by default `hub-client-rule-<node>`.
    #[serde(rename = "mqttSubClientID")]
    pub mqtt_sub_client_id: String,
    /// The client id of the connection that publishes. Default `hub-client-pub-<node>`.
    #[serde(rename = "mqttPubClientID")]
    pub mqtt_pub_client_id: String,
    /// The user's name at the external broker. Default none.
    pub mqtt_username: String,
    /// The user's password at the external broker. Default none.
    pub mqtt_password: Password,
    /// How the external broker is spoken to with TLS.
    #[serde(rename = "eventBusTLS")]
    pub event_bus_tls: EventBusTls,
    /// Whether the broker keeps what comes while edgecore is away, as a session that is not clean. Default
    /// false.
    pub mqtt_session_resume: bool,
    /// Further filters that are subscribed to, after upstream's. Default none.
    pub mqtt_topics: Vec<String>,
    /// The largest message that is taken, in bytes. Default 1048576.
    pub mqtt_message_bytes_max: u32,
    /// Who may connect to the broker within edgecore.
    pub mqtt_internal: InternalBroker,
}

/// TLS to the external broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EventBusTls {
    /// Whether it is used. Default false.
    pub enable: bool,
    /// The certificate authority of the broker. Default `/etc/kubeedge/ca/rootCA.crt`.
    #[serde(rename = "tlsMqttCAFile")]
    pub tls_mqtt_ca_file: PathBuf,
    /// The own certificate; empty, with the key, for brokers that ask for none. Default
    /// `/etc/kubeedge/certs/server.crt`.
    pub tls_mqtt_cert_file: PathBuf,
    /// The own private key. Default `/etc/kubeedge/certs/server.key`.
    pub tls_mqtt_private_key_file: PathBuf,
}

/// A password. It is secret.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Makes a password of its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret text; empty if there is no password.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "***" })
    }
}

impl Default for EventBusConfig {
    fn default() -> Self {
        Self {
            mqtt_mode: EXTERNAL,
            mqtt_server_external: "tcp://127.0.0.1:1883".to_owned(),
            mqtt_server_internal: "tcp://127.0.0.1:1884".to_owned(),
            mqtt_qos: 0,
            mqtt_retain: false,
            mqtt_session_queue_size: 100,
            mqtt_sub_client_id: String::new(),
            mqtt_pub_client_id: String::new(),
            mqtt_username: String::new(),
            mqtt_password: Password::default(),
            event_bus_tls: EventBusTls::default(),
            mqtt_session_resume: false,
            mqtt_topics: Vec::new(),
            mqtt_message_bytes_max: 1 << 20,
            mqtt_internal: InternalBroker::default(),
        }
    }
}

impl Default for EventBusTls {
    fn default() -> Self {
        Self {
            enable: false,
            tls_mqtt_ca_file: "/etc/kubeedge/ca/rootCA.crt".into(),
            tls_mqtt_cert_file: "/etc/kubeedge/certs/server.crt".into(),
            tls_mqtt_private_key_file: "/etc/kubeedge/certs/server.key".into(),
        }
    }
}

impl EventBusConfig {
    /// Tells whether the broker within edgecore is used.
    pub(crate) const fn is_internal(&self) -> bool {
        matches!(self.mqtt_mode, INTERNAL | BOTH)
    }

    /// Tells whether an external broker is used.
    pub(crate) const fn is_external(&self) -> bool {
        matches!(self.mqtt_mode, BOTH | EXTERNAL)
    }

    /// Returns the same for the broker within edgecore, as a client within the process. The subscriber's
    /// session is kept, so that nothing is acknowledged to its publisher that the event bus does not have.
    pub(crate) fn within(&self, to: ConnectTo, is_clean: bool) -> ConnectTo {
        let credentials = self.mqtt_internal.user();
        ConnectTo { tls: None, credentials, is_clean, ..to }
    }

    /// Returns how edgecore publishes at its own broker.
    pub(crate) const fn internal_qos(&self) -> Qos {
        match self.mqtt_qos {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        }
    }

    /// Returns how the connection that subscribes is made.
    pub(crate) fn subscriber(&self, server: ServerUrl, node: &str) -> ConnectTo {
        let client_id = or(&self.mqtt_sub_client_id, || format!("hub-client-sub-{node}"));
        ConnectTo { is_clean: !self.mqtt_session_resume, ..self.connect_to(server, client_id) }
    }

    /// Returns how the connection that publishes is made.
    pub(crate) fn publisher(&self, server: ServerUrl, node: &str) -> ConnectTo {
        let client_id = or(&self.mqtt_pub_client_id, || format!("hub-client-pub-{node}"));
        self.connect_to(server, client_id)
    }

    /// Returns how the connection that subscribes for the rules of the cloud is made.
    pub(crate) fn router(&self, server: ServerUrl, node: &str) -> ConnectTo {
        let client_id = match self.mqtt_sub_client_id.as_str() {
            "" => format!("hub-client-rule-{node}"),
            chosen => format!("{chosen}-rule"),
        };
        ConnectTo { client_id, ..self.subscriber(server, node) }
    }

    pub(crate) fn message_bytes_max(&self) -> usize {
        usize::try_from(self.mqtt_message_bytes_max).unwrap_or(PACKET_BYTES_MAX)
    }

    fn connect_to(&self, server: ServerUrl, client_id: String) -> ConnectTo {
        let (username, password) = (self.mqtt_username.clone(), self.mqtt_password.clone());
        let credentials = Some(Credentials { username, password }).filter(|it| !it.username.is_empty());
        ConnectTo {
            server,
            tls: self.event_bus_tls.enable.then(|| self.event_bus_tls.files()),
            client_id,
            credentials,
            is_clean: true,
            keep_alive: KEEP_ALIVE,
            timeout: TIMEOUT,
            packet_bytes_max: PACKET_BYTES_MAX,
        }
    }

    fn validate_external(&self, problems: &mut Problems) {
        self.validate_server(problems);
        if self.event_bus_tls.enable {
            self.event_bus_tls.validate(problems);
        }
        if self.mqtt_username.is_empty() && !self.mqtt_password.reveal().is_empty() {
            problems.push("mqttUsername", "must be given with a password, which is not sent without it");
        }
    }

    fn validate_server(&self, problems: &mut Problems) {
        const SERVER: &str = "mqttServerExternal";
        let server = match ServerUrl::parse(&self.mqtt_server_external) {
            Ok(server) => server,
            Err(problem) => return problems.push(SERVER, problem),
        };
        match (server.scheme, self.event_bus_tls.enable) {
            (Scheme::Tcp, true) => {
                problems.push(
                    SERVER,
                    "must begin with ssl:// while eventBusTLS.enable is true: else nothing is encrypted",
                );
            }
            (Scheme::Tls, false) => problems.push(
                "eventBusTLS.enable",
                "must be true for a server with ssl://, whose certificate is always verified",
            ),
            (Scheme::Tls, true) if server.host.contains(':') => {
                problems.push(
                    SERVER,
                    "must name the broker or its IPv4 address: TLS to an IPv6 address is not supported",
                );
            }
            (Scheme::Tcp, false) | (Scheme::Tls, true) => {}
        }
    }
}

impl EventBusTls {
    fn files(&self) -> TlsFiles {
        let client = (self.tls_mqtt_cert_file.clone(), self.tls_mqtt_private_key_file.clone());
        TlsFiles { ca: self.tls_mqtt_ca_file.clone(), client: Some(client).filter(|it| !is_none(&it.0)) }
    }

    fn validate(&self, problems: &mut Problems) {
        if is_none(&self.tls_mqtt_ca_file) {
            problems
                .push("eventBusTLS.tlsMqttCAFile", "must be the file of the broker's certificate authority");
        }
        if is_none(&self.tls_mqtt_cert_file) != is_none(&self.tls_mqtt_private_key_file) {
            problems.push(
                "eventBusTLS.tlsMqttCertFile",
                "must be given together with tlsMqttPrivateKeyFile, or both be empty",
            );
        }
    }
}

impl ModuleConfig for EventBusConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.mqtt_mode > EXTERNAL {
            problems.push(
                "mqttMode",
                "must be 0 for the broker within edgecore, 2 for an external one, or 1 for both",
            );
        }
        if self.is_internal() {
            self.validate_internal(problems);
        }
        if self.is_external() {
            self.validate_external(problems);
        }
        if self.mqtt_mode == BOTH && self.mqtt_server_internal == self.mqtt_server_external {
            problems.push(
                "mqttServerExternal",
                "must differ from mqttServerInternal: it is another broker than that within edgecore",
            );
        }
        for (key, id) in
            [("mqttSubClientID", &self.mqtt_sub_client_id), ("mqttPubClientID", &self.mqtt_pub_client_id)]
        {
            if id.len() > 256 || id.chars().any(char::is_control) {
                problems.push(key, "must be at most 256 bytes, without control characters");
            }
        }
        if !self.mqtt_sub_client_id.is_empty() && self.mqtt_sub_client_id == self.mqtt_pub_client_id {
            problems.push(
                "mqttPubClientID",
                "must differ from mqttSubClientID: a broker has one client for each id",
            );
        }
        for (at, filter) in self.mqtt_topics.iter().enumerate() {
            if !is_filter(filter) {
                problems.push(
                    format!("mqttTopics[{at}]"),
                    "must be an MQTT topic filter, such as factory/+/alarm",
                );
            }
        }
        if !(1024..=MESSAGE_BYTES_MAX).contains(&self.mqtt_message_bytes_max) {
            problems.push("mqttMessageBytesMax", format!("must be from 1024 to {MESSAGE_BYTES_MAX}"));
        }
    }
}

fn or(text: &str, otherwise: impl FnOnce() -> String) -> String {
    if text.is_empty() { otherwise() } else { text.to_owned() }
}

fn is_none(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(section: serde_json::Value) -> EventBusConfig {
        serde_json::from_value(section).expect("a section")
    }

    fn problems(section: serde_json::Value) -> Vec<String> {
        let mut problems = Problems::new();
        read(section).validate(&mut problems);
        problems.iter().map(|problem| problem.path.clone()).collect()
    }

    #[test]
    fn upstream_s_section_is_read_by_its_own_keys() {
        let config = read(serde_json::json!({
            "mqttMode": 2, "mqttServerExternal": "ssl://b:8883", "mqttServerInternal": "tcp://127.0.0.1:1",
            "mqttQOS": 1, "mqttRetain": true, "mqttSessionQueueSize": 7,
            "mqttSubClientID": "s", "mqttPubClientID": "p", "mqttUsername": "u", "mqttPassword": "secret",
            "eventBusTLS": {
                "enable": true, "tlsMqttCAFile": "/ca", "tlsMqttCertFile": "/crt", "tlsMqttPrivateKeyFile": "/key",
            },
        }));
        let expect = EventBusConfig {
            mqtt_mode: 2,
            mqtt_server_external: "ssl://b:8883".to_owned(),
            mqtt_server_internal: "tcp://127.0.0.1:1".to_owned(),
            mqtt_qos: 1,
            mqtt_retain: true,
            mqtt_session_queue_size: 7,
            mqtt_sub_client_id: "s".to_owned(),
            mqtt_pub_client_id: "p".to_owned(),
            mqtt_username: "u".to_owned(),
            mqtt_password: Password::new("secret"),
            event_bus_tls: EventBusTls {
                enable: true,
                tls_mqtt_ca_file: "/ca".into(),
                tls_mqtt_cert_file: "/crt".into(),
                tls_mqtt_private_key_file: "/key".into(),
            },
            ..EventBusConfig::default()
        };
        assert_eq!(config, expect);
        assert_eq!(read(serde_json::json!({})), EventBusConfig::default());
    }

    #[test]
    fn the_defaults_are_without_problem_and_connect_as_upstream_does() {
        assert_eq!(problems(serde_json::json!({})), [""; 0]);
        let config = EventBusConfig::default();
        let server = ServerUrl::parse(&config.mqtt_server_external).expect("an address");
        let to = config.subscriber(server.clone(), "edge-1");
        assert_eq!((to.client_id.as_str(), to.is_clean), ("hub-client-sub-edge-1", true));
        assert_eq!((to.tls, to.credentials, to.keep_alive), (None, None, Duration::from_secs(30)));
        assert_eq!(config.publisher(server.clone(), "edge-1").client_id, "hub-client-pub-edge-1");
        let config = EventBusConfig { mqtt_session_resume: true, ..config };
        assert!(!config.subscriber(server.clone(), "edge-1").is_clean);
        assert!(config.publisher(server, "edge-1").is_clean);
    }

    #[test]
    fn every_problem_of_a_section_is_found_at_once() {
        let found = problems(serde_json::json!({
            "mqttMode": 1, "mqttPassword": "x", "mqttTopics": ["a/#", "a#"], "mqttQOS": 3,
            "mqttSubClientID": "same", "mqttPubClientID": "same", "mqttMessageBytesMax": 1,
            "mqttServerInternal": "ssl://0.0.0.0:1", "mqttServerExternal": "ssl://0.0.0.0:1",
            "eventBusTLS": {"enable": true, "tlsMqttCAFile": "", "tlsMqttCertFile": ""},
        }));
        let expect = [
            "mqttInternal.tlsCertFile",
            "mqttServerInternal",
            "mqttQOS",
            "eventBusTLS.tlsMqttCAFile",
            "eventBusTLS.tlsMqttCertFile",
            "mqttUsername",
            "mqttServerExternal",
            "mqttPubClientID",
            "mqttTopics[1]",
            "mqttMessageBytesMax",
        ];
        assert_eq!(found, expect);
        assert_eq!(problems(serde_json::json!({"mqttMode": 3})), ["mqttMode"]);
        // What is not used is not looked at.
        let unused = serde_json::json!({"mqttMode": 0, "mqttServerExternal": "x", "mqttPassword": "x"});
        assert_eq!(problems(unused), [""; 0]);
        assert_eq!(problems(serde_json::json!({"mqttServerInternal": "x", "mqttQOS": 3})), [""; 0]);
        assert_eq!(problems(serde_json::json!({"mqttServerExternal": "x"})), ["mqttServerExternal"]);
    }

    #[test]
    fn encryption_is_there_where_it_was_asked_for_and_always_verified() {
        let check = |server: &str, tls: bool, expect: &[&str]| {
            let section = serde_json::json!({"mqttServerExternal": server, "eventBusTLS": {"enable": tls}});
            assert_eq!(problems(section), expect, "{server} {tls}");
        };
        check("tcp://b:1883", false, &[]);
        check("ssl://b:8883", true, &[]);
        check("tcp://b:1883", true, &["mqttServerExternal"]);
        check("ssl://b:8883", false, &["eventBusTLS.enable"]);
        check("ssl://[::1]:8883", true, &["mqttServerExternal"]);
    }

    #[test]
    fn a_certificate_of_its_own_is_left_out_by_two_empty_names() {
        let tls = EventBusTls {
            tls_mqtt_cert_file: "".into(),
            tls_mqtt_private_key_file: "".into(),
            ..EventBusTls::default()
        };
        assert_eq!(tls.files().client, None);
        assert!(EventBusTls::default().files().client.is_some());
    }

    #[test]
    fn a_password_is_not_shown() {
        let config = EventBusConfig { mqtt_password: Password::new("secret"), ..EventBusConfig::default() };
        let shown = format!("{config:?}");
        assert!(!shown.contains("secret") && shown.contains("***"), "{shown}");
    }
}

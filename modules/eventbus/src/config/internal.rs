//! The keys of the broker within edgecore.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use beehive::Problems;
use serde::Deserialize;

use super::{EventBusConfig, Password, is_none};
use crate::ports::{Credentials, ServeOn, ServerTls};
use crate::server::{Scheme, ServerUrl};

/// What a packet has besides its message, at most: the longest topic and a header.
const PACKET_OVERHEAD: usize = (1 << 16) + 16;
/// What `mqttSessionQueueSize` may be at most.
const QUEUE_MAX: u32 = 10_000;
/// The key of the address.
const SERVER: &str = "mqttServerInternal";

/// Who may connect to the broker within edgecore, and how. KubeEdge's lets everybody in, without TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InternalBroker {
    /// The user that clients must give. Default none: everybody may connect.
    pub username: String,
    /// Its password. Default none.
    pub password: Password,
    /// Whether everybody may connect though other machines reach the address. Default false.
    pub allow_anonymous: bool,
    /// The certificate chain, for an address with `ssl://`. Default none.
    pub tls_cert_file: PathBuf,
    /// Its private key. Default none.
    pub tls_private_key_file: PathBuf,
    /// The authorities of clients' certificates; with it, clients must have one. Default none.
    #[serde(rename = "tlsClientCAFile")]
    pub tls_client_ca_file: PathBuf,
}

impl EventBusConfig {
    /// Returns how the broker within edgecore serves others.
    pub(crate) fn serve_on(&self) -> Result<ServeOn, &'static str> {
        let (_, address) = listen_address(&self.mqtt_server_internal)?;
        let InternalBroker { tls_cert_file, tls_private_key_file, tls_client_ca_file, .. } =
            &self.mqtt_internal;
        let tls = (!is_none(tls_cert_file)).then(|| ServerTls {
            certificate: tls_cert_file.clone(),
            key: tls_private_key_file.clone(),
            clients: Some(tls_client_ca_file.clone()).filter(|path| !is_none(path)),
        });
        Ok(ServeOn {
            address,
            tls,
            user: self.mqtt_internal.user(),
            queue_max: usize::try_from(self.mqtt_session_queue_size).unwrap_or(usize::MAX),
            packet_bytes_max: self.message_bytes_max() + PACKET_OVERHEAD,
        })
    }

    pub(super) fn validate_internal(&self, problems: &mut Problems) {
        let broker = &self.mqtt_internal;
        match listen_address(&self.mqtt_server_internal) {
            Err(problem) => problems.push(SERVER, problem),
            Ok((scheme, address)) => {
                broker.validate_tls(scheme, problems);
                let is_known = !broker.username.is_empty() || !is_none(&broker.tls_client_ca_file);
                if !address.ip().is_loopback() && !is_known && !broker.allow_anonymous {
                    problems.push(
                        SERVER,
                        "other machines reach this address: give mqttInternal.username and mqttInternal.password, \
                         or mqttInternal.tlsClientCAFile, or set mqttInternal.allowAnonymous to true",
                    );
                }
            }
        }
        if broker.username.is_empty() != broker.password.reveal().is_empty() {
            problems.push("mqttInternal.username", "must be given together with mqttInternal.password");
        }
        if broker.allow_anonymous && !broker.username.is_empty() {
            problems
                .push("mqttInternal.allowAnonymous", "must be false where mqttInternal.username is given");
        }
        if self.mqtt_qos > 2 {
            problems.push("mqttQOS", "must be 0, 1 or 2");
        }
        if !(1..=QUEUE_MAX).contains(&self.mqtt_session_queue_size) {
            problems.push("mqttSessionQueueSize", format!("must be from 1 to {QUEUE_MAX}"));
        }
    }
}

impl InternalBroker {
    /// Returns who may connect; nobody in particular if everybody may.
    pub(super) fn user(&self) -> Option<Credentials> {
        let (username, password) = (self.username.clone(), self.password.clone());
        Some(Credentials { username, password }).filter(|it| !it.username.is_empty())
    }

    fn validate_tls(&self, scheme: Scheme, problems: &mut Problems) {
        let (has_certificate, has_key) =
            (!is_none(&self.tls_cert_file), !is_none(&self.tls_private_key_file));
        if has_certificate != has_key {
            problems.push(
                "mqttInternal.tlsCertFile",
                "must be given together with mqttInternal.tlsPrivateKeyFile, or both be empty",
            );
            return;
        }
        if !has_certificate && !is_none(&self.tls_client_ca_file) {
            problems.push(
                "mqttInternal.tlsClientCAFile",
                "has an effect only with mqttInternal.tlsCertFile and mqttInternal.tlsPrivateKeyFile",
            );
        }
        match (scheme, has_certificate) {
            (Scheme::Tls, false) => problems
                .push("mqttInternal.tlsCertFile", "must be given, with its key, for an address with ssl://"),
            (Scheme::Tcp, true) => problems.push(
                SERVER,
                "must begin with ssl:// where mqttInternal.tlsCertFile is given: else nothing is encrypted",
            ),
            (Scheme::Tls, true) | (Scheme::Tcp, false) => {}
        }
    }
}

/// Reads where to listen. A name is resolved nowhere, so that it is known who reaches the address.
fn listen_address(text: &str) -> Result<(Scheme, SocketAddr), &'static str> {
    let server = ServerUrl::parse(text)?;
    let address = match server.host.as_str() {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host
            .parse()
            .map_err(|_| "must have an address of this machine, such as 127.0.0.1, or localhost")?,
    };
    Ok((server.scheme, SocketAddr::new(address, server.port)))
}

#[cfg(test)]
mod tests {
    use beehive::ModuleConfig;

    use super::*;

    fn read(mut section: serde_json::Value) -> EventBusConfig {
        section["mqttMode"] = 0.into();
        serde_json::from_value(section).expect("a section")
    }

    fn problems(section: serde_json::Value) -> Vec<String> {
        let mut problems = Problems::new();
        read(section).validate(&mut problems);
        problems.iter().map(|problem| problem.path.clone()).collect()
    }

    #[test]
    fn the_defaults_listen_for_this_machine_only() {
        assert_eq!(problems(serde_json::json!({})), [""; 0]);
        let expect = ServeOn {
            address: "127.0.0.1:1884".parse().expect("an address"),
            tls: None,
            user: None,
            queue_max: 100,
            packet_bytes_max: (1 << 20) + PACKET_OVERHEAD,
        };
        assert_eq!(read(serde_json::json!({})).serve_on(), Ok(expect));
    }

    #[test]
    fn an_address_that_others_reach_needs_a_password_or_a_word() {
        let check = |server: &str, internal: serde_json::Value, expect: &[&str]| {
            let section = serde_json::json!({ "mqttServerInternal": server, "mqttInternal": internal });
            assert_eq!(problems(section), expect, "{server}");
        };
        let nothing = || serde_json::json!({});
        for own in ["tcp://127.0.0.1:1884", "tcp://localhost:1", "tcp://[::1]:1884", "tcp://127.9.9.9"] {
            check(own, nothing(), &[]);
        }
        for open in
            ["tcp://0.0.0.0:1884", "tcp://[::]:1884", "tcp://192.0.2.1:1884", "tcp://[::ffff:127.0.0.1]:1"]
        {
            check(open, nothing(), &[SERVER]);
            check(open, serde_json::json!({ "username": "u", "password": "p" }), &[]);
            check(open, serde_json::json!({ "allowAnonymous": true }), &[]);
        }
        let tls =
            serde_json::json!({ "tlsCertFile": "/c", "tlsPrivateKeyFile": "/k", "tlsClientCAFile": "/ca" });
        check("ssl://0.0.0.0:8883", tls, &[]);
        for wrong in ["tcp://broker.example:1884", "ws://127.0.0.1:1884", "127.0.0.1:1884", "tcp://:1884"] {
            check(wrong, nothing(), &[SERVER]);
        }
    }

    #[test]
    fn every_problem_of_the_broker_is_found_at_once() {
        let section = serde_json::json!({
            "mqttQOS": 3, "mqttSessionQueueSize": 0,
            "mqttInternal": { "username": "u", "allowAnonymous": true, "tlsClientCAFile": "/ca" },
        });
        let expect = [
            "mqttInternal.tlsClientCAFile",
            "mqttInternal.username",
            "mqttInternal.allowAnonymous",
            "mqttQOS",
            "mqttSessionQueueSize",
        ];
        assert_eq!(problems(section), expect);
    }

    #[test]
    fn encryption_is_there_where_it_was_asked_for() {
        let check = |server: &str, internal: serde_json::Value, expect: &[&str]| {
            let section = serde_json::json!({ "mqttServerInternal": server, "mqttInternal": internal });
            assert_eq!(problems(section), expect, "{server}");
        };
        let pair = || serde_json::json!({ "tlsCertFile": "/c", "tlsPrivateKeyFile": "/k" });
        check("ssl://127.0.0.1:8883", pair(), &[]);
        check("tcp://127.0.0.1:1884", pair(), &[SERVER]);
        check("ssl://127.0.0.1:8883", serde_json::json!({}), &["mqttInternal.tlsCertFile"]);
        check(
            "ssl://127.0.0.1:8883",
            serde_json::json!({ "tlsCertFile": "/c" }),
            &["mqttInternal.tlsCertFile"],
        );
    }
}

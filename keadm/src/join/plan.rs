//! What a join is to write: from flags to a configuration that was checked, without a change to anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use beehive::Catalog;
use edgecore::cri::{DEFAULT_ENDPOINTS, EndpointError, SocketEndpoint};
use edged::config::EdgedConfig;
use edgehub::EdgeHubConfig;
use node_config::{ConfigError, Document, Process};
use protocol::{NameError, NodeName};
use serde_json::json;

use super::flags::{CERT_PATH, HubProtocol, Join};
use super::token::{JoinToken, TokenFormError};

const LINK_PORT: u16 = 10000;
const QUIC_PORT: u16 = 10001;
const TUNNEL_PORT: u16 = 10004;
const REMARK: [&str; 2] = [
    "Written by keadm join; edgecore --defaultconfig prints every key with its meaning.",
    "Each key can be overridden by an environment variable: BEEHIVE_MODULES_EDGEHUB_HEARTBEAT=30.",
];

/// Says what is wrong with the flags.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("--cloudcore-ipport {given:?} is no HOST:PORT: {problem}")]
    Server { given: String, problem: &'static str },
    #[error(transparent)]
    Token(#[from] TokenFormError),
    #[error("--edgenode-name: choose a name of lower-case letters, digits, '-' and '.'")]
    Name(#[source] NameError),
    #[error(
        "{name:?} cannot be a node's name, which consists of lower-case letters, digits, '-' and '.': \
         choose another by --edgenode-name"
    )]
    NameForm { name: String },
    #[error("--labels {given:?}: write them as key=value,key=value")]
    Label { given: String },
    #[error("--remote-runtime-endpoint")]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What is to be written, and what must hold before.
pub(crate) struct Plan {
    pub(crate) node: NodeName,
    pub(crate) token: JoinToken,
    /// The runtime's socket; none when pods are played.
    pub(crate) endpoint: Option<SocketEndpoint>,
    pub(crate) hub: EdgeHubConfig,
    pub(crate) edged: EdgedConfig,
    /// The directory of the node's store.
    pub(crate) store: PathBuf,
    /// The text of edgecore.yaml.
    pub(crate) text: String,
    /// Keys in it that have no effect.
    pub(crate) notices: String,
}

impl Plan {
    /// Makes a plan of the flags and of what edgecore.yaml holds already, if there is one.
    /// `shares` says that the machine is a cloud too, whose certificates have the usual names.
    pub(crate) fn new(
        flags: &Join,
        host_name: &str,
        before: Option<&str>,
        shares: bool,
    ) -> Result<Self, PlanError> {
        let usual_port = match flags.hub_protocol {
            HubProtocol::Websocket => LINK_PORT,
            HubProtocol::Quic => QUIC_PORT,
        };
        let server = Server::parse(&flags.cloudcore_ipport, usual_port)?;
        let token = JoinToken::parse(flags.token.reveal())?;
        let catalog = edgecore::inert_catalog();
        let file = flags.root.config(Process::EdgeCore).display().to_string();
        let mut document = match before {
            Some(text) => Document::read(Process::EdgeCore, &catalog, &file, text)?,
            None => Document::new(Process::EdgeCore, &catalog),
        };
        place(&mut document, flags, shares);
        fill(&mut document, flags, &server, host_name)?;
        for set in &flags.sets {
            document.assign("--set", set)?;
        }
        Self::of_document(&document, &catalog, &file, token)
    }

    fn of_document(
        document: &Document,
        catalog: &Catalog,
        file: &str,
        token: JoinToken,
    ) -> Result<Self, PlanError> {
        let text = document.render(&REMARK).map_err(ConfigError::from)?;
        let loaded = document.load(catalog, file, &text)?;
        let sections = loaded.node_sections();
        let edged = loaded.module::<EdgedConfig>(&sections, "edged")?;
        let hub = loaded.module::<EdgeHubConfig>(&sections, "edgeHub")?;
        let node = node_name(&edged.hostname_override)?;
        let endpoint = match edged.runtime.as_str() {
            "hollow" => None,
            _ => Some(SocketEndpoint::parse(&edged.tailored_kubelet_config.container_runtime_endpoint)?),
        };
        let notices = loaded.notices.to_string();
        Ok(Self { node, token, endpoint, hub, edged, store: loaded.settings.store, text, notices })
    }
}

fn node_name(text: &str) -> Result<NodeName, PlanError> {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if !text.split('.').all(is_label) {
        return Err(PlanError::NameForm { name: text.to_owned() });
    }
    NodeName::parse(text).map_err(PlanError::Name)
}

/// Lays what the flags say over what the file held.
fn fill(document: &mut Document, flags: &Join, server: &Server, host_name: &str) -> Result<(), PlanError> {
    let Server { host, port } = server;
    document.set("modules.edgeHub.httpServer", format!("https://{host}:{}", flags.certport));
    match flags.hub_protocol {
        HubProtocol::Websocket => {
            document.set("modules.edgeHub.websocket.server", format!("{host}:{port}"));
            // What the file says of QUIC is of another cloud.
            if document.get("modules.edgeHub.quic.enable").is_some() {
                document.set("modules.edgeHub.quic.enable", false);
                document.set("modules.edgeHub.websocket.enable", true);
            }
        }
        HubProtocol::Quic => {
            document.set("modules.edgeHub.websocket.server", format!("{host}:{LINK_PORT}"));
            document.set("modules.edgeHub.quic.enable", true);
            document.set("modules.edgeHub.quic.server", format!("{host}:{port}"));
        }
    }
    if document.acts("modules.edgeStream.server") {
        document.set("modules.edgeStream.server", format!("{host}:{TUNNEL_PORT}"));
    }
    if flags.edgenode_name.is_some() || document.get("modules.edged.hostnameOverride").is_none() {
        let name = flags.edgenode_name.clone().unwrap_or_else(|| host_name.to_owned());
        document.set("modules.edged.hostnameOverride", name);
    }
    if document.get("modules.edged.runtime").is_none() {
        // `auto` would play pods when the runtime is late once.
        document.set("modules.edged.runtime", "containerd");
    }
    match flags.remote_runtime_endpoint.as_deref() {
        Some(endpoint) => {
            document.set("modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint", endpoint);
            document.set("modules.edged.tailoredKubeletConfig.imageServiceEndpoint", endpoint);
        }
        None if document.get("modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint").is_some() => {}
        None => {
            let [endpoint, ..] = DEFAULT_ENDPOINTS;
            document.set("modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint", endpoint);
        }
    }
    if !flags.labels.is_empty() {
        document.set("modules.edged.nodeLabels", json!(labels(&flags.labels)?));
    }
    Ok(())
}

/// Says where files are, if that is not where edgecore looks for them by itself.
fn place(document: &mut Document, flags: &Join, shares: bool) {
    let root = &flags.root;
    let own = Path::new("/etc/kubeedge/edge");
    let usual = flags.cert_path == Path::new(CERT_PATH);
    let certificates = if shares && usual { own } else { &flags.cert_path };
    let authority = if shares { own } else { Path::new("/etc/kubeedge/ca") };
    let mut set = |key: &str, path: PathBuf| {
        if document.get(key).is_none() {
            document.set(key, path.display().to_string());
        }
    };
    if shares || !usual || !root.is_machine() {
        set("modules.edgeHub.tlsCertFile", root.at(certificates).join("server.crt"));
        set("modules.edgeHub.tlsPrivateKeyFile", root.at(certificates).join("server.key"));
    }
    if shares || !root.is_machine() {
        set("modules.edgeHub.tlsCaFile", root.at(authority).join("rootCA.crt"));
    }
    if !root.is_machine() {
        set("database.dataSource", root.at("/var/lib/kubeedge/edgecore.db"));
        set("modules.edged.rootDirectory", root.at("/var/lib/kubelet"));
        set("modules.edged.tailoredKubeletConfig.podLogsDir", root.at("/var/log/pods"));
    }
}

fn labels(given: &[String]) -> Result<BTreeMap<&str, &str>, PlanError> {
    let pairs = given.iter().map(|given| {
        let (key, value) = given.split_once('=').unwrap_or((given, ""));
        let of_label = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let fits =
            !key.is_empty() && key.chars().all(of_label) && value.len() <= 63 && value.chars().all(of_label);
        if fits { Ok((key, value)) } else { Err(PlanError::Label { given: given.clone() }) }
    });
    pairs.collect()
}

/// Where the cloud is. An IPv6 address keeps its brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    host: String,
    port: u16,
}

impl Server {
    fn parse(given: &str, usual_port: u16) -> Result<Self, PlanError> {
        let wrong = |problem| PlanError::Server { given: given.to_owned(), problem };
        if given.contains("://") || given.contains('/') {
            return Err(wrong("leave the scheme and the path out"));
        }
        if given.starts_with('[') {
            let (host, rest) = given.split_once(']').ok_or_else(|| wrong("the bracket is not closed"))?;
            let port = rest.strip_prefix(':').map_or(Ok(usual_port), str::parse);
            let port = port.map_err(|_| wrong("the port must be a number up to 65535"))?;
            return Ok(Self { host: format!("{host}]"), port });
        }
        let (host, port) = match given.split_once(':') {
            None => (given, Ok(usual_port)),
            Some((_, rest)) if rest.contains(':') => return Err(wrong("write an IPv6 address in brackets")),
            Some((host, port)) => (host, port.parse()),
        };
        let port = port.map_err(|_| wrong("the port must be a number up to 65535"))?;
        if host.is_empty() || port == 0 {
            return Err(wrong("give both a host and a port"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_host_and_a_port() {
        let parsed = |given: &str| match Server::parse(given, LINK_PORT) {
            Ok(Server { host, port }) => format!("{host} {port}"),
            Err(error) => error.to_string(),
        };
        for (given, expect) in [
            ("203.0.113.7:10000", "203.0.113.7 10000"),
            ("cloud.example.com", "cloud.example.com 10000"),
            ("[2001:db8::1]:9", "[2001:db8::1] 9"),
            ("[2001:db8::1]", "[2001:db8::1] 10000"),
            (
                "2001:db8::1",
                "--cloudcore-ipport \"2001:db8::1\" is no HOST:PORT: write an IPv6 address in brackets",
            ),
            ("a:b", "--cloudcore-ipport \"a:b\" is no HOST:PORT: the port must be a number up to 65535"),
            (
                "a:70000",
                "--cloudcore-ipport \"a:70000\" is no HOST:PORT: the port must be a number up to 65535",
            ),
            (":1", "--cloudcore-ipport \":1\" is no HOST:PORT: give both a host and a port"),
            (
                "wss://a:1",
                "--cloudcore-ipport \"wss://a:1\" is no HOST:PORT: leave the scheme and the path out",
            ),
        ] {
            assert_eq!(parsed(given), expect);
        }
    }
}

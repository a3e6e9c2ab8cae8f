//! One edge node of this process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use beehive::{LaunchError, Node, NodeOptions};
use devicetwin::DeviceTwinConfig;
use edgecore::mqtt::{EmbeddedBroker, MqttClient};
use edgecore::{EdgePorts, ServicePorts, runtime};
use edged::config::EdgedConfig;
use node_config::{ConfigError, Loaded, Process};
use serde_json::json;
use store_sled::OpenError;
use wire::MemoryNetwork;

/// Says why a node does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EdgeError {
    /// Its configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its store could not be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The runtime's endpoint is of no use.
    #[error("the runtime's endpoint is of no use")]
    Endpoint(#[from] edgecore::cri::EndpointError),
    /// Its modules do not start.
    #[error("the modules of the node do not start")]
    Launch(#[from] LaunchError),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Randomness(#[from] std::io::Error),
}

/// How fast a node of this process may ask its cloud. No network is between them that the default would spare.
const MESSAGE_QPS: u32 = 500;
const MESSAGE_BURST: u32 = 1000;

/// What a node is to be.
#[derive(Debug, Clone)]
pub(crate) struct EdgePlan {
    pub(crate) name: String,
    pub(crate) runtime: &'static str,
    pub(crate) endpoint: String,
    /// Where it serves devices by MQTT, if it does.
    pub(crate) mqtt: Option<SocketAddr>,
}

/// Starts a node that keeps everything in `directory` and reaches its cloud over `network`.
pub(crate) async fn start(
    plan: &EdgePlan,
    directory: &Path,
    network: &MemoryNetwork,
) -> Result<Node, EdgeError> {
    let loaded = configure(plan, directory)?;
    let sections = loaded.node_sections();
    let config = loaded.module::<EdgedConfig>(&sections, "edged")?;
    let store = edgecore::open_store(&directory.join("store"))?;
    let edged = runtime::edged_ports(&config).await?;
    let hub = edgehub::Ports { dialer: Arc::new(network.clone()), store: store.clone() };
    let mappers = Some(edgecore::mappers(&loaded.module::<DeviceTwinConfig>(&sections, "deviceTwin")?));
    let (mqtt, broker) = (Arc::new(MqttClient), Arc::new(EmbeddedBroker::new()));
    let services = ServicePorts::default();
    let ports = EdgePorts { store, hub, mqtt, broker, services, mappers, edged };
    let seed = node_config::random_seed()?;
    let options = NodeOptions { name: plan.name.clone(), seed, ..NodeOptions::default() };
    Ok(Node::launch(edgecore::catalog(ports), sections, options).await?)
}

/// Makes the node's configuration as if it stood in a file.
fn configure(plan: &EdgePlan, directory: &Path) -> Result<Loaded, ConfigError> {
    let event_bus = match plan.mqtt {
        Some(address) => json!({ "mqttMode": 0, "mqttServerInternal": format!("tcp://{address}") }),
        None => json!({ "enable": false }),
    };
    let text = json!({
        "modules": {
            "edgeHub": { "messageQPS": MESSAGE_QPS, "messageBurst": MESSAGE_BURST },
            "eventBus": event_bus,
            // Each node has its own mappers, and /etc/kubeedge may not be ours.
            "deviceTwin": { "dmiSockPath": directory },
            "edged": {
                "hostnameOverride": plan.name,
                "runtime": plan.runtime,
                "rootDirectory": directory.join("kubelet"),
                "reportEvent": true,
                "tailoredKubeletConfig": {
                    "containerRuntimeEndpoint": plan.endpoint,
                    "podLogsDir": directory.join("logs"),
                },
            },
        },
    });
    let catalog = edgecore::inert_catalog();
    node_config::load(Process::EdgeCore, &catalog, Some(("keadm up", &text.to_string())), &BTreeMap::new())
}

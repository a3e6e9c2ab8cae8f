//! A cluster in one process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use beehive::{LaunchError, Node, NodeFailure, NodeOptions};
use cloudcore::{CloudPorts, Embedded, EmbeddedError, EmbeddedOptions, RestPorts};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::Api;
use kube::api::ListParams;
use node_config::{Ending, LogFormat, report, start_logging};
use protocol::{NameError, NodeName};
use store_sled::{OnDamage, OpenError, SledMedium};
use tokio::time::{Instant, sleep};
use wire::MemoryNetwork;

use crate::Up;
use crate::edge::{self, EdgeError, EdgePlan};
use crate::logs::LocalNodes;
use crate::mqtt::{self, MqttPortError};
use crate::say::say;

/// How often nodes are asked whether they are ready.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// After so long without readiness, what is known is said.
const IMPATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum UpError {
    #[error("the directory {} cannot be used", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{0}; another `keadm up` runs on this directory: stop it, or choose another --data-dir")]
    InUse(OpenError),
    #[error("{0}; restore the directory from a copy, or choose another --data-dir")]
    Store(OpenError),
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error("the cloud's modules do not start")]
    Cloud(#[from] LaunchError),
    #[error("the node {name} does not start")]
    Edge {
        name: String,
        #[source]
        cause: EdgeError,
    },
    #[error(transparent)]
    Mqtt(#[from] MqttPortError),
    #[error("this machine's host name {name:?} is no node name: choose one by --node-name")]
    Name {
        name: String,
        #[source]
        cause: NameError,
    },
}

/// Everything that runs, in the order of starting.
struct Cluster {
    embedded: Embedded,
    cloud: Node,
    edges: Vec<Node>,
    names: Vec<NodeName>,
}

/// Runs a cluster until it is asked to end.
pub(crate) async fn run(flags: Up) -> Ending {
    start_logging(flags.log_level, LogFormat::Text);
    let began = Instant::now();
    let starting = tokio::select! {
        biased;
        () = node_config::asked_to_end() => return Ending::Asked,
        started = start(&flags) => started,
    };
    let cluster = match starting {
        Ok(cluster) => cluster,
        Err(error) => {
            report(&error);
            return Ending::Unprepared;
        }
    };
    let ending = watch(&cluster, &flags, began).await;
    say("stopping");
    cluster.stop().await;
    say("stopped; the same command continues with the same cluster");
    ending
}

async fn start(flags: &Up) -> Result<Cluster, UpError> {
    let directory = absolute(&flags.data_dir)?;
    say(&format!("keeping everything in {}", directory.display()));
    let store = SledMedium::open(directory.join("cloud/store"), OnDamage::Refuse);
    let store = store.map_err(|error| match error {
        OpenError::InUse { .. } => UpError::InUse(error),
        other => UpError::Store(other),
    })?;
    let nodes = LocalNodes::default();
    let embedded = Embedded::open(EmbeddedOptions {
        store: Arc::new(store),
        directory: directory.join("cloud/kube-api"),
        address: SocketAddr::new(flags.api_address, flags.api_port),
        logs: Arc::new(nodes.clone()),
    })
    .await?;
    embedded.write_kubeconfig(&directory.join("kubeconfig"))?;
    say(&format!("the API server listens on {}", embedded.address()));

    let network = MemoryNetwork::default();
    let ports = CloudPorts {
        kube: embedded.client(),
        listeners: vec![Arc::new(network.clone())],
        rest: RestPorts::default(),
        api_server: Some(embedded.server()),
    };
    let seed =
        node_config::random_seed().map_err(|cause| UpError::Directory { path: directory.clone(), cause })?;
    let options = NodeOptions { name: "cloudcore".to_owned(), seed, ..NodeOptions::default() };
    let cloud = Node::launch(cloudcore::catalog(ports), Default::default(), options).await?;

    let mut cluster = Cluster { embedded, cloud, edges: Vec::new(), names: Vec::new() };
    for plan in plans(flags)? {
        let name =
            NodeName::parse(&plan.name).map_err(|cause| UpError::Name { name: plan.name.clone(), cause })?;
        let home = directory.join("edge").join(&plan.name);
        let started = edge::start(&plan, &home, &network).await;
        let node = started.map_err(|cause| UpError::Edge { name: plan.name.clone(), cause })?;
        nodes.add(name.clone(), node.bus());
        cluster.edges.push(node);
        cluster.names.push(name);
        say(&format!("the node {} starts, runtime {}", plan.name, plan.runtime));
        if let Some(address) = plan.mqtt {
            say(&mqtt::told(&plan.name, address));
        }
    }
    Ok(cluster)
}

fn plans(flags: &Up) -> Result<Vec<EdgePlan>, UpError> {
    let name = match &flags.node_name {
        Some(name) => name.clone(),
        None => edgecore::machine::host_name().map_err(|error| {
            let cause = std::io::Error::other(error.to_string());
            UpError::Directory { path: flags.data_dir.clone(), cause }
        })?,
    };
    let endpoint = flags.runtime_endpoint.clone();
    let mqtt = Some(mqtt::address(flags.mqtt_port)?);
    let mut plans =
        vec![EdgePlan { name, runtime: flags.runtime.as_str(), endpoint: endpoint.clone(), mqtt }];
    for number in 1..=flags.nodes {
        plans.push(EdgePlan {
            name: format!("hollow-{number}"),
            runtime: "hollow",
            endpoint: endpoint.clone(),
            // Devices are of machines, and a hollow node is none.
            mqtt: None,
        });
    }
    Ok(plans)
}

fn absolute(directory: &Path) -> Result<PathBuf, UpError> {
    let fail = |cause| UpError::Directory { path: directory.to_owned(), cause };
    std::fs::create_dir_all(directory).map_err(fail)?;
    std::fs::canonicalize(directory).map_err(fail)
}

/// Says when all is ready, and waits for the end.
async fn watch(cluster: &Cluster, flags: &Up, began: Instant) -> Ending {
    let ready = async {
        announce(cluster, flags, began).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = node_config::asked_to_end() => Ending::Asked,
        failure = cluster.failed() => {
            tracing::error!(%failure, "a module was given up: the cluster ends");
            Ending::Broken
        }
        () = ready => Ending::Asked,
    }
}

async fn announce(cluster: &Cluster, flags: &Up, began: Instant) {
    let nodes: Api<KubeNode> = Api::all(cluster.embedded.client());
    let mut told = false;
    loop {
        let waiting = not_ready(&nodes, &cluster.names).await;
        if waiting.is_empty() {
            break;
        }
        if !told && began.elapsed() > IMPATIENCE {
            told = true;
            say(&format!(
                "still waiting for {} to be ready; --log-level info tells more",
                waiting.join(", ")
            ));
        }
        sleep(LOOK_PERIOD).await;
    }
    let nodes = if cluster.names.len() == 1 {
        "the node is".to_owned()
    } else {
        format!("{} nodes are", cluster.names.len())
    };
    say(&format!("{nodes} ready after {:.1} s. In another terminal:", began.elapsed().as_secs_f64()));
    let kubeconfig = flags.data_dir.join("kubeconfig");
    say(&format!("\n  kubectl --kubeconfig {} get nodes,pods -A -o wide\n", kubeconfig.display()));
    say("Ctrl-C stops the cluster");
}

async fn not_ready(nodes: &Api<KubeNode>, names: &[NodeName]) -> Vec<String> {
    let listed = nodes.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let ready: Vec<&str> = listed
        .iter()
        .filter(|node| {
            let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
        })
        .filter_map(|node| node.metadata.name.as_deref())
        .collect();
    names.iter().map(NodeName::as_str).filter(|name| !ready.contains(name)).map(str::to_owned).collect()
}

impl Cluster {
    async fn failed(&self) -> NodeFailure {
        let all = std::iter::once(&self.cloud).chain(&self.edges).map(Node::failed);
        let mut all: FuturesUnordered<_> = all.collect();
        match all.next().await {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    async fn stop(self) {
        let mut edges: FuturesUnordered<_> = self.edges.into_iter().map(Node::stop).collect();
        while edges.next().await.is_some() {}
        self.cloud.stop().await;
        drop(self.embedded);
    }
}

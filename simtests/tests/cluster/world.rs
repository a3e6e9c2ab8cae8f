//! A cloud and its edges in one test, made of the production modules over ports in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apiserver::{ApiServer, ApiServerModule, Identity, Options, SigningKey};
use beehive::{Catalog, Clock, Node, NodeOptions, Section, Sections, SystemClock};
use edged::ample_machine::AmpleMachine;
use kube::Client;
use serde_json::{Value, json};
use store::{MemoryStore, SharedMedium};
use wire::MemoryNetwork;

/// What outlives the processes: the link's network, the cloud's store, the machines' clock.
#[derive(Debug, Clone)]
pub(crate) struct World {
    network: MemoryNetwork,
    cloud: MemoryStore,
}

fn section(body: Value) -> Section {
    Section { body, ..Section::default() }
}

impl World {
    /// Makes an empty world, whose log a failing test prints.
    pub(crate) fn new() -> Self {
        let log = tracing_subscriber::fmt().with_test_writer().with_env_filter("info,kube=warn");
        let _begun_before = log.try_init();
        Self { network: MemoryNetwork::default(), cloud: MemoryStore::new() }
    }

    /// Starts the cloud's modules over the store that every cloud of this world shares.
    pub(crate) async fn cloud(&self, seed: u64) -> Cloud {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let options = Options {
            ca_certificate: "the CA of this world".to_owned(),
            ..Options::new(clock, seed, SigningKey::new([7; 32]))
        };
        let server =
            ApiServer::open(Arc::new(self.cloud.clone()), options).await.expect("an empty store opens");
        let client = Client::new(server.client_service(Identity::admin()), "default");
        let ports = cloudhub::Ports { listeners: vec![Arc::new(self.network.clone())] };
        let catalog = Catalog::new()
            .with::<ApiServerModule>(server)
            .with::<cloudhub::CloudHub>(ports)
            .with::<edgecontroller::EdgeController>(client.clone())
            .with::<scheduler::Scheduler>(client.clone());
        let options = NodeOptions { name: "cloud".to_owned(), seed, ..NodeOptions::default() };
        let node = Node::launch(catalog, Sections::new(), options).await.expect("the cloud launches");
        Cloud { node, client }
    }

    /// Starts an edge's modules over the given machine.
    pub(crate) async fn edge(&self, machine: &EdgeMachine, seed: u64) -> Node {
        let ports = edged::EdgedPorts {
            runtime: machine.runtime.clone(),
            files: machine.files.clone(),
            node: Arc::new(AmpleMachine::named(machine.name)),
            prober: Arc::new(edged::hollow::HollowProber),
        };
        let catalog = Catalog::new()
            .with::<metamanager::MetaManager>(machine.store.clone())
            .with::<edgehub::EdgeHub>(edgehub::Ports {
                dialer: Arc::new(self.network.clone()),
                store: machine.store.clone(),
            })
            .with::<edged::Edged>(ports);
        let sections = BTreeMap::from([
            ("edgeHub".to_owned(), section(json!({}))),
            ("edged".to_owned(), section(json!({ "hostnameOverride": machine.name }))),
        ]);
        let options = NodeOptions { name: machine.name.to_owned(), seed, ..NodeOptions::default() };
        Node::launch(catalog, sections, options).await.expect("the edge launches")
    }
}

/// A running cloud.
pub(crate) struct Cloud {
    pub(crate) node: Node,
    pub(crate) client: Client,
}

/// What outlives an edge's process: its disk and the containers on it.
#[derive(Debug)]
pub(crate) struct EdgeMachine {
    name: &'static str,
    store: SharedMedium,
    pub(crate) runtime: Arc<edged::hollow::HollowRuntime>,
    files: Arc<edged::memory_files::MemoryFiles>,
}

impl EdgeMachine {
    pub(crate) fn new(name: &'static str) -> Self {
        let clock = SystemClock;
        let files = edged::memory_files::MemoryFiles::new();
        let runtime = edged::hollow::HollowRuntime::new(Arc::new(move || clock.now()), files.clone());
        Self { name, store: Arc::new(MemoryStore::new()), runtime: Arc::new(runtime), files: Arc::new(files) }
    }
}

/// Waits until `probe` gives something, for at most a minute.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    for _ in 0..600 {
        if let Some(found) = probe().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not come true");
}

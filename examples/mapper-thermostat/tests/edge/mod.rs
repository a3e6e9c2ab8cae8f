//! A node without a cluster: edgecore's modules for devices, their real socket, and a cloud that only listens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use beehive::{
    BuildError, Catalog, Context, Failure, Group, Handler, Module, ModuleName, Node, NodeOptions, Sections,
    Wiring,
};
use devicetwin::DeviceTwin;
use dmi::{Dmi, Ports};
use edgecore::dmi::DmiSockets;
use metamanager::MetaManager;
use protocol::edge::{AskCloud, CloudError, KeepChange};
use protocol::{ChangeKind, NodeReply, NodeRequest, Object, ObjectChange, ResourceType, group};
use serde_json::Value;
use store::{MemoryStore, SharedMedium};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// Long enough for any machine; only a test that fails waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What the cloud was told: each twin of each device, and the states.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<BTreeMap<String, String>>>);

impl Told {
    /// Returns what the cloud was told last: of `device/twin`, of `device/twin/desired`, or of `device` the state.
    pub(crate) fn last(&self, key: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn note(&self, key: String, value: &Value) {
        if let Some(text) = value.as_str() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, text.to_owned());
        }
    }
}

/// A cloud that takes all reports.
struct Cloud(Told);

impl Module for Cloud {
    const NAME: ModuleName = ModuleName::new("cloud");
    const GROUP: Group = group::HUB;
    type Config = ();
    type Ports = Told;

    fn build((): (), told: Told) -> Result<Self, BuildError> {
        Ok(Self(told))
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<AskCloud>();
    }
}

impl Handler<AskCloud> for Cloud {
    async fn handle(
        &mut self,
        AskCloud(request): AskCloud,
        _: &mut Context<Self>,
    ) -> Result<Result<NodeReply, CloudError>, Failure> {
        let read = |report: &[u8]| serde_json::from_slice::<Value>(report).map_err(Failure::because);
        match request {
            NodeRequest::ReportTwins { device, report } => {
                let report = read(&report)?;
                for (name, twin) in report["twin"].as_object().into_iter().flatten() {
                    self.0.note(format!("{device}/{name}"), &twin["actual"]["value"]);
                    self.0.note(format!("{device}/{name}/desired"), &twin["expected"]["value"]);
                }
            }
            NodeRequest::ReportDeviceState { device, report } => {
                let report = read(&report)?;
                self.0.note(device.to_string(), &report["device"]["state"]);
            }
            _ => {}
        }
        Ok(Ok(NodeReply::Done))
    }
}

/// The node.
pub(crate) struct Edge {
    store: MemoryStore,
    node: Option<Node>,
    folder: TempDir,
    pub(crate) told: Told,
}

impl Edge {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let mut edge = Self { store: MemoryStore::new(), node: None, folder, told: Told::default() };
        edge.restart().await;
        edge
    }

    /// Returns a path in the node's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the node, after a crash if it runs.
    pub(crate) async fn restart(&mut self) {
        if self.node.take().is_some() {
            self.store = self.store.crash();
        }
        let store: SharedMedium = Arc::new(self.store.clone());
        let mappers = Some(Arc::new(DmiSockets::new(self.path("dmi.sock"))) as Arc<dyn dmi::ports::Mappers>);
        let catalog = Catalog::new()
            .with::<MetaManager>(store.clone())
            .with::<Cloud>(self.told.clone())
            .with::<DeviceTwin>(store.clone())
            .with::<Dmi>(Ports { store, mappers });
        let node = Node::launch(catalog, Sections::new(), NodeOptions::default()).await.expect("it is wired");
        self.node = Some(node);
    }

    pub(crate) async fn put(&self, value: &Value) {
        self.change(ChangeKind::Update, value).await;
    }

    pub(crate) async fn remove(&self, value: &Value) {
        self.change(ChangeKind::Delete, value).await;
    }

    async fn change(&self, kind: ChangeKind, value: &Value) {
        let resource =
            if value["kind"] == "Device" { ResourceType::DEVICE } else { ResourceType::DEVICE_MODEL };
        let object = Object::from_value(value).expect("an object");
        let key = object.key(resource).expect("a name");
        let bus = self.node.as_ref().expect("it runs").bus();
        let kept =
            bus.to(group::META).ask(KeepChange(ObjectChange { kind, key, object })).within(PATIENCE).await;
        assert_eq!(kept, Ok(Ok(())));
    }

    /// Waits until the cloud was told something that fits.
    pub(crate) async fn until(&self, key: &str, fits: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        while !self.told.last(key).is_some_and(|value| fits(&value)) {
            assert!(begin.elapsed() < PATIENCE, "the cloud was last told {:?} of {key}", self.told.last(key));
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Writes a mapper's configuration for this node.
pub(crate) fn config(edge: &Edge, protocol: &str) -> mapper_sdk::Config {
    let socket = |name: &str| edge.path(name).display().to_string();
    let text = format!(
        "grpc_server: {{socket_path: {}}}\ncommon: {{name: {protocol}-mapper, protocol: {protocol}, edgecore_sock: {}}}",
        socket("mapper.sock"),
        socket("dmi.sock"),
    );
    mapper_sdk::Config::parse(&text).expect("it is valid")
}

/// Reads a file of the sample.
pub(crate) fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a test beside a mapper, and stops the mapper after it.
pub(crate) async fn beside(
    mapper: impl Future<Output = Result<(), mapper_sdk::RunError>>,
    stop: tokio::sync::oneshot::Sender<()>,
    test: impl Future<Output = ()>,
) {
    let testing = async {
        test.await;
        stop.send(()).expect("the mapper runs");
    };
    let both = async { tokio::join!(mapper, testing) };
    let (ended, ()) = timeout(4 * PATIENCE, both).await.expect("it ends");
    assert!(ended.is_ok(), "{ended:?}");
}

//! The process `cloudcore`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use apiserver::{ApiServer, NoNodeLogs, Options, SigningKey};
use beehive::{Catalog, Node, Sections, SystemClock};
use clap::Parser;
use cloudhub::CloudHubConfig;
use node_config::{Causes, ConfigError, Ending, Loaded, Process, ProcessArgs, StartError, is_enabled};
use store::MemoryStore;
use store_sled::{OnDamage, SledMedium};
use tokio::time::sleep;

use crate::embedded::{Embedded, EmbeddedOptions, client};
use crate::enrol::{EnrolError, Enrolment};
use crate::leader::{Leader, LeaderTimes};
use crate::quic::QuicListener;
use crate::ws::{CertifiedListener, WsListener};
use crate::{CloudPorts, RestPorts};

/// The pause after certificates could not be had, and the longest one.
const ENROL_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The cloud of a Beehive cluster: links to all nodes, and what moves objects between them and the
/// Kubernetes API.
#[derive(Debug, Parser)]
#[command(name = "cloudcore", version)]
pub struct Args {
    /// What both processes have.
    #[command(flatten)]
    pub process: ProcessArgs,

    /// Prints the definitions of KubeEdge's custom resources, for `kubectl apply -f -`.
    #[arg(long)]
    pub crds: bool,

    /// The kubeconfig of the cluster to serve; overrides kubeAPIConfig.kubeConfig of the file.
    #[arg(long, value_name = "FILE", env = "BEEHIVE_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
}

/// Runs the cloud process with the catalog that `catalog` makes of its ports. It is called twice:
/// once to learn what sections the modules read, with ports that do nothing.
pub fn main_with(catalog: impl Fn(CloudPorts) -> Catalog) -> ExitCode {
    let args = Args::parse();
    store_sled::hush_panics();
    if args.crds {
        return node_config::print(&definitions_yaml());
    }
    node_config::execute(Process::CloudCore, &args.process, run(&args, catalog))
}

async fn run(args: &Args, catalog: impl Fn(CloudPorts) -> Catalog) -> Result<Ending, StartError> {
    let inert = inert().await.map_err(StartError::Broken)?;
    let loaded = node_config::start(Process::CloudCore, &args.process, &catalog(inert))?;
    let sections = loaded.node_sections();
    let hub = hub_config(&loaded, &sections)?;
    let kubeconfig = args.kubeconfig.as_deref().or(loaded.settings.kubeconfig.as_deref());
    let preparing = async {
        let (ports, embedded) = prepare(&loaded, kubeconfig).await?;
        let leader = lead(&loaded, &ports, embedded.is_some()).await?;
        let (ports, enrolment) = enrol(ports, hub).await?;
        Ok::<_, Problem>((ports, embedded, leader, enrolment))
    };
    let (ports, embedded, leader, enrolment) = node_config::prepare(preparing).await?;
    let node = launch(&loaded, catalog(ports), sections).await?;
    let ending = serve(node, leader).await;
    drop(enrolment);
    drop(embedded);
    Ok(ending)
}

/// Waits until this is the one cloud that serves a cluster of others. Its own cluster has no other.
async fn lead(loaded: &Loaded, ports: &CloudPorts, is_own: bool) -> Result<Option<Leader>, Problem> {
    if is_own || !loaded.settings.elects_leader {
        return Ok(None);
    }
    let host = nix::unistd::gethostname()?.to_string_lossy().into_owned();
    let me = format!("{host}_{:016x}", node_config::random_seed()?);
    let mut leader = Leader::new(ports.kube.clone(), me, LeaderTimes::default());
    leader.win().await;
    Ok(Some(leader))
}

/// Runs the node for as long as this cloud leads.
async fn serve(node: Node, leader: Option<Leader>) -> Ending {
    let Some(mut leader) = leader else { return node_config::run(node).await };
    let ending = tokio::select! {
        biased;
        lost = leader.keep() => {
            tracing::error!(error = %lost, "this cloudcore ends, so that it can start anew and stand by");
            return Ending::Broken;
        }
        ending = node_config::run(node) => ending,
    };
    leader.release().await;
    ending
}

/// Returns the definitions of KubeEdge's custom resources as `kubectl apply -f` takes them.
#[must_use]
pub fn definitions_yaml() -> String {
    let yaml = |definition| serde_saphyr::to_string(definition).expect("an object without floats is YAML");
    let documents: Vec<String> = api::definitions().iter().map(yaml).collect();
    documents.join("---\n")
}

/// Reads how edges get certificates; none when they do not.
fn hub_config(loaded: &Loaded, sections: &Sections) -> Result<Option<CloudHubConfig>, ConfigError> {
    if !is_enabled(sections, "cloudHub") {
        return Ok(None);
    }
    let config = loaded.module::<CloudHubConfig>(sections, "cloudHub")?;
    Ok(config.https.enable.then_some(config))
}

/// Begins to give edges their certificates, and lets their links use the same. While the Kubernetes
/// API is away this waits for it.
async fn enrol(
    mut ports: CloudPorts,
    config: Option<CloudHubConfig>,
) -> Result<(CloudPorts, Option<Enrolment>), EnrolError> {
    let Some(config) = config else { return Ok((ports, None)) };
    let mut pause = ENROL_PAUSE.0;
    let enrolment = loop {
        match Enrolment::open(&config, ports.kube.clone(), Arc::new(SystemClock)).await {
            Ok(enrolment) => break enrolment,
            Err(error) if error.may_pass() => {
                tracing::warn!(error = %Causes(&error), ?pause, "edges cannot get certificates yet");
                sleep(pause).await;
                pause = (pause * 2).min(ENROL_PAUSE.1);
            }
            Err(error) => return Err(error),
        }
    };
    ports.listeners = vec![
        Arc::new(CertifiedListener(enrolment.certificates())),
        Arc::new(QuicListener::certified(enrolment.certificates())),
    ];
    Ok((ports, Some(enrolment)))
}

/// Launches the node without the sections of modules that this cluster has no use for.
async fn launch(loaded: &Loaded, catalog: Catalog, mut sections: Sections) -> Result<Node, StartError> {
    let known: Vec<&str> = catalog.entries().iter().map(|entry| entry.section).collect();
    sections.retain(|name, _| known.contains(&name.as_str()));
    loaded.launch("cloudcore".to_owned(), catalog, sections).await
}

type Problem = Box<dyn std::error::Error>;

async fn prepare(
    loaded: &Loaded,
    kubeconfig: Option<&Path>,
) -> Result<(CloudPorts, Option<Embedded>), Problem> {
    let listeners: Vec<Arc<dyn wire::link::Listener>> =
        vec![Arc::new(WsListener), Arc::new(QuicListener::default())];
    if let Some(path) = kubeconfig {
        let kube = outside(path, loaded.settings.master.as_deref()).await?;
        tracing::info!(kubeconfig = %path.display(), "serving the cluster of a kubeconfig");
        return Ok((CloudPorts { kube, listeners, rest: RestPorts::default(), api_server: None }, None));
    }
    if Path::new(IN_CLUSTER).exists() {
        let kube = kube::Client::try_from(kube::Config::incluster()?)?;
        tracing::info!("serving the cluster that this process runs in");
        return Ok((CloudPorts { kube, listeners, rest: RestPorts::default(), api_server: None }, None));
    }
    let settings = &loaded.settings;
    let api = &settings.api_server;
    let embedded = Embedded::open(EmbeddedOptions {
        // Nobody would send a cloud again what it lost.
        store: Arc::new(SledMedium::open(&settings.store, OnDamage::Refuse)?),
        directory: api.directory.clone(),
        address: SocketAddr::new(api.address, api.port),
        logs: Arc::new(NoNodeLogs),
    })
    .await?;
    let path = api.directory.join("kubeconfig");
    embedded.write_kubeconfig(&path)?;
    tracing::info!(address = %embedded.address(), kubeconfig = %path.display(), "serving a cluster of its own");
    let ports = CloudPorts {
        kube: embedded.client(),
        listeners,
        rest: RestPorts::default(),
        api_server: Some(embedded.server()),
    };
    Ok((ports, Some(embedded)))
}

/// Where a pod finds who it is.
const IN_CLUSTER: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

async fn outside(path: &Path, master: Option<&str>) -> Result<kube::Client, Problem> {
    let kubeconfig = kube::config::Kubeconfig::read_from(path)?;
    let options = kube::config::KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    if let Some(master) = master {
        config.cluster_url = master.parse::<http::Uri>()?;
    }
    Ok(kube::Client::try_from(config)?)
}

/// Returns the catalog with ports that do nothing, to be looked at.
///
/// # Errors
///
/// When the embedded API server does not open in memory.
pub async fn inert_catalog() -> Result<Catalog, Box<dyn std::error::Error>> {
    inert().await.map(crate::catalog)
}

/// Makes ports that do nothing, for a catalog that is only looked at.
async fn inert() -> Result<CloudPorts, Problem> {
    let options = Options::new(Arc::new(SystemClock), 0, SigningKey::new([0; 32]));
    let options = Options { definitions: Vec::new, ..options };
    let server = ApiServer::open(Arc::new(MemoryStore::new()), options).await?;
    Ok(CloudPorts {
        kube: client(&server),
        listeners: Vec::new(),
        rest: RestPorts::default(),
        api_server: Some(server),
    })
}

//! What an init is to write: from flags to a configuration that was checked, without a change to anything.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use cloudhub::CloudHubConfig;
use node_config::{ConfigError, Document, Process};

use super::flags::Init;

const REMARK: [&str; 2] = [
    "Written by keadm init; cloudcore --defaultconfig prints every key with its meaning.",
    "Each key can be overridden by an environment variable: BEEHIVE_MODULES_CLOUDHUB_NODELIMIT=1000.",
];
/// Values of KubeEdge's Helm chart that are no keys of cloudcore.yaml.
const OF_CHART: [&str; 5] =
    ["iptablesManager", "controllerManager", "admission", "mosquitto", "appsv1alpha1"];
/// Where the chart keeps keys of cloudcore.yaml.
const BELOW: &str = "cloudCore.";

/// Says what is wrong with the flags.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("--advertise-address {given:?} is no address; a host name goes into --domain-name")]
    Address { given: String },
    #[error(
        "--set {key} is a value of KubeEdge's Helm chart, which is not used here: cloudcore is a program of \
         this machine, and --set takes keys of cloudcore.yaml"
    )]
    Chart { key: String },
    #[error("--kube-config {}", path.display())]
    Kubeconfig {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("the modules of cloudcore cannot be looked at")]
    Catalog(#[source] Box<dyn std::error::Error>),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What is to be written, and what must hold before.
pub(crate) struct Plan {
    pub(crate) hub: CloudHubConfig,
    pub(crate) store: PathBuf,
    /// The kubeconfig of the cluster to serve, if it is another's.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The kubeconfig that cloudcore writes for its own cluster.
    pub(crate) own_kubeconfig: PathBuf,
    /// Where its own API server listens.
    pub(crate) api: Option<SocketAddr>,
    /// The text of cloudcore.yaml.
    pub(crate) text: String,
    /// Keys in it that have no effect.
    pub(crate) notices: String,
}

impl Plan {
    /// Makes a plan of the flags and of what cloudcore.yaml holds already, if there is one.
    pub(crate) async fn new(flags: &Init, before: Option<&str>) -> Result<Self, PlanError> {
        let catalog = cloudcore::inert_catalog().await.map_err(PlanError::Catalog)?;
        let file = flags.root.config(Process::CloudCore).display().to_string();
        let mut document = match before {
            Some(text) => Document::read(Process::CloudCore, &catalog, &file, text)?,
            None => Document::new(Process::CloudCore, &catalog),
        };
        fill(&mut document, flags)?;
        for set in &flags.sets {
            document.assign("--set", &of_cloudcore(set)?)?;
        }
        let text = document.render(&REMARK).map_err(ConfigError::from)?;
        let loaded = document.load(&catalog, &file, &text)?;
        let hub = loaded.module::<CloudHubConfig>(&loaded.node_sections(), "cloudHub")?;
        let settings = &loaded.settings;
        let api = SocketAddr::new(settings.api_server.address, settings.api_server.port);
        Ok(Self {
            hub,
            store: settings.store.clone(),
            api: settings.kubeconfig.is_none().then_some(api),
            kubeconfig: settings.kubeconfig.clone(),
            own_kubeconfig: settings.api_server.directory.join("kubeconfig"),
            notices: loaded.notices.to_string(),
            text,
        })
    }
}

fn fill(document: &mut Document, flags: &Init) -> Result<(), PlanError> {
    let addresses: Vec<&str> = flags.advertise_address.iter().map(|given| given.trim()).collect();
    if let Some(given) = addresses.iter().find(|given| given.parse::<IpAddr>().is_err()) {
        return Err(PlanError::Address { given: (*given).to_owned() });
    }
    if !addresses.is_empty() {
        document.set("modules.cloudHub.advertiseAddress", addresses);
    }
    if !flags.domain_name.is_empty() {
        document.set("modules.cloudHub.dnsNames", flags.domain_name.clone());
    }
    if let Some(path) = &flags.kube_config {
        let absolute = absolute(path).map_err(|cause| PlanError::Kubeconfig { path: path.clone(), cause })?;
        document.set("kubeAPIConfig.kubeConfig", absolute.display().to_string());
    }
    if let Some(master) = &flags.master {
        document.set("kubeAPIConfig.master", master.clone());
    }
    if !flags.root.is_machine() {
        for (key, path) in [
            ("database.dataSource", "/var/lib/kubeedge/cloudcore.db"),
            ("kubeAPIServer.directory", "/var/lib/kubeedge/kube-api"),
            ("modules.cloudHub.tlsCAFile", "/etc/kubeedge/ca/rootCA.crt"),
            ("modules.cloudHub.tlsCAKeyFile", "/etc/kubeedge/ca/rootCA.key"),
            ("modules.cloudHub.tlsCertFile", "/etc/kubeedge/certs/server.crt"),
            ("modules.cloudHub.tlsPrivateKeyFile", "/etc/kubeedge/certs/server.key"),
        ] {
            if document.get(key).is_none() {
                document.set(key, flags.root.at(path).display().to_string());
            }
        }
    }
    Ok(())
}

/// Returns the path of a file that exists, as it is found from anywhere.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    std::fs::metadata(path)?;
    std::path::absolute(path)
}

/// Takes the chart's spelling of keys of cloudcore.yaml.
fn of_cloudcore(set: &str) -> Result<String, PlanError> {
    let mut parts = Vec::new();
    for part in set.split(',') {
        let key = part.split(['=', '[', '.']).next().unwrap_or_default();
        let rest = part.strip_prefix(BELOW);
        let is_config =
            |rest: &str| ["modules.", "featureGates.", "commonConfig."].iter().any(|it| rest.starts_with(it));
        match rest {
            Some(rest) if is_config(rest) => parts.push(rest.to_owned()),
            Some(_) => return Err(chart(part)),
            None if OF_CHART.contains(&key) => return Err(chart(part)),
            None => parts.push(part.to_owned()),
        }
    }
    Ok(parts.join(","))
}

fn chart(part: &str) -> PlanError {
    PlanError::Chart { key: part.split('=').next().unwrap_or_default().to_owned() }
}

//! Flags of KubeEdge's keadm that have no meaning here, and those that it gave up itself. Whoever uses
//! one is told why.

use crate::say::warn;

const HEADING: &str = "Flags of KubeEdge without a meaning here";
const OWN_VERSION: &str = "keadm, cloudcore and edgecore of one version are installed together";
const NO_IMAGES: &str =
    "nothing is installed from images: cloudcore and edgecore are programs of this machine";
const NO_CHART: &str = "there is no Helm chart in keadm: cloudcore is a program of this machine";

/// Flags that choose what is downloaded.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct UnusedOfInstallers {
    /// keadm and what it installs are of one version.
    #[arg(long, value_name = "VERSION", num_args = 0..=1, default_missing_value = "")]
    kubeedge_version: Option<String>,
    /// Nothing is unpacked.
    #[arg(long, value_name = "DIR")]
    tarballpath: Option<String>,
    /// Nothing is installed from images.
    #[arg(long, value_name = "REPOSITORY")]
    image_repository: Option<String>,
}

impl UnusedOfInstallers {
    pub(crate) fn tell(&self) {
        tell(self.kubeedge_version.is_some(), "kubeedge-version", OWN_VERSION);
        tell(self.tarballpath.is_some(), "tarballpath", "nothing is downloaded or unpacked");
        tell(self.image_repository.is_some(), "image-repository", NO_IMAGES);
    }
}

/// Flags of Helm.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct UnusedOfCharts {
    /// There is no Helm chart; apply files with kubectl.
    #[arg(long, short = 'f', alias = "files", value_name = "FILES")]
    manifests: Option<String>,
    /// There is no Helm chart.
    #[arg(long, value_name = "DIR")]
    external_helm_root: Option<String>,
    /// There is no Helm chart; cloudcore makes its resource definitions itself.
    #[arg(long)]
    skip_crds: bool,
    /// There is no Helm chart.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

impl UnusedOfCharts {
    pub(crate) fn tell(&self) {
        tell(self.manifests.is_some(), "manifests", "apply the files with kubectl apply -f");
        tell(self.external_helm_root.is_some(), "external-helm-root", NO_CHART);
        tell(self.skip_crds, "skip-crds", "cloudcore makes the resource definitions that it needs itself");
        tell(self.profile.is_some(), "profile", NO_CHART);
    }
}

fn tell(given: bool, flag: &str, why: &str) {
    if given {
        warn(&format!("--{flag} has no meaning here: {why}"));
    }
}

/// Flags that KubeEdge's keadm had in earlier versions, and what to write today.
const REMOVED: [(&str, &str); 16] = [
    ("cloudcoreip", "write --cloudcore-ipport=HOST:10000"),
    ("edgecontrollerip", "write --cloudcore-ipport=HOST:10000"),
    ("edgenodeid", "write --edgenode-name=NAME"),
    ("interfacename", "write --set modules.edged.customInterfaceName=eth0"),
    ("runtimetype", "runtimes speak CRI: write --remote-runtime-endpoint=unix:///path/to/the.sock"),
    (
        "with-mqtt",
        "keadm installs no MQTT broker: leave it out; modules.eventBus.mqttMode 0 is the one within edgecore",
    ),
    ("with-edge-taint", "write --set 'modules.edged.tailoredKubeletConfig.registerWithTaints[0].key=...'"),
    ("docker-version", "keadm installs no container runtime: install containerd before"),
    (
        "kubernetes-version",
        "keadm installs no Kubernetes: cloudcore has an API server, or takes --kube-config",
    ),
    ("pod-network-cidr", "keadm installs no Kubernetes: cloudcore has an API server, or takes --kube-config"),
    ("cloudcore-image", NO_IMAGES),
    ("cloudcore-tag", NO_IMAGES),
    ("iptablesmgr-image", NO_IMAGES),
    ("iptablesmgr-tag", NO_IMAGES),
    ("quicport", "write --set modules.edgeHub.quic.server=HOST:PORT"),
    ("tunnelport", "write --set modules.edgeStream.server=HOST:PORT"),
];

/// Says what to write in place of a flag, as it was given, that some earlier version had.
pub(crate) fn removed(given: &str) -> Option<&'static str> {
    let name = given.trim_start_matches('-').split('=').next().unwrap_or_default();
    REMOVED.iter().find(|(flag, _)| *flag == name).map(|(_, instead)| *instead)
}

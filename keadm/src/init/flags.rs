//! The flags of `keadm init`.

use std::path::PathBuf;

use crate::root::Root;
use crate::unused::{UnusedOfCharts, UnusedOfInstallers};

pub(crate) const EXAMPLES: &str = "\
Examples:
  keadm init --advertise-address=203.0.113.7                   a cluster of its own, without Kubernetes
  keadm init --advertise-address=203.0.113.7 --kube-config=/root/.kube/config
  keadm init --domain-name=cloud.example.com --set modules.cloudHub.nodeLimit=1000 --dry-run

cloudcore runs as a service of this machine. KubeEdge's keadm installs it into the cluster with Helm; here
the cluster of --kube-config holds no more than what cloudcore writes through its API.";

/// The flags of `keadm init`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Init {
    /// Addresses by which edges reach the cloud, for its certificate; several with commas between.
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',')]
    pub(crate) advertise_address: Vec<String>,

    /// Host names by which edges reach the cloud, for its certificate; several with commas between.
    #[arg(long, alias = "domainname", value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) domain_name: Vec<String>,

    /// The kubeconfig of the cluster to serve; without one cloudcore serves a cluster of its own.
    #[arg(long, alias = "kubeconfig", value_name = "FILE")]
    pub(crate) kube_config: Option<PathBuf>,

    /// The URL that overrides the kubeconfig's server.
    #[arg(long, value_name = "URL")]
    pub(crate) master: Option<String>,

    /// Keys of cloudcore.yaml: modules.cloudHub.nodeLimit=1000, list[0]=x, list={a,b}; several with
    /// commas between or with several --set. KubeEdge's chart has them below cloudCore; that is taken too.
    #[arg(long = "set", value_name = "KEY=VALUE,...")]
    pub(crate) sets: Vec<String>,

    /// Lays the flags over a cloudcore.yaml that is there already.
    #[arg(long)]
    pub(crate) force: bool,

    /// Leaves out the checks of this machine and of the cluster.
    #[arg(long)]
    pub(crate) skip_preflight_checks: bool,

    /// Checks everything and prints what would be written.
    #[arg(short = 'd', long)]
    pub(crate) dry_run: bool,

    /// Where to install.
    #[command(flatten)]
    pub(crate) root: Root,

    /// Without a meaning here.
    #[command(flatten)]
    pub(crate) unused: UnusedOfInstallers,

    /// Without a meaning here.
    #[command(flatten)]
    pub(crate) unused_of_charts: UnusedOfCharts,
}

impl Init {
    pub(crate) fn tell_unused(&self) {
        self.unused.tell();
        self.unused_of_charts.tell();
    }
}

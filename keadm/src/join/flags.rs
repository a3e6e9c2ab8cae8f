//! The flags of `keadm join`: KubeEdge's, with their meanings.

use std::path::PathBuf;

use clap::ValueEnum;
use edgehub::Token;

use crate::root::Root;
use crate::unused::UnusedOfInstallers;

/// Where certificates are unless they are told otherwise.
pub(crate) const CERT_PATH: &str = "/etc/kubeedge/certs";

/// What carries the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HubProtocol {
    /// WebSocket over TLS and TCP.
    Websocket,
    /// QUIC, with WebSocket to fall back to.
    Quic,
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// The runtime.
    Cgroupfs,
    /// systemd.
    Systemd,
}

impl Driver {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  keadm join --cloudcore-ipport=203.0.113.7:10000 --edgenode-name=edge-1 --token=\"$TOKEN\"
  keadm join -e cloud.example.com:10000 -i edge-1 -t \"$TOKEN\" -l zone=a,spot=true --set modules.edgeHub.heartbeat=20
  keadm join -e 203.0.113.7:10000 -t \"$TOKEN\" --dry-run      checks everything and writes nothing

The token is what `keadm gettoken` prints on the cloud's side. It is used once, to get the node's
certificate, and is written nowhere. /etc/kubeedge/config/edgecore.yaml, if there is one, is kept where
no flag says otherwise.";

/// The flags of `keadm join`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Join {
    /// The cloud's host and the port of its links; without a port 10000.
    #[arg(short = 'e', long, value_name = "HOST[:PORT]")]
    pub(crate) cloudcore_ipport: String,

    /// The join token, as `keadm gettoken` prints it on the cloud's side.
    #[arg(
        short = 't',
        long,
        env = "KEADM_TOKEN",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        value_parser = token
    )]
    pub(crate) token: Token,

    /// The node's name; the machine's host name if not given.
    #[arg(short = 'i', long, value_name = "NAME")]
    pub(crate) edgenode_name: Option<String>,

    /// The socket of the container runtime (containerRuntimeEndpoint and imageServiceEndpoint); that of
    /// containerd, unix:///run/containerd/containerd.sock, if not given.
    #[arg(short = 'p', long, value_name = "SOCKET")]
    pub(crate) remote_runtime_endpoint: Option<String>,

    /// The port at which the cloud gives certificates.
    #[arg(short = 's', long, value_name = "PORT", default_value_t = 10002)]
    pub(crate) certport: u16,

    /// Labels of the node: key=value, several with commas between.
    #[arg(short = 'l', long, value_name = "KEY=VALUE,...", value_delimiter = ',')]
    pub(crate) labels: Vec<String>,

    /// Who makes cgroups. edgecore asks the runtime; this is compared with its answer.
    #[arg(long, value_enum)]
    pub(crate) cgroupdriver: Option<Driver>,

    /// What carries the link.
    #[arg(long, value_enum, default_value = "websocket")]
    pub(crate) hub_protocol: HubProtocol,

    /// The directory of the node's certificate and its key.
    #[arg(long = "certPath", alias = "cert-path", value_name = "DIR", default_value = CERT_PATH)]
    pub(crate) cert_path: PathBuf,

    /// Keys of edgecore.yaml: modules.edgeHub.heartbeat=30, list[0]=x, list={a,b}; several with commas
    /// between or with several --set.
    #[arg(long = "set", value_name = "KEY=VALUE,...")]
    pub(crate) sets: Vec<String>,

    /// The cluster knows a node of this name, and it is this machine: go on as that node.
    #[arg(long)]
    pub(crate) rejoin: bool,

    /// Checks everything and prints what would be written.
    #[arg(short = 'd', long)]
    pub(crate) dry_run: bool,

    /// A script that runs first.
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) pre_run: Option<PathBuf>,

    /// A script that runs when the node has joined.
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) post_run: Option<PathBuf>,

    /// Where to install.
    #[command(flatten)]
    pub(crate) root: Root,

    /// Without a meaning here.
    #[command(flatten)]
    pub(crate) unused: UnusedOfInstallers,
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants a parser that may fail")]
fn token(text: &str) -> Result<Token, std::convert::Infallible> {
    Ok(Token::new(text))
}

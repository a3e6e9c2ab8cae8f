//! `keadm gettoken`: the token with which edges join.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use node_config::Ending;
use tokio::time::timeout;

use crate::kubernetes::{ClientError, client};
use crate::say::say;

const PATIENCE: Duration = Duration::from_secs(30);
/// Where kubeconfigs are looked for: cloudcore's own cluster first.
const DEFAULTS: [&str; 3] =
    ["/var/lib/kubeedge/kube-api/kubeconfig", "/root/.kube/config", "/etc/kubernetes/admin.conf"];

/// The flags of `keadm gettoken`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GetToken {
    /// The kubeconfig of the cluster that the cloud serves. Without one, the first of cloudcore's own
    /// /var/lib/kubeedge/kube-api/kubeconfig, /root/.kube/config and /etc/kubernetes/admin.conf that
    /// exists.
    #[arg(long, alias = "kubeconfig", value_name = "FILE")]
    kube_config: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("there is no kubeconfig at {}: name one by --kube-config", DEFAULTS.join(", "))]
    NoKubeconfig,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the cluster of the kubeconfig was not reached")]
    Kube(#[from] Box<kube::Error>),
    #[error("the cluster of the kubeconfig did not answer within {PATIENCE:?}")]
    Silent,
    #[error("there is no secret kubeedge/tokensecret with a token: cloudcore makes it when it starts")]
    None,
}

/// Prints the token alone, for scripts.
pub(crate) async fn print(flags: GetToken) -> Result<Ending, TokenError> {
    let default = || DEFAULTS.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned);
    let path = flags.kube_config.or_else(default).ok_or(TokenError::NoKubeconfig)?;
    let token = timeout(PATIENCE, read(&path)).await.map_err(|_| TokenError::Silent)??;
    say(&token);
    Ok(Ending::Asked)
}

async fn read(path: &Path) -> Result<String, TokenError> {
    let api: Api<Secret> = Api::namespaced(client(path).await?, "kubeedge");
    let secret = api.get_opt("tokensecret").await.map_err(Box::new)?;
    let token = secret.and_then(|secret| secret.data?.remove("tokendata"));
    token.and_then(|token| String::from_utf8(token.0).ok()).ok_or(TokenError::None)
}

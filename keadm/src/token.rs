//! The token with which edges join.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use node_config::{Ending, report};
use tokio::time::timeout;

use crate::GetToken;
use crate::say::say;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("the kubeconfig {} is of no use", path.display())]
    Kubeconfig {
        path: PathBuf,
        #[source]
        cause: Box<kube::config::KubeconfigError>,
    },
    #[error("the cluster of the kubeconfig was not reached")]
    Kube(#[from] Box<kube::Error>),
    #[error("the cluster of the kubeconfig did not answer within {PATIENCE:?}")]
    Silent,
    #[error("there is no secret kubeedge/tokensecret with a token: cloudcore makes it when it starts")]
    None,
}

/// Prints the token alone, for scripts.
pub(crate) async fn print(flags: GetToken) -> Ending {
    let token = match timeout(PATIENCE, read(&flags.kubeconfig)).await {
        Ok(token) => token,
        Err(_) => Err(TokenError::Silent),
    };
    match token {
        Ok(token) => {
            say(&token);
            Ending::Asked
        }
        Err(error) => {
            report(&error);
            Ending::Unprepared
        }
    }
}

async fn read(path: &Path) -> Result<String, TokenError> {
    let useless = |cause| TokenError::Kubeconfig { path: path.to_owned(), cause: Box::new(cause) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(useless)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(useless)?;
    let client = kube::Client::try_from(config).map_err(Box::new)?;
    let api: Api<Secret> = Api::namespaced(client, "kubeedge");
    let secret = api.get_opt("tokensecret").await.map_err(Box::new)?;
    let token = secret.and_then(|secret| secret.data?.remove("tokendata"));
    token.and_then(|token| String::from_utf8(token.0).ok()).ok_or(TokenError::None)
}

//! The cluster of a kubeconfig.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Says why a kubeconfig gives no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("the kubeconfig {} is of no use", path.display())]
    Kubeconfig {
        path: PathBuf,
        #[source]
        cause: Box<KubeconfigError>,
    },
    #[error("the kubeconfig {} gives no client", path.display())]
    Client {
        path: PathBuf,
        #[source]
        cause: Box<kube::Error>,
    },
}

/// Makes a client, without a connection yet.
pub(crate) async fn client(path: &Path) -> Result<kube::Client, ClientError> {
    let useless = |cause| ClientError::Kubeconfig { path: path.to_owned(), cause: Box::new(cause) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(useless)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(useless)?;
    let cannot = |cause| ClientError::Client { path: path.to_owned(), cause: Box::new(cause) };
    kube::Client::try_from(config).map_err(cannot)
}

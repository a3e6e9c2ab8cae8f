//! Secrets of the cluster in which certificates and the join token are kept, as KubeEdge keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use kube::api::{Api, ObjectMeta, PostParams};
use protocol::NodeName;
use tokio::time::timeout;

pub(crate) const NAMESPACE: &str = "kubeedge";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
const CONFLICT: u16 = 409;
/// How often a secret is written anew that another cloud writes at the same time.
const WRITES_MAX: usize = 5;

/// The values of a secret.
pub(crate) type Values = BTreeMap<String, Vec<u8>>;

/// Says why a secret could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API server refused, or was not reached.
    #[error("{action} failed")]
    Api {
        /// What was tried.
        action: String,
        /// What it said.
        #[source]
        cause: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("{action} took longer than {REQUEST_TIMEOUT:?}")]
    Silent {
        /// What was tried.
        action: String,
    },
    /// Others write it all the time.
    #[error("the secret {NAMESPACE}/{name} is written by others all the time")]
    Contended {
        /// The secret.
        name: String,
    },
}

impl SecretError {
    /// Tells whether the same may succeed later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Api { cause, .. } => match &**cause {
                kube::Error::Api(status) => status.code >= 500 || status.code == 429,
                kube::Error::Service(_) | kube::Error::HyperError(_) => true,
                _ => false,
            },
            Self::Silent { .. } | Self::Contended { .. } => true,
        }
    }
}

/// The secrets.
#[derive(Clone)]
pub(crate) struct Secrets {
    client: kube::Client,
}

impl Secrets {
    pub(crate) fn new(client: kube::Client) -> Self {
        Self { client }
    }

    fn api(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Makes the namespace if it is missing.
    pub(crate) async fn ensure_namespace(&self) -> Result<(), SecretError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let action = || format!("reading the namespace {NAMESPACE}");
        if within(action(), api.get_opt(NAMESPACE)).await?.is_some() {
            return Ok(());
        }
        let metadata = ObjectMeta { name: Some(NAMESPACE.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let params = PostParams::default();
        let made =
            within(format!("creating the namespace {NAMESPACE}"), api.create(&params, &namespace)).await;
        made.map(drop).or_else(|error| if is_conflict(&error) { Ok(()) } else { Err(error) })
    }

    /// Returns the values of a secret, if there is one.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Values>, SecretError> {
        let found =
            within(format!("reading the secret {NAMESPACE}/{name}"), self.api().get_opt(name)).await?;
        let values = |secret: Secret| {
            let data = secret.data.unwrap_or_default();
            data.into_iter().map(|(key, ByteString(value))| (key, value)).collect()
        };
        Ok(found.map(values))
    }

    /// Makes a secret, unless there is one already. Returns whether it was made.
    pub(crate) async fn create(&self, name: &str, values: &Values) -> Result<bool, SecretError> {
        let action = format!("creating the secret {NAMESPACE}/{name}");
        let (api, secret) = (self.api(), secret(name, values, None));
        match within(action, api.create(&PostParams::default(), &secret)).await {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a secret or gives it other values.
    pub(crate) async fn write(&self, name: &str, values: &Values) -> Result<(), SecretError> {
        let api = self.api();
        for _ in 0..WRITES_MAX {
            let read = format!("reading the secret {NAMESPACE}/{name}");
            let Some(found) = within(read, api.get_opt(name)).await? else {
                if self.create(name, values).await? {
                    return Ok(());
                }
                continue;
            };
            let secret = secret(name, values, found.metadata.resource_version);
            let action = format!("writing the secret {NAMESPACE}/{name}");
            match within(action, api.replace(name, &PostParams::default(), &secret)).await {
                Ok(_) => return Ok(()),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SecretError::Contended { name: name.to_owned() })
    }

    /// Tells whether a node is registered.
    pub(crate) async fn has_node(&self, name: &NodeName) -> Result<bool, SecretError> {
        let api: Api<Node> = Api::all(self.client.clone());
        let found = within(format!("reading the node {name}"), api.get_opt(name.as_str())).await?;
        Ok(found.is_some())
    }

    /// Tells whether a node is registered and lives.
    pub(crate) async fn is_ready(&self, name: &NodeName) -> Result<bool, SecretError> {
        let api: Api<Node> = Api::all(self.client.clone());
        let found = within(format!("reading the node {name}"), api.get_opt(name.as_str())).await?;
        let conditions = found.and_then(|node| node.status?.conditions).unwrap_or_default();
        Ok(conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"))
    }
}

fn secret(name: &str, values: &Values, version: Option<String>) -> Secret {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        resource_version: version,
        ..ObjectMeta::default()
    };
    let data = values.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect();
    Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() }
}

async fn within<T>(
    action: String,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, SecretError> {
    match timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(|cause| SecretError::Api { action, cause: Box::new(cause) }),
        Err(_) => Err(SecretError::Silent { action }),
    }
}

fn is_conflict(error: &SecretError) -> bool {
    matches!(error, SecretError::Api { cause, .. }
        if matches!(&**cause, kube::Error::Api(status) if status.code == CONFLICT))
}

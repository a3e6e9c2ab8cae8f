//! Finds out whether a runtime is there, for `--runtime auto` and for people.

use std::time::Duration;

use edged::ports::{RuntimeCondition, RuntimeError, RuntimeStatus, RuntimeVersion};
use tonic::transport::Channel;

use super::cgroup::{self, CgroupDriver};
use super::connection::Connection;
use super::proto;
use super::proto::runtime_service_client::RuntimeServiceClient;
use super::{EndpointError, SocketEndpoint};

/// Where runtimes listen unless they are told otherwise, the most common first.
pub const DEFAULT_ENDPOINTS: [&str; 3] =
    ["unix:///run/containerd/containerd.sock", "unix:///run/crio/crio.sock", "unix:///run/cri-dockerd.sock"];

/// How long a runtime that is there takes to say its name, at the very most.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// The version of the CRI client, which runtimes ignore.
const API_VERSION: &str = "v1";

/// A runtime that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Where.
    pub endpoint: SocketEndpoint,
    /// What it is.
    pub version: RuntimeVersion,
    /// Whether it could run pods at once; `NetworkReady` does not hold without a CNI configuration.
    pub status: RuntimeStatus,
}

/// Asks the runtime at `endpoint` for its name, version and condition.
///
/// # Errors
///
/// Says why there is no answer, and what can be done about it.
pub async fn probe(endpoint: &SocketEndpoint) -> Result<Probed, RuntimeError> {
    let runtime = Connection::open(endpoint.clone(), RuntimeServiceClient::new);
    let version = version(&runtime, PROBE_DEADLINE).await?;
    let status = status(&runtime, PROBE_DEADLINE).await?;
    Ok(Probed { endpoint: endpoint.clone(), version, status })
}

/// Asks the runtime at `endpoint` who makes its cgroups.
///
/// # Errors
///
/// Says why there is no answer, and what can be done about it.
pub async fn probe_cgroup_driver(endpoint: &SocketEndpoint) -> Result<CgroupDriver, RuntimeError> {
    let runtime = Connection::open(endpoint.clone(), RuntimeServiceClient::new);
    cgroup::ask_driver(&runtime, PROBE_DEADLINE).await
}

/// Asks the runtime at `endpoint` of which image it makes sandboxes; none if it does not say, as
/// containerd since 2.0.
///
/// # Errors
///
/// Says why there is no answer, and what can be done about it.
pub async fn probe_sandbox_image(endpoint: &SocketEndpoint) -> Result<Option<String>, RuntimeError> {
    let runtime = Connection::open(endpoint.clone(), RuntimeServiceClient::new);
    let message = proto::StatusRequest { verbose: true };
    let reply = runtime
        .ask("status", PROBE_DEADLINE, message, async |mut client, request| client.status(request).await)
        .await?;
    Ok(reply.info.get("config").and_then(|config| sandbox_image_in(config)))
}

/// Reads the image from containerd's CRI configuration, as its status shows it.
fn sandbox_image_in(config: &str) -> Option<String> {
    let config: serde_json::Value = serde_json::from_str(config).ok()?;
    let image = config.get("sandboxImage")?.as_str()?;
    (!image.is_empty()).then(|| image.to_owned())
}

/// Probes each of `endpoints` and returns the first runtime that answers.
///
/// # Errors
///
/// Says of each endpoint why it has none.
pub async fn probe_first(endpoints: &[&str]) -> Result<Probed, Vec<String>> {
    let mut refusals = Vec::new();
    for text in endpoints {
        let parsed = SocketEndpoint::parse(text).map_err(|error: EndpointError| error.to_string());
        let answer = match parsed {
            Ok(endpoint) => probe(&endpoint).await.map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match answer {
            Ok(found) => return Ok(found),
            Err(refusal) => refusals.push(refusal),
        }
    }
    Err(refusals)
}

pub(super) async fn version(
    runtime: &Connection<RuntimeServiceClient<Channel>>,
    deadline: Duration,
) -> Result<RuntimeVersion, RuntimeError> {
    let message = proto::VersionRequest { version: API_VERSION.to_owned() };
    let reply = runtime
        .ask("version", deadline, message, async |mut client, request| client.version(request).await)
        .await?;
    Ok(RuntimeVersion { name: reply.runtime_name, version: reply.runtime_version })
}

pub(super) async fn status(
    runtime: &Connection<RuntimeServiceClient<Channel>>,
    deadline: Duration,
) -> Result<RuntimeStatus, RuntimeError> {
    let message = proto::StatusRequest { verbose: false };
    let reply = runtime
        .ask("status", deadline, message, async |mut client, request| client.status(request).await)
        .await?;
    let conditions =
        reply.status.unwrap_or_default().conditions.into_iter().map(|condition| RuntimeCondition {
            kind: condition.r#type,
            holds: condition.status,
            reason: condition.reason,
            message: condition.message,
        });
    Ok(RuntimeStatus { conditions: conditions.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_of_sandboxes_is_found_in_containerds_configuration() {
        let image = |config| sandbox_image_in(config);
        assert_eq!(
            image(r#"{"sandboxImage":"registry.k8s.io/pause:3.6"}"#).as_deref(),
            Some("registry.k8s.io/pause:3.6")
        );
        for config in [r#"{"sandboxImage":""}"#, "{}", "[1]", "no JSON"] {
            assert_eq!(image(config), None, "{config}");
        }
    }
}

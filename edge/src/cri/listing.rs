//! Lists what a runtime has, asking for details only when they can have changed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use edged::ports::{Container, ContainerState, RuntimeError, Sandbox, SandboxId, SandboxState};
use tonic::transport::Channel;

use super::connection::Connection;
use super::proto;
use super::proto::runtime_service_client::RuntimeServiceClient;
use super::reply;

/// The exit code of a process that was killed, by the kernel for lack of memory or by anyone else.
const KILLED: i32 = 137;

/// How often the details of a killed container are asked for again: the notice that memory ran
/// out travels apart from the notice of its end, and may come after it.
const KILLED_CHECKS: u8 = 3;

/// What was learnt of sandboxes and containers and cannot change while their state does not.
#[derive(Debug, Default)]
pub(super) struct Known {
    addresses: BTreeMap<String, Vec<IpAddr>>,
    containers: BTreeMap<String, KnownContainer>,
}

#[derive(Debug, Clone)]
struct KnownContainer {
    state: i32,
    detail: Container,
    checks_left: u8,
}

type Runtime = Connection<RuntimeServiceClient<Channel>>;

/// Lists all sandboxes with their containers, the oldest first. It fails as a whole where the runtime cannot be
/// asked: a partial list would say that what is missing from it is gone.
pub(super) async fn list(
    runtime: &Runtime,
    deadline: Duration,
    known: &Mutex<Known>,
) -> Result<Vec<Sandbox>, RuntimeError> {
    let asker = Asker { runtime, deadline };
    // In this order a container that is made meanwhile lacks its sandbox, rather than a sandbox
    // its container.
    let sandboxes = asker.sandboxes().await?;
    let containers = asker.containers().await?;
    let mut before = std::mem::take(&mut *known.lock().unwrap_or_else(PoisonError::into_inner));
    let mut after = Known::default();
    let gathered = gather(&asker, sandboxes, containers, &mut before, &mut after).await;
    if gathered.is_err() {
        before.addresses.append(&mut after.addresses);
        before.containers.append(&mut after.containers);
        after = before;
    }
    *known.lock().unwrap_or_else(PoisonError::into_inner) = after;
    gathered
}

async fn gather(
    asker: &Asker<'_>,
    sandboxes: Vec<proto::PodSandbox>,
    containers: Vec<proto::Container>,
    before: &mut Known,
    after: &mut Known,
) -> Result<Vec<Sandbox>, RuntimeError> {
    let mut by_sandbox: BTreeMap<String, Vec<proto::Container>> = BTreeMap::new();
    for container in containers {
        by_sandbox.entry(container.pod_sandbox_id.clone()).or_default().push(container);
    }
    let mut listed = Vec::with_capacity(sandboxes.len());
    for sandbox in sandboxes {
        let members = by_sandbox.remove(&sandbox.id).unwrap_or_default();
        let Some(ips) = asker.addresses(&sandbox, before, after).await? else { continue };
        let containers = asker.details(members, before, after).await?;
        listed.push(Sandbox {
            id: SandboxId::new(sandbox.id),
            pod: reply::identity(sandbox.metadata),
            state: reply::sandbox_state(sandbox.state),
            created_at: reply::time(sandbox.created_at).unwrap_or(UNIX_EPOCH),
            ips,
            labels: sandbox.labels,
            annotations: sandbox.annotations,
            containers,
        });
    }
    for (sandbox, members) in by_sandbox {
        if asker.sandbox_status(&sandbox).await?.is_some() {
            continue;
        }
        let containers = asker.details(members, before, after).await?;
        listed.extend(orphaned(sandbox, containers));
    }
    // Runtimes list in the order of their hash maps, another one each time.
    listed.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
    for sandbox in &mut listed {
        sandbox
            .containers
            .sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
    }
    Ok(listed)
}

/// Returns a stand-in for the sandbox that containers outlived, so that they can be found and
/// removed with it. The runtime makes such containers when it creates one and removes the sandbox
/// at the same time.
fn orphaned(sandbox: String, containers: Vec<Container>) -> Option<Sandbox> {
    let first = containers.first()?;
    Some(Sandbox {
        id: SandboxId::new(sandbox),
        pod: reply::identity_in_labels(&first.labels),
        state: SandboxState::NotReady,
        created_at: first.created_at,
        ips: Vec::new(),
        labels: first.labels.clone(),
        annotations: BTreeMap::new(),
        containers,
    })
}

struct Asker<'a> {
    runtime: &'a Runtime,
    deadline: Duration,
}

impl Asker<'_> {
    async fn sandboxes(&self) -> Result<Vec<proto::PodSandbox>, RuntimeError> {
        let message = proto::ListPodSandboxRequest { filter: None };
        let reply = self
            .runtime
            .ask("list sandboxes", self.deadline, message, async |mut client, request| {
                client.list_pod_sandbox(request).await
            })
            .await?;
        Ok(reply.items)
    }

    async fn containers(&self) -> Result<Vec<proto::Container>, RuntimeError> {
        let message = proto::ListContainersRequest { filter: None };
        let reply = self
            .runtime
            .ask("list containers", self.deadline, message, async |mut client, request| {
                client.list_containers(request).await
            })
            .await?;
        Ok(reply.containers)
    }

    /// Returns a sandbox's addresses, or `None` if it is gone.
    async fn addresses(
        &self,
        sandbox: &proto::PodSandbox,
        before: &mut Known,
        after: &mut Known,
    ) -> Result<Option<Vec<IpAddr>>, RuntimeError> {
        if reply::sandbox_state(sandbox.state) == SandboxState::NotReady {
            return Ok(Some(Vec::new()));
        }
        if let Some(addresses) = before.addresses.remove(&sandbox.id) {
            after.addresses.insert(sandbox.id.clone(), addresses.clone());
            return Ok(Some(addresses));
        }
        let Some(status) = self.sandbox_status(&sandbox.id).await? else {
            return Ok(None);
        };
        let on_host = has_host_network(&status);
        let addresses = match status.network {
            Some(network) if !on_host => parse_addresses(&network),
            _ => Vec::new(),
        };
        if on_host || !addresses.is_empty() {
            after.addresses.insert(sandbox.id.clone(), addresses.clone());
        }
        Ok(Some(addresses))
    }

    /// Returns what the runtime tells of one sandbox, or `None` if it is gone. One that the runtime
    /// fails to describe is returned without any detail: the others must not suffer for it.
    async fn sandbox_status(&self, id: &str) -> Result<Option<proto::PodSandboxStatus>, RuntimeError> {
        let message = proto::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let answer = self
            .runtime
            .ask("sandbox status", self.deadline, message, async |mut client, request| {
                client.pod_sandbox_status(request).await
            })
            .await;
        match answer {
            Ok(reply) => Ok(Some(reply.status.unwrap_or_default())),
            Err(RuntimeError::NotFound(_)) => Ok(None),
            Err(lost @ (RuntimeError::Unavailable(_) | RuntimeError::TimedOut(_))) => Err(lost),
            Err(refusal) => {
                tracing::debug!(sandbox = %id, %refusal, "the runtime does not describe a sandbox");
                Ok(Some(proto::PodSandboxStatus::default()))
            }
        }
    }

    /// Returns the containers with their details, without those that are gone.
    async fn details(
        &self,
        listed: Vec<proto::Container>,
        before: &mut Known,
        after: &mut Known,
    ) -> Result<Vec<Container>, RuntimeError> {
        let mut containers = Vec::with_capacity(listed.len());
        for container in listed {
            let seen = before.containers.remove(&container.id).filter(|seen| seen.state == container.state);
            let checks_left = match seen {
                Some(seen) if seen.checks_left == 0 => {
                    containers.push(seen.detail.clone());
                    after.containers.insert(container.id, seen);
                    continue;
                }
                Some(seen) => seen.checks_left - 1,
                None => KILLED_CHECKS,
            };
            let id = container.id.clone();
            let state = container.state;
            if let Some(detail) = self.detail(container).await? {
                containers.push(detail.clone());
                if let Some(known) = KnownContainer::learnt(state, detail, checks_left) {
                    after.containers.insert(id, known);
                }
            }
        }
        Ok(containers)
    }

    /// Returns one container's details, or `None` if it is gone.
    async fn detail(&self, listed: proto::Container) -> Result<Option<Container>, RuntimeError> {
        let message = proto::ContainerStatusRequest { container_id: listed.id.clone(), verbose: false };
        let answer = self
            .runtime
            .ask("container status", self.deadline, message, async |mut client, request| {
                client.container_status(request).await
            })
            .await;
        match answer {
            Ok(proto::ContainerStatusResponse { status: Some(status), .. }) => {
                Ok(Some(reply::container(status)))
            }
            Ok(_) => Ok(Some(reply::container_of_unknown_state(listed))),
            Err(RuntimeError::NotFound(_)) => Ok(None),
            Err(lost @ (RuntimeError::Unavailable(_) | RuntimeError::TimedOut(_))) => Err(lost),
            Err(refusal) => {
                tracing::debug!(container = %listed.id, %refusal, "the runtime does not describe a container");
                Ok(Some(reply::container_of_unknown_state(listed)))
            }
        }
    }
}

impl KnownContainer {
    /// Keeps what was learnt of a container that was listed in `state`, unless it has another by
    /// the time its details came, or none that lasts.
    fn learnt(state: i32, detail: Container, checks_left: u8) -> Option<Self> {
        use proto::ContainerState as Listed;
        let listed = Listed::try_from(state).ok()?;
        let checks_left = match (&detail.state, listed) {
            (ContainerState::Exited(exit), Listed::ContainerExited) => {
                match exit.code == KILLED && exit.reason != "OOMKilled" {
                    true => checks_left,
                    false => 0,
                }
            }
            (ContainerState::Running { .. }, Listed::ContainerRunning)
            | (ContainerState::Created, Listed::ContainerCreated) => 0,
            _ => return None,
        };
        Some(Self { state, detail, checks_left })
    }
}

fn has_host_network(status: &proto::PodSandboxStatus) -> bool {
    let options = status.linux.as_ref().and_then(|linux| linux.namespaces.as_ref()?.options.as_ref());
    options.is_some_and(|options| options.network() == proto::NamespaceMode::Node)
}

fn parse_addresses(network: &proto::PodSandboxNetworkStatus) -> Vec<IpAddr> {
    let further = network.additional_ips.iter().map(|address| address.ip.as_str());
    std::iter::once(network.ip.as_str()).chain(further).filter_map(|address| address.parse().ok()).collect()
}

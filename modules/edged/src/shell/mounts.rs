//! Volumes of a pod and mounts of its containers: what the pure plans say, made real.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::edge::GetToken;
use protocol::{Object, ObjectName};
use serde_json::{Value, json};

use tokio::time::Instant;

use crate::data::{self, Data, DataRef, DataSet, Fetched};
use crate::env;
use crate::net;
use crate::pod::{ContainerView, Pod, Volume};
use crate::ports::{EnvVar, FileError, Mount, Propagation, Sandbox, VolumeOwner};
use crate::shell::Shared;
use crate::shell::doors::Absent;
use crate::shell::slot::{Slot, Token};
use crate::time::{parse_rfc3339, since};
use crate::volumes::{self, TokenRef, TokenSet, VolumePlan, VolumeProblem};

/// Reads the objects that are referred to.
pub(crate) async fn fetch(shared: &Shared, pod: &Pod, refs: impl IntoIterator<Item = DataRef>) -> DataSet {
    let mut set = DataSet::new();
    for at in refs {
        let fetched = match at.key(pod) {
            None => Fetched::Missing,
            Some(key) => match shared.doors.object(key).await {
                Ok(object) => Data::read(at.kind, &object).map_or_else(Fetched::Unavailable, Fetched::Found),
                Err(Absent::NotFound) => Fetched::Missing,
                Err(Absent::Unknown(why)) => Fetched::Unavailable(why),
            },
        };
        set.insert(at, fetched);
    }
    set
}

/// A volume that could not be made, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountTrouble {
    pub(crate) volume: String,
    pub(crate) why: String,
}

/// Makes all volumes of a pod, or brings their content up to date.
///
/// A volume that was written before stays as it is while its content cannot be told.
pub(crate) async fn prepare(shared: &Shared, slot: &Slot, pod: &Pod) -> Result<(), MountTrouble> {
    let files = &shared.ports.files;
    let trouble = |volume: &str, why: String| MountTrouble { volume: volume.to_owned(), why };
    files.make_pod(&pod.dir()).await.map_err(|error| trouble("", error.to_string()))?;
    // From here on a change makes them stale again.
    slot.stale.set(false);
    let refs = pod.spec.volumes.iter().flat_map(data::volume_refs);
    let data = fetch(shared, pod, refs).await;
    let tokens = tokens(shared, slot, pod).await;
    let mut mounted = BTreeMap::new();
    for volume in &pod.spec.volumes {
        match make(shared, pod, volume, &data, &tokens).await {
            Ok(path) => {
                mounted.insert(volume.name.clone(), path);
            }
            Err(why) => {
                slot.stale.set(true);
                return Err(trouble(&volume.name, why));
            }
        }
    }
    *slot.mounted.borrow_mut() = Some(mounted);
    Ok(())
}

async fn make(
    shared: &Shared,
    pod: &Pod,
    volume: &Volume,
    data: &DataSet,
    tokens: &TokenSet,
) -> Result<PathBuf, String> {
    let files = &shared.ports.files;
    let dir = pod.dir();
    let owner = VolumeOwner { group: pod.spec.security_context.fs_group };
    let ips = shared.view.pod(&pod.uid).first().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    let made = match volumes::plan(pod, volume, data, tokens, &shared.around(ips)) {
        Ok(VolumePlan::EmptyDir(spec)) => files.empty_dir(&dir, &volume.name, spec, owner).await,
        Ok(VolumePlan::HostPath(path, kind)) => files.host_path(&path, kind).await,
        Ok(VolumePlan::Files(kind, content)) => {
            files.write_volume(&dir, kind, &volume.name, &content, owner).await
        }
        Err(VolumeProblem::Refused(why)) => return Err(why),
        Err(VolumeProblem::Unavailable(kind, why)) => {
            return match files.written_volume(&dir, kind, &volume.name).await {
                Ok(Some(path)) => Ok(path),
                Ok(None) => Err(why),
                Err(error) => Err(error.to_string()),
            };
        }
    };
    made.map_err(|error| error.to_string())
}

/// Tells whether a token is to be renewed.
pub(crate) fn token_is_due(slot: &Slot) -> bool {
    let now = Instant::now();
    slot.tokens.borrow().values().any(|token| token.renew_at <= now)
}

async fn tokens(shared: &Shared, slot: &Slot, pod: &Pod) -> TokenSet {
    let mut set = TokenSet::new();
    for at in volumes::token_refs(pod) {
        let held = slot.tokens.borrow().get(&at).cloned();
        let result = match held {
            Some(token) if token.renew_at > Instant::now() => Ok(token.text),
            _ => match token(shared, pod, &at).await {
                Ok(token) => {
                    let text = token.text.clone();
                    slot.tokens.borrow_mut().insert(at.clone(), token);
                    Ok(text)
                }
                Err(why) => Err(format!("the service account's token could not be had: {why}")),
            },
        };
        set.insert(at, result);
    }
    set
}

/// The longest that a token is used before it is renewed, whatever its life.
const TOKEN_USE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The shortest: without the cloud a token may be old, and is asked for again from time to time.
const TOKEN_USE_MIN: Duration = Duration::from_secs(60);

async fn token(shared: &Shared, pod: &Pod, at: &TokenRef) -> Result<Token, String> {
    let account = match pod.spec.service_account_name.as_str() {
        "" => "default",
        name => name,
    };
    let audiences: Value = if at.audience.is_empty() { Value::Null } else { json!([at.audience]) };
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {},
        "spec": {
            "audiences": audiences,
            "expirationSeconds": at.lifetime_s,
            "boundObjectRef": {
                "kind": "Pod", "apiVersion": "v1", "name": pod.name.as_str(), "uid": pod.uid,
            },
        },
    });
    let wanted = GetToken {
        namespace: pod.namespace.clone(),
        account: ObjectName::parse(account).map_err(|error| error.to_string())?,
        request: Object::from_value(&request).map_err(|error| error.to_string())?,
    };
    let object = shared.doors.token(wanted).await?;
    let answer = object.value().map_err(|error| error.to_string())?;
    let text = answer.pointer("/status/token").and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() {
        return Err("the cloud's answer has no token".to_owned());
    }
    let now = shared.now();
    let expires = answer.pointer("/status/expirationTimestamp").and_then(Value::as_str);
    let life = expires
        .and_then(parse_rfc3339)
        .map_or(Duration::from_secs(at.lifetime_s), |expires| since(expires, now));
    let renew_after = (life * 4 / 5).clamp(TOKEN_USE_MIN, TOKEN_USE_MAX);
    Ok(Token { text: text.to_owned(), renew_at: Instant::now() + renew_after })
}

/// Makes the mounts of a container.
pub(crate) async fn container(
    shared: &Shared,
    slot: &Slot,
    pod: &Pod,
    view: &ContainerView,
    attempt: u32,
    sandbox: &Sandbox,
    variables: &[EnvVar],
) -> Result<Vec<Mount>, String> {
    let files = &shared.ports.files;
    let mounted = slot.mounted.borrow().clone().unwrap_or_default();
    let mut mounts = Vec::new();
    for mount in &view.volume_mounts {
        let Some(root) = mounted.get(&mount.name) else {
            return Err(format!("volume {} is not one of the pod's", mount.name));
        };
        let expanded = env::expand_all(std::slice::from_ref(&mount.sub_path_expr), variables).concat();
        let sub_path = if expanded.is_empty() { &mount.sub_path } else { &expanded };
        let host_path = if sub_path.is_empty() {
            root.clone()
        } else {
            files.sub_path(root, sub_path).await.map_err(|error| error.to_string())?
        };
        let volume = pod.spec.volumes.iter().find(|volume| volume.name == mount.name);
        mounts.push(Mount {
            container_path: absolute(&mount.mount_path),
            host_path,
            read_only: mount.read_only || volume.is_some_and(is_from_api),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        });
    }
    own_files(shared, pod, view, attempt, sandbox, &mut mounts).await.map_err(|error| error.to_string())?;
    Ok(mounts)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn is_from_api(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward.is_some()
        || volume.projected.is_some()
}

async fn own_files(
    shared: &Shared,
    pod: &Pod,
    view: &ContainerView,
    attempt: u32,
    sandbox: &Sandbox,
    mounts: &mut Vec<Mount>,
) -> Result<(), FileError> {
    let files = &shared.ports.files;
    let mut own = |container_path: &str, host_path: PathBuf| {
        if mounts.iter().all(|mount| Path::new(&mount.container_path) != Path::new(container_path)) {
            mounts.push(Mount {
                container_path: container_path.to_owned(),
                host_path,
                read_only: false,
                propagation: Propagation::Private,
            });
        }
    };
    let hosts = if pod.spec.host_network {
        net::host_network_hosts_file(pod, &files.node_hosts().await?)
    } else {
        net::hosts_file(pod, &sandbox.ips, &shared.config.tailored_kubelet_config.cluster_domain)
    };
    own("/etc/hosts", files.write_hosts(&pod.dir(), &hosts).await?);
    own(view.message_path(), files.make_container(&pod.dir(), &view.name, attempt).await?);
    Ok(())
}

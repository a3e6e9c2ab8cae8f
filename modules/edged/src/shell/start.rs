//! Starts one container: image, environment, mounts, create, start, hook.

use std::time::Duration;

use crate::backoff::{Backoff, CRASH, is_ahead};
use crate::data::{self, Data, DataKind, DataRef, Fetched};
use crate::env;
use crate::events::Severity;
use crate::observed::{Observed, Waiting};
use crate::pod::{ContainerView, Pod};
use crate::ports::{ContainerId, Image, ImageCredentials, Sandbox, SandboxSpec};
use crate::registry;
use crate::shell::hooks::{Outcome, Target, attempt as call};
use crate::shell::slot::Slot;
use crate::shell::{Shared, mounts};
use crate::spec::{self, Parts};
use crate::time::go_duration;

/// Says why a container did not start: its waiting reason, and whether the wait was set already.
pub(crate) struct Refusal {
    pub(crate) waiting: Waiting,
    /// When to try again, if the reason brings a delay of its own.
    pub(crate) until: Option<std::time::SystemTime>,
}

impl Refusal {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { waiting: Waiting::new(reason, message), until: None }
    }
}

/// Starts a container in the ready sandbox.
pub(crate) async fn container(
    shared: &Shared,
    slot: &Slot,
    pod: &Pod,
    view: &ContainerView,
    attempt: u32,
    sandbox: &Sandbox,
) -> Result<(), Refusal> {
    let sandbox_spec = sandbox_spec(shared, pod, sandbox.pod.attempt);
    let image = image(shared, slot, pod, view, &sandbox_spec).await?;
    let config = |why: String| {
        shared.event(pod, Some(&view.name), Severity::Warning, "Failed", format!("Error: {why}"));
        Refusal::new("CreateContainerConfigError", why)
    };
    let data = mounts::fetch(shared, pod, data::env_refs(view)).await;
    let around = shared.around(sandbox.ips.clone());
    let variables = env::environment(pod, view, &data, &around).map_err(config)?;
    let mounts =
        mounts::container(shared, slot, pod, view, attempt, sandbox, &variables).await.map_err(config)?;
    let side = shared.node.borrow().side.clone();
    let parts = Parts { attempt, image: &image, env: variables, mounts };
    let spec = spec::container(pod, view, parts, &side).map_err(config)?;
    let _permit = shared.starts.acquire().await;
    let runtime = &shared.ports.runtime;
    let id = runtime.create_container(&sandbox.id, &sandbox_spec, &spec).await.map_err(|error| {
        let why = error.to_string();
        shared.event(pod, Some(&view.name), Severity::Warning, "Failed", format!("Error: {why}"));
        Refusal::new("CreateContainerError", why)
    })?;
    shared.event(
        pod,
        Some(&view.name),
        Severity::Normal,
        "Created",
        format!("Created container: {}", view.name),
    );
    remember_run(shared, slot, view);
    if let Err(error) = runtime.start_container(&id).await {
        let why = error.to_string();
        shared.event(pod, Some(&view.name), Severity::Warning, "Failed", format!("Error: {why}"));
        return Err(Refusal::new("RunContainerError", why));
    }
    shared.event(
        pod,
        Some(&view.name),
        Severity::Normal,
        "Started",
        format!("Started container {}", view.name),
    );
    post_start(shared, pod, view, &id, sandbox).await
}

/// Lets the next run wait longer, if there was one before this.
fn remember_run(shared: &Shared, slot: &Slot, view: &ContainerView) {
    let now = shared.now();
    let sandboxes = shared.view.pod(&slot.pod().uid);
    let mut memory = slot.memory.borrow_mut();
    let latest = Observed::new(&sandboxes).latest(&view.name, &memory);
    if let Some(exit) = latest.as_ref().and_then(|run| run.exit()) {
        let last = memory.crashes.get(&view.name).copied();
        let next = Backoff::next(last, CRASH, exit.finished_at, now);
        memory.crashes.insert(view.name.clone(), next);
    }
}

/// Makes the spec of a pod's sandbox.
pub(crate) fn sandbox_spec(shared: &Shared, pod: &Pod, attempt: u32) -> SandboxSpec {
    let log_dir = shared.ports.files.log_dir(&pod.dir());
    spec::sandbox(pod, attempt, &log_dir, &shared.node.borrow().side)
}

/// How long a hook after the start may take.
const HOOK_WITHIN: Duration = Duration::from_secs(120);

async fn post_start(
    shared: &Shared,
    pod: &Pod,
    view: &ContainerView,
    id: &ContainerId,
    sandbox: &Sandbox,
) -> Result<(), Refusal> {
    let Some(hook) = &view.lifecycle.post_start else { return Ok(()) };
    let target = Target { id, view, ip: sandbox.ips.first().copied() };
    let why = match call(shared, hook, target, HOOK_WITHIN).await {
        Outcome::Success => return Ok(()),
        Outcome::Failure(why) | Outcome::Unknown(why) => why,
    };
    let message = format!("PostStartHook failed: {why}");
    shared.event(pod, Some(&view.name), Severity::Warning, "FailedPostStartHook", &message);
    if let Err(error) = shared.ports.runtime.stop_container(id, pod.grace()).await {
        tracing::warn!(pod = %pod.name, container = %view.name, %error, "a container whose hook failed did not stop");
    }
    Err(Refusal::new("PostStartHookError", message))
}

enum Policy {
    Always,
    IfNotPresent,
    Never,
}

fn policy(view: &ContainerView) -> Policy {
    match view.image_pull_policy.as_str() {
        "Always" => Policy::Always,
        "Never" => Policy::Never,
        "IfNotPresent" => Policy::IfNotPresent,
        _ if registry::is_latest(&view.image) => Policy::Always,
        _ => Policy::IfNotPresent,
    }
}

async fn image(
    shared: &Shared,
    slot: &Slot,
    pod: &Pod,
    view: &ContainerView,
    sandbox: &SandboxSpec,
) -> Result<Image, Refusal> {
    let name = &view.image;
    let runtime = &shared.ports.runtime;
    let inspect = |error: crate::ports::RuntimeError| match error {
        crate::ports::RuntimeError::InvalidImageName { .. } => {
            Refusal::new("InvalidImageName", format!("Failed to apply default image tag {name:?}: {error}"))
        }
        error => Refusal::new("ImageInspectError", format!("Failed to inspect image {name:?}: {error}")),
    };
    let policy = policy(view);
    if !matches!(policy, Policy::Always) {
        match (runtime.image(name).await.map_err(inspect)?, policy) {
            (Some(image), _) => {
                let message = format!("Container image {name:?} already present on machine");
                shared.event(pod, Some(&view.name), Severity::Normal, "Pulled", message);
                return Ok(image);
            }
            (None, Policy::Never) => {
                let message = format!("Container image {name:?} is not present with pull policy of Never");
                shared.event(pod, Some(&view.name), Severity::Warning, "ErrImageNeverPull", &message);
                return Err(Refusal::new("ErrImageNeverPull", message));
            }
            (None, _) => {}
        }
    }
    pull(shared, slot, pod, view, sandbox).await?;
    let pulled = runtime.image(name).await.map_err(inspect)?;
    pulled.ok_or_else(|| {
        Refusal::new("ImageInspectError", format!("image {name:?} was pulled and is not there"))
    })
}

async fn pull(
    shared: &Shared,
    slot: &Slot,
    pod: &Pod,
    view: &ContainerView,
    sandbox: &SandboxSpec,
) -> Result<(), Refusal> {
    let name = &view.image;
    let now = shared.now();
    if let Some((_, until, why)) = slot.memory.borrow().pulls.get(name)
        && is_ahead(*until, now)
    {
        return Err(back_off(name, *until, why));
    }
    let credentials = credentials(shared, pod, name).await;
    let _permit = shared.pulls.acquire().await;
    shared.event(pod, Some(&view.name), Severity::Normal, "Pulling", format!("Pulling image {name:?}"));
    let began = shared.now();
    match shared.ports.runtime.pull_image(name, &credentials, sandbox).await {
        Ok(_) => {
            let took = crate::time::since(shared.now(), began);
            let message = format!("Successfully pulled image {name:?} in {}", go_duration(took));
            shared.event(pod, Some(&view.name), Severity::Normal, "Pulled", message);
            slot.memory.borrow_mut().pulls.remove(name);
            Ok(())
        }
        Err(error) => {
            let now = shared.now();
            let why = format!("Failed to pull image {name:?}: {error}");
            shared.event(pod, Some(&view.name), Severity::Warning, "Failed", &why);
            shared.event(pod, Some(&view.name), Severity::Warning, "Failed", "Error: ErrImagePull");
            let mut memory = slot.memory.borrow_mut();
            let last = memory.pulls.get(name).map(|(backoff, _, _)| *backoff);
            let next = Backoff::next(last, CRASH, now, now);
            let until = now + next.delay;
            memory.pulls.insert(name.clone(), (next, until, why.clone()));
            let reason = match error {
                crate::ports::RuntimeError::InvalidImageName { .. } => "InvalidImageName",
                _ => "ErrImagePull",
            };
            Err(Refusal { waiting: Waiting::new(reason, why), until: Some(until) })
        }
    }
}

fn back_off(image: &str, until: std::time::SystemTime, why: &str) -> Refusal {
    let message = format!("Back-off pulling image {image:?}: ErrImagePull: {why}");
    Refusal { waiting: Waiting::new("ImagePullBackOff", message), until: Some(until) }
}

async fn credentials(shared: &Shared, pod: &Pod, image: &str) -> Vec<ImageCredentials> {
    let refs = pod.spec.image_pull_secrets.iter().map(|at| DataRef::new(DataKind::Secret, &at.name));
    let secrets = mounts::fetch(shared, pod, refs).await;
    let mut credentials = Vec::new();
    for (at, fetched) in &secrets {
        match fetched {
            Fetched::Found(data) => credentials.extend(from_secret(data, image)),
            Fetched::Missing => {
                let message = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    at.name
                );
                shared.event(pod, None, Severity::Warning, "FailedToRetrieveImagePullSecret", message);
            }
            Fetched::Unavailable(why) => {
                tracing::warn!(pod = %pod.name, secret = %at.name, %why, "an image pull secret could not be read");
            }
        }
    }
    credentials
}

fn from_secret(data: &Data, image: &str) -> Vec<ImageCredentials> {
    [".dockerconfigjson", ".dockercfg"]
        .into_iter()
        .filter_map(|key| data.entries.get(key))
        .flat_map(|content| registry::credentials(content, image))
        .collect()
}

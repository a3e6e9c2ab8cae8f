//! Does what a plan says.

use std::time::Duration;

use futures::future::join_all;

use crate::events::Severity;
use crate::observed::{Observed, Verdict, Waiting};
use crate::pod::{ContainerView, Pod};
use crate::ports::{Container, ContainerId, ContainerState, RuntimeError, Sandbox, SandboxState};
use crate::probe::ProbeKind;
use crate::shell::hooks::{Target, attempt as call};
use crate::shell::slot::Slot;
use crate::shell::{Shared, mounts, start};
use crate::sync::{Action, setup_failed};

/// Does one action of a round. Failures are remembered, reported and retried by later plans.
///
/// `kept` collects the containers that the runtime did not let go: none is made in their place.
pub(crate) async fn act(shared: &Shared, slot: &Slot, action: &Action, kept: &mut Vec<String>) {
    let pod = slot.pod();
    match action {
        Action::Fail { reason, message } => {
            shared.event(&pod, None, Severity::Normal, reason, message);
            let verdict = Verdict { reason: (*reason).to_owned(), message: message.clone() };
            slot.memory.borrow_mut().verdict = Some(verdict);
        }
        Action::StopPod => stop_all(shared, &pod, pod.grace()).await,
        Action::StopSandbox(id) => {
            let sandboxes = shared.view.pod(&pod.uid);
            if let Some(sandbox) = sandboxes.iter().find(|sandbox| sandbox.id == *id) {
                kill_containers(shared, &pod, sandbox, pod.grace()).await;
                tell(&pod, "stop a sandbox", shared.ports.runtime.stop_sandbox(id).await);
            }
        }
        Action::RunSandbox { attempt } => run_sandbox(shared, slot, &pod, *attempt).await,
        Action::Start { container, .. } if kept.contains(container) => {}
        Action::Start { container, attempt } => {
            start_container(shared, slot, &pod, container, *attempt).await
        }
        Action::Kill { id, container, message, probe } => {
            restart(shared, &pod, id, container, message, *probe).await;
        }
        Action::Remove { id, container, attempt, keep_files } => {
            if !tell(&pod, "remove a container", shared.ports.runtime.remove_container(id).await) {
                kept.push(container.clone());
            } else if !keep_files {
                let removed = shared.ports.files.remove_container(&pod.dir(), container, *attempt).await;
                if let Err(error) = removed {
                    tracing::warn!(pod = %pod.name, container, %error, "files of an ended container stay");
                }
            }
        }
        Action::RemoveSandbox(id) => {
            tell(&pod, "remove a sandbox", shared.ports.runtime.remove_sandbox(id).await);
        }
    }
}

/// Returns whether it was done, and says why not.
fn tell(pod: &Pod, what: &str, result: Result<(), RuntimeError>) -> bool {
    match result {
        Ok(()) | Err(RuntimeError::NotFound(_)) => true,
        Err(error) => {
            tracing::warn!(pod = %pod.name, namespace = %pod.namespace, %error, "could not {what}; trying again");
            false
        }
    }
}

/// Sets the time before which a sandbox (empty `key`) or container is not tried again.
fn postpone(shared: &Shared, slot: &Slot, key: &str) {
    let mut memory = slot.memory.borrow_mut();
    let next = setup_failed(&memory, key, shared.now());
    memory.setups.insert(key.to_owned(), next);
}

async fn run_sandbox(shared: &Shared, slot: &Slot, pod: &Pod, attempt: u32) {
    if let Err(trouble) = mounts::prepare(shared, slot, pod).await {
        report_mount(shared, pod, &trouble);
        postpone(shared, slot, "");
        return;
    }
    let spec = start::sandbox_spec(shared, pod, attempt);
    let result = {
        let _permit = shared.starts.acquire().await;
        shared.ports.runtime.run_sandbox(&spec).await
    };
    match result {
        Ok(_) => {
            slot.memory.borrow_mut().setups.remove("");
        }
        Err(error) => {
            let message = format!("Failed to create pod sandbox: {error}");
            shared.event(pod, None, Severity::Warning, "FailedCreatePodSandBox", message);
            tracing::warn!(pod = %pod.name, namespace = %pod.namespace, %error, "the sandbox could not be made");
            postpone(shared, slot, "");
        }
    }
}

/// Reports a volume that could not be made.
pub(crate) fn report_mount(shared: &Shared, pod: &Pod, trouble: &mounts::MountTrouble) {
    let message = format!("MountVolume.SetUp failed for volume {:?} : {}", trouble.volume, trouble.why);
    tracing::warn!(pod = %pod.name, namespace = %pod.namespace, volume = %trouble.volume, why = %trouble.why,
        "a volume could not be made");
    shared.event(pod, None, Severity::Warning, "FailedMount", message);
}

async fn start_container(shared: &Shared, slot: &Slot, pod: &Pod, name: &str, attempt: u32) {
    let Some(view) = pod.container(name) else { return };
    let sandboxes = shared.view.pod(&pod.uid);
    let Some(sandbox) = Observed::new(&sandboxes).ready() else { return };
    if slot.mounted.borrow().is_none()
        && let Err(trouble) = mounts::prepare(shared, slot, pod).await
    {
        report_mount(shared, pod, &trouble);
        postpone(shared, slot, name);
        return;
    }
    match start::container(shared, slot, pod, view, attempt, sandbox).await {
        Ok(()) => {
            let mut memory = slot.memory.borrow_mut();
            memory.waiting.remove(name);
            memory.setups.remove(name);
        }
        Err(refusal) => {
            tracing::warn!(pod = %pod.name, namespace = %pod.namespace, container = name,
                reason = %refusal.waiting.reason, message = %refusal.waiting.message, "a container did not start");
            let mut memory = slot.memory.borrow_mut();
            let (backoff, until) = setup_failed(&memory, name, shared.now());
            memory.setups.insert(name.to_owned(), (backoff, refusal.until.unwrap_or(until)));
            memory.waiting.insert(name.to_owned(), refusal.waiting);
        }
    }
}

/// Says that a pull which failed is waited for, once its failure was shown.
pub(crate) fn pulls_wait(shared: &Shared, slot: &Slot) {
    let pod = slot.pod();
    let mut memory = slot.memory.borrow_mut();
    let failed: Vec<(String, String)> = memory
        .waiting
        .iter()
        .filter(|(_, waiting)| waiting.reason == "ErrImagePull")
        .map(|(name, waiting)| (name.clone(), waiting.message.clone()))
        .collect();
    for (name, why) in failed {
        let image = pod.container(&name).map(|view| view.image.clone()).unwrap_or_default();
        let message = format!("Back-off pulling image {image:?}: ErrImagePull: {why}");
        shared.event(
            &pod,
            Some(&name),
            Severity::Normal,
            "BackOff",
            format!("Back-off pulling image {image:?}"),
        );
        memory.waiting.insert(name, Waiting::new("ImagePullBackOff", message));
    }
}

async fn restart(
    shared: &Shared,
    pod: &Pod,
    id: &ContainerId,
    name: &str,
    message: &str,
    probe: Option<ProbeKind>,
) {
    let Some(view) = pod.container(name) else { return };
    let own = probe.and_then(|kind| kind.of(view)).and_then(|probe| probe.termination_grace_period_seconds);
    let grace = own.map_or_else(|| pod.grace(), Duration::from_secs);
    shared.event(pod, Some(name), Severity::Normal, "Killing", message);
    let ip = shared.view.pod(&pod.uid).first().and_then(|sandbox| sandbox.ips.first().copied());
    end(shared, pod, Target { id, view, ip }, grace).await;
}

/// Runs the hook before the stop, then stops, both within the grace.
pub(crate) async fn end(shared: &Shared, pod: &Pod, target: Target<'_>, grace: Duration) {
    let began = shared.now();
    if let Some(hook) = target.view.lifecycle.pre_stop.as_ref().filter(|_| !grace.is_zero()) {
        let outcome = tokio::time::timeout(grace, call(shared, hook, target, grace)).await;
        if outcome != Ok(crate::shell::hooks::Outcome::Success) {
            let message = "PreStopHook failed".to_owned();
            shared.event(pod, Some(&target.view.name), Severity::Warning, "FailedPreStopHook", message);
        }
    }
    let spent = crate::time::since(shared.now(), began);
    // A container whose hook used up all the grace still gets a moment.
    let left = if grace.is_zero() { grace } else { grace.saturating_sub(spent).max(GRACE_MIN) };
    tell(pod, "stop a container", shared.ports.runtime.stop_container(target.id, left).await);
}

/// What a container gets at least between its hook's end and its own.
const GRACE_MIN: Duration = Duration::from_secs(2);

fn runs(container: &Container) -> bool {
    matches!(container.state, ContainerState::Running { .. } | ContainerState::Unknown)
}

/// Ends all containers of a sandbox at once; sidecars after the others.
pub(crate) async fn kill_containers(shared: &Shared, pod: &Pod, sandbox: &Sandbox, grace: Duration) {
    let unknown = ContainerView::default();
    let sidecars: Vec<&str> =
        pod.spec.init_containers.iter().filter(|c| c.is_sidecar()).map(|c| c.name.as_str()).collect();
    let ip = sandbox.ips.first().copied();
    let began = shared.now();
    for later in [false, true] {
        let left = grace.saturating_sub(crate::time::since(shared.now(), began));
        let left = if grace.is_zero() { grace } else { left.max(GRACE_MIN) };
        let group = sandbox
            .containers
            .iter()
            .filter(|held| runs(held) && sidecars.contains(&held.name.as_str()) == later);
        join_all(group.map(|held| {
            let view = pod.container(&held.name).unwrap_or(&unknown);
            let message = format!("Stopping container {}", held.name);
            shared.event(pod, Some(&held.name), Severity::Normal, "Killing", message);
            end(shared, pod, Target { id: &held.id, view, ip }, left)
        }))
        .await;
    }
}

/// Ends all containers of a pod and stops its sandboxes; their records stay.
pub(crate) async fn stop_all(shared: &Shared, pod: &Pod, grace: Duration) {
    for sandbox in shared.view.pod(&pod.uid) {
        if sandbox.state == SandboxState::NotReady && !sandbox.containers.iter().any(runs) {
            continue;
        }
        kill_containers(shared, pod, &sandbox, grace).await;
        tell(pod, "stop a sandbox", shared.ports.runtime.stop_sandbox(&sandbox.id).await);
    }
}

/// Removes all that the runtime holds of a pod. Everything in it has ended.
pub(crate) async fn remove_all(shared: &Shared, pod: &Pod) {
    for sandbox in shared.view.pod(&pod.uid) {
        for held in &sandbox.containers {
            tell(pod, "remove a container", shared.ports.runtime.remove_container(&held.id).await);
        }
        tell(pod, "remove a sandbox", shared.ports.runtime.remove_sandbox(&sandbox.id).await);
    }
}

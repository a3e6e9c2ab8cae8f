//! What every container runtime must do, real or played. Each runtime's tests run this suite on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::ports::{
    Container, ContainerId, ContainerSecurity, ContainerSpec, ContainerState, ImageId, PodIdentity,
    Resources, Runtime, Sandbox, SandboxId, SandboxNamespaces, SandboxSecurity, SandboxSpec, SandboxState,
};

/// How long a container may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// Runs the whole suite with a sandbox and a container of an image, whose own command must go on until
/// it is stopped. Logs go below `logs`.
///
/// # Panics
///
/// When the runtime breaks a promise of the port.
pub async fn run(runtime: &dyn Runtime, image: &str, logs: &Path) {
    let (sandbox, container) = (&sandbox(logs), &container(image));
    let version = runtime.version().await.expect("it answers");
    assert!(!version.name.is_empty(), "a runtime has a name");
    let spec = with_image(runtime, sandbox, container).await;
    let id = a_sandbox_is_listed_as_it_was_asked_for(runtime, sandbox).await;
    a_name_is_taken_once(runtime, sandbox).await;
    let held = a_container_runs_once(runtime, &id, sandbox, &spec).await;
    stopping_and_removing_may_be_said_twice(runtime, &id, &held).await;
    a_sandbox_that_was_stopped_takes_no_container(runtime, &id, sandbox, &spec).await;
    for _ in 0..2 {
        runtime.remove_sandbox(&id).await.expect("removing what is gone succeeds");
    }
    assert_eq!(find(runtime, &id).await, None, "a removed sandbox is gone");
}

/// Returns the sandbox that the suite makes.
#[must_use]
pub fn sandbox(logs: &Path) -> SandboxSpec {
    let text = str::to_owned;
    SandboxSpec {
        pod: PodIdentity {
            uid: text("8d7c6f5e-0000-4000-8000-000000000001"),
            name: text("conformance"),
            namespace: text("default"),
            attempt: 0,
        },
        hostname: text("conformance"),
        dns: None,
        ports: Vec::new(),
        labels: BTreeMap::from([(text("beehive.io/suite"), text("conformance"))]),
        annotations: BTreeMap::from([(text("beehive.io/note"), text("kept as it is"))]),
        log_dir: logs.to_owned(),
        cgroup_parent: String::new(),
        sysctls: BTreeMap::new(),
        namespaces: SandboxNamespaces::default(),
        security: SandboxSecurity::default(),
        runtime_handler: String::new(),
    }
}

fn container(image: &str) -> ContainerSpec {
    ContainerSpec {
        name: "only".to_owned(),
        attempt: 0,
        image: ImageId::new(image),
        image_asked: image.to_owned(),
        command: Vec::new(),
        args: Vec::new(),
        working_dir: String::new(),
        env: Vec::new(),
        mounts: Vec::new(),
        labels: BTreeMap::from([("beehive.io/suite".to_owned(), "conformance".to_owned())]),
        annotations: BTreeMap::new(),
        log_path: "only/0.log".into(),
        stdin: false,
        stdin_once: false,
        tty: false,
        resources: Resources::default(),
        security: ContainerSecurity::default(),
        stop_signal: None,
    }
}

/// Fetches the image, as edged does before it makes a container.
async fn with_image(
    runtime: &dyn Runtime,
    sandbox: &SandboxSpec,
    container: &ContainerSpec,
) -> ContainerSpec {
    let reference = &container.image_asked;
    let image = runtime.pull_image(reference, &[], sandbox).await.expect("the image can be had");
    let found = runtime.image(reference).await.expect("it answers").expect("it was pulled");
    assert_eq!(found.id, image, "an image is found by the name that it was pulled by");
    ContainerSpec { image, ..container.clone() }
}

async fn find(runtime: &dyn Runtime, id: &SandboxId) -> Option<Sandbox> {
    let listed = runtime.list().await.expect("it answers");
    listed.into_iter().find(|sandbox| sandbox.id == *id)
}

async fn find_container(runtime: &dyn Runtime, sandbox: &SandboxId, id: &ContainerId) -> Option<Container> {
    let sandbox = find(runtime, sandbox).await?;
    sandbox.containers.into_iter().find(|container| container.id == *id)
}

async fn a_sandbox_is_listed_as_it_was_asked_for(runtime: &dyn Runtime, spec: &SandboxSpec) -> SandboxId {
    let id = runtime.run_sandbox(spec).await.expect("the sandbox can be made");
    let listed = find(runtime, &id).await.expect("what was made is listed");
    assert_eq!((&listed.pod, listed.state), (&spec.pod, SandboxState::Ready));
    assert_eq!((&listed.labels, &listed.annotations), (&spec.labels, &spec.annotations));
    assert!(listed.containers.is_empty());
    id
}

async fn a_name_is_taken_once(runtime: &dyn Runtime, spec: &SandboxSpec) {
    let again = runtime.run_sandbox(spec).await;
    assert!(again.is_err(), "pod and attempt name one sandbox: {again:?}");
}

async fn a_container_runs_once(
    runtime: &dyn Runtime,
    sandbox: &SandboxId,
    of: &SandboxSpec,
    spec: &ContainerSpec,
) -> ContainerId {
    let id = runtime.create_container(sandbox, of, spec).await.expect("the container can be made");
    let made = find_container(runtime, sandbox, &id).await.expect("what was made is listed");
    assert_eq!((&made.name, made.attempt, made.state), (&spec.name, spec.attempt, ContainerState::Created));
    assert_eq!(made.labels, spec.labels);
    let again = runtime.create_container(sandbox, of, spec).await;
    assert!(again.is_err(), "name and attempt name one container: {again:?}");
    runtime.start_container(&id).await.expect("it starts");
    let started = find_container(runtime, sandbox, &id).await.expect("it is listed");
    assert!(matches!(started.state, ContainerState::Running { .. }), "{started:?}");
    assert!(runtime.start_container(&id).await.is_err(), "a container starts once");
    id
}

async fn stopping_and_removing_may_be_said_twice(
    runtime: &dyn Runtime,
    sandbox: &SandboxId,
    id: &ContainerId,
) {
    for _ in 0..2 {
        runtime.stop_container(id, GRACE).await.expect("stopping what has stopped succeeds");
    }
    let stopped =
        find_container(runtime, sandbox, id).await.expect("an ended container stays until it is removed");
    assert!(matches!(stopped.state, ContainerState::Exited(_)), "{stopped:?}");
    for _ in 0..2 {
        runtime.remove_container(id).await.expect("removing what is gone succeeds");
    }
    assert_eq!(find_container(runtime, sandbox, id).await, None, "a removed container is gone");
}

async fn a_sandbox_that_was_stopped_takes_no_container(
    runtime: &dyn Runtime,
    id: &SandboxId,
    of: &SandboxSpec,
    spec: &ContainerSpec,
) {
    for _ in 0..2 {
        runtime.stop_sandbox(id).await.expect("stopping what has stopped succeeds");
    }
    let stopped = find(runtime, id).await.expect("a stopped sandbox stays until it is removed");
    assert_eq!(stopped.state, SandboxState::NotReady);
    let spec = ContainerSpec { attempt: spec.attempt + 1, ..spec.clone() };
    let refused = runtime.create_container(id, of, &spec).await;
    assert!(refused.is_err(), "nothing starts in a sandbox that was stopped: {refused:?}");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use crate::hollow::HollowRuntime;
    use crate::memory_files::MemoryFiles;

    #[tokio::test(start_paused = true)]
    async fn the_hollow_runtime_conforms() {
        let runtime = HollowRuntime::new(Arc::new(|| SystemTime::UNIX_EPOCH), MemoryFiles::new());
        super::run(&runtime, "example.com/app:1", "/logs".as_ref()).await;
    }
}

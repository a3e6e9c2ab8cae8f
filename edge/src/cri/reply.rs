//! Translates what CRI tells into edged's nouns.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edged::ports::{Container, ContainerId, ContainerState, Exit, Image, ImageId, PodIdentity, SandboxState};

use super::proto;
use super::request::label;

/// Returns the time that is written as nanoseconds since 1970; `None` for "never".
pub(super) fn time(nanoseconds: i64) -> Option<SystemTime> {
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|&nanoseconds| nanoseconds > 0)?;
    Some(UNIX_EPOCH + Duration::from_nanos(nanoseconds))
}

/// Returns whose a sandbox is.
pub(super) fn identity(metadata: Option<proto::PodSandboxMetadata>) -> PodIdentity {
    let metadata = metadata.unwrap_or_default();
    PodIdentity {
        uid: metadata.uid,
        name: metadata.name,
        namespace: metadata.namespace,
        attempt: metadata.attempt,
    }
}

/// Returns whose a container is, as its labels tell.
pub(super) fn identity_in_labels(labels: &BTreeMap<String, String>) -> PodIdentity {
    let text = |key| labels.get(key).cloned().unwrap_or_default();
    PodIdentity {
        uid: text(label::POD_UID),
        name: text(label::POD_NAME),
        namespace: text(label::POD_NAMESPACE),
        attempt: 0,
    }
}

/// Returns a sandbox's state. One that a later runtime invents cannot hold containers.
pub(super) fn sandbox_state(state: i32) -> SandboxState {
    match proto::PodSandboxState::try_from(state) {
        Ok(proto::PodSandboxState::SandboxReady) => SandboxState::Ready,
        Ok(proto::PodSandboxState::SandboxNotready) | Err(_) => SandboxState::NotReady,
    }
}

/// Returns a container with all that its status tells.
pub(super) fn container(status: proto::ContainerStatus) -> Container {
    let state = container_state(&status);
    let metadata = status.metadata.unwrap_or_default();
    let image = status.image.unwrap_or_default().image;
    let (annotations, asked) = without_image(status.annotations);
    Container {
        id: ContainerId::new(status.id),
        name: metadata.name,
        attempt: metadata.attempt,
        image: asked.unwrap_or(image),
        image_id: status.image_ref,
        created_at: time(status.created_at).unwrap_or(UNIX_EPOCH),
        state,
        labels: status.labels,
        annotations,
    }
}

/// Returns a container of which no more is known than the list tells.
pub(super) fn container_of_unknown_state(listed: proto::Container) -> Container {
    let metadata = listed.metadata.unwrap_or_default();
    let image = listed.image.unwrap_or_default().image;
    let (annotations, asked) = without_image(listed.annotations);
    Container {
        id: ContainerId::new(listed.id),
        name: metadata.name,
        attempt: metadata.attempt,
        image: asked.unwrap_or(image),
        image_id: listed.image_ref,
        created_at: time(listed.created_at).unwrap_or(UNIX_EPOCH),
        state: ContainerState::Unknown,
        labels: listed.labels,
        annotations,
    }
}

/// Returns an image.
pub(super) fn image(image: proto::Image) -> Image {
    Image {
        id: ImageId::new(image.id),
        tags: image.repo_tags,
        digests: image.repo_digests,
        size_bytes: image.size,
        user: image.uid.map(|uid| uid.value),
        username: image.username,
    }
}

fn container_state(status: &proto::ContainerStatus) -> ContainerState {
    let started_at = time(status.started_at);
    match proto::ContainerState::try_from(status.state) {
        Ok(proto::ContainerState::ContainerCreated) => ContainerState::Created,
        Ok(proto::ContainerState::ContainerRunning) => ContainerState::Running {
            started_at: started_at.or_else(|| time(status.created_at)).unwrap_or(UNIX_EPOCH),
        },
        Ok(proto::ContainerState::ContainerExited) => ContainerState::Exited(exit(status, started_at)),
        Ok(proto::ContainerState::ContainerUnknown) | Err(_) => ContainerState::Unknown,
    }
}

fn exit(status: &proto::ContainerStatus, started_at: Option<SystemTime>) -> Exit {
    let finished_at =
        time(status.finished_at).or(started_at).or_else(|| time(status.created_at)).unwrap_or(UNIX_EPOCH);
    Exit {
        code: status.exit_code,
        reason: status.reason.clone(),
        message: status.message.clone(),
        // containerd notes the start when it hears of it, and the end when it happened: the notes
        // of a short life come in the wrong order.
        started_at: started_at.map(|started_at| started_at.min(finished_at)),
        finished_at,
    }
}

/// Takes the image that was asked for out of the annotations.
fn without_image(mut annotations: BTreeMap<String, String>) -> (BTreeMap<String, String>, Option<String>) {
    let asked = annotations.remove(label::IMAGE_ASKED).filter(|image| !image.is_empty());
    (annotations, asked)
}

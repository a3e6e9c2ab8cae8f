//! What is done beside pods: removing what belongs to no pod, rotating logs, sending events.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use protocol::{Namespace, ObjectKey, ObjectName, ResourceType};
use tokio::sync::mpsc;

use crate::events::Record;
use crate::observed::Observed;
use crate::ports::{ContainerState, PodDir};
use crate::quantity::parse_units;
use crate::shell::Shared;
use crate::shell::boot::apply_pod;
use crate::shell::doors::Absent;
use crate::shell::report::wait_for_link;

/// How often what belongs to no pod is looked for.
const ORPHANS_EVERY: Duration = Duration::from_secs(30);

/// Sends events for ever.
pub(crate) async fn events(shared: Rc<Shared>, mut queue: mpsc::Receiver<Record>) {
    while let Some(record) = queue.recv().await {
        match record {
            Record::Create(event) => shared.doors.event(&event, None).await,
            Record::Count(event, patch) => shared.doors.event(&event, Some(&patch)).await,
        }
    }
}

/// Removes for ever what belongs to no pod, once it is known that the pod is gone.
pub(crate) async fn orphans(shared: Rc<Shared>) {
    shared.view.first().await;
    loop {
        if shared.listed.get() {
            for pod in candidates(&shared).await {
                settle(&shared, &pod).await;
            }
        }
        wait_for_link(&shared, ORPHANS_EVERY).await;
    }
}

/// Lists what is here of pods that edged does not know.
async fn candidates(shared: &Shared) -> Vec<PodDir> {
    let mut found: BTreeMap<String, PodDir> = BTreeMap::new();
    for pod in shared.view.pods() {
        found.insert(pod.uid.clone(), PodDir { uid: pod.uid, name: pod.name, namespace: pod.namespace });
    }
    match shared.ports.files.pods().await {
        Ok(dirs) => {
            for dir in dirs {
                found.entry(dir.uid.clone()).or_insert(dir);
            }
        }
        Err(error) => tracing::debug!(%error, "the directories of pods cannot be listed"),
    }
    found.into_values().filter(|pod| shared.slot(&pod.uid).is_none()).collect()
}

/// Removes what is here of a pod if the pod is known to be gone; takes it up if it is not.
async fn settle(shared: &Shared, pod: &PodDir) {
    let (Ok(namespace), Ok(name)) = (Namespace::parse(&pod.namespace), ObjectName::parse(&pod.name)) else {
        return;
    };
    let key = ObjectKey { resource: ResourceType::POD, namespace: Some(namespace), name };
    match shared.doors.object(key).await {
        Ok(object) if object.meta().uid.as_deref() == Some(pod.uid.as_str()) => {
            apply_pod(shared, &object);
            return;
        }
        Ok(_) | Err(Absent::NotFound) => {}
        Err(Absent::Unknown(why)) => {
            tracing::debug!(pod = %pod.name, namespace = %pod.namespace, %why, "what is left of a pod stays for now");
            return;
        }
    }
    if shared.slot(&pod.uid).is_some() {
        return;
    }
    tracing::info!(pod = %pod.name, namespace = %pod.namespace, uid = %pod.uid, "removing what is left of a pod");
    let runtime = &shared.ports.runtime;
    for sandbox in shared.view.pod(&pod.uid) {
        let stopped = runtime.stop_sandbox(&sandbox.id).await;
        let removed = match stopped {
            Ok(()) => runtime.remove_sandbox(&sandbox.id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(pod = %pod.name, %error, "what is left of a pod could not be removed; trying again");
            return;
        }
    }
    if let Err(error) = shared.ports.files.remove_pod(pod).await {
        tracing::warn!(pod = %pod.name, %error, "files of a pod could not be removed; trying again");
    }
}

/// Rotates the logs of running containers for ever.
pub(crate) async fn logs(shared: Rc<Shared>) {
    let kubelet = &shared.config.tailored_kubelet_config;
    let bytes_max = parse_units(&kubelet.container_log_max_size).and_then(|size| u64::try_from(size).ok());
    let bytes_max = bytes_max.unwrap_or(10 << 20);
    loop {
        tokio::time::sleep(kubelet.container_log_monitor_interval).await;
        let slots: Vec<_> = shared.pods.borrow().values().cloned().collect();
        for slot in slots {
            let pod = slot.pod();
            let sandboxes = shared.view.pod(&pod.uid);
            for (_, held) in Observed::new(&sandboxes).containers() {
                if !matches!(held.state, ContainerState::Running { .. }) {
                    continue;
                }
                let files = &shared.ports.files;
                let files_max = kubelet.container_log_max_files;
                let rotated =
                    files.rotate_log(&pod.dir(), &held.name, held.attempt, bytes_max, files_max).await;
                match rotated {
                    Ok(false) => {}
                    Ok(true) => {
                        if let Err(error) = shared.ports.runtime.reopen_log(&held.id).await {
                            tracing::warn!(container = %held.name, %error, "a rotated log was not opened again");
                        }
                    }
                    Err(error) => tracing::warn!(container = %held.name, %error, "a log was not rotated"),
                }
            }
        }
    }
}

//! The end of a pod: containers, sandbox, volumes, last status, and its removal from the API.

use std::time::Duration;

use bytes::Bytes;
use protocol::NodeRequest;
use serde_json::json;

use crate::observed::Observed;
use crate::pod::Pod;
use crate::ports::{Sandbox, SandboxState};
use crate::shell::Shared;
use crate::shell::doors::CloudTrouble;
use crate::shell::report::{is_gone, wait_for_link};
use crate::shell::slot::{Slot, Wanted};
use crate::shell::{effects, worker};
use crate::time::since;

/// How long to wait before trying again what did not work.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Ends a pod. Returns when nothing of it is left and the API has it no more.
pub(crate) async fn run(shared: &Shared, slot: &Slot) {
    if slot.ending_since.get().is_none() {
        slot.ending_since.set(Some(shared.now()));
    }
    let last = stop(shared, slot).await;
    let pod = slot.pod();
    worker::last_words(shared, slot, &pod, &last).await;
    if slot.wanted() != Wanted::Gone {
        worker::show(shared, slot, &last, true);
    }
    slot.release_followers(|_| false);
    clear(shared, slot).await;
    tokio::select! { biased;
        () = gone(slot) => {}
        () = take_leave(shared, slot) => gone(slot).await,
    }
    tracing::info!(pod = %pod.name, namespace = %pod.namespace, uid = %pod.uid, "the pod is gone");
}

/// Waits until the API has the pod no more.
async fn gone(slot: &Slot) {
    while slot.wanted() != Wanted::Gone {
        tokio::select! { biased;
            () = slot.urgent.notified() => {}
            () = slot.wake.notified() => {}
        }
    }
}

/// Stops everything. Returns what the runtime then holds of the pod.
async fn stop(shared: &Shared, slot: &Slot) -> Vec<Sandbox> {
    loop {
        let round = async {
            shared.view.fresh().await;
            let pod = slot.pod();
            let sandboxes = shared.view.pod(&pod.uid);
            let ready = sandboxes.iter().any(|sandbox| sandbox.state == SandboxState::Ready);
            if !ready && !Observed::new(&sandboxes).any_running() {
                return Some(sandboxes);
            }
            effects::stop_all(shared, &pod, grace(shared, slot, &pod)).await;
            None
        };
        tokio::select! { biased;
            () = slot.urgent.notified() => {}
            stopped = round => match stopped {
                Some(sandboxes) => return sandboxes,
                None => shared.view.fresh().await,
            },
        }
        let pod = slot.pod();
        let sandboxes = shared.view.pod(&pod.uid);
        if Observed::new(&sandboxes).any_running() && slot.wanted() != Wanted::Gone {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Returns what is left of the grace.
fn grace(shared: &Shared, slot: &Slot, pod: &Pod) -> Duration {
    if slot.wanted() == Wanted::Gone {
        return Duration::ZERO;
    }
    let spent = slot.ending_since.get().map_or(Duration::ZERO, |began| since(shared.now(), began));
    pod.grace().saturating_sub(spent)
}

/// Removes what the runtime and the node's files hold of the pod.
async fn clear(shared: &Shared, slot: &Slot) {
    let pod = slot.pod();
    let mut delay = RETRY;
    loop {
        effects::remove_all(shared, &pod).await;
        shared.view.fresh().await;
        let left = shared.view.pod(&pod.uid);
        if left.is_empty() {
            match shared.ports.files.remove_pod(&pod.dir()).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(pod = %pod.name, namespace = %pod.namespace, %error, "files of an ended pod stay");
                }
            }
        } else if Observed::new(&left).any_running() {
            // Something was under way when the end began.
            effects::stop_all(shared, &pod, Duration::ZERO).await;
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(RETRY_MAX);
    }
}

/// Shows the last status, then removes the pod from the API.
async fn take_leave(shared: &Shared, slot: &Slot) {
    let mut reported = slot.reported.subscribe();
    if reported.wait_for(|reported| *reported).await.is_err() {
        return;
    }
    let mut delay = RETRY;
    loop {
        let pod = slot.pod();
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": { "uid": pod.uid },
        });
        let request = NodeRequest::DeletePod {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            options: Bytes::from(options.to_string()),
        };
        let reply = {
            let _permit = shared.asks.acquire().await;
            shared.doors.cloud(request).await
        };
        match reply {
            Ok(_) => return,
            Err(CloudTrouble::Refused(status)) if is_gone(&status) || status.code == 409 => return,
            Err(error) => {
                tracing::debug!(pod = %pod.name, namespace = %pod.namespace, %error, "the pod's removal waits");
            }
        }
        wait_for_link(shared, delay).await;
        delay = (delay * 2).min(RETRY_MAX);
    }
}

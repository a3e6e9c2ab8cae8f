//! Brings a pod's status to the API: the newest one, until it is acknowledged.

use std::time::Duration;

use protocol::{ApiStatus, NodeReply, NodeRequest};

use crate::pod::Pod;
use crate::shell::Shared;
use crate::shell::doors::CloudTrouble;
use crate::shell::slot::Slot;

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Waits before another attempt: for `delay`, or for a new link.
pub(crate) async fn wait_for_link(shared: &Shared, delay: Duration) {
    let mut link = shared.link.subscribe();
    tokio::select! { biased;
        changed = link.changed() => {
            if changed.is_err() {
                tokio::time::sleep(delay).await;
            }
        }
        () = tokio::time::sleep(delay) => {}
    }
}

/// Reports for ever.
pub(crate) async fn run(shared: &Shared, slot: &Slot) {
    let mut delay = RETRY_MIN;
    loop {
        match send(shared, slot).await {
            Ok(Sent::Something) => delay = RETRY_MIN,
            Ok(Sent::Nothing) => {
                delay = RETRY_MIN;
                slot.reported.send_replace(true);
                slot.report.notified().await;
            }
            Err(error) => {
                let pod = slot.pod();
                tracing::debug!(pod = %pod.name, namespace = %pod.namespace, %error, "the pod's status waits");
                wait_for_link(shared, delay).await;
                delay = (delay * 2).min(RETRY_MAX);
            }
        }
    }
}

enum Sent {
    /// A patch, and there may be more.
    Something,
    /// The API knows all.
    Nothing,
}

/// Tells whether a refusal means that the API has another pod, or none, in this one's place.
pub(crate) fn is_gone(status: &ApiStatus) -> bool {
    let other_uid = status.code == 409 && status.message.to_ascii_lowercase().contains("uid");
    status.is_not_found() || other_uid
}

async fn send(shared: &Shared, slot: &Slot) -> Result<Sent, CloudTrouble> {
    let pod = slot.pod();
    let Some(sent) = slot.desk.borrow().to_send(&pod.uid) else { return Ok(Sent::Nothing) };
    let patch = sent.patch.clone();
    let request =
        NodeRequest::PatchPodStatus { namespace: pod.namespace.clone(), pod: pod.name.clone(), patch };
    let reply = {
        let _permit = shared.asks.acquire().await;
        shared.doors.cloud(request).await
    };
    match reply {
        Ok(reply) => {
            let shown = match reply {
                NodeReply::Object(object) => Pod::read(&object).ok(),
                _ => None,
            };
            slot.desk.borrow_mut().acknowledged(sent, shown);
            Ok(Sent::Something)
        }
        Err(CloudTrouble::Refused(status)) if is_gone(&status) => {
            tracing::info!(pod = %pod.name, namespace = %pod.namespace, uid = %pod.uid, %status,
                "the API does not have this pod any more");
            slot.desk.borrow_mut().refused = true;
            Ok(Sent::Nothing)
        }
        Err(CloudTrouble::Refused(status)) if status.code == 422 || status.code == 400 => {
            tracing::warn!(pod = %pod.name, namespace = %pod.namespace, %status, "the API refused the pod's status");
            slot.desk.borrow_mut().known = sent.into_wanted();
            Ok(Sent::Something)
        }
        Err(error) => {
            if error.is_doubtful() {
                slot.desk.borrow_mut().doubted = true;
            }
            Err(error)
        }
    }
}

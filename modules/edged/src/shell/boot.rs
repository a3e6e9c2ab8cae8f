//! Pods arriving: the first listing, changes, and the task that owns their workers.

use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use protocol::{ChangeKind, Object, ObjectChange, ResourceType};

use crate::data::{DataKind, DataRef};
use crate::pod::Pod;
use crate::shell::slot::{Slot, Wanted, version};
use crate::shell::{Shared, worker};

const RETRY: Duration = Duration::from_secs(1);

/// Owns the workers of all pods.
pub(crate) async fn workers(shared: Rc<Shared>) {
    let mut running = FuturesUnordered::new();
    loop {
        for slot in shared.newcomers.take() {
            running.push(worker::run(Rc::clone(&shared), slot));
        }
        tokio::select! { biased;
            () = shared.arrival.notified() => {}
            Some(()) = running.next(), if !running.is_empty() => {}
        }
    }
}

/// Lists the pods that the node holds, until that works, and takes them up.
pub(crate) async fn first_listing(shared: Rc<Shared>) {
    let mut told = false;
    let pods = loop {
        match shared.doors.pods().await {
            Ok(pods) => break pods,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "the node's pods cannot be listed yet; nothing is done with containers");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    tracing::info!(pods = pods.len(), "the node's pods were listed");
    for object in &pods {
        let deleted =
            object.meta().uid.as_ref().is_some_and(|uid| shared.deleted_early.borrow().contains(uid));
        if !deleted {
            apply_pod(&shared, object);
        }
    }
    shared.deleted_early.borrow_mut().clear();
    shared.listed.set(true);
}

/// Takes a change of an object.
pub(crate) fn apply(shared: &Shared, change: &ObjectChange) {
    let key = &change.key;
    if key.resource == ResourceType::POD {
        match change.kind {
            ChangeKind::Insert | ChangeKind::Update => apply_pod(shared, &change.object),
            ChangeKind::Delete => delete_pod(shared, change),
        }
        return;
    }
    let kind = if key.resource == ResourceType::CONFIG_MAP {
        DataKind::ConfigMap
    } else if key.resource == ResourceType::SECRET {
        DataKind::Secret
    } else {
        return;
    };
    let at = DataRef::new(kind, key.name.as_str());
    for slot in shared.pods.borrow().values() {
        if Some(&slot.pod().namespace) == key.namespace.as_ref() {
            slot.object_changed(&at);
        }
    }
}

/// Takes a pod's state, if the pod is this node's.
pub(crate) fn apply_pod(shared: &Shared, object: &Object) {
    let pod = match Pod::read(object) {
        Ok(pod) => pod,
        Err(error) => {
            tracing::warn!(?object, %error, "a pod that cannot be run was left alone");
            return;
        }
    };
    if pod.spec.node_name != shared.name.as_str() {
        return;
    }
    if let Some(slot) = shared.slot(&pod.uid) {
        slot.update(pod);
        return;
    }
    // The same name with another uid is another pod: the older one of them is gone.
    for slot in shared.pods.borrow().values().filter(|slot| slot.is(&pod.namespace, &pod.name)) {
        if slot.wanted() != Wanted::Gone && version(&slot.pod()) > version(&pod) {
            return;
        }
        slot.is_gone();
    }
    tracing::info!(pod = %pod.name, namespace = %pod.namespace, uid = %pod.uid, "a pod arrived");
    let uid = pod.uid.clone();
    let slot = Rc::new(Slot::new(pod));
    shared.pods.borrow_mut().insert(uid, Rc::clone(&slot));
    shared.newcomers.borrow_mut().push(slot);
    shared.arrival.notify_one();
}

fn delete_pod(shared: &Shared, change: &ObjectChange) {
    let uid = change.object.meta().uid.clone().filter(|uid| !uid.is_empty());
    if !shared.listed.get()
        && let Some(uid) = &uid
    {
        shared.deleted_early.borrow_mut().insert(uid.clone());
    }
    for slot in shared.pods.borrow().values() {
        let pod = slot.pod();
        let named = pod.name == change.key.name && Some(&pod.namespace) == change.key.namespace.as_ref();
        // A peer that gives no uid means whichever pod has the name.
        if named && uid.as_ref().is_none_or(|uid| *uid == pod.uid) {
            slot.is_gone();
        }
    }
}

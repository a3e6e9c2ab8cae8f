//! What the runtime has, listed once for all pods.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use beehive::latest;
use tokio::sync::Notify;

use crate::observed::sort;
use crate::ports::{RuntimeError, Sandbox};
use crate::shell::Shared;
use crate::spec::mark;

/// How often the runtime is asked without a reason.
const PERIOD: Duration = Duration::from_secs(1);

/// The newest listing of this node's sandboxes, by pod uid, and of those that nobody marked: a pod that runs
/// where kubelet was replaced has some.
#[derive(Debug)]
pub(crate) struct View {
    pods: RefCell<BTreeMap<String, Vec<Sandbox>>>,
    begun: Cell<u64>,
    done: latest::Sender<u64>,
    request: Notify,
    trouble: RefCell<Option<String>>,
}

impl Default for View {
    fn default() -> Self {
        Self {
            pods: RefCell::default(),
            begun: Cell::new(0),
            done: latest::Sender::new(0),
            request: Notify::new(),
            trouble: RefCell::default(),
        }
    }
}

impl View {
    /// Returns a pod's sandboxes, newest first, as they were last seen.
    pub(crate) fn pod(&self, uid: &str) -> Vec<Sandbox> {
        self.pods.borrow().get(uid).cloned().unwrap_or_default()
    }

    /// Returns the pods of which the runtime has something that was made here.
    pub(crate) fn pods(&self) -> Vec<crate::ports::PodIdentity> {
        let pods = self.pods.borrow();
        let made_here = |sandbox: &&Sandbox| sandbox.labels.contains_key(mark::NODE);
        let found = pods.values().filter_map(|sandboxes| sandboxes.iter().find(made_here));
        found.map(|sandbox| sandbox.pod.clone()).collect()
    }

    /// Returns why the last listing failed, if it did.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Remembers why the runtime cannot be asked, and says so once.
    fn fails(&self, error: &RuntimeError) {
        if self.trouble.replace(Some(error.to_string())).is_none() {
            tracing::warn!(%error, "the runtime cannot be asked; nothing is concluded from that");
        }
    }

    /// Waits for a listing that begins after this call.
    pub(crate) async fn fresh(&self) {
        let need = self.begun.get() + 1;
        self.request.notify_one();
        self.reach(need).await;
    }

    /// Waits for the first listing.
    pub(crate) async fn first(&self) {
        self.reach(1).await;
    }

    async fn reach(&self, need: u64) {
        let mut done = self.done.subscribe();
        // The sender lives as long as the view: waiting cannot fail.
        if done.wait_for(|done| *done >= need).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Lists for ever.
pub(crate) async fn run(shared: Rc<Shared>) {
    name_runtime(&shared).await;
    loop {
        list(&shared).await;
        tokio::select! { biased;
            () = shared.view.request.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Learns the runtime's name, which every container's id in the API begins with.
async fn name_runtime(shared: &Shared) {
    loop {
        match shared.ports.runtime.version().await {
            Ok(version) => {
                if version.name == crate::hollow::NAME {
                    tracing::warn!(node = %shared.name, "the hollow runtime is in use: no container on this node is real");
                } else {
                    tracing::info!(node = %shared.name, runtime = %version, "the runtime answers");
                }
                shared.node.borrow_mut().runtime = version.name;
                shared.view.trouble.take();
                return;
            }
            Err(error) => shared.view.fails(&error),
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn list(shared: &Shared) {
    let view = &shared.view;
    let number = view.begun.get() + 1;
    view.begun.set(number);
    let sandboxes = match shared.ports.runtime.list().await {
        Ok(sandboxes) => sandboxes,
        Err(error) => {
            view.fails(&error);
            // A broken runtime must not be asked in a tight loop by those who wait for it.
            tokio::time::sleep(PERIOD).await;
            view.request.notify_one();
            return;
        }
    };
    if view.trouble.take().is_some() {
        tracing::info!("the runtime's containers can be listed again");
    }
    let mut pods: BTreeMap<String, Vec<Sandbox>> = BTreeMap::new();
    for sandbox in sandboxes {
        if sandbox.labels.get(mark::NODE).is_none_or(|node| node == shared.name.as_str()) {
            pods.entry(sandbox.pod.uid.clone()).or_default().push(sandbox);
        }
    }
    for sandboxes in pods.values_mut() {
        sort(sandboxes);
        for sandbox in sandboxes {
            sandbox.containers.sort_by(|a, b| a.id.cmp(&b.id));
        }
    }
    let before = view.pods.replace(pods);
    view.done.replace(number);
    let slots: Vec<_> =
        shared.pods.borrow().iter().map(|(uid, slot)| (uid.clone(), Rc::clone(slot))).collect();
    let after = view.pods.borrow();
    for (uid, slot) in slots {
        if before.get(&uid) != after.get(&uid) {
            slot.wake.notify_one();
            slot.probe.notify_one();
        }
    }
}

//! One pod on the node, from its arrival to its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use protocol::{Namespace, ObjectName};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::data::{DataRef, pod_refs};
use crate::observed::Memory;
use crate::patch;
use crate::pod::Pod;
use crate::ports::ContainerId;
use crate::volumes::TokenRef;

/// What is to become of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It is to run.
    Run,
    /// It is to end with its grace.
    End,
    /// The API does not have it any more: it is to end at once.
    Gone,
}

/// A service account's token and when it is to be renewed.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) renew_at: Instant,
}

/// The pod's status on its way to the API.
#[derive(Debug, Default)]
pub(crate) struct StatusDesk {
    /// What is to be shown; `Null` until it was made.
    pub(crate) wanted: Value,
    /// What the API shows, as far as edged's own fields go.
    pub(crate) known: Value,
    /// Whether a patch was sent of which is not known what became.
    pub(crate) doubted: bool,
    /// The API's whole status, as it was last heard.
    pub(crate) heard: Value,
    /// The version that this was heard with.
    pub(crate) version: u64,
    /// Whether the API said that there is no such pod.
    pub(crate) refused: bool,
}

/// A patch of a status that is sent.
#[derive(Debug)]
pub(crate) struct SentStatus {
    pub(crate) patch: Bytes,
    wanted: Value,
    /// What was known and heard before; `None` if the patch says all.
    basis: Option<(Value, Value)>,
}

impl SentStatus {
    /// Returns what it makes of the status.
    pub(crate) fn into_wanted(self) -> Value {
        self.wanted
    }
}

impl StatusDesk {
    /// Returns what is to be sent, if anything.
    pub(crate) fn to_send(&self, uid: &str) -> Option<SentStatus> {
        if self.wanted.is_null() || self.refused {
            return None;
        }
        let (patch, basis) = match self.doubted {
            true => (patch::whole_pod_status(uid, &self.wanted), None),
            false => {
                let patch = patch::pod_status(uid, &self.known, &self.wanted)?;
                (patch, Some((self.known.clone(), self.heard.clone())))
            }
        };
        Some(SentStatus { patch, wanted: self.wanted.clone(), basis })
    }

    /// Notes that a patch was taken, and the pod that the API shows since. Where that shows what was not
    /// known when the patch was made, the API is believed, and told the difference.
    pub(crate) fn acknowledged(&mut self, sent: SentStatus, shown: Option<Pod>) {
        self.doubted = false;
        let Some(shown) = shown else {
            self.known = sent.wanted;
            return;
        };
        let new = version(&shown);
        if new != 0 && new < self.version {
            // A newer status was heard meanwhile.
            return;
        }
        let is_other = sent.basis.is_some_and(|(known, heard)| {
            patch::is_changed_beside(&heard, &shown.status, &known, &sent.wanted)
        });
        self.known = if is_other { shown.status.clone() } else { sent.wanted };
        (self.version, self.heard) = (self.version.max(new), shown.status);
    }
}

/// One pod.
#[derive(Debug)]
pub(crate) struct Slot {
    pod: RefCell<Rc<Pod>>,
    wanted: Cell<Wanted>,
    pub(crate) memory: RefCell<Memory>,
    pub(crate) desk: RefCell<StatusDesk>,
    pub(crate) mounted: RefCell<Option<BTreeMap<String, PathBuf>>>,
    pub(crate) tokens: RefCell<BTreeMap<TokenRef, Token>>,
    /// Whether volumes may hold old content.
    pub(crate) stale: Cell<bool>,
    /// Whether containers that wait for an object may try at once.
    pub(crate) retry: Cell<bool>,
    /// When the pod's end began.
    pub(crate) ending_since: Cell<Option<SystemTime>>,
    /// Something changed.
    pub(crate) wake: Notify,
    /// What is wanted changed: whatever is under way must be thought over.
    pub(crate) urgent: Notify,
    /// There is something to report.
    pub(crate) report: Notify,
    /// Containers were started.
    pub(crate) probe: Notify,
    /// The status was acknowledged, or refused for good.
    pub(crate) reported: watch::Sender<bool>,
    followers: RefCell<Vec<(ContainerId, watch::Sender<bool>)>>,
}

impl Slot {
    pub(crate) fn new(pod: Pod) -> Self {
        let wanted = if pod.deletion.is_some() { Wanted::End } else { Wanted::Run };
        let desk = StatusDesk {
            known: pod.status.clone(),
            heard: pod.status.clone(),
            version: version(&pod),
            ..StatusDesk::default()
        };
        Self {
            pod: RefCell::new(Rc::new(pod)),
            wanted: Cell::new(wanted),
            memory: RefCell::default(),
            desk: RefCell::new(desk),
            mounted: RefCell::default(),
            tokens: RefCell::default(),
            stale: Cell::new(true),
            retry: Cell::new(false),
            ending_since: Cell::new(None),
            wake: Notify::new(),
            urgent: Notify::new(),
            report: Notify::new(),
            probe: Notify::new(),
            reported: watch::channel(false).0,
            followers: RefCell::default(),
        }
    }

    pub(crate) fn pod(&self) -> Rc<Pod> {
        Rc::clone(&self.pod.borrow())
    }

    /// Tells whether the slot's pod has this name.
    pub(crate) fn is(&self, namespace: &Namespace, name: &ObjectName) -> bool {
        let pod = self.pod.borrow();
        pod.namespace == *namespace && pod.name == *name
    }

    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted.get()
    }

    /// Takes a newer state of the pod.
    pub(crate) fn update(&self, pod: Pod) {
        let held = self.pod();
        let (new, old) = (version(&pod), version(&held));
        if new != 0 && old != 0 && new < old {
            return;
        }
        self.hear(&pod.status, new);
        let ends = pod.deletion.is_some() && self.wanted.get() == Wanted::Run;
        let hastens = pod.deletion.is_some() && pod.deletion != held.deletion;
        if pod.labels != held.labels || pod.annotations != held.annotations {
            self.stale.set(true);
        }
        *self.pod.borrow_mut() = Rc::new(pod);
        if ends {
            self.wanted.set(Wanted::End);
        }
        if ends || hastens {
            self.urgent.notify_one();
        }
        self.wake.notify_one();
    }

    /// Takes what the API says of the pod's status.
    pub(crate) fn hear(&self, status: &Value, version: u64) {
        let mut desk = self.desk.borrow_mut();
        if version != 0 && version <= desk.version {
            return;
        }
        desk.version = version;
        if *status != desk.heard {
            desk.heard = status.clone();
            desk.known = status.clone();
            self.report.notify_one();
        }
    }

    /// Ends the pod at once: the API has it no more.
    pub(crate) fn is_gone(&self) {
        self.wanted.set(Wanted::Gone);
        self.urgent.notify_one();
        self.wake.notify_one();
    }

    /// Tells the pod that an object changed.
    pub(crate) fn object_changed(&self, changed: &DataRef) {
        if pod_refs(&self.pod()).contains(changed) {
            self.stale.set(true);
            self.retry.set(true);
            self.wake.notify_one();
        }
    }

    /// Returns what turns true when the container ends.
    pub(crate) fn follow(&self, id: ContainerId) -> watch::Receiver<bool> {
        let (sender, receiver) = watch::channel(false);
        let mut followers = self.followers.borrow_mut();
        followers.retain(|(_, sender)| !sender.is_closed());
        followers.push((id, sender));
        receiver
    }

    /// Tells followers of containers that do not run any more.
    pub(crate) fn release_followers(&self, runs: impl Fn(&ContainerId) -> bool) {
        self.followers.borrow_mut().retain(|(id, sender)| {
            let goes_on = runs(id) && !sender.is_closed();
            if !goes_on {
                sender.send_replace(true);
            }
            goes_on
        });
    }
}

/// Returns the number of a pod's version; 0 if it has none.
pub(crate) fn version(pod: &Pod) -> u64 {
    pod.resource_version.parse().unwrap_or(0)
}

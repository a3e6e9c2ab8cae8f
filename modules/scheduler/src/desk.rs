//! The pods that wait for a node, in the order in which they are tried.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{Cluster, Room};
use crate::node::NodeFacts;
use crate::pod::{PendingPod, PlacedPod, PodKey, Seen};
use crate::schedule::{Decision, schedule};

/// How long a pod that could not be placed waits at least, and at most, before it is tried again.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// The order of trying: higher priority first, then older, then by name.
type Rank = (Reverse<i32>, String, PodKey);

/// Where a waiting pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    /// It is tried next.
    Ready,
    /// It is tried again at that time.
    BackOff(Instant),
    /// It is tried again when the cluster changes, but not before that time.
    Parked(Instant),
    /// It was given a node, and the API server is being told.
    Binding,
}

#[derive(Debug)]
struct Waiting {
    pod: PendingPod,
    stand: Stand,
    attempts: u32,
}

impl Waiting {
    fn rank(&self) -> Rank {
        (Reverse(self.pod.priority), self.pod.created.clone(), self.pod.key.clone())
    }
}

/// What is to be done with a pod that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Tell the API server that the pod is bound to the node, and then [`Desk::settle`].
    Bind { key: PodKey, uid: String, node: String },
    /// Tell the pod why it has no node, unless it was told just that; `first` if it was told nothing before.
    Explain { key: PodKey, uid: String, why: String, told: bool, first: bool },
}

/// All pods that wait, over the cluster that they wait for.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    cluster: Cluster,
    waiting: BTreeMap<PodKey, Waiting>,
    ready: BTreeSet<Rank>,
    later: BTreeSet<(Instant, PodKey)>,
}

impl Desk {
    pub(crate) fn see_node(&mut self, facts: NodeFacts, now: Instant) {
        let room = self.cluster.see_node(facts);
        self.retry(room, now);
    }

    pub(crate) fn forget_node(&mut self, name: &str) {
        self.cluster.forget_node(name);
    }

    pub(crate) fn retain_nodes(&mut self, present: &BTreeSet<String>) {
        self.cluster.retain_nodes(present);
    }

    pub(crate) fn see_pod(&mut self, key: PodKey, seen: Seen, now: Instant) {
        match seen {
            Seen::Pending(pod) => self.see_pending(*pod, now),
            Seen::Placed(pod) => {
                self.drop_waiting(&key);
                let room = self.cluster.place(key, pod);
                self.retry(room, now);
            }
            Seen::Nothing => self.forget_pod(&key, now),
        }
    }

    pub(crate) fn forget_pod(&mut self, key: &PodKey, now: Instant) {
        self.drop_waiting(key);
        let room = self.cluster.remove(key);
        self.retry(room, now);
    }

    /// Forgets the pods that are not among `present`.
    pub(crate) fn retain_pods(&mut self, present: &BTreeSet<PodKey>, now: Instant) {
        let gone: Vec<PodKey> = self
            .waiting
            .keys()
            .chain(self.cluster.placed_keys())
            .filter(|key| !present.contains(key))
            .cloned()
            .collect();
        for key in gone {
            self.forget_pod(&key, now);
        }
    }

    /// Tries the next pod, if one is ready. A pod that is given a node takes its share at once.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Step> {
        self.wake(now);
        let (_, _, key) = self.ready.pop_first()?;
        let waiting = self.waiting.get_mut(&key).expect("what is ready waits");
        waiting.attempts = waiting.attempts.saturating_add(1);
        let uid = waiting.pod.uid.clone();
        match schedule(&waiting.pod, self.cluster.nodes()) {
            Decision::Bind(node) => {
                waiting.stand = Stand::Binding;
                let demand = waiting.pod.demand.clone();
                self.cluster.place(key.clone(), PlacedPod { uid: uid.clone(), node: node.clone(), demand });
                Some(Step::Bind { key, uid, node })
            }
            Decision::Unschedulable(why) => {
                waiting.stand = Stand::Parked(now + backoff(waiting.attempts));
                let told = waiting.pod.told.as_ref() == Some(&why);
                let first = waiting.pod.told.is_none();
                Some(Step::Explain { key, uid, why, told, first })
            }
        }
    }

    /// Takes the API server's answer to a binding. A pod that was refused gives its share back and is tried again.
    pub(crate) fn settle(&mut self, key: &PodKey, uid: &str, bound: bool, now: Instant) {
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        if waiting.pod.uid != uid || waiting.stand != Stand::Binding || bound {
            return;
        }
        let at = now + backoff(waiting.attempts);
        waiting.stand = Stand::BackOff(at);
        self.later.insert((at, key.clone()));
        let room = self.cluster.remove(key);
        self.retry(room, now);
    }

    /// Returns when a pod that backs off is to be tried, if any does.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Tries everything again that waits for a change, in case that one was missed.
    pub(crate) fn retry_all(&mut self, now: Instant) {
        self.retry(Room::Made, now);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn see_pending(&mut self, pod: PendingPod, now: Instant) {
        let key = pod.key.clone();
        if let Some(waiting) = self.waiting.get_mut(&key).filter(|waiting| waiting.pod.uid == pod.uid) {
            let same =
                PendingPod { told: None, ..waiting.pod.clone() } == PendingPod { told: None, ..pod.clone() };
            if same || waiting.stand == Stand::Binding {
                waiting.pod.told = pod.told;
                return;
            }
        }
        self.drop_waiting(&key);
        let room = self.cluster.remove(&key);
        let waiting = Waiting { pod, stand: Stand::Ready, attempts: 0 };
        self.ready.insert(waiting.rank());
        self.waiting.insert(key, waiting);
        self.retry(room, now);
    }

    fn drop_waiting(&mut self, key: &PodKey) {
        let Some(waiting) = self.waiting.remove(key) else { return };
        match waiting.stand {
            Stand::Ready => {
                self.ready.remove(&waiting.rank());
            }
            Stand::BackOff(at) => {
                self.later.remove(&(at, key.clone()));
            }
            Stand::Parked(_) | Stand::Binding => {}
        }
    }

    /// Makes the pods ready whose back-off is over.
    fn wake(&mut self, now: Instant) {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.later.pop_first() else { return };
            if let Some(waiting) = self.waiting.get_mut(&key) {
                waiting.stand = Stand::Ready;
                self.ready.insert(waiting.rank());
            }
        }
    }

    /// Lets the parked pods have another try, each no sooner than its back-off allows.
    fn retry(&mut self, room: Room, now: Instant) {
        if room == Room::None {
            return;
        }
        for (key, waiting) in &mut self.waiting {
            let Stand::Parked(at) = waiting.stand else { continue };
            if at <= now {
                waiting.stand = Stand::Ready;
                self.ready.insert(waiting.rank());
            } else {
                waiting.stand = Stand::BackOff(at);
                self.later.insert((at, key.clone()));
            }
        }
    }
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(8)).min(BACKOFF_MAX)
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;

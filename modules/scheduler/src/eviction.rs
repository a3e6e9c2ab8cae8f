//! Which pods must leave their node, because of taints that they do not tolerate or no longer do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};
use tokio::time::Instant;

use crate::matching::tolerates;
use crate::pod::PodKey;
use crate::vitality::{NOT_READY, UNREACHABLE};

/// How long a pod may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    Always,
    For(Duration),
}

/// A pod that is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Eviction {
    pub(crate) pod: PodKey,
    pub(crate) uid: String,
    pub(crate) node: String,
}

/// A pod that is bound to a node and not being deleted.
#[derive(Debug)]
struct Resident {
    uid: String,
    node: String,
    tolerations: Vec<Toleration>,
    /// Since when it has been seen that it must leave. By our own clock, so that nobody leaves early
    /// because a clock jumped or this process was away.
    since: Option<Instant>,
}

/// The pods on nodes.
#[derive(Debug, Default)]
pub(crate) struct Residents {
    pods: BTreeMap<PodKey, Resident>,
    by_node: BTreeMap<String, BTreeSet<PodKey>>,
    listed: Option<BTreeSet<PodKey>>,
    is_known: bool,
}

impl Residents {
    /// Notes that a list of all pods begins.
    pub(crate) fn begin(&mut self) {
        self.listed = Some(BTreeSet::new());
        self.is_known = false;
    }

    pub(crate) fn see(&mut self, pod: &Pod) {
        let key = PodKey::of(pod);
        if let Some(listed) = &mut self.listed {
            listed.insert(key.clone());
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let spec = pod.spec.as_ref();
        let node = spec.and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty());
        let Some(node) = node.filter(|_| pod.metadata.deletion_timestamp.is_none()) else {
            self.forget(&key);
            return;
        };
        let before = self.pods.get(&key).filter(|before| before.uid == uid && before.node == node);
        let since = before.and_then(|before| before.since);
        self.forget(&key);
        self.by_node.entry(node.clone()).or_default().insert(key.clone());
        let tolerations = spec.and_then(|spec| spec.tolerations.clone()).unwrap_or_default();
        self.pods.insert(key, Resident { uid, node, tolerations, since });
    }

    pub(crate) fn forget(&mut self, key: &PodKey) {
        let Some(gone) = self.pods.remove(key) else { return };
        if let Some(pods) = self.by_node.get_mut(&gone.node) {
            pods.remove(key);
            if pods.is_empty() {
                self.by_node.remove(&gone.node);
            }
        }
    }

    /// Notes that the list ended: pods that were not in it are gone.
    pub(crate) fn end(&mut self) {
        let listed = self.listed.take().unwrap_or_default();
        let gone: Vec<PodKey> = self.pods.keys().filter(|key| !listed.contains(key)).cloned().collect();
        gone.iter().for_each(|key| self.forget(key));
        self.is_known = true;
    }

    /// Notes that what is known may be out of date.
    pub(crate) fn lose(&mut self) {
        self.is_known = false;
    }

    /// Gives every pod its whole time again: what happened meanwhile could not be seen.
    pub(crate) fn begin_anew(&mut self) {
        self.pods.values_mut().for_each(|pod| pod.since = None);
    }

    /// Returns the pods whose time on their node is over. `taints` tells a node's taints.
    pub(crate) fn overdue<'a>(
        &mut self,
        taints: impl Fn(&str) -> &'a [Taint],
        now: Instant,
    ) -> Vec<Eviction> {
        let mut overdue = Vec::new();
        if !self.is_known {
            return overdue;
        }
        for (node, keys) in &self.by_node {
            let taints = taints(node);
            for key in keys {
                let Some(pod) = self.pods.get_mut(key) else { continue };
                let Stay::For(time) = stay(&pod.tolerations, taints) else {
                    pod.since = None;
                    continue;
                };
                if now.saturating_duration_since(*pod.since.get_or_insert(now)) >= time {
                    overdue.push(Eviction { pod: key.clone(), uid: pod.uid.clone(), node: node.clone() });
                }
            }
        }
        overdue
    }
}

/// Tells how long a pod may stay on a node with these taints: as Kubernetes says, where the first
/// toleration of each taint counts and the shortest time of all. But a pod that says nothing of nodes
/// that fell silent stays on them: an edge node that is cut off goes on with its work.
fn stay(tolerations: &[Toleration], taints: &[Taint]) -> Stay {
    let mut stay = Stay::Always;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let toleration = tolerations.iter().find(|toleration| tolerates(toleration, taint));
        let time = match toleration.map(|toleration| toleration.toleration_seconds) {
            Some(None) => continue,
            Some(Some(seconds)) => Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
            None if [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()) => continue,
            None => Duration::ZERO,
        };
        stay = match stay {
            Stay::Always => Stay::For(time),
            Stay::For(other) => Stay::For(other.min(time)),
        };
    }
    stay
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn taint(key: &str) -> Taint {
        Taint { key: key.to_owned(), effect: "NoExecute".to_owned(), ..Taint::default() }
    }

    fn pod(name: &str, uid: &str, tolerations: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "d", "uid": uid },
            "spec": { "nodeName": "n", "containers": [], "tolerations": tolerations },
        }))
        .expect("a pod")
    }

    fn bounded(key: &str, seconds: i64) -> Value {
        json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds })
    }

    fn residents(pods: &[Pod]) -> Residents {
        let mut residents = Residents::default();
        residents.begin();
        pods.iter().for_each(|pod| residents.see(pod));
        residents.end();
        residents
    }

    fn leaving(residents: &mut Residents, taints: &[Taint], now: Instant) -> Vec<String> {
        residents.overdue(|_| taints, now).into_iter().map(|eviction| eviction.pod.name).collect()
    }

    #[test]
    fn a_pod_stays_as_long_as_its_tolerations_say() {
        let always = json!({ "operator": "Exists" });
        let check = |tolerations: Value, taints: &[&str], expected: Stay| {
            let parsed: Vec<Toleration> = serde_json::from_value(tolerations.clone()).expect("tolerations");
            let taints: Vec<Taint> = taints.iter().map(|key| taint(key)).collect();
            assert_eq!(stay(&parsed, &taints), expected, "{tolerations}");
        };
        check(json!([]), &[], Stay::Always);
        check(json!([]), &[UNREACHABLE, NOT_READY], Stay::Always);
        check(json!([]), &["dedicated"], Stay::For(Duration::ZERO));
        check(json!([always]), &["dedicated", UNREACHABLE], Stay::Always);
        check(json!([bounded(UNREACHABLE, 300)]), &[UNREACHABLE], Stay::For(300 * SECOND));
        check(json!([bounded(UNREACHABLE, -1)]), &[UNREACHABLE], Stay::For(Duration::ZERO));
        check(json!([bounded(UNREACHABLE, 300)]), &[NOT_READY], Stay::Always);
        check(
            json!([bounded(UNREACHABLE, 300), bounded("dedicated", 60)]),
            &[UNREACHABLE, "dedicated"],
            Stay::For(60 * SECOND),
        );
        check(json!([bounded("dedicated", 60), always]), &["dedicated"], Stay::For(60 * SECOND));
        check(json!([always, bounded("dedicated", 60)]), &["dedicated"], Stay::Always);
    }

    #[test]
    fn a_pod_leaves_when_its_time_is_over_and_a_node_that_comes_back_gives_it_all_of_it_again() {
        let (now, gone) = (Instant::now(), [taint(UNREACHABLE)]);
        let mut residents =
            residents(&[pod("stays", "s", json!([])), pod("goes", "g", json!([bounded(UNREACHABLE, 30)]))]);
        assert_eq!(leaving(&mut residents, &gone, now), [""; 0]);
        assert_eq!(leaving(&mut residents, &gone, now + 29 * SECOND), [""; 0]);
        assert_eq!(leaving(&mut residents, &[], now + 30 * SECOND), [""; 0]);
        assert_eq!(leaving(&mut residents, &gone, now + 31 * SECOND), [""; 0]);
        residents.see(&pod("goes", "g", json!([bounded(UNREACHABLE, 30)])));
        assert_eq!(
            leaving(&mut residents, &gone, now + 61 * SECOND),
            ["goes"],
            "a new state is the same pod"
        );
        residents.see(&pod("goes", "another", json!([bounded(UNREACHABLE, 30)])));
        assert_eq!(leaving(&mut residents, &gone, now + 62 * SECOND), [""; 0], "another pod of the name");
        residents.begin_anew();
        assert_eq!(leaving(&mut residents, &gone, now + 95 * SECOND), [""; 0]);
    }

    #[test]
    fn nobody_leaves_while_the_pods_are_not_known_and_nobody_twice() {
        let (now, taints) = (Instant::now(), [taint("dedicated")]);
        let mut residents = residents(&[pod("p", "u", json!([]))]);
        residents.lose();
        assert_eq!(leaving(&mut residents, &taints, now), [""; 0]);
        residents.begin();
        residents.see(&pod("p", "u", json!([])));
        residents.end();
        assert_eq!(leaving(&mut residents, &taints, now), ["p"]);
        let mut deleted = pod("p", "u", json!([]));
        deleted.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time"));
        residents.see(&deleted);
        assert_eq!(leaving(&mut residents, &taints, now), [""; 0]);
        assert!(residents.by_node.is_empty());
    }
}

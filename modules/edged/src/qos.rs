//! Resources of containers, and the quality of service that follows from them.

use crate::pod::{ContainerView, Pod};
use crate::ports::Resources;
use crate::quantity::{parse_milli, parse_units};

/// A pod's quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// All limits are set, and requests equal them.
    Guaranteed,
    /// Some are set.
    Burstable,
    /// None is set.
    BestEffort,
}

impl QosClass {
    /// Returns the class as the API spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

const COMPUTE: [&str; 2] = ["cpu", "memory"];

fn amount(container: &ContainerView, list: &str, resource: &str) -> Option<i128> {
    let map = if list == "limits" { &container.resources.limits } else { &container.resources.requests };
    map.get(resource).and_then(|text| parse_milli(text)).filter(|milli| *milli > 0)
}

/// Returns the pod's quality of service.
#[must_use]
pub fn class(pod: &Pod) -> QosClass {
    let mut any = false;
    let mut guaranteed = true;
    for container in pod.all_containers() {
        for resource in COMPUTE {
            let limit = amount(container, "limits", resource);
            let request = amount(container, "requests", resource).or(limit);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && limit == request;
        }
    }
    match (any, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;
const QUOTA_MIN_US: i64 = 1000;
const PERIOD_US: i64 = 100_000;

/// Returns what the runtime is to enforce for a container.
#[must_use]
pub fn resources(pod: &Pod, container: &ContainerView, node_memory_bytes: u64) -> Resources {
    let limit = amount(container, "limits", "cpu");
    let request = amount(container, "requests", "cpu").or(limit);
    let shares = request.map_or(SHARES_MIN, |milli| u64::try_from(milli * 1024 / 1000).unwrap_or(SHARES_MAX));
    let quota = limit.map_or(0, |milli| {
        i64::try_from(milli * i128::from(PERIOD_US) / 1000).unwrap_or(i64::MAX).max(QUOTA_MIN_US)
    });
    let memory = container.resources.limits.get("memory").and_then(|text| parse_units(text)).unwrap_or(0);
    Resources {
        cpu_shares: shares.clamp(SHARES_MIN, SHARES_MAX),
        cpu_period_us: if quota == 0 { 0 } else { PERIOD_US.unsigned_abs() },
        cpu_quota_us: quota,
        memory_limit_bytes: memory.max(0),
        oom_score_adj: oom_score_adj(pod, container, node_memory_bytes),
    }
}

fn oom_score_adj(pod: &Pod, container: &ContainerView, node_memory_bytes: u64) -> i64 {
    match class(pod) {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let request = amount(container, "requests", "memory")
                .or(amount(container, "limits", "memory"))
                .unwrap_or(0)
                / 1000;
            let share = 1000 * request / i128::from(node_memory_bytes.max(1));
            i64::try_from(1000 - share).unwrap_or(3).clamp(3, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::pod_with;

    fn with(resources: Value) -> Pod {
        pod_with(json!({ "containers": [{ "name": "c", "resources": resources }] }))
    }

    #[test]
    fn the_class_follows_requests_and_limits() {
        let check = |resources: Value, expect: QosClass| assert_eq!(class(&with(resources)), expect);
        check(json!({}), QosClass::BestEffort);
        check(json!({"requests": {"cpu": "1"}}), QosClass::Burstable);
        check(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), QosClass::Guaranteed);
        check(
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
            QosClass::Burstable,
        );
        check(json!({"limits": {"cpu": "1"}}), QosClass::Burstable);
        check(json!({"requests": {"cpu": "0"}}), QosClass::BestEffort);
    }

    #[test]
    fn resources_become_cgroup_values() {
        let pod = with(
            json!({"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": "500m", "memory": "2Gi"}}),
        );
        let resources = resources(&pod, &pod.spec.containers[0], 4 << 30);
        assert_eq!(
            (resources.cpu_shares, resources.cpu_quota_us, resources.cpu_period_us),
            (256, 50_000, 100_000)
        );
        assert_eq!((resources.memory_limit_bytes, resources.oom_score_adj), (2 << 30, 750));
    }

    #[test]
    fn a_container_without_needs_gets_the_least() {
        let pod = with(json!({}));
        let resources = resources(&pod, &pod.spec.containers[0], 4 << 30);
        assert_eq!((resources.cpu_shares, resources.cpu_quota_us, resources.oom_score_adj), (2, 0, 1000));
    }
}

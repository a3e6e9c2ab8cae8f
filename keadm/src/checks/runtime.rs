//! Whether the container runtime could run pods.

use edgecore::cri::{CgroupDriver, DEFAULT_ENDPOINTS, SocketEndpoint};

use crate::finding::Finding;
use crate::world::{RuntimeSeen, World};

const CHECK: &str = "runtime";

/// Asks the runtime. What it said comes with the finding.
pub(crate) async fn look(world: &dyn World, endpoint: &SocketEndpoint) -> (Finding, Option<RuntimeSeen>) {
    match world.runtime(endpoint).await {
        Ok(seen) => (judge(endpoint, &seen), Some(seen)),
        Err(error) => (unanswered(world, endpoint, &error).await, None),
    }
}

fn judge(endpoint: &SocketEndpoint, seen: &RuntimeSeen) -> Finding {
    let name = format!("{} {} at {endpoint}", seen.version.name, seen.version.version);
    let unmet: Vec<_> = seen.status.conditions.iter().filter(|condition| !condition.holds).collect();
    let told = |kind: &str| {
        let condition = unmet.iter().find(|condition| condition.kind == kind)?;
        Some(format!("{name} answers, but {kind} does not hold: {} {}", condition.reason, condition.message))
    };
    if let Some(seen) = told("RuntimeReady") {
        return Finding::failed(CHECK, seen, "see its log: journalctl -u containerd");
    }
    if let Some(seen) = told("NetworkReady") {
        return Finding::warning(
            CHECK,
            seen,
            "pods with the host's network run; for others put a CNI configuration into /etc/cni/net.d and the \
             plugins into /opt/cni/bin",
        );
    }
    Finding::ok(CHECK, format!("{name} is ready"))
}

async fn unanswered(world: &dyn World, endpoint: &SocketEndpoint, error: &str) -> Finding {
    let mut others = Vec::new();
    for text in DEFAULT_ENDPOINTS {
        let Ok(other) = SocketEndpoint::parse(text) else { continue };
        if other != *endpoint && world.runtime(&other).await.is_ok() {
            others.push(text);
        }
    }
    let todo = match others.first() {
        Some(other) => format!(
            "a runtime answers at {other}: --remote-runtime-endpoint={other} (containerRuntimeEndpoint)"
        ),
        None => format!(
            "install and start {} with its CRI plugin on, or name another socket: --remote-runtime-endpoint \
             (containerRuntimeEndpoint); --set modules.edged.runtime=hollow plays pods without any",
            endpoint.runtime_name()
        ),
    };
    Finding::failed(CHECK, error, todo)
}

/// Compares who makes cgroups with who is said to. The edge asks the runtime, so that this is for people.
pub(crate) fn driver(seen: &RuntimeSeen, wanted: Option<&str>) -> Option<Finding> {
    let driver = seen.driver.map(CgroupDriver::as_str)?;
    let wanted = wanted.filter(|wanted| *wanted != driver)?;
    Some(Finding::warning(
        "cgroups",
        format!("the runtime uses {driver}, --cgroupdriver says {wanted}"),
        format!(
            "nothing here: edgecore asks the runtime and uses {driver}; change it in the runtime's configuration"
        ),
    ))
}

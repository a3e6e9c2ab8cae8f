//! What a runtime may have.

use std::collections::BTreeSet;

use edged::ports::{ContainerState, Sandbox};

use crate::runtime::is_ready;

/// A pod has at most one sandbox that is ready.
pub(crate) fn one_sandbox_per_pod(sandboxes: &[Sandbox]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match sandboxes.iter().filter(|sandbox| is_ready(sandbox)).find(|sandbox| !seen.insert(&sandbox.pod.uid))
    {
        Some(doubled) => Err(format!("pod {} has two ready sandboxes", doubled.pod.name)),
        None => Ok(()),
    }
}

/// A pod has at most one running container of a name.
pub(crate) fn one_container_per_name(sandboxes: &[Sandbox]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for sandbox in sandboxes {
        for container in &sandbox.containers {
            let runs = matches!(container.state, ContainerState::Running { .. });
            if runs && !seen.insert((&sandbox.pod.uid, &container.name)) {
                return Err(format!("container {} of pod {} runs twice", container.name, sandbox.pod.name));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use edged::ports::{Container, ContainerId, PodIdentity, SandboxId, SandboxState};

    use super::*;

    fn sandbox(id: &str, uid: &str, state: SandboxState, containers: &[(&str, bool)]) -> Sandbox {
        let at = SystemTime::UNIX_EPOCH;
        let container = |(name, runs): &(&str, bool)| Container {
            id: ContainerId::new(format!("{id}-{name}")),
            name: (*name).to_owned(),
            attempt: 0,
            image: String::new(),
            image_id: String::new(),
            created_at: at,
            state: if *runs { ContainerState::Running { started_at: at } } else { ContainerState::Created },
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        };
        let pod = PodIdentity {
            uid: uid.to_owned(),
            name: uid.to_owned(),
            namespace: "default".to_owned(),
            attempt: 0,
        };
        Sandbox {
            id: SandboxId::new(id),
            pod,
            state,
            created_at: at,
            ips: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            containers: containers.iter().map(container).collect(),
        }
    }

    #[test]
    fn a_second_ready_sandbox_is_found_and_an_ended_one_is_none() {
        use SandboxState::{NotReady, Ready};
        let one = sandbox("1", "a", Ready, &[]);
        assert!(one_sandbox_per_pod(&[one.clone(), sandbox("2", "b", Ready, &[])]).is_ok());
        assert!(one_sandbox_per_pod(&[one.clone(), sandbox("2", "a", NotReady, &[])]).is_ok());
        assert!(one_sandbox_per_pod(&[one, sandbox("2", "a", Ready, &[])]).is_err());
    }

    #[test]
    fn a_container_that_runs_twice_is_found_across_sandboxes() {
        let state = SandboxState::Ready;
        let one = sandbox("1", "a", state, &[("c", true), ("d", true)]);
        assert!(one_container_per_name(&[one.clone(), sandbox("2", "b", state, &[("c", true)])]).is_ok());
        assert!(one_container_per_name(&[one.clone(), sandbox("2", "a", state, &[("c", false)])]).is_ok());
        assert!(one_container_per_name(&[one, sandbox("2", "a", state, &[("c", true)])]).is_err());
    }
}

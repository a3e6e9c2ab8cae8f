//! Which container's log is meant, in kubelet's words where it cannot be said.

use std::time::{Duration, SystemTime};

use protocol::edge::{LogError, ReadPodLog};

use crate::observed::{Observed, Run};
use crate::pod::Pod;
use crate::ports::{ContainerId, ContainerState, LogQuery};
use crate::time::parse_rfc3339;

/// One run of a container whose log is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChoice {
    /// The container.
    pub container: String,
    /// Which run.
    pub attempt: u32,
    /// Its id, and whether it still runs.
    pub id: ContainerId,
    /// Whether the log may still grow.
    pub grows: bool,
}

/// Chooses the run whose log is meant.
///
/// # Errors
///
/// When the choice is ambiguous, or there is no such container or run.
pub fn choose(pod: &Pod, observed: Observed<'_>, request: &ReadPodLog) -> Result<LogChoice, LogError> {
    let name = container_name(pod, request)?;
    let bad = |text: String| LogError::BadRequest(text);
    let runs = observed.runs(&name);
    let pod_name = &pod.name;
    let run = if request.previous {
        // While a container waits to be started again, its newest run is the previous one.
        runs.iter().find(|run| run.exit().is_some()).ok_or_else(|| {
            bad(format!("previous terminated container {name:?} in pod {pod_name:?} not found"))
        })?
    } else {
        runs.first().filter(|run| run.state != ContainerState::Created).ok_or_else(|| {
            bad(format!("container {name:?} in pod {pod_name:?} is waiting to start: ContainerCreating"))
        })?
    };
    choice(&name, run).ok_or_else(|| LogError::Failed(format!("container {name:?} cannot be located")))
}

fn choice(name: &str, run: &Run<'_>) -> Option<LogChoice> {
    let (_, held) = run.held?;
    Some(LogChoice {
        container: name.to_owned(),
        attempt: run.attempt,
        id: held.id.clone(),
        grows: run.is_running(),
    })
}

fn container_name(pod: &Pod, request: &ReadPodLog) -> Result<String, LogError> {
    match (&request.container, pod.spec.containers.as_slice()) {
        (Some(name), _) if pod.container(name).is_some() => Ok(name.clone()),
        (Some(name), _) => {
            Err(LogError::BadRequest(format!("container {name} is not valid for pod {}", pod.name)))
        }
        (None, [only]) => Ok(only.name.clone()),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|container| container.name.as_str()).collect();
            Err(LogError::BadRequest(format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                pod.name,
                names.join(" ")
            )))
        }
    }
}

/// Translates what part of the log is wanted.
///
/// # Errors
///
/// When the time is no RFC 3339 time.
pub fn query(request: &ReadPodLog, grows: bool, now: SystemTime) -> Result<LogQuery, LogError> {
    let since = match (&request.since_time, request.since) {
        (Some(text), _) => Some(
            parse_rfc3339(text)
                .ok_or_else(|| LogError::BadRequest(format!("{text:?} is no RFC 3339 time")))?,
        ),
        (None, Some(ago)) => Some(now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH + Duration::ZERO)),
        (None, None) => None,
    };
    Ok(LogQuery {
        follow: request.follow && grows,
        tail_lines: request.tail_lines,
        since,
        timestamps: request.timestamps,
        limit_bytes: request.limit_bytes,
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use protocol::{Namespace, ObjectName};
    use serde_json::json;

    use super::*;
    use crate::fixtures::pod_with;
    use crate::ports::{Container, Exit, PodIdentity, Sandbox, SandboxId, SandboxState};

    fn request(container: Option<&str>, previous: bool) -> ReadPodLog {
        ReadPodLog {
            namespace: Namespace::parse("default").expect("valid"),
            pod: ObjectName::parse("p").expect("valid"),
            container: container.map(ToOwned::to_owned),
            follow: true,
            previous,
            tail_lines: None,
            since: None,
            since_time: None,
            timestamps: false,
            limit_bytes: None,
        }
    }

    fn container(attempt: u32, running: bool) -> Container {
        let exit = Exit {
            code: 1,
            reason: String::new(),
            message: String::new(),
            started_at: None,
            finished_at: UNIX_EPOCH,
        };
        let state = if running {
            ContainerState::Running { started_at: UNIX_EPOCH }
        } else {
            ContainerState::Exited(exit)
        };
        Container {
            id: ContainerId::new(attempt.to_string()),
            name: "a".to_owned(),
            attempt,
            image: String::new(),
            image_id: String::new(),
            created_at: UNIX_EPOCH,
            state,
            labels: [].into(),
            annotations: [].into(),
        }
    }

    fn chosen(containers: Vec<Container>, request: &ReadPodLog) -> Result<(u32, bool), String> {
        let pod = pod_with(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
        let sandboxes = [Sandbox {
            id: SandboxId::new("s"),
            pod: PodIdentity { uid: "u".into(), name: "p".into(), namespace: "d".into(), attempt: 0 },
            state: SandboxState::Ready,
            created_at: UNIX_EPOCH,
            ips: Vec::new(),
            labels: [].into(),
            annotations: [].into(),
            containers,
        }];
        choose(&pod, Observed::new(&sandboxes), request)
            .map(|choice| (choice.attempt, choice.grows))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_newest_run_is_meant_unless_the_previous_is() {
        let restarted = || vec![container(0, false), container(1, true)];
        assert_eq!(chosen(restarted(), &request(Some("a"), false)), Ok((1, true)));
        assert_eq!(chosen(restarted(), &request(Some("a"), true)), Ok((0, false)));
        assert_eq!(chosen(vec![container(3, false)], &request(Some("a"), false)), Ok((3, false)));
        assert_eq!(chosen(vec![container(3, false)], &request(Some("a"), true)), Ok((3, false)));
        assert_eq!(
            chosen(vec![container(0, true)], &request(Some("a"), true)),
            Err("previous terminated container \"a\" in pod \"p\" not found".to_owned())
        );
    }

    #[test]
    fn an_unclear_choice_is_refused_in_kubelets_words() {
        assert_eq!(
            chosen(vec![], &request(None, false)),
            Err("a container name must be specified for pod p, choose one of: [a b]".to_owned())
        );
        assert_eq!(
            chosen(vec![], &request(Some("x"), false)),
            Err("container x is not valid for pod p".to_owned())
        );
        assert_eq!(
            chosen(vec![], &request(Some("b"), false)),
            Err("container \"b\" in pod \"p\" is waiting to start: ContainerCreating".to_owned())
        );
    }

    #[test]
    fn a_time_is_checked() {
        let mut wanted = request(None, false);
        wanted.since_time = Some("soon".to_owned());
        assert!(query(&wanted, true, UNIX_EPOCH).is_err());
        wanted.since_time = Some("1970-01-01T00:00:05Z".to_owned());
        let query = query(&wanted, false, UNIX_EPOCH).expect("a query");
        assert_eq!((query.since, query.follow), (Some(UNIX_EPOCH + Duration::from_secs(5)), false));
    }
}

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::fixtures::pod_with;
use crate::observed::{Waiting, sort};
use crate::ports::{
    Container, ContainerId, ContainerState, Exit, PodIdentity, Sandbox, SandboxId, SandboxState,
};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_211_442 + seconds)
}

fn container(name: &str, attempt: u32, state: ContainerState) -> Container {
    Container {
        id: ContainerId::new(format!("{name}-{attempt}")),
        name: name.to_owned(),
        attempt,
        image: "docker.io/library/busybox:1.36".to_owned(),
        image_id: "sha256:5c".to_owned(),
        created_at: at(0),
        state,
        labels: [].into(),
        annotations: [].into(),
    }
}

fn running(name: &str, attempt: u32) -> Container {
    container(name, attempt, ContainerState::Running { started_at: at(1) })
}

fn exited(name: &str, attempt: u32, code: i32) -> Container {
    let exit = Exit {
        code,
        reason: String::new(),
        message: String::new(),
        started_at: Some(at(1)),
        finished_at: at(2),
    };
    container(name, attempt, ContainerState::Exited(exit))
}

fn sandboxes(containers: Vec<Container>) -> Vec<Sandbox> {
    vec![Sandbox {
        id: SandboxId::new("s"),
        pod: PodIdentity { uid: "u".into(), name: "p".into(), namespace: "d".into(), attempt: 0 },
        state: SandboxState::Ready,
        created_at: at(0),
        ips: vec!["10.244.0.5".parse().expect("an address")],
        labels: [].into(),
        annotations: [].into(),
        containers,
    }]
}

fn show(spec: Value, mut held: Vec<Sandbox>, memory: &Memory, ended: bool) -> Value {
    sort(&mut held);
    let pod = pod_with(spec);
    status(&StatusInput {
        pod: &pod,
        observed: Observed::new(&held),
        memory,
        before: &json!({}),
        host_ips: &["192.0.2.2".parse().expect("an address")],
        runtime: "containerd",
        ended,
        now: at(10),
    })
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let list = status["conditions"].as_array().expect("conditions");
    list.iter().find(|condition| condition["type"] == kind).expect("the condition")
}

fn one(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "busybox:1.36"}]})
}

#[test]
fn a_running_pod_is_shown_as_kubelet_shows_it() {
    let memory = Memory { started_at: Some(at(0)), ..Memory::default() };
    let status = show(one("Always"), sandboxes(vec![running("c", 0)]), &memory, false);
    assert_eq!(
        status["containerStatuses"],
        json!([{"name": "c", "state": {"running": {"startedAt": "2026-11-20T21:50:43Z"}}, "lastState": {},
            "ready": true, "restartCount": 0, "image": "docker.io/library/busybox:1.36", "imageID": "sha256:5c",
            "started": true, "containerID": "containerd://c-0"}])
    );
    assert_eq!(status["phase"], "Running");
    assert_eq!((&status["hostIP"], &status["podIPs"]), (&json!("192.0.2.2"), &json!([{"ip": "10.244.0.5"}])));
    assert_eq!(status["startTime"], "2026-11-20T21:50:42Z");
    for kind in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(condition(&status, kind)["status"], "True", "{kind}");
    }
}

#[test]
fn a_pod_without_a_sandbox_is_pending() {
    let status = show(one("Always"), vec![], &Memory::default(), false);
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["containerStatuses"][0]["state"], json!({"waiting": {"reason": "ContainerCreating"}}));
    assert_eq!(condition(&status, "PodReadyToStartContainers")["status"], "False");
    assert_eq!(condition(&status, "Ready")["message"], "containers with unready status: [c]");
    assert!(status.get("podIP").is_none());
}

#[test]
fn a_crashing_container_shows_its_last_exit() {
    let waiting = Waiting::new("CrashLoopBackOff", "back-off 10s");
    let mut memory = Memory { waiting: [("c".to_owned(), waiting)].into(), ..Memory::default() };
    memory.messages.insert(ContainerId::new("c-2"), "last words".to_owned());
    let status = show(one("Always"), sandboxes(vec![exited("c", 2, 3)]), &memory, false);
    let shown = &status["containerStatuses"][0];
    assert_eq!(shown["state"], json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}));
    assert_eq!(
        shown["lastState"],
        json!({"terminated": {"exitCode": 3, "reason": "Error", "message": "last words",
            "startedAt": "2026-11-20T21:50:43Z", "finishedAt": "2026-11-20T21:50:44Z",
            "containerID": "containerd://c-2"}})
    );
    assert_eq!((&status["phase"], &shown["restartCount"]), (&json!("Running"), &json!(2)));
}

#[test]
fn the_phase_follows_policy_and_exit() {
    for (policy, code, ended, expect) in [
        ("Always", 0, false, "Running"),
        ("OnFailure", 0, false, "Succeeded"),
        ("OnFailure", 1, false, "Running"),
        ("Never", 0, false, "Succeeded"),
        ("Never", 1, false, "Failed"),
        ("Always", 0, true, "Succeeded"),
        ("Always", 137, true, "Failed"),
    ] {
        let status = show(one(policy), sandboxes(vec![exited("c", 0, code)]), &Memory::default(), ended);
        assert_eq!(status["phase"], expect, "{policy} {code} {ended}");
    }
}

#[test]
fn init_containers_hold_the_pod_pending() {
    let spec = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]});
    let status = show(spec.clone(), sandboxes(vec![running("i", 0)]), &Memory::default(), false);
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["containerStatuses"][0]["state"], json!({"waiting": {"reason": "PodInitializing"}}));
    assert_eq!(condition(&status, "Initialized")["message"], "containers with incomplete status: [i]");
    let status = show(spec, sandboxes(vec![exited("i", 0, 0), running("c", 0)]), &Memory::default(), false);
    assert_eq!(
        (&status["phase"], &condition(&status, "Initialized")["status"]),
        (&json!("Running"), &json!("True"))
    );
    assert_eq!(status["initContainerStatuses"][0]["ready"], true);
}

#[test]
fn a_completed_pod_says_so_in_its_conditions() {
    let status = show(one("Never"), sandboxes(vec![exited("c", 0, 0)]), &Memory::default(), false);
    assert_eq!(condition(&status, "Ready")["reason"], "PodCompleted");
    assert_eq!(condition(&status, "Initialized")["reason"], "PodCompleted");
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
}

#[test]
fn a_condition_keeps_its_time_while_it_keeps_its_status() {
    let pod = pod_with(one("Always"));
    let held = sandboxes(vec![running("c", 0)]);
    let before = json!({"conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        {"type": "Initialized", "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z"}]});
    let memory = Memory::default();
    let status = status(&StatusInput {
        pod: &pod,
        observed: Observed::new(&held),
        memory: &memory,
        before: &before,
        host_ips: &[],
        runtime: "x",
        ended: false,
        now: at(10),
    });
    assert_eq!(condition(&status, "Ready")["lastTransitionTime"], "2020-01-01T00:00:00Z");
    assert_eq!(condition(&status, "Initialized")["lastTransitionTime"], rfc3339(at(10)));
}

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;
use crate::fixtures::pod_with;
use crate::observed::{Verdict, sort};
use crate::ports::{Container, Exit, PodIdentity, Sandbox};
use crate::probe::ProbeResults;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn container(name: &str, attempt: u32, state: ContainerState) -> Container {
    Container {
        id: ContainerId::new(format!("{name}-{attempt}")),
        name: name.to_owned(),
        attempt,
        image: String::new(),
        image_id: String::new(),
        created_at: at(0),
        state,
        labels: [].into(),
        annotations: [].into(),
    }
}

fn running(name: &str, attempt: u32) -> Container {
    container(name, attempt, ContainerState::Running { started_at: at(0) })
}

fn exited(name: &str, attempt: u32, code: i32) -> Container {
    let exit =
        Exit { code, reason: String::new(), message: String::new(), started_at: None, finished_at: at(0) };
    container(name, attempt, ContainerState::Exited(exit))
}

fn sandbox(attempt: u32, state: SandboxState, containers: Vec<Container>) -> Sandbox {
    Sandbox {
        id: SandboxId::new(format!("s{attempt}")),
        pod: PodIdentity { uid: "u".into(), name: "p".into(), namespace: "d".into(), attempt },
        state,
        created_at: at(0),
        ips: Vec::new(),
        labels: [].into(),
        annotations: [].into(),
        containers,
    }
}

fn ready(containers: Vec<Container>) -> Vec<Sandbox> {
    vec![sandbox(0, SandboxState::Ready, containers)]
}

fn decide(spec: Value, mut sandboxes: Vec<Sandbox>, memory: &Memory) -> Plan {
    sort(&mut sandboxes);
    plan(&pod_with(spec), Observed::new(&sandboxes), memory, at(1))
}

fn check(spec: Value, sandboxes: Vec<Sandbox>, expect: &[Action]) {
    assert_eq!(decide(spec, sandboxes, &Memory::default()).actions, expect);
}

fn start(name: &str, attempt: u32) -> Action {
    Action::Start { container: name.to_owned(), attempt }
}

fn remove(name: &str, attempt: u32) -> Action {
    Action::Remove {
        id: ContainerId::new(format!("{name}-{attempt}")),
        container: name.to_owned(),
        attempt,
        keep_files: false,
    }
}

fn one(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "c"}]})
}

#[test]
fn a_pod_begins_with_a_sandbox_and_then_its_containers() {
    let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    check(spec.clone(), vec![], &[Action::RunSandbox { attempt: 0 }]);
    check(spec.clone(), ready(vec![]), &[start("a", 0), start("b", 0)]);
    check(spec.clone(), ready(vec![running("a", 0)]), &[start("b", 0)]);
    check(spec, ready(vec![running("a", 0), running("b", 0)]), &[]);
}

#[test]
fn a_container_that_ended_is_started_as_the_policy_says() {
    for (policy, code, restarts) in [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 0, false),
        ("Never", 1, false),
    ] {
        let expect = if restarts { start("c", 1) } else { Action::StopPod };
        check(one(policy), ready(vec![exited("c", 0, code)]), &[expect]);
    }
}

#[test]
fn one_container_that_is_done_does_not_end_the_others() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a"}, {"name": "b"}]});
    check(spec.clone(), ready(vec![exited("a", 0, 1), running("b", 0)]), &[]);
    check(spec, ready(vec![exited("a", 0, 1), exited("b", 0, 0)]), &[Action::StopPod]);
}

#[test]
fn a_crashing_container_waits() {
    let backoff = Backoff { delay: Duration::from_secs(20), set_at: at(0) };
    let memory = Memory { crashes: [("c".to_owned(), backoff)].into(), ..Memory::default() };
    let plan = decide(one("Always"), ready(vec![exited("c", 3, 1)]), &memory);
    assert_eq!(plan.actions, []);
    assert_eq!(plan.wake_at, Some(at(20)));
    assert_eq!(
        plan.waiting,
        [(
            "c".to_owned(),
            Waiting::new(
                "CrashLoopBackOff",
                "back-off 20s restarting failed container=c pod=p_default(uid-p)"
            )
        )]
    );
}

#[test]
fn init_containers_run_one_after_the_other_and_before_the_rest() {
    let spec = json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "c"}]});
    check(spec.clone(), ready(vec![]), &[start("i", 0)]);
    check(spec.clone(), ready(vec![running("i", 0)]), &[]);
    check(spec.clone(), ready(vec![exited("i", 0, 0)]), &[start("j", 0)]);
    check(spec.clone(), ready(vec![exited("i", 0, 1)]), &[start("i", 1)]);
    check(spec.clone(), ready(vec![exited("i", 0, 0), exited("j", 0, 0)]), &[start("c", 0)]);
    check(spec, ready(vec![exited("i", 0, 0), exited("j", 0, 0), exited("c", 0, 1)]), &[start("c", 1)]);
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let spec =
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "c"}]});
    let plan = decide(spec.clone(), ready(vec![exited("i", 0, 1)]), &Memory::default());
    assert_eq!((plan.actions, plan.ended), (vec![Action::StopPod], true));
    let over = vec![sandbox(0, SandboxState::NotReady, vec![exited("i", 0, 1)])];
    let plan = decide(spec, over, &Memory::default());
    assert_eq!((plan.actions, plan.ended), (vec![], true));
}

#[test]
fn a_sidecar_starts_first_and_does_not_hold_the_pods_end() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "c"}],
        "initContainers": [{"name": "s", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["x"]}}}]});
    check(spec.clone(), ready(vec![]), &[start("s", 0)]);
    check(spec.clone(), ready(vec![running("s", 0)]), &[]);
    let results = ProbeResults { started: true, ..ProbeResults::default() };
    let memory = Memory { probes: [(ContainerId::new("s-0"), results)].into(), ..Memory::default() };
    assert_eq!(decide(spec.clone(), ready(vec![running("s", 0)]), &memory).actions, [start("c", 0)]);
    check(spec.clone(), ready(vec![exited("s", 0, 1), running("c", 0)]), &[start("s", 1)]);
    check(spec, ready(vec![running("s", 0), exited("c", 0, 0)]), &[Action::StopPod]);
}

#[test]
fn a_dead_sandbox_is_replaced_with_all_that_ran_in_it() {
    let dead = |containers| vec![sandbox(0, SandboxState::NotReady, containers)];
    let stop = Action::StopSandbox(SandboxId::new("s0"));
    let again = Action::RunSandbox { attempt: 1 };
    check(one("Always"), dead(vec![running("c", 0)]), &[stop.clone(), again.clone()]);
    check(one("Always"), dead(vec![exited("c", 0, 0)]), std::slice::from_ref(&again));
    check(one("OnFailure"), dead(vec![exited("c", 0, 0)]), &[]);
    check(one("Never"), dead(vec![exited("c", 0, 1)]), &[]);
    check(one("Never"), dead(vec![]), &[again]);
    let mut two = dead(vec![exited("c", 0, 137)]);
    two.push(sandbox(1, SandboxState::Ready, vec![]));
    check(one("Always"), two, &[start("c", 1)]);
}

#[test]
fn a_second_ready_sandbox_is_stopped() {
    let two = vec![
        sandbox(0, SandboxState::Ready, vec![running("c", 0)]),
        sandbox(1, SandboxState::Ready, vec![running("c", 1)]),
    ];
    check(one("Always"), two, &[Action::StopSandbox(SandboxId::new("s0"))]);
}

#[test]
fn a_container_that_was_only_created_is_made_again() {
    let action = Action::Remove {
        id: ContainerId::new("c-0"),
        container: "c".to_owned(),
        attempt: 0,
        keep_files: true,
    };
    check(one("Always"), ready(vec![container("c", 0, ContainerState::Created)]), &[action, start("c", 0)]);
}

#[test]
fn a_container_is_ended_when_its_probe_or_its_definition_says_so() {
    let results = ProbeResults { fatal: Some(ProbeKind::Liveness), ..ProbeResults::default() };
    let memory = Memory { probes: [(ContainerId::new("c-0"), results)].into(), ..Memory::default() };
    let plan = decide(one("Always"), ready(vec![running("c", 0)]), &memory);
    assert!(
        matches!(&plan.actions[..], [Action::Kill { probe: Some(ProbeKind::Liveness), .. }]),
        "{:?}",
        plan.actions
    );
    let mut old = running("c", 0);
    old.annotations.insert(mark::CONTAINER_HASH.to_owned(), "0".to_owned());
    let plan = decide(one("Always"), ready(vec![old.clone()]), &Memory::default());
    assert!(plan.actions.is_empty(), "another agent's hash of the same image: {:?}", plan.actions);
    old.image = "another".to_owned();
    let plan = decide(one("Always"), ready(vec![old]), &Memory::default());
    assert!(matches!(&plan.actions[..], [Action::Kill { probe: None, .. }]), "{:?}", plan.actions);
}

#[test]
fn only_the_newest_ended_run_is_kept() {
    let containers = vec![exited("c", 0, 1), exited("c", 1, 1), running("c", 2)];
    check(one("Always"), ready(containers), &[remove("c", 0)]);
    let old = vec![
        sandbox(0, SandboxState::NotReady, vec![exited("c", 0, 1)]),
        sandbox(1, SandboxState::Ready, vec![exited("c", 1, 1), running("c", 2)]),
    ];
    check(one("Always"), old, &[remove("c", 0), Action::RemoveSandbox(SandboxId::new("s0"))]);
}

#[test]
fn a_pod_past_its_deadline_fails() {
    let spec = json!({"activeDeadlineSeconds": 5, "containers": [{"name": "c"}]});
    let begun = |second| Memory { started_at: Some(at(second)), ..Memory::default() };
    assert_eq!(decide(spec.clone(), ready(vec![running("c", 0)]), &begun(0)).wake_at, Some(at(5)));
    let early = Memory { started_at: Some(at(0) - Duration::from_secs(4)), ..Memory::default() };
    let plan = decide(spec, ready(vec![running("c", 0)]), &early);
    assert!(
        matches!(&plan.actions[..], [Action::Fail { reason: "DeadlineExceeded", .. }, Action::StopPod]),
        "{:?}",
        plan.actions
    );
}

#[test]
fn a_pod_that_ended_is_never_started_again() {
    let verdict = Verdict { reason: "DeadlineExceeded".to_owned(), message: String::new() };
    let memory = Memory { verdict: Some(verdict), ..Memory::default() };
    assert_eq!(decide(one("Always"), vec![], &memory).actions, []);
    assert_eq!(decide(one("Always"), ready(vec![running("c", 0)]), &memory).actions, [Action::StopPod]);
}

#[test]
fn a_failed_setup_is_tried_again_later() {
    let later = Memory {
        setups: [(String::new(), (Backoff { delay: SETUP.initial, set_at: at(1) }, at(2)))].into(),
        ..Memory::default()
    };
    let plan = decide(one("Always"), vec![], &later);
    assert_eq!((plan.actions, plan.wake_at), (vec![], Some(at(2))));
}

#[test]
fn a_setup_that_failed_before_the_clock_was_set_back_is_tried_at_once() {
    for name in ["", "c"] {
        let hours_ahead = (Backoff { delay: SETUP.initial, set_at: at(24_915) }, at(24_916));
        let memory = Memory { setups: [(name.to_owned(), hours_ahead)].into(), ..Memory::default() };
        let held = if name.is_empty() { vec![] } else { ready(vec![]) };
        let plan = decide(one("Always"), held, &memory);
        assert_eq!((plan.actions.len(), plan.wake_at), (1, None), "{name:?}");
    }
}

#[test]
fn a_container_that_the_runtime_lost_counts_as_ended() {
    let exit = Exit {
        code: 137,
        reason: String::new(),
        message: String::new(),
        started_at: None,
        finished_at: at(0),
    };
    let memory = Memory { lost: [("c".to_owned(), (4, exit))].into(), ..Memory::default() };
    assert_eq!(decide(one("Always"), ready(vec![]), &memory).actions, [start("c", 5)]);
    let plan = decide(one("Never"), vec![], &memory);
    assert_eq!((plan.actions, plan.ended), (vec![], true));
}

#[test]
fn an_image_is_known_by_the_name_that_a_runtime_gives_it() {
    for (held, asked, same) in [
        ("docker.io/library/busybox:1.36", "busybox:1.36", true),
        ("docker.io/library/busybox:latest", "busybox", true),
        ("docker.io/kubeedge/pause:3.6", "kubeedge/pause:3.6", true),
        ("registry.example.com/a:1", "registry.example.com/a:1", true),
        ("docker.io/library/busybox:1.36", "busybox:1.37", false),
        ("sha256:0123", "busybox", false),
    ] {
        assert_eq!(is_same_image(held, asked), same, "{held} {asked}");
    }
}

//! Single calls: deadlines, errors, reconnection and what depends on the runtime's version.

use std::collections::BTreeMap;
use std::time::Duration;

use edged::ports::{ContainerId, ImageCredentials, ImageId, Runtime, RuntimeError, SandboxId};
use tokio::io::AsyncWriteExt;
use tonic::Code;

use super::fake::{Fake, endpoint};
use super::specs::{container_spec, sandbox_spec};
use super::{Deadlines, PATIENT};
use crate::cri::proto;
use crate::cri::{Cri, CriOptions, probe, probe_first};

fn credentials(password: &str) -> ImageCredentials {
    ImageCredentials {
        registry: "registry.example".to_owned(),
        username: "bee".to_owned(),
        password: password.to_owned(),
        identity_token: String::new(),
    }
}

#[tokio::test]
async fn a_call_without_an_answer_ends_at_its_deadline() {
    let short = Duration::from_millis(100);
    let fake = Fake::start();
    let cri = fake.cri(Deadlines { query: short, change: short, sandbox: short, pull: short });
    fake.state().cgroup_driver = Some(proto::CgroupDriver::Cgroupfs);
    cri.version().await.expect("it answers");
    fake.state().hanging.extend(["version", "run_pod_sandbox", "pull_image", "stop_container"]);

    let version = cri.version().await.expect_err("it hangs");
    assert!(
        matches!(&version, RuntimeError::TimedOut(why) if why.contains("version: no answer")),
        "{version}"
    );
    let sandbox = cri.run_sandbox(&sandbox_spec()).await.expect_err("it hangs");
    assert!(matches!(sandbox, RuntimeError::TimedOut(_)), "{sandbox}");
    let pull = cri.pull_image("nginx", &[], &sandbox_spec()).await.expect_err("it hangs");
    assert!(matches!(pull, RuntimeError::TimedOut(_)), "{pull}");
    let stop = cri.stop_container(&ContainerId::new("c1"), Duration::ZERO).await.expect_err("it hangs");
    assert!(matches!(stop, RuntimeError::TimedOut(_)), "{stop}");
    let limits = fake.state().time_limits.clone();
    assert!(limits.iter().all(Option::is_some), "the runtime is told each deadline: {limits:?}");
}

#[tokio::test]
async fn stopping_may_take_the_grace_on_top() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    cri.stop_container(&ContainerId::new("c1"), Duration::from_millis(1_500)).await.expect("it stops");
    let state = fake.state();
    assert_eq!(state.stop_requests[0].timeout, 2, "rounded up to whole seconds");
    assert_eq!(state.time_limits[0].as_deref(), Some("61500000u"), "grace and the time for a change");
}

#[tokio::test]
async fn the_connection_comes_back_with_the_runtime() {
    let mut fake = Fake::start();
    let cri = fake.cri(PATIENT);
    assert_eq!(cri.version().await.expect("it answers").to_string(), "containerd://1.6.20~ds1");
    for _ in 0..3 {
        fake.kill();
        let lost = cri.version().await.expect_err("nobody is there").to_string();
        assert!(lost.contains("is not answering"), "{lost}");
        let lost = cri.version().await.expect_err("nobody is there").to_string();
        let path = fake.path();
        let expect = format!(
            "the container runtime is not reachable: containerd at unix://{} is not answering: there is no such \
             socket; start it or choose --runtime hollow",
            path.display()
        );
        assert_eq!(lost, expect);
        fake.serve();
        cri.version().await.expect("it is back");
    }
}

#[tokio::test]
async fn a_call_in_flight_fails_when_the_runtime_dies() {
    let mut fake = Fake::start();
    let cri = fake.cri(PATIENT);
    cri.version().await.expect("it answers");
    fake.state().hanging.insert("version");
    let asking = cri.version();
    let killing = async {
        while fake.state().calls.len() < 2 {
            tokio::task::yield_now().await;
        }
        fake.kill();
    };
    let (answer, ()) = tokio::join!(asking, killing);
    assert!(matches!(&answer, Err(RuntimeError::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn a_socket_that_speaks_something_else_is_no_runtime() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("other.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("the directory is ours");
    let serving = async {
        loop {
            let (mut stream, _) = listener.accept().await.expect("the socket is open");
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("it is connected");
        }
    };
    let other = endpoint(&path);
    let asking = probe(&other);
    let answer = tokio::select! { biased; answer = asking => answer, () = serving => unreachable!("it serves for ever") };
    let refusal = answer.expect_err("it is no runtime");
    assert!(
        matches!(&refusal, RuntimeError::Unavailable(why) if why.contains("the container runtime at")),
        "{refusal}"
    );
}

#[tokio::test]
async fn each_error_says_what_may_be_concluded() {
    let text = |message: &str| message.to_owned();
    let cases = [
        (Code::NotFound, "no such container", RuntimeError::NotFound(text("no such container"))),
        (Code::DeadlineExceeded, "too late", RuntimeError::TimedOut(text("too late"))),
        (Code::Unavailable, "going down", RuntimeError::Unavailable(text("going down"))),
        (Code::Unknown, "no space left", RuntimeError::Failed(text("no space left"))),
        (Code::Internal, "", RuntimeError::Failed(text("the container runtime failed: Internal error"))),
    ];
    for (code, message, expect) in cases {
        let fake = Fake::start();
        fake.state().failing.insert("start_container", (code, text(message)));
        let refusal = fake.cri(PATIENT).start_container(&ContainerId::new("c1")).await;
        assert_eq!(refusal, Err(expect), "{code:?}");
    }
}

#[tokio::test]
async fn a_runtime_that_does_not_serve_cri_is_told_what_to_change() {
    let check = async |code, message: &str, expect: &str| {
        let fake = Fake::start();
        fake.state().failing.insert("version", (code, message.to_owned()));
        let refusal = probe(&endpoint(&fake.path())).await.expect_err("it refuses");
        assert!(matches!(&refusal, RuntimeError::Unavailable(why) if why.contains(expect)), "{refusal}");
    };
    check(Code::Unimplemented, "unknown service runtime.v1.RuntimeService", "disabled_plugins").await;
    check(Code::Unknown, "server is not initialized yet", "is starting: server is not initialized yet").await;
}

#[tokio::test]
async fn stopping_and_removing_what_is_gone_succeeds() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    let calls =
        ["stop_container", "remove_container", "stop_pod_sandbox", "remove_pod_sandbox", "remove_image"];
    for call in calls {
        fake.state().failing.insert(call, (Code::NotFound, "gone".to_owned()));
    }
    let (container, sandbox) = (ContainerId::new("c1"), SandboxId::new("s1"));
    assert_eq!(cri.stop_container(&container, Duration::ZERO).await, Ok(()));
    assert_eq!(cri.remove_container(&container).await, Ok(()));
    assert_eq!(cri.stop_sandbox(&sandbox).await, Ok(()));
    assert_eq!(cri.remove_sandbox(&sandbox).await, Ok(()));
    assert_eq!(cri.remove_image(&ImageId::new("i1")).await, Ok(()));
    assert_eq!(cri.start_container(&container).await, Ok(()));
}

#[tokio::test]
async fn the_output_of_a_command_is_cut_and_its_time_is_whole_seconds() {
    let fake = Fake::start();
    fake.state().exec =
        proto::ExecSyncResponse { stdout: vec![b'x'; 20_000], stderr: vec![b'y'; 3], exit_code: 7 };
    let command = ["true".to_owned()];
    let output = fake.cri(PATIENT).exec(&ContainerId::new("c1"), &command, Duration::from_millis(200)).await;
    let output = output.expect("it runs");
    assert_eq!((output.code, output.stdout.len(), output.stderr.len()), (7, 16 * 1024, 3));
    let state = fake.state();
    assert_eq!((state.exec_requests[0].timeout, &state.exec_requests[0].cmd[..]), (1, &command[..]));
}

#[tokio::test]
async fn an_answer_beyond_all_bounds_is_an_error() {
    let fake = Fake::start();
    fake.state().exec.stdout = vec![b'x'; 17 * 1024 * 1024];
    let answer = fake.cri(PATIENT).exec(&ContainerId::new("c1"), &[], Duration::from_secs(1)).await;
    assert!(matches!(&answer, Err(RuntimeError::Failed(why)) if why.contains("too large")), "{answer:?}");
    fake.cri(PATIENT).version().await.expect("the next call works");
}

#[tokio::test]
async fn credentials_are_tried_in_turn_until_one_is_taken() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    fake.state().cgroup_driver = Some(proto::CgroupDriver::Cgroupfs);
    fake.state().passwords.insert("honey".to_owned());
    let three = [credentials("sugar"), credentials("honey"), credentials("salt")];
    let pulled = cri.pull_image("registry.example/web:1", &three, &sandbox_spec()).await;
    assert_eq!(pulled, Ok(ImageId::new("sha256:1")));
    {
        let state = fake.state();
        let tried: Vec<_> = state
            .pull_requests
            .iter()
            .filter_map(|request| Some(request.auth.as_ref()?.password.as_str()))
            .collect();
        assert_eq!(tried, ["sugar", "honey"]);
        let request = &state.pull_requests[0];
        assert_eq!(request.image.as_ref().map(|image| image.image.as_str()), Some("registry.example/web:1"));
        assert!(!format!("{request:?}").contains("sugar"), "a password is never printed");
    }
    let refused = cri.pull_image("registry.example/web:1", &three[2..], &sandbox_spec()).await;
    assert_eq!(refused, Err(RuntimeError::PullFailed("failed to authorize: 401 Unauthorized".to_owned())));
    fake.state().passwords.clear();
    cri.pull_image("registry.example/web:1", &[], &sandbox_spec()).await.expect("anonymously");
    assert_eq!(fake.state().pull_requests.last().expect("asked").auth, None);
}

#[tokio::test]
async fn what_a_registry_says_is_not_taken_for_the_runtimes_state() {
    let invalid = RuntimeError::InvalidImageName {
        image: "A b".to_owned(),
        message: "failed to parse image reference: invalid reference format".to_owned(),
    };
    let cases = [
        (Code::NotFound, "manifest unknown", RuntimeError::PullFailed("manifest unknown".to_owned())),
        (
            Code::Unavailable,
            "503 of the registry",
            RuntimeError::PullFailed("503 of the registry".to_owned()),
        ),
        (Code::InvalidArgument, "failed to parse image reference: invalid reference format", invalid),
    ];
    for (code, message, expect) in cases {
        let fake = Fake::start();
        fake.state().cgroup_driver = Some(proto::CgroupDriver::Cgroupfs);
        fake.state().failing.insert("pull_image", (code, message.to_owned()));
        assert_eq!(fake.cri(PATIENT).pull_image("A b", &[], &sandbox_spec()).await, Err(expect));
    }
}

#[tokio::test]
async fn the_cgroup_driver_is_asked_for_once_however_old_the_runtime_is() {
    let containerd = r#"{"containerd":{"defaultRuntimeName":"runc","runtimes":{"runc":{"options":{"SystemdCgroup":true}}}}}"#;
    for driver in [Some(proto::CgroupDriver::Systemd), None] {
        let fake = Fake::start();
        let cri = fake.cri(PATIENT);
        fake.state().cgroup_driver = driver;
        fake.state().status_info.insert("config".to_owned(), containerd.to_owned());
        let mut spec = sandbox_spec();
        spec.cgroup_parent = "/kubepods/pod1-2".to_owned();
        for _ in 0..2 {
            let id = cri.run_sandbox(&spec).await.expect("it runs");
            cri.create_container(&id, &spec, &container_spec()).await.expect("it is created");
        }
        let mut state = fake.state();
        let parents: Vec<_> = state
            .sandbox_requests
            .iter()
            .map(|request| request.config.clone())
            .chain(state.container_requests.iter().map(|request| request.sandbox_config.clone()))
            .map(|config| config.and_then(|config| config.linux).expect("a Linux config").cgroup_parent)
            .collect();
        assert_eq!(parents, ["kubepods-pod1_2.slice"; 4]);
        assert_eq!(state.take_calls()["runtime_config"], 1);
    }
}

#[tokio::test]
async fn a_runtime_that_was_away_may_have_another_cgroup_driver() {
    let mut fake = Fake::start();
    let cri = fake.cri(PATIENT);
    fake.state().cgroup_driver = Some(proto::CgroupDriver::Cgroupfs);
    cri.run_sandbox(&sandbox_spec()).await.expect("it runs");
    fake.kill();
    cri.list().await.expect_err("nobody is there");
    fake.state().cgroup_driver = Some(proto::CgroupDriver::Systemd);
    fake.serve();
    cri.run_sandbox(&sandbox_spec()).await.expect("it runs");
    let linux = fake.state().sandbox_requests[1].config.clone().and_then(|config| config.linux);
    assert_eq!(linux.expect("a Linux config").cgroup_parent, "kubepods-pod1.slice");
}

#[tokio::test]
async fn the_first_runtime_that_answers_is_found() {
    let fake = Fake::start();
    let missing = "unix:///nonexistent/containerd.sock";
    let there = format!("unix://{}", fake.path().display());
    let found = probe_first(&[missing, &there]).await.expect("the second answers");
    assert_eq!(found.version.to_string(), "containerd://1.6.20~ds1");
    assert_eq!(found.endpoint.path(), fake.path());
    let network = found.status.conditions.iter().find(|condition| condition.kind == "NetworkReady");
    assert_eq!(
        network.map(|condition| (condition.holds, condition.reason.as_str())),
        Some((false, "NetworkPluginNotReady"))
    );

    let refusals = probe_first(&[missing, "tcp://localhost:1"]).await.expect_err("none answers");
    assert_eq!(refusals.len(), 2);
    assert!(refusals[0].contains("there is no such socket"), "{refusals:?}");
    assert!(refusals[1].contains("is not a Unix socket"), "{refusals:?}");
}

#[tokio::test]
async fn images_may_be_served_elsewhere() {
    let (containers, images) = (Fake::start(), Fake::start());
    let cri = Cri::new(CriOptions {
        endpoint: endpoint(&containers.path()),
        image_endpoint: Some(endpoint(&images.path())),
        deadlines: PATIENT,
    });
    assert_eq!(cri.image("nginx").await, Ok(None));
    cri.version().await.expect("it answers");
    assert_eq!(
        (containers.state().calls.clone(), images.state().calls.clone()),
        (vec!["version"], vec!["image_status"])
    );
}

#[tokio::test]
async fn a_task_that_the_runtime_forgot_does_not_keep_its_container_or_sandbox() {
    let fake = Fake::start();
    let cri = fake.cri(PATIENT);
    let (container, sandbox) = (ContainerId::new("c1"), SandboxId::new("s1"));
    fake.state().forgotten.insert("c1".to_owned(), false);
    assert_eq!(cri.remove_container(&container).await, Ok(()));
    assert_eq!(fake.state().removed, ["c1"]);
    assert_eq!(
        fake.state().take_calls(),
        BTreeMap::from([("remove_container", 2), ("kill_task", 1), ("delete_task", 1)])
    );

    fake.state().forgotten.extend([("s1".to_owned(), false)]);
    assert_eq!(cri.remove_sandbox(&sandbox).await, Ok(()));
    assert!(fake.state().forgotten.is_empty());

    fake.state().failing.insert("kill_task", (Code::Unimplemented, "unknown service".to_owned()));
    fake.state().forgotten.insert("c1".to_owned(), false);
    cri.remove_container(&container).await.expect_err("another runtime has no such service");
}

//! Runs real containers through the CRI adapter.
//!
//! Needs root and a containerd with the images that `.ci/containerd.sh start DIR` makes. The tests
//! run when `BEEHIVE_TEST_CONTAINERD` names its socket (`.ci/containerd.sh env DIR` prints the
//! line), and say on standard error that they were skipped otherwise.

mod cut_off;
mod lifecycle;
mod pod;
mod proxy;
mod world;

use std::io::Write;
use std::time::Duration;

use edged::ports::{
    ContainerState, ImageCredentials, ImageId, Mount, NetworkMode, PortMapping, PortProtocol, Propagation,
    Runtime, RuntimeError, SandboxState,
};

use pod::{BUSYBOX, TestPod};

#[expect(clippy::disallowed_methods, reason = "a test reads its own switch")]
fn variable(name: &str, test: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() {
        writeln!(std::io::stderr(), "SKIPPED {test}: {name} is not set").expect("standard error is open");
    }
    value
}

/// Runs the test's body against a pod of its own, and removes the pod however the body ends.
macro_rules! with_containerd {
    ($test:literal, async |$pod:ident| $body:block) => {
        let Some(endpoint) = variable("BEEHIVE_TEST_CONTAINERD", $test) else { return };
        let mut pod = TestPod::new($test, &endpoint);
        let outcome = {
            let $pod = &mut pod;
            futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(async move { $body })).await
        };
        pod.remove().await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        pod.assert_nothing_left().await;
    };
}

pub(crate) use with_containerd;

#[tokio::test]
async fn a_container_runs_with_its_environment_its_mount_and_its_network() {
    with_containerd!("a_container_runs", async |pod| {
        pod.run_sandbox().await;
        let sandbox = pod.listed().await;
        assert_eq!(sandbox.state, SandboxState::Ready);
        assert_eq!(sandbox.pod, pod.sandbox.pod);
        assert_eq!(sandbox.ips.len(), 1, "one address of the bridge: {:?}", sandbox.ips);
        assert_eq!(sandbox.labels["io.kubernetes.pod.name"], pod.sandbox.pod.name);
        assert_eq!(sandbox.labels["app"], "containerd-test");

        let volume = pod.directory("volume");
        std::fs::write(volume.join("greeting"), "from the node\n").expect("the directory is ours");
        let mut spec = pod.container(
            "main",
            "echo \"$WHO\"; cat /data/greeting; hostname; ip -4 addr show eth0; echo oops >&2; exec sleep 1000",
        );
        spec.env = vec![pod::variable("WHO", "worker bee = 1"), pod::variable("PATH", "/bin")];
        spec.mounts = vec![Mount {
            container_path: "/data".to_owned(),
            host_path: volume,
            read_only: true,
            propagation: Propagation::Private,
        }];
        let id = pod.start(&spec).await;
        // The two streams are written by two hands.
        let written = ["stderr F oops", "inet "];
        pod.until("both streams are logged", async |pod| {
            let log = pod.log(&spec);
            written.iter().all(|part| log.contains(part))
        })
        .await;

        let log = pod.log(&spec);
        let said = |line: &str| log.lines().any(|logged| logged.ends_with(line));
        assert!(said("stdout F worker bee = 1"), "{log}");
        assert!(said("stdout F from the node"), "{log}");
        assert!(said(&format!("stdout F {}", pod.sandbox.hostname)), "{log}");
        assert!(said("stderr F oops"), "{log}");
        assert!(log.contains(&format!("inet {}/", sandbox.ips[0])), "{log}");

        let container = pod.listed().await.containers.remove(0);
        assert_eq!(container.id, id);
        assert_eq!((container.name.as_str(), container.attempt), ("main", 0));
        assert_eq!(container.image, "busybox");
        assert!(container.image_id.contains("sha256:"), "{}", container.image_id);
        assert!(matches!(container.state, ContainerState::Running { .. }), "{:?}", container.state);
        assert_eq!(container.labels["io.kubernetes.container.name"], "main");
        assert_eq!(container.annotations["io.kubernetes.container.restartCount"], "0");
        assert!(!container.annotations.contains_key("beehive.io/image"));

        let write = pod.exec(&id, "echo x > /data/denied").await;
        assert_ne!(write.code, 0, "the mount is read-only");
        assert!(String::from_utf8_lossy(&write.stderr).contains("Read-only"), "{write:?}");
    });
}

#[tokio::test]
async fn a_command_in_a_container_gives_its_output_its_code_or_its_time_out() {
    with_containerd!("exec", async |pod| {
        pod.run_sandbox().await;
        let id = pod.start(&pod.container("main", "exec sleep 1000")).await;

        let output = pod.exec(&id, "echo out; echo err >&2; exit 3").await;
        assert_eq!(output.code, 3);
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");

        let flood = pod.exec(&id, "yes | head -c 100000").await;
        assert_eq!((flood.code, flood.stdout.len()), (0, 16 * 1024));

        let command = ["sleep".to_owned(), "1000".to_owned()];
        let late = pod.cri.exec(&id, &command, Duration::from_millis(500)).await;
        assert!(matches!(late, Err(RuntimeError::TimedOut(_))), "{late:?}");

        let missing = ["no-such-program".to_owned()];
        let refused = pod.cri.exec(&id, &missing, Duration::from_secs(5)).await;
        assert!(
            matches!(&refused, Err(RuntimeError::Failed(why)) if why.contains("no-such-program")),
            "{refused:?}"
        );
    });
}

#[tokio::test]
async fn an_ended_container_shows_its_code_and_its_reason() {
    with_containerd!("ended", async |pod| {
        pod.run_sandbox().await;
        let endings = [("good", "true", 0, "Completed"), ("bad", "exit 42", 42, "Error")];
        for (name, script, code, reason) in endings {
            pod.start(&pod.container(name, script)).await;
            let exit = pod.exit_of(name).await;
            assert_eq!((exit.code, exit.reason.as_str()), (code, reason), "{name}");
            assert!(exit.started_at.is_some_and(|started| started <= exit.finished_at), "{exit:?}");
        }

        let mut greedy = pod.container("greedy", "exec tail /dev/zero");
        greedy.resources.memory_limit_bytes = 16 * 1024 * 1024;
        pod.start(&greedy).await;
        pod.until("the greedy container is out of memory", async |pod| {
            pod.exit_of("greedy").await.reason == "OOMKilled"
        })
        .await;
        assert_eq!(pod.exit_of("greedy").await.code, 137);

        let mut broken = pod.container("broken", "");
        broken.command = vec!["/no/such/program".to_owned()];
        let id = pod.create(&broken).await;
        let refused = pod.cri.start_container(&id).await.expect_err("there is no such program");
        assert!(refused.to_string().contains("/no/such/program"), "{refused}");
        assert_eq!(pod.exit_of("broken").await.code, 128);
    });
}

#[tokio::test]
async fn stopping_gives_grace_and_removing_leaves_only_the_log() {
    with_containerd!("stopping", async |pod| {
        pod.run_sandbox().await;
        let polite =
            pod.container("polite", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done");
        let stubborn = pod.container("stubborn", "trap '' TERM; echo ready; while :; do sleep 0.1; done");
        let polite_id = pod.start(&polite).await;
        let stubborn_id = pod.start(&stubborn).await;
        for spec in [&polite, &stubborn] {
            pod.until("the trap is set", async |pod| pod.log(spec).contains("ready")).await;
        }

        pod.cri.stop_container(&polite_id, Duration::from_secs(30)).await.expect("it ends by itself");
        assert_eq!(pod.exit_of("polite").await.code, 5);
        assert!(pod.log(&polite).contains("bye"));
        pod.cri.stop_container(&stubborn_id, Duration::from_millis(200)).await.expect("it is killed");
        assert_eq!(pod.exit_of("stubborn").await.code, 137);
        pod.cri.stop_container(&stubborn_id, Duration::from_secs(1)).await.expect("stopping twice is fine");

        for id in [&polite_id, &stubborn_id, &polite_id] {
            pod.cri.remove_container(id).await.expect("removing twice is fine");
        }
        assert!(pod.listed().await.containers.is_empty());
        assert!(pod.log(&polite).contains("ready"), "the log stays");

        let id = pod.sandbox_id();
        for _ in 0..2 {
            pod.cri.stop_sandbox(&id).await.expect("stopping twice is fine");
        }
        let stopped = pod.listed().await;
        assert_eq!((stopped.state, stopped.ips.len()), (SandboxState::NotReady, 0));
        for _ in 0..2 {
            pod.cri.remove_sandbox(&id).await.expect("removing twice is fine");
        }
        assert_eq!(pod.found().await, None);
    });
}

#[tokio::test]
async fn what_runs_is_found_again_after_the_connection_broke() {
    with_containerd!("reconnect", async |pod| {
        let mut proxy = pod.reach_through_proxy();
        proxy.open();
        pod.run_sandbox().await;
        let id = pod.start(&pod.container("main", "exec sleep 1000")).await;
        assert_eq!(pod.listed().await.containers[0].id, id);

        proxy.cut().await;
        let lost = pod.cri.list().await.expect_err("nothing listens");
        assert!(
            matches!(&lost, RuntimeError::Unavailable(why) if why.contains("is not answering")),
            "{lost}"
        );

        proxy.open();
        pod.until("the list is back", async |pod| pod.cri.list().await.is_ok()).await;
        let container = pod.listed().await.containers.remove(0);
        assert_eq!(container.id, id);
        assert!(matches!(container.state, ContainerState::Running { .. }));
        proxy.cut().await;
        pod.reach_directly();
    });
}

#[tokio::test]
async fn a_pod_on_the_hosts_network_has_no_address_and_a_port_of_the_node_leads_into_a_pod() {
    with_containerd!("networks", async |pod| {
        let mut guest = pod.sibling("guest");
        guest.sandbox.ports = vec![PortMapping {
            protocol: PortProtocol::Tcp,
            container_port: 80,
            host_port: 18_099,
            host_ip: "127.0.0.1".to_owned(),
        }];
        guest.run_sandbox().await;
        let address = guest.listed().await.ips[0];
        let spec =
            guest.container("web", "mkdir /www; echo hive > /www/index.html; exec httpd -f -p 80 -h /www");
        guest.start(&spec).await;

        pod.sandbox.namespaces.network = NetworkMode::Host;
        pod.sandbox.hostname = String::new();
        pod.run_sandbox().await;
        assert!(pod.listed().await.ips.is_empty());
        let client = pod.start(&pod.container("client", "exec sleep 1000")).await;
        for url in [format!("http://{address}/"), "http://127.0.0.1:18099/".to_owned()] {
            pod.until("the page is served", async |pod| {
                let page = pod.exec(&client, &format!("wget -q -O - {url}")).await;
                page.code == 0 && page.stdout == b"hive\n"
            })
            .await;
        }
        guest.remove().await;
    });
}

#[tokio::test]
async fn a_rotated_log_is_opened_again() {
    with_containerd!("rotated", async |pod| {
        pod.run_sandbox().await;
        let spec = pod.container("main", "mkfifo /tmp/go; echo before; cat /tmp/go; exec sleep 1000");
        let id = pod.start(&spec).await;
        pod.until("the first line is written", async |pod| pod.log(&spec).contains("before")).await;
        let path = pod.log_path(&spec);
        std::fs::rename(&path, path.with_extension("log.1")).expect("the log is there");
        pod.cri.reopen_log(&id).await.expect("it runs");
        assert_eq!(pod.exec(&id, "echo after > /tmp/go").await.code, 0);
        pod.until("the new file has the line", async |pod| pod.log(&spec).contains("after")).await;
        assert!(!pod.log(&spec).contains("before"));
    });
}

#[tokio::test]
async fn images_are_found_by_name_and_bad_names_are_told_apart() {
    with_containerd!("images", async |pod| {
        let image = pod.cri.image(BUSYBOX).await.expect("an answer").expect("imported by the script");
        assert!(image.tags.iter().any(|tag| tag.ends_with("busybox:latest")), "{image:?}");
        assert!(image.size_bytes > 100_000, "{image:?}");
        let by_id = pod.cri.image(image.id.as_str()).await.expect("an answer");
        assert_eq!(by_id.map(|found| found.id), Some(image.id.clone()));
        assert!(pod.cri.images().await.expect("an answer").iter().any(|listed| listed.id == image.id));
        assert_eq!(pod.cri.image("beehive.invalid/none:1").await, Ok(None));

        let refused = pod.cri.pull_image("Not A Name", &[], &pod.sandbox).await;
        assert!(matches!(&refused, Err(RuntimeError::InvalidImageName { .. })), "{refused:?}");
        let gone = pod.cri.remove_image(&ImageId::new("beehive.invalid/none:1")).await;
        assert_eq!(gone, Ok(()), "removing what is not there succeeds");
        let status = pod.cri.status().await.expect("an answer");
        for kind in ["RuntimeReady", "NetworkReady"] {
            let condition = status.conditions.iter().find(|condition| condition.kind == kind);
            assert!(condition.is_some_and(|condition| condition.holds), "{kind}: {status:?}");
        }
        let version = pod.cri.version().await.expect("an answer").to_string();
        assert!(version.starts_with("containerd://"), "{version}");
    });
}

#[tokio::test]
async fn an_image_is_pulled_with_the_credentials_that_the_registry_takes() {
    let Some(registry) = variable("BEEHIVE_TEST_REGISTRY", "pull") else { return };
    with_containerd!("pull", async |pod| {
        let (account, host) = registry.split_once('@').expect("user:password@host:port");
        let (username, password) = account.split_once(':').expect("user:password");
        let credentials = |password: &str| ImageCredentials {
            registry: host.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
            identity_token: String::new(),
        };
        let name = format!("{host}/beehive/busybox:latest");
        let (wrong, right) = (credentials("sugar"), credentials(password));

        for refused in [&[][..], std::slice::from_ref(&wrong)] {
            let refusal = pod.cri.pull_image(&name, refused, &pod.sandbox).await;
            assert!(
                matches!(&refusal, Err(RuntimeError::PullFailed(why)) if why.contains("401")),
                "{refusal:?}"
            );
        }
        let id = pod
            .cri
            .pull_image(&name, &[wrong, right.clone()], &pod.sandbox)
            .await
            .expect("the second is right");
        let image = pod.cri.image(&name).await.expect("an answer").expect("pulled");
        assert_eq!(image.id, id);
        assert!(image.digests.iter().any(|digest| digest.starts_with(host)), "{image:?}");

        let missing = format!("{host}/beehive/nothing:1");
        let refusal = pod.cri.pull_image(&missing, &[right], &pod.sandbox).await;
        assert!(
            matches!(&refusal, Err(RuntimeError::PullFailed(why)) if why.contains("not found")),
            "{refusal:?}"
        );
    });
}

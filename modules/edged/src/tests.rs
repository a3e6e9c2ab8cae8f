mod recovery;
mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use beehive::probe::run;
use protocol::edge::ReadPodLog;
use protocol::{Namespace, NodeRequest, ObjectName, ResourceType};
use serde_json::{Value, json};

use crate::ports::{HttpProbe, Prober, Runtime, SandboxState};
use world::{Fate, World, pass, tell};

fn one() -> Value {
    json!({"containers": [{"name": "c", "image": "busybox:1.36"}]})
}

fn is_delete(request: &NodeRequest) -> bool {
    matches!(request, NodeRequest::DeletePod { .. })
}

fn condition(status: &Value, kind: &str) -> Value {
    let list = status["conditions"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

#[test]
fn a_pod_runs_and_the_api_is_told() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        let status = world.status("pod default/a");
        assert_eq!(status["phase"], "Running", "{status}");
        assert_eq!(condition(&status, "Ready")["status"], "True");
        assert_eq!((&status["hostIP"], &status["qosClass"]), (&json!("192.0.2.2"), &json!("BestEffort")));
        let shown = world.container("pod default/a");
        assert!(shown["containerID"].as_str().expect("an id").starts_with("hollow://"), "{shown}");
        let sandboxes = world.sandboxes().await;
        assert_eq!((sandboxes.len(), sandboxes[0].containers.len()), (1, 1));
        assert_eq!(world.events(), ["Starting", "Pulling", "Pulled", "Created", "Started"]);
        assert!(world.files.hosts("u1").expect("a hosts file").contains("198.18.0."));

        let told = world.count(|request| matches!(request, NodeRequest::PatchPodStatus { .. }));
        pass(&edged, 600).await;
        let later = world.count(|request| matches!(request, NodeRequest::PatchPodStatus { .. }));
        assert_eq!(told, later, "an unchanged status is not sent again");
        edged.stop().await;
    });
}

#[test]
fn a_pod_of_another_node_is_left_alone() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        let change = world.put_pod("a", "u1", one(), json!({}));
        let mut value = change.object.value().expect("JSON");
        value["spec"]["nodeName"] = json!("edge-2");
        tell(&edged, world.put(value, ResourceType::POD)).await;
        pass(&edged, 5).await;
        assert_eq!(world.sandboxes().await.len(), 0);
        edged.stop().await;
    });
}

#[test]
fn the_node_registers_and_stays_alive() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        pass(&edged, 100).await;
        let node = world.outside.borrow().api["node"].value().expect("JSON");
        assert_eq!(node["metadata"]["labels"]["node-role.kubernetes.io/edge"], "");
        assert_eq!(condition(&node["status"], "Ready")["status"], "True");
        assert_eq!(
            node["status"]["nodeInfo"]["containerRuntimeVersion"],
            concat!("hollow://", env!("CARGO_PKG_VERSION"))
        );
        let lease = world.outside.borrow().api["lease"].value().expect("JSON");
        assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], "node-uid");
        let leases = world.count(|request| matches!(request, NodeRequest::Lease(_)));
        assert!((10..=12).contains(&leases), "{leases} leases in 100 s");
        let statuses = world.count(|request| matches!(request, NodeRequest::PatchNodeStatus { .. }));
        assert!((1..=2).contains(&statuses), "{statuses} statuses in 100 s");

        world.outside.borrow_mut().api.remove("node");
        pass(&edged, 320).await;
        assert!(world.outside.borrow().api.contains_key("node"), "a node that was deleted registers again");
        edged.stop().await;
    });
}

#[test]
fn a_failing_command_loops_with_growing_delays() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        let script = json!({"hollow.beehive.io/exit.c": "3/1s"});
        tell(&edged, world.put_pod("a", "u1", one(), script)).await;
        pass(&edged, 8).await;
        let shown = world.container("pod default/a");
        assert_eq!(shown["state"]["waiting"]["reason"], "CrashLoopBackOff", "{shown}");
        assert_eq!(shown["lastState"]["terminated"]["exitCode"], 3);
        assert_eq!(shown["restartCount"], 1);
        pass(&edged, 300).await;
        let shown = world.container("pod default/a");
        assert_eq!(shown["restartCount"], 5, "{shown}");
        assert!(world.events().contains(&"BackOff".to_owned()));
        let kept = world.sandboxes().await[0].containers.len();
        assert!(kept <= 2, "{kept} ended containers are kept");
        edged.stop().await;
    });
}

#[test]
fn a_pod_that_completes_is_not_started_again() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        let mut spec = one();
        spec["restartPolicy"] = json!("Never");
        tell(&edged, world.put_pod("a", "u1", spec, json!({"hollow.beehive.io/exit.c": "0/2s"}))).await;
        pass(&edged, 10).await;
        let status = world.status("pod default/a");
        assert_eq!(status["phase"], "Succeeded", "{status}");
        assert_eq!(world.sandboxes().await[0].state, SandboxState::NotReady);
        edged.stop().await;
        let edged = world.start().await;
        pass(&edged, 60).await;
        assert_eq!(world.container_ids().await.len(), 1);
        assert_eq!(world.status("pod default/a")["phase"], "Succeeded");
        edged.stop().await;
    });
}

#[test]
fn init_containers_come_first() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        let mut spec = one();
        spec["initContainers"] = json!([{"name": "i", "image": "busybox:1.36"}]);
        tell(&edged, world.put_pod("a", "u1", spec, json!({"hollow.beehive.io/exit.i": "0/5s"}))).await;
        pass(&edged, 3).await;
        let status = world.status("pod default/a");
        assert_eq!(status["phase"], "Pending");
        assert_eq!(condition(&status, "Initialized")["status"], "False");
        pass(&edged, 5).await;
        let status = world.status("pod default/a");
        assert_eq!(status["phase"], "Running", "{status}");
        assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
        edged.stop().await;
    });
}

#[test]
fn a_deleted_pod_ends_gracefully_and_leaves_nothing() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        tell(&edged, world.begin_deletion("pod default/a", 30)).await;
        pass(&edged, 5).await;
        assert_eq!(world.sandboxes().await.len(), 0);
        assert_eq!(world.files.hosts("u1"), None);
        assert_eq!(world.count(is_delete), 1);
        let asked = world.outside.borrow().asked.clone();
        let last = asked
            .iter()
            .rfind(|request| is_delete(request) || matches!(request, NodeRequest::PatchPodStatus { .. }));
        let Some(NodeRequest::DeletePod { options, .. }) = last else { panic!("{last:?}") };
        let options: Value = serde_json::from_slice(options).expect("JSON");
        assert_eq!(
            (&options["gracePeriodSeconds"], &options["preconditions"]["uid"]),
            (&json!(0), &json!("u1"))
        );
        let shown = asked.iter().rev().find_map(|request| match request {
            NodeRequest::PatchPodStatus { patch, .. } => serde_json::from_slice::<Value>(patch).ok(),
            _ => None,
        });
        let shown = shown.expect("a last status");
        assert_eq!(
            shown["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 143,
            "{shown}"
        );
        tell(&edged, world.delete("pod default/a")).await;
        pass(&edged, 60).await;
        assert_eq!(world.count(is_delete), 1);
        edged.stop().await;
    });
}

#[test]
fn a_pod_that_the_api_lost_ends_at_once() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        tell(&edged, world.delete("pod default/a")).await;
        pass(&edged, 1).await;
        assert_eq!(world.sandboxes().await.len(), 0);
        assert_eq!(world.files.hosts("u1"), None);
        assert_eq!(world.count(is_delete), 0);
        edged.stop().await;
    });
}

#[test]
fn a_pod_made_again_under_the_same_name_is_another_pod() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        tell(&edged, world.put_pod("a", "u2", one(), json!({}))).await;
        pass(&edged, 5).await;
        let sandboxes = world.sandboxes().await;
        assert_eq!(sandboxes.len(), 1);
        assert_eq!(sandboxes[0].pod.uid, "u2");
        assert_eq!(world.status("pod default/a")["phase"], "Running");
        edged.stop().await;
    });
}

#[test]
fn a_missing_secret_holds_a_container_until_it_is_there() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        let mut spec = one();
        spec["containers"][0]["env"] =
            json!([{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}}]);
        tell(&edged, world.put_pod("a", "u1", spec, json!({}))).await;
        pass(&edged, 5).await;
        let shown = world.container("pod default/a");
        assert_eq!(shown["state"]["waiting"]["reason"], "CreateContainerConfigError", "{shown}");
        assert_eq!(shown["state"]["waiting"]["message"], "secret \"s\" not found");
        let secret = json!({"kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "data": {"p": "eA=="}});
        tell(&edged, world.put(secret, ResourceType::SECRET)).await;
        pass(&edged, 3).await;
        assert_eq!(world.status("pod default/a")["phase"], "Running");
        assert_eq!(world.container("pod default/a")["restartCount"], 0);
        edged.stop().await;
    });
}

#[test]
fn a_pod_waits_for_its_token_takes_an_old_one_and_gets_a_newer_one() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        let mut spec = one();
        let token = json!({ "serviceAccountToken": { "path": "token", "expirationSeconds": 3607 } });
        spec["volumes"] = json!([{ "name": "v", "projected": { "sources": [token] } }]);
        tell(&edged, world.put_pod("a", "u1", spec, json!({}))).await;
        pass(&edged, 10).await;
        assert_eq!(world.container_ids().await.len(), 0);
        world.outside.borrow_mut().token = Some(("old", "2000-01-01T00:00:00Z"));
        pass(&edged, 60).await;
        assert_eq!(world.container_ids().await.len(), 1);
        let text = || world.files.volume("u1", "v").map(|files| files[0].content.clone());
        assert_eq!(text().as_deref(), Some(&b"old"[..]));
        world.outside.borrow_mut().token = Some(("new", "2100-01-01T00:00:00Z"));
        pass(&edged, 180).await;
        assert_eq!(text().as_deref(), Some(&b"new"[..]));
        assert_eq!(world.container_ids().await.len(), 1, "nothing was started again");
        edged.stop().await;
    });
}

#[test]
fn a_changed_config_map_reaches_its_volume() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        let config = |text: &str| json!({"kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}, "data": {"k": text}});
        world.put(config("one"), ResourceType::CONFIG_MAP);
        let mut spec = one();
        spec["volumes"] = json!([{"name": "v", "configMap": {"name": "m"}}]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/etc/m"}]);
        tell(&edged, world.put_pod("a", "u1", spec, json!({}))).await;
        pass(&edged, 3).await;
        let text = || world.files.volume("u1", "v").map(|files| files[0].content.clone());
        assert_eq!(text().as_deref(), Some(&b"one"[..]));
        tell(&edged, world.put(config("two"), ResourceType::CONFIG_MAP)).await;
        pass(&edged, 1).await;
        assert_eq!(text().as_deref(), Some(&b"two"[..]));
        tell(&edged, world.delete("configmap default/m")).await;
        pass(&edged, 60).await;
        assert_eq!(text().as_deref(), Some(&b"two"[..]), "a removed config map leaves what was there");
        assert_eq!(world.container("pod default/a")["restartCount"], 0);
        edged.stop().await;
    });
}

#[test]
fn an_image_that_cannot_be_pulled_is_waited_for() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({"hollow.beehive.io/pull": "fail"}))).await;
        pass(&edged, 3).await;
        let shown = world.container("pod default/a");
        assert_eq!(shown["state"]["waiting"]["reason"], "ImagePullBackOff", "{shown}");
        let pulls = |world: &World| world.events().iter().filter(|reason| *reason == "Pulling").count();
        assert_eq!(pulls(&world), 1);
        edged.stop().await;
    });
}

#[test]
fn a_dead_sandbox_is_replaced() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        let first = world.sandboxes().await[0].id.clone();
        world.runtime.kill_sandbox(&first);
        pass(&edged, 5).await;
        let status = world.status("pod default/a");
        assert_eq!(status["phase"], "Running", "{status}");
        assert_eq!(status["containerStatuses"][0]["restartCount"], 1);
        let ready = world.sandboxes().await.iter().filter(|s| s.state == SandboxState::Ready).count();
        assert_eq!(ready, 1);
        edged.stop().await;
    });
}

fn treat_statuses(world: &World, fate: Fate) {
    world.outside.borrow_mut().statuses = fate;
}

#[test]
fn a_status_that_comes_right_again_is_told_where_an_answer_was_lost() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        let slow = json!({"hollow.beehive.io/start-delay": "5s"});
        tell(&edged, world.put_pod("a", "u1", one(), slow)).await;
        pass(&edged, 8).await;
        assert_eq!(world.status("pod default/a")["phase"], "Running");
        treat_statuses(&world, Fate::Lost);
        let first = world.sandboxes().await[0].id.clone();
        world.runtime.remove_sandbox(&first).await.expect("the sandbox goes");
        pass(&edged, 4).await;
        assert_eq!(
            world.status("pod default/a")["phase"],
            "Pending",
            "it was told, and edged does not know that"
        );
        treat_statuses(&world, Fate::Refused);
        pass(&edged, 6).await;
        treat_statuses(&world, Fate::Answered);
        pass(&edged, 40).await;
        let status = world.status("pod default/a");
        assert_eq!(status["phase"], "Running", "{status}");
        assert_eq!(status["podIPs"].as_array().map(Vec::len), Some(1), "{status}");
        assert_eq!(condition(&status, "Ready")["status"], "True");
        edged.stop().await;
    });
}

// The simulation found it (seed 9900): after a crash a node knew an older status than the API showed, and
// the answer to its next patch made it believe that all was told.
#[test]
fn a_status_that_is_not_what_was_known_is_told_when_an_answer_shows_it() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 20).await;
        {
            let mut outside = world.outside.borrow_mut();
            let mut shown = outside.api["pod default/a"].value().expect("JSON");
            shown["status"]["phase"] = json!("Pending");
            outside.keep("pod default/a", shown);
        }
        pass(&edged, 20).await;
        assert_eq!(world.status("pod default/a")["phase"], "Pending", "edged is told nothing");
        let running = world.runtime.list().await.expect("a list")[0].containers[0].id.clone();
        world.runtime.crash(&running, 3);
        pass(&edged, 40).await;
        let status = world.status("pod default/a");
        assert_eq!(status["containerStatuses"][0]["restartCount"], 1, "{status}");
        assert_eq!(status["phase"], "Running", "{status}");
        edged.stop().await;
    });
}

#[test]
fn a_node_that_comes_right_again_is_told_where_an_answer_was_lost() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        pass(&edged, 400).await;
        treat_statuses(&world, Fate::Lost);
        world.mood.broken.store(true, Ordering::Relaxed);
        pass(&edged, 60).await;
        let ready = |world: &World| {
            let node = world.outside.borrow().api["node"].value().expect("JSON");
            condition(&node["status"], "Ready")["status"].clone()
        };
        assert_ne!(ready(&world), "True");
        treat_statuses(&world, Fate::Refused);
        world.mood.broken.store(false, Ordering::Relaxed);
        pass(&edged, 30).await;
        treat_statuses(&world, Fate::Answered);
        pass(&edged, 30).await;
        assert_eq!(ready(&world), "True");
        edged.stop().await;
    });
}

#[derive(Debug)]
struct DeafProber(std::sync::atomic::AtomicBool);

#[async_trait]
impl Prober for DeafProber {
    async fn tcp(&self, _: &str, _: u16, _: Duration) -> Result<(), String> {
        if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err("connection refused".to_owned()) }
    }

    async fn http(&self, _: &HttpProbe, _: Duration) -> Result<u16, String> {
        Ok(if self.0.load(Ordering::Relaxed) { 200 } else { 500 })
    }
}

#[test]
fn readiness_follows_its_probe() {
    run(async {
        let mut world = World::new();
        let prober = Arc::new(DeafProber(std::sync::atomic::AtomicBool::new(false)));
        world.prober = Arc::clone(&prober) as Arc<dyn Prober>;
        let edged = world.start().await;
        let mut spec = one();
        spec["containers"][0]["readinessProbe"] =
            json!({"httpGet": {"port": 80}, "periodSeconds": 2, "failureThreshold": 1});
        tell(&edged, world.put_pod("a", "u1", spec, json!({}))).await;
        pass(&edged, 6).await;
        let ready = |world: &World| condition(&world.status("pod default/a"), "Ready")["status"].clone();
        assert_eq!(
            (ready(&world), &world.status("pod default/a")["phase"]),
            (json!("False"), &json!("Running"))
        );
        prober.0.store(true, Ordering::Relaxed);
        pass(&edged, 3).await;
        assert_eq!(ready(&world), "True");
        prober.0.store(false, Ordering::Relaxed);
        pass(&edged, 3).await;
        assert_eq!(ready(&world), "False");
        assert_eq!(world.container("pod default/a")["restartCount"], 0);
        edged.stop().await;
    });
}

#[test]
fn a_failing_liveness_probe_restarts_the_container() {
    run(async {
        let mut world = World::new();
        world.prober = Arc::new(DeafProber(std::sync::atomic::AtomicBool::new(false)));
        let edged = world.start().await;
        let mut spec = one();
        spec["containers"][0]["livenessProbe"] = json!({"tcpSocket": {"port": 80}, "periodSeconds": 5});
        tell(&edged, world.put_pod("a", "u1", spec, json!({}))).await;
        pass(&edged, 7).await;
        assert_eq!(world.container("pod default/a")["restartCount"], 0);
        pass(&edged, 6).await;
        assert_eq!(world.container("pod default/a")["restartCount"], 1);
        assert!(world.events().contains(&"Unhealthy".to_owned()));
        assert!(world.events().contains(&"Killing".to_owned()));
        edged.stop().await;
    });
}

#[test]
fn a_log_is_read_from_the_container_that_is_meant() {
    run(async {
        let world = World::new();
        let edged = world.start().await;
        tell(&edged, world.put_pod("a", "u1", one(), json!({}))).await;
        pass(&edged, 3).await;
        let request = |pod: &str| ReadPodLog {
            namespace: Namespace::parse("default").expect("valid"),
            pod: ObjectName::parse(pod).expect("valid"),
            container: None,
            follow: false,
            previous: false,
            tail_lines: Some(1),
            since: None,
            since_time: None,
            timestamps: false,
            limit_bytes: None,
        };
        let played = "hollow: container c of pod default/a is played: no process runs\n";
        let ended = "hollow: container c of pod default/a has ended: its exit code is played as 3\n";
        let mut stream = edged.ask(request("a")).await.expect("an answer").expect("a log");
        assert_eq!(stream.0.recv().await.expect("a chunk").expect("text"), played);
        assert!(stream.0.recv().await.is_none());
        let previous = ReadPodLog { previous: true, ..request("a") };
        assert!(edged.ask(previous.clone()).await.expect("an answer").is_err(), "there was none before");
        let follow = ReadPodLog { follow: true, ..request("a") };
        let mut followed = edged.ask(follow).await.expect("an answer").expect("a log");
        assert_eq!(followed.0.recv().await.expect("a chunk").expect("text"), played);
        let running = world.runtime.list().await.expect("a list")[0].containers[0].id.clone();
        world.runtime.crash(&running, 3);
        assert_eq!(followed.0.recv().await.expect("a chunk").expect("text"), ended);
        assert!(followed.0.recv().await.is_none(), "following ends with the container");
        pass(&edged, 20).await;
        let mut stream = edged.ask(previous).await.expect("an answer").expect("a log");
        assert_eq!(stream.0.recv().await.expect("a chunk").expect("text"), ended);
        let mut stream = edged.ask(request("a")).await.expect("an answer").expect("a log");
        assert_eq!(stream.0.recv().await.expect("a chunk").expect("text"), played);
        assert!(edged.ask(request("b")).await.expect("an answer").is_err());
        edged.stop().await;
    });
}

//! Pods of the API run by edged in real containers, from the first listing to the last removal.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use beehive::{Catalog, Node, NodeOptions, Section, Sections};
use edgecore::cri::{Cri, CriOptions, SocketEndpoint};
use edgecore::files::DiskFiles;
use edgecore::prober::NetProber;
use edged::Edged;
use edged::ample_machine::AmpleMachine;
use edged::ports::{EdgedPorts, Runtime, Sandbox};
use protocol::edge::{LinkUp, ObjectChanged, ReadPodLog};
use protocol::{ChangeKind, Namespace, ObjectChange, ObjectName, ResourceType, group};
use serde_json::{Value, json};

use crate::pod::BUSYBOX;
use crate::variable;
use crate::world::{Hub, Meta, World};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a node finds when it starts, and finds again when it starts again.
struct Home {
    endpoint: SocketEndpoint,
    directory: tempfile::TempDir,
    world: World,
    /// The node's name, which no other test and no other run uses.
    name: String,
}

/// An edge node with nothing around it but the test.
struct Edge<'a> {
    home: &'a Home,
    node: Node,
    cri: Arc<Cri>,
}

impl<'a> Edge<'a> {
    async fn launch(home: &'a Home) -> Self {
        let cri = Arc::new(Cri::new(CriOptions::new(home.endpoint.clone())));
        let (data, logs) = (home.data(), home.directory.path().join("logs"));
        let ports = EdgedPorts {
            runtime: cri.clone(),
            files: Arc::new(DiskFiles::new(data.clone(), logs.clone())),
            node: Arc::new(AmpleMachine::named("ample")),
            prober: Arc::new(NetProber::new()),
        };
        let catalog = Catalog::new()
            .with::<Meta>(home.world.clone())
            .with::<Hub>(home.world.clone())
            .with::<Edged>(ports);
        let body = json!({
            "hostnameOverride": home.name,
            "runtime": "containerd",
            "rootDirectory": data,
            "tailoredKubeletConfig": { "podLogsDir": logs },
        });
        let sections = Sections::from([("edged".to_owned(), Section { body, ..Section::default() })]);
        let node = Node::launch(catalog, sections, NodeOptions::default()).await.expect("a valid catalog");
        let told = node.bus().publish(LinkUp).await.expect("the node runs");
        assert_eq!(told.receivers, 1, "edged takes it");
        Self { home, node, cri }
    }

    /// Changes an object of the cluster and tells the node.
    async fn change(&self, resource: ResourceType, kind: ChangeKind, value: &Value) {
        let (key, object) = self.home.world.put(resource, value);
        let change = ObjectChange { kind, key, object };
        let told = self.node.bus().publish(ObjectChanged(change)).await.expect("the node runs");
        assert_eq!(told.receivers, 1, "edged takes it");
    }

    /// Ends a pod as the API does: by a time to be gone by, and then for good.
    async fn delete(&self, name: &str) {
        let mut pod = self.home.world.pod(name);
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:01Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(1);
        self.change(ResourceType::POD, ChangeKind::Update, &pod).await;
        self.until("the node reports the pod's end", async |edge| edge.home.world.has_ended(name)).await;
        self.change(ResourceType::POD, ChangeKind::Delete, &pod).await;
        self.until("its containers are gone", async |edge| edge.sandboxes(name).await.is_empty()).await;
    }

    async fn sandboxes(&self, name: &str) -> Vec<Sandbox> {
        let mut listed = self.cri.list().await.expect("the runtime lists");
        listed.retain(|sandbox| sandbox.pod.uid == self.home.uid(name));
        listed
    }

    /// Returns the pod's log as `kubectl logs` gets it; empty until there is one.
    async fn log(&self, name: &str, previous: bool) -> String {
        let request = ReadPodLog {
            namespace: Namespace::parse("default").expect("a name"),
            pod: ObjectName::parse(name).expect("a name"),
            container: None,
            follow: false,
            previous,
            tail_lines: None,
            since: None,
            since_time: None,
            timestamps: false,
            limit_bytes: None,
        };
        let answer = self.node.bus().to(group::EDGED).ask(request).within(PATIENCE).await;
        let Ok(mut stream) = answer.expect("edged serves logs") else { return String::new() };
        let mut text = Vec::new();
        while let Some(chunk) = stream.0.recv().await {
            text.extend_from_slice(&chunk.expect("the log is read"));
        }
        String::from_utf8(text).expect("the containers write text")
    }

    fn container_status(&self, name: &str) -> Value {
        self.home.world.pod(name)["status"]["containerStatuses"][0].clone()
    }

    async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let watch = async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            while !holds(self).await {
                tick.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, watch).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

impl Home {
    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn uid(&self, pod: &str) -> String {
        format!("{pod}-of-{}", self.name)
    }

    /// Puts a pod with one container that runs `script` into the cluster, bound to this node.
    fn put_pod(&self, name: &str, script: &str, more: &Value) {
        let mut container = json!({
            "name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", script],
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        });
        for (field, value) in more["container"].as_object().into_iter().flatten() {
            container[field] = value.clone();
        }
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "default", "uid": self.uid(name),
                "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "nodeName": self.name, "restartPolicy": "Always", "terminationGracePeriodSeconds": 1,
                "dnsPolicy": "ClusterFirst", "enableServiceLinks": false, "automountServiceAccountToken": false,
                "containers": [container], "volumes": more["volumes"],
            },
            "status": { "phase": "Pending" },
        });
        self.world.put(ResourceType::POD, &pod);
    }

    /// Removes what is left in the runtime; returns how much that was.
    async fn clean(&self) -> usize {
        let cri = Cri::new(CriOptions::new(self.endpoint.clone()));
        let mut left = cri.list().await.expect("the runtime lists");
        left.retain(|sandbox| sandbox.pod.uid.ends_with(&self.uid("")));
        for sandbox in &left {
            cri.stop_sandbox(&sandbox.id).await.expect("it stops");
            cri.remove_sandbox(&sandbox.id).await.expect("it goes");
        }
        left.len()
    }
}

fn settings(colour: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "settings", "namespace": "default", "uid": "settings", "resourceVersion": colour },
        "data": { "colour": colour },
    })
}

/// Runs the body on the thread that a node needs, and cleans up however it ends.
async fn with_home(test: &str, body: impl AsyncFnOnce(&Home)) {
    let Some(endpoint) = variable("BEEHIVE_TEST_CONTAINERD", test) else { return };
    let home = Home {
        endpoint: SocketEndpoint::parse(&endpoint).expect("the script names a socket"),
        directory: tempfile::tempdir().expect("a temporary directory"),
        world: World::default(),
        name: format!("{test}-{}", std::process::id()),
    };
    let body = std::panic::AssertUnwindSafe(body(&home));
    let outcome = tokio::task::LocalSet::new().run_until(futures::FutureExt::catch_unwind(body)).await;
    let left = home.clean().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(left, 0, "nothing is left behind");
}

#[tokio::test]
async fn a_pod_lives_through_changes_and_restarts_of_the_edge_until_it_is_deleted() {
    with_home("lifecycle", async |home| {
        home.world.put(ResourceType::CONFIG_MAP, &settings("green"));
        let login = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "login", "namespace": "default", "uid": "login", "resourceVersion": "1" },
            "data": { "password": "aG9uZXk=" },
        });
        home.world.put(ResourceType::SECRET, &login);
        let more = json!({
            "container": {
                "env": [{ "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "login", "key": "password" } } }],
                "volumeMounts": [{ "name": "settings", "mountPath": "/settings" }],
            },
            "volumes": [{ "name": "settings", "configMap": { "name": "settings" } }],
        });
        let script = "echo \"password $PASSWORD\"; while :; do cat /settings/colour; echo; sleep 0.2; done";
        home.put_pod("lives", script, &more);

        let edge = Edge::launch(home).await;
        edge.until("the pod runs", async |edge| edge.home.world.pod("lives")["status"]["phase"] == "Running").await;
        edge.until("it says its secret and its colour", async |edge| {
            let log = edge.log("lives", false).await;
            log.starts_with("password honey\n") && log.contains("\ngreen\n")
        })
        .await;
        let status = edge.container_status("lives");
        let id = status["containerID"].as_str().expect("an id").to_owned();
        assert!(id.starts_with("containerd://"), "{status}");
        assert_eq!(status["image"], "docker.io/library/busybox:latest");
        assert_eq!(status["ready"], true);
        let address = edge.sandboxes("lives").await[0].ips[0].to_string();
        assert_eq!(edge.home.world.pod("lives")["status"]["podIP"], address);

        edge.change(ResourceType::CONFIG_MAP, ChangeKind::Update, &settings("blue")).await;
        edge.until("the file has the other colour", async |edge| edge.log("lives", false).await.contains("\nblue\n"))
            .await;

        edge.node.stop().await;
        let edge = Edge::launch(home).await;
        edge.until("the node serves the pod's log again", async |edge| !edge.log("lives", false).await.is_empty()).await;
        let sandboxes = edge.sandboxes("lives").await;
        assert_eq!(sandboxes.len(), 1);
        assert_eq!(sandboxes[0].containers.len(), 1);
        assert_eq!(format!("containerd://{}", sandboxes[0].containers[0].id), id, "the same container runs on");

        edge.delete("lives").await;
        let files = home.data().join("pods").join(home.uid("lives"));
        edge.until("its files are gone", async |_| !files.exists()).await;
        edge.node.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_container_that_fails_is_started_again_and_its_last_words_are_kept() {
    with_home("crash-loop", async |home| {
        home.put_pod("fails", "echo bye; echo why > /dev/termination-log; exit 7", &Value::Null);
        let edge = Edge::launch(home).await;
        edge.until("it waits for its next start", async |edge| {
            edge.container_status("fails")["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        })
        .await;
        let status = edge.container_status("fails");
        let last = &status["lastState"]["terminated"];
        assert_eq!((&last["exitCode"], &last["reason"]), (&json!(7), &json!("Error")), "{status}");
        assert_eq!(last["message"].as_str().map(str::trim), Some("why"));
        assert_eq!(edge.log("fails", true).await, "bye\n");
        edge.delete("fails").await;
        edge.node.stop().await;
    })
    .await;
}

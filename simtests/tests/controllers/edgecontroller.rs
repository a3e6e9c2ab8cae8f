//! The edge controller: nodes are told what they must know, and may ask what is theirs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::edgecontroller::{EdgeController, EdgeControllerConfig};
use beehive::{AskError, Probe, Responder};
use protocol::cloud::{
    AwaitRoom, CompareNode, Compared, EndSession, Holdings, NodeArrived, NodeConnected, NodeDisconnected,
    Room, SendRefused, SendToNode, ServeNode,
};
use protocol::{
    Held, Lease, Namespace, NodeName, NodeReply, NodeRequest, Object, ObjectKey, ObjectName, ResourceType,
    group,
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, until};

pub(crate) fn node_name(name: &str) -> NodeName {
    NodeName::parse(name).expect("a valid name")
}

pub(crate) fn key(resource: &str, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        resource: ResourceType::parse(resource).expect("a valid type"),
        namespace: Namespace::parse(namespace).ok(),
        name: ObjectName::parse(name).expect("a valid name"),
    }
}

fn object(value: &Value) -> Object {
    Object::from_value(value).expect("it is an object")
}

fn node(name: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "node-role.kubernetes.io/edge": "" } }, "spec": {} })
}

pub(crate) fn pod(name: &str, node: &str, config_maps: &[&str]) -> Value {
    let volumes: Vec<Value> =
        config_maps.iter().map(|map| json!({ "name": map, "configMap": { "name": map } })).collect();
    json!({ "metadata": { "name": name, "namespace": "default" },
            "spec": { "nodeName": node, "containers": [{ "name": "c", "image": "busybox" }], "volumes": volumes } })
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "default" }, "data": { "key": value } })
}

pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The module under test, and what it told nodes.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) probe: Probe<EdgeController>,
    sent: Arc<Mutex<Vec<SendToNode>>>,
    refuse: Arc<Mutex<Option<SendRefused>>>,
    /// What the cloud hub finds when it compares.
    pub(crate) compared: Arc<Mutex<Compared>>,
    /// How much room the cloud hub has, and who waits for some.
    pub(crate) room: Arc<Mutex<usize>>,
    pub(crate) awaiting: Arc<Mutex<Vec<Responder<()>>>>,
}

impl Bench {
    async fn over(cluster: Cluster) -> Self {
        let (sent, refuse) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
        let (log, answer) = (sent.clone(), refuse.clone());
        let compared = Arc::new(Mutex::new(Compared::Same));
        let found = compared.clone();
        let (room, awaiting) = (Arc::new(Mutex::new(usize::MAX)), Arc::new(Mutex::new(Vec::new())));
        let (left, waiting) = (room.clone(), awaiting.clone());
        let config = EdgeControllerConfig::default();
        let probe = Probe::<EdgeController>::new(config, cluster.client())
            .serve::<SendToNode>(group::CLOUDHUB, move |send| {
                if let Some(refused) = answer.lock().expect("no panic").clone() {
                    return Err(refused);
                }
                log.lock().expect("no panic").push(send);
                let mut left = left.lock().expect("no panic");
                *left = left.saturating_sub(1);
                Ok(Room(*left))
            })
            .serve_later::<AwaitRoom>(group::CLOUDHUB, move |_, responder| {
                waiting.lock().expect("no panic").push(responder);
            })
            .serve::<EndSession>(group::CLOUDHUB, |_| ())
            .serve::<CompareNode>(group::CLOUDHUB, move |_| found.lock().expect("no panic").clone())
            .start()
            .await;
        Self { cluster, probe, sent, refuse, compared, room, awaiting }
    }

    /// A cluster with the edge nodes `n` and `m`.
    pub(crate) async fn new() -> Self {
        let cluster = Cluster::new().await;
        for name in ["n", "m"] {
            cluster.create("/api/v1/nodes", node(name)).await;
        }
        Self::over(cluster).await
    }

    pub(crate) async fn connect(&self, node: &str, session: u64, held: Option<Vec<Held>>) {
        let holds = held.map_or_else(|| Holdings::Remembered(Vec::new()), Holdings::Said);
        self.probe.send(NodeConnected { node: node_name(node), session, holds }).await;
    }

    pub(crate) fn sent(&self) -> Vec<String> {
        let sent = self.sent.lock().expect("no panic");
        sent.iter().map(|send| format!("{}: {:?} {}", send.node, send.change.kind, send.change.key)).collect()
    }

    /// Waits until all of this was sent, and nothing else, and forgets it.
    pub(crate) async fn expect(&self, expected: &[&str]) {
        until(&format!("{expected:?}, only {:?}", self.sent()), async || {
            expected.iter().all(|line| self.sent().iter().any(|sent| sent == line))
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (mut sent, mut expected) = (self.sent(), expected.to_vec());
        sent.sort();
        expected.sort_unstable();
        assert_eq!(sent, expected);
        self.sent.lock().expect("no panic").clear();
    }

    /// Returns what a node holds that got everything so far: the last state of each object that was sent.
    pub(crate) fn last(&self, key: &str) -> Object {
        let sent = self.sent.lock().expect("no panic");
        let last = sent.iter().rev().find(|send| send.change.key.to_string() == key);
        last.expect("it was sent").change.object.clone()
    }

    async fn ask(&self, node: &str, request: NodeRequest) -> NodeReply {
        self.ask_in(1, node, request).await.expect("an answer")
    }

    async fn ask_in(&self, session: u64, node: &str, request: NodeRequest) -> Result<NodeReply, AskError> {
        self.probe.ask(ServeNode { node: node_name(node), session, request }).await
    }

    async fn query(&self, node: &str, key: ObjectKey) -> Result<Value, u16> {
        match self.ask(node, NodeRequest::Query(key)).await {
            NodeReply::Object(object) => Ok(object.value().expect("JSON")),
            NodeReply::Refused(status) => Err(status.code),
            other => panic!("{other:?} answers no query"),
        }
    }
}

pub(crate) fn held(object: &Object, resource: &str) -> Held {
    let resource = ResourceType::parse(resource).expect("a valid type");
    Held {
        key: object.key(resource).expect("a valid key"),
        uid: object.uid(),
        resource_version: object.resource_version(),
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_is_told_of_its_pods_and_what_they_need_as_it_changes() {
    let bench = Bench::new().await;
    bench.connect("n", 1, Some(Vec::new())).await;
    bench.expect(&["n: Update node n"]).await;

    bench.cluster.create(MAPS, config_map("c", "1")).await;
    bench.cluster.create(MAPS, config_map("other", "1")).await;
    bench.cluster.create(PODS, pod("p", "n", &["c"])).await;
    bench.cluster.create(PODS, pod("q", "m", &["other"])).await;
    bench.cluster.create(PODS, pod("unbound", "", &["c"])).await;
    until("the pod is told", async || bench.sent().iter().any(|line| line == "n: Insert pod default/p"))
        .await;
    let told = bench.last("pod default/p");
    assert_eq!((told.kind(), told.api_version()), (Some("Pod"), Some("v1")));
    bench.expect(&["n: Insert configmap default/c", "n: Insert pod default/p"]).await;

    bench.cluster.merge(&format!("{MAPS}/c"), json!({ "data": { "key": "2" } })).await;
    bench.cluster.merge(&format!("{MAPS}/other"), json!({ "data": { "key": "2" } })).await;
    bench.expect(&["n: Update configmap default/c"]).await;

    bench.cluster.merge(&format!("{PODS}/p/status"), json!({ "status": { "phase": "Running" } })).await;
    bench.expect(&[]).await;

    bench.cluster.delete(&format!("{PODS}/p")).await;
    bench.expect(&["n: Delete configmap default/c", "n: Delete pod default/p"]).await;
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_lost_what_it_acknowledged_is_told_again() {
    let bench = Bench::new().await;
    bench.cluster.create(MAPS, config_map("c", "1")).await;
    bench.cluster.create(PODS, pod("p", "n", &["c"])).await;
    bench.connect("n", 1, Some(Vec::new())).await;
    let all = ["n: Update node n", "n: Insert configmap default/c", "n: Insert pod default/p"];
    until("all is told", async || bench.sent().len() == all.len()).await;
    let [node, map, pod] = ["node n", "configmap default/c", "pod default/p"]
        .map(|key| held(&bench.last(key), key.split(' ').next().expect("a type")));
    bench.expect(&all).await;
    let find = |compared| *bench.compared.lock().expect("no panic") = compared;
    let period = Duration::from_secs(900);

    bench.probe.advance(period).await;
    bench.expect(&[]).await;
    assert_eq!(bench.probe.asked::<CompareNode>().len(), 1);
    let mut strange = map.clone();
    strange.key.name = ObjectName::parse("strange").expect("a valid name");
    find(Compared::Differs(vec![node.clone(), pod.clone(), strange]));
    bench.probe.advance(period).await;
    bench.expect(&["n: Insert configmap default/c", "n: Delete configmap default/strange"]).await;

    find(Compared::Busy);
    bench.probe.advance(period).await;
    bench.expect(&[]).await;
    find(Compared::Differs(vec![node, map, pod]));
    bench.probe.advance(period).await;
    bench.expect(&[]).await;

    bench.probe.send(NodeDisconnected { node: node_name("n"), session: 1 }).await;
    assert!(bench.probe.asked::<CompareNode>().len() > 3, "until it was found to be well");
    bench.probe.advance(period * 2).await;
    assert_eq!(bench.probe.asked::<CompareNode>().len(), 0, "it is gone");
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn graceful_deletion_comes_as_an_update() {
    let bench = Bench::new().await;
    bench.cluster.create(PODS, pod("p", "n", &[])).await;
    bench.connect("n", 1, None).await;
    bench.expect(&["n: Update node n", "n: Insert pod default/p"]).await;
    let grace = json!({ "gracePeriodSeconds": 30 });
    let deleted = bench.cluster.send("DELETE", &format!("{PODS}/p"), "application/json", &grace).await;
    assert!(deleted.is_ok());
    until("it is told", async || !bench.sent().is_empty()).await;
    assert!(bench.last("pod default/p").meta().deletion_timestamp.is_some());
    bench.expect(&["n: Update pod default/p"]).await;
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_comes_back_is_told_only_the_difference() {
    let bench = Bench::new().await;
    for name in ["same", "changed", "gone"] {
        bench.cluster.create(PODS, pod(name, "n", &[])).await;
    }
    bench.connect("n", 1, Some(Vec::new())).await;
    let all = [
        "n: Update node n",
        "n: Insert pod default/same",
        "n: Insert pod default/changed",
        "n: Insert pod default/gone",
    ];
    until("all is told", async || bench.sent().len() == all.len()).await;
    let mut inventory = vec![held(&bench.last("node n"), "node")];
    inventory.extend(
        ["same", "changed", "gone"].map(|name| held(&bench.last(&format!("pod default/{name}")), "pod")),
    );
    bench.expect(&all).await;

    bench.probe.send(NodeDisconnected { node: node_name("n"), session: 1 }).await;
    bench.cluster.delete(&format!("{PODS}/gone")).await;
    bench.cluster.merge(&format!("{PODS}/changed"), json!({ "metadata": { "labels": { "a": "b" } } })).await;
    bench.cluster.create(PODS, pod("new", "n", &[])).await;
    bench.expect(&[]).await;
    bench.connect("n", 2, Some(inventory)).await;
    let difference =
        ["n: Update pod default/changed", "n: Delete pod default/gone", "n: Insert pod default/new"];
    bench.expect(&difference).await;
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nothing_is_deleted_while_the_api_cannot_be_read() {
    let cluster = Cluster::new().await;
    cluster.create("/api/v1/nodes", node("n")).await;
    cluster.create(PODS, pod("p", "n", &[])).await;
    let pod = object(&cluster.get(&format!("{PODS}/p")).await);
    cluster.cut(true);
    let bench = Bench::over(cluster).await;
    let mut ghost = held(&pod, "pod");
    ghost.key.name = ObjectName::parse("ghost").expect("a valid name");
    bench.connect("n", 1, Some(vec![held(&pod, "pod"), ghost])).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(bench.sent(), [""; 0]);
    bench.cluster.cut(false);
    bench.expect(&["n: Update node n", "n: Delete pod default/ghost"]).await;
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_registers_after_its_pods_were_bound_is_told_of_them() {
    let bench = Bench::new().await;
    bench.cluster.create(MAPS, config_map("c", "1")).await;
    bench.cluster.create(PODS, pod("early", "new", &["c"])).await;
    bench.connect("new", 1, Some(Vec::new())).await;
    bench.expect(&[]).await;
    let reply = bench.ask("new", NodeRequest::RegisterNode(object(&node("new")))).await;
    assert!(matches!(reply, NodeReply::Object(_)), "{reply:?}");
    bench
        .expect(&["new: Update node new", "new: Insert pod default/early", "new: Insert configmap default/c"])
        .await;
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_could_not_be_queued_is_settled_at_the_next_connection() {
    let bench = Bench::new().await;
    bench.connect("n", 1, Some(Vec::new())).await;
    bench.expect(&["n: Update node n"]).await;
    *bench.refuse.lock().expect("no panic") = Some(SendRefused::QueueFull);
    bench.cluster.create(PODS, pod("p", "n", &[])).await;
    bench.expect(&[]).await;
    *bench.refuse.lock().expect("no panic") = None;
    bench.connect("n", 2, Some(Vec::new())).await;
    bench.expect(&["n: Update node n", "n: Insert pod default/p"]).await;
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_session_that_began_before_the_module_is_ended() {
    let bench = Bench::new().await;
    bench.query("n", key("node", "", "n")).await.expect("its own node");
    until("the session is ended", async || bench.probe.asked::<EndSession>().len() == 1).await;
    bench.query("n", key("node", "", "n")).await.expect("its own node");
    assert_eq!(bench.probe.asked::<EndSession>().len(), 0, "once is enough");
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_reads_what_is_its_own() {
    let bench = Bench::new().await;
    bench.cluster.create(MAPS, config_map("c", "1")).await;
    let secret = json!({ "metadata": { "name": "s", "namespace": "default" }, "stringData": { "a": "b" } });
    bench.cluster.create("/api/v1/namespaces/default/secrets", secret).await;
    bench.cluster.create(PODS, pod("p", "n", &["c"])).await;
    bench.connect("n", 1, None).await;
    until("the pod is known", async || bench.sent().iter().any(|line| line.contains("pod default/p"))).await;

    let map = bench.query("n", key("configmap", "default", "c")).await.expect("its pod needs it");
    assert_eq!((&map["kind"], &map["data"]["key"]), (&json!("ConfigMap"), &json!("1")));
    assert_eq!(bench.query("m", key("configmap", "default", "c")).await, Err(403));
    assert_eq!(bench.query("n", key("secret", "default", "s")).await, Err(403));
    assert_eq!(bench.query("n", key("node", "", "m")).await, Err(403));
    assert_eq!(bench.query("n", key("lease", "kube-node-lease", "n")).await, Err(404));
    assert!(bench.query("n", key("pod", "default", "p")).await.is_ok());
    assert_eq!(bench.query("m", key("pod", "default", "p")).await, Err(403));
    assert_eq!(bench.query("n", key("pod", "default", "none")).await, Err(404));
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_reports_for_itself_and_its_pods() {
    let bench = Bench::new().await;
    bench.cluster.create(PODS, pod("p", "n", &[])).await;
    let namespace = || Namespace::parse("default").expect("a valid namespace");
    let name = || ObjectName::parse("p").expect("a valid name");
    let uid = bench.cluster.get(&format!("{PODS}/p")).await["metadata"]["uid"].clone();

    let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } }).to_string();
    let patch =
        |node: &str| NodeRequest::PatchNodeStatus { node: node_name(node), patch: ready.clone().into() };
    assert!(matches!(bench.ask("n", patch("n")).await, NodeReply::Object(_)));
    assert!(matches!(bench.ask("m", patch("n")).await, NodeReply::Refused(status) if status.code == 403));
    assert_eq!(bench.cluster.get("/api/v1/nodes/n").await["status"]["conditions"][0]["type"], "Ready");

    let running = json!({ "metadata": { "uid": uid }, "status": { "phase": "Running" } }).to_string();
    let patch =
        || NodeRequest::PatchPodStatus { namespace: namespace(), pod: name(), patch: running.clone().into() };
    assert!(matches!(bench.ask("n", patch()).await, NodeReply::Object(_)));
    assert!(matches!(bench.ask("m", patch()).await, NodeReply::Refused(status) if status.code == 403));
    assert_eq!(bench.cluster.get(&format!("{PODS}/p")).await["status"]["phase"], "Running");

    let labelled = json!({ "metadata": { "name": "n", "labels": { "zone": "a" }, "annotations": { "x": "y" } },
                           "spec": { "unschedulable": true } });
    assert_eq!(bench.ask("n", NodeRequest::UpdateNode(object(&labelled))).await, NodeReply::Done);
    let updated = bench.cluster.get("/api/v1/nodes/n").await;
    assert_eq!(updated["metadata"]["labels"]["zone"], "a");
    assert_eq!(updated["metadata"]["labels"]["node-role.kubernetes.io/edge"], "");
    assert_eq!(updated["metadata"]["annotations"]["x"], "y");
    assert!(updated["spec"]["unschedulable"].is_null());

    let again = bench.ask("n", NodeRequest::RegisterNode(object(&node("n")))).await;
    assert!(matches!(&again, NodeReply::Refused(status) if status.is_already_exists()), "{again:?}");
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn deleting_a_pod_that_is_gone_or_was_made_anew_is_done() {
    let bench = Bench::new().await;
    bench.cluster.create(PODS, pod("p", "n", &[])).await;
    let uid = bench.cluster.get(&format!("{PODS}/p")).await["metadata"]["uid"].clone();
    let delete = |name: &str, uid: &Value| NodeRequest::DeletePod {
        namespace: Namespace::parse("default").expect("a valid namespace"),
        pod: ObjectName::parse(name).expect("a valid name"),
        options: json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": uid } }).to_string().into(),
    };
    assert_eq!(bench.ask("n", delete("p", &json!("an-older-one"))).await, NodeReply::Done);
    assert_eq!(bench.cluster.get(&format!("{PODS}/p")).await["metadata"]["uid"], uid, "it is not the one");
    assert!(
        matches!(bench.ask("m", delete("p", &uid)).await, NodeReply::Refused(status) if status.code == 403)
    );
    assert_eq!(bench.ask("n", delete("p", &uid)).await, NodeReply::Done);
    let gone = bench.cluster.send("GET", &format!("{PODS}/p"), "application/json", &Value::Null).await;
    assert_eq!(gone, Err(404));
    assert_eq!(bench.ask("n", delete("p", &uid)).await, NodeReply::Done);
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lease_is_made_and_renewed_whatever_version_the_node_knows() {
    let bench = Bench::new().await;
    let lease = |version: Value, at: &str| {
        object(
            &json!({ "metadata": { "name": "n", "namespace": "kube-node-lease", "resourceVersion": version },
                        "spec": { "holderIdentity": "n", "renewTime": at } }),
        )
    };
    let made = bench
        .ask("n", NodeRequest::Lease(Lease::Create(lease(Value::Null, "2026-01-01T00:00:00.000000Z"))))
        .await;
    let NodeReply::Object(made) = made else { panic!("{made:?} is no lease") };
    let version = json!(made.resource_version().expect("a version").as_str());
    for at in ["2026-01-01T00:00:10.000000Z", "2026-01-01T00:00:20.000000Z"] {
        let renewed = bench.ask("n", NodeRequest::Lease(Lease::Update(lease(version.clone(), at)))).await;
        let NodeReply::Object(renewed) = renewed else { panic!("{renewed:?} is no lease") };
        assert_eq!(renewed.value().expect("JSON")["spec"]["renewTime"], at);
    }
    let of_n = NodeRequest::Lease(Lease::Update(lease(version, "2026-01-01T00:00:30.000000Z")));
    assert!(matches!(bench.ask("m", of_n).await, NodeReply::Refused(status) if status.code == 403));
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_token_is_made_for_the_account_of_a_pod() {
    let bench = Bench::new().await;
    let account = json!({ "metadata": { "name": "sa", "namespace": "default" } });
    bench.cluster.create("/api/v1/namespaces/default/serviceaccounts", account).await;
    let mut runs_as = pod("p", "n", &[]);
    runs_as["spec"]["serviceAccountName"] = json!("sa");
    let uid = bench.cluster.create(PODS, runs_as).await["metadata"]["uid"].clone();
    let token = |account: &str| NodeRequest::Token {
        namespace: Namespace::parse("default").expect("a valid namespace"),
        account: ObjectName::parse(account).expect("a valid name"),
        request: object(&json!({ "metadata": {}, "spec": { "audiences": [], "expirationSeconds": 3607,
            "boundObjectRef": { "kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid } } })),
    };
    let NodeReply::Object(made) = bench.ask("n", token("sa")).await else { panic!("a token") };
    assert!(made.value().expect("JSON")["status"]["token"].as_str().is_some_and(|token| token.len() > 20));
    for (node, account) in [("m", "sa"), ("n", "default")] {
        let refused = bench.ask(node, token(account)).await;
        assert!(matches!(&refused, NodeReply::Refused(status) if status.code == 403), "{refused:?}");
    }
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn events_are_recorded_and_patched_even_when_they_expired() {
    let bench = Bench::new().await;
    let event = object(&json!({
        "metadata": { "name": "n.1", "namespace": "default" }, "reason": "Starting", "message": "m", "type": "Normal",
        "involvedObject": { "kind": "Node", "name": "n" }, "source": { "component": "kubelet", "host": "n" }, "count": 1,
    }));
    const EVENTS: &str = "/api/v1/namespaces/default/events";
    for _ in 0..2 {
        // The second time as from a node that did not hear the answer.
        assert_eq!(bench.ask("n", NodeRequest::RecordEvent(event.clone())).await, NodeReply::Done);
    }
    assert_eq!(bench.cluster.get(EVENTS).await["items"].as_array().map(Vec::len), Some(1));
    let patch =
        NodeRequest::PatchEvent { event: event.clone(), patch: json!({ "count": 2 }).to_string().into() };
    assert_eq!(bench.ask("n", patch.clone()).await, NodeReply::Done);
    assert_eq!(bench.cluster.get(&format!("{EVENTS}/n.1")).await["count"], 2);
    bench.cluster.delete(&format!("{EVENTS}/n.1")).await;
    assert_eq!(bench.ask("n", patch).await, NodeReply::Done);
    assert_eq!(bench.cluster.get(&format!("{EVENTS}/n.1")).await["count"], 1);
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_outage_of_the_api_is_waited_out_up_to_the_deadline() {
    let bench = Bench::new().await;
    bench.cluster.cut(true);
    let asked = bench.query("n", key("node", "", "n"));
    let mended = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        bench.cluster.cut(false);
    };
    let (answer, ()) = tokio::join!(asked, mended);
    assert_eq!(answer.map(|node| node["metadata"]["name"].clone()), Ok(json!("n")));
    bench.cluster.cut(true);
    assert_eq!(bench.query("n", key("node", "", "n")).await, Err(503));
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nothing_is_done_for_a_session_once_a_newer_one_began() {
    let bench = Bench::new().await;
    let named = |count: u32| {
        object(&json!({
            "metadata": { "name": "n", "annotations": { "count": count.to_string() } },
        }))
    };
    assert_eq!(bench.ask_in(4, "n", NodeRequest::UpdateNode(named(1))).await, Ok(NodeReply::Done));
    bench.cluster.cut(true);
    // One waits for the API, one for its turn behind it, one comes late.
    let under_way = bench.ask_in(4, "n", NodeRequest::UpdateNode(named(2)));
    let waiting = bench.ask_in(4, "n", NodeRequest::UpdateNode(named(3)));
    let newer = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        bench.probe.send(NodeArrived { node: node_name("n"), session: 5 }).await;
        bench.cluster.cut(false);
        let late = bench.ask_in(4, "n", NodeRequest::UpdateNode(named(4))).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        late
    };
    let (under_way, waiting, late) = tokio::join!(under_way, waiting, newer);
    assert!(matches!(&under_way, Ok(NodeReply::Refused(status)) if status.code == 410), "{under_way:?}");
    for unserved in [waiting, late] {
        assert!(matches!(unserved, Err(AskError::Dropped { .. })), "{unserved:?}");
    }
    let count =
        async || bench.cluster.get("/api/v1/nodes/n").await["metadata"]["annotations"]["count"].clone();
    assert_eq!(count().await, "1");
    assert_eq!(bench.ask_in(5, "n", NodeRequest::UpdateNode(named(5))).await, Ok(NodeReply::Done));
    assert_eq!(count().await, "5");
    bench.probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_waits_for_its_turn_is_served_and_told_nothing_yet() {
    let bench = Bench::new().await;
    bench.cluster.create(PODS, pod("p", "n", &[])).await;
    bench.connect("n", 1, Some(Vec::new())).await;
    bench.expect(&["n: Update node n", "n: Insert pod default/p"]).await;
    bench.probe.send(NodeArrived { node: node_name("n"), session: 2 }).await;
    bench.cluster.create(PODS, pod("q", "n", &[])).await;
    bench.expect(&[]).await;
    assert!(bench.ask_in(2, "n", NodeRequest::Query(key("node", "", "n"))).await.is_ok());
    assert_eq!(bench.probe.asked::<EndSession>().len(), 0, "its session is known");
    let held = vec![held(&object(&bench.cluster.get(&format!("{PODS}/p")).await), "pod")];
    bench.connect("n", 2, Some(held)).await;
    bench.expect(&["n: Update node n", "n: Insert pod default/q"]).await;
    bench.probe.stop().await;
}

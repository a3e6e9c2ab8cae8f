//! Records of what nodes have acknowledged: `kubectl get objectsyncs`.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use simtests::{Direction, Failure, Sim, cluster};

const MINUTE: Duration = Duration::from_secs(60);
const EDGE: &str = "edge-01";
const KUBEEDGE: &str = "modules: { edgeHub: { codec: kubeedge } }";

fn pod(name: &str, config: &str) -> Pod {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": EDGE, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
            "containers": [{ "name": "c", "image": "example.com/app:1" }],
            "volumes": [
                { "name": "config", "configMap": { "name": config } },
                { "name": "secret", "secret": { "secretName": config } },
            ],
        },
    });
    serde_json::from_value(pod).expect("a pod")
}

async fn make_config(kube: &Client, name: &str) {
    let (mut map, mut secret) = (ConfigMap::default(), Secret::default());
    map.metadata.name = Some(name.to_owned());
    secret.metadata.name = Some(name.to_owned());
    let (maps, secrets) = (Api::default_namespaced(kube.clone()), Api::default_namespaced(kube.clone()));
    maps.create(&PostParams::default(), &map).await.expect("the API server is there");
    secrets.create(&PostParams::default(), &secret).await.expect("the API server is there");
}

async fn change_config(kube: &Client, name: &str, value: u32) {
    let patch = Patch::Merge(json!({ "data": { "value": value.to_string() } }));
    let maps = Api::<ConfigMap>::default_namespaced(kube.clone());
    maps.patch(name, &PatchParams::default(), &patch).await.expect("the API server is there");
}

/// Returns each record's version by its name, of those in namespaces or of the others.
async fn records(kube: &Client, kind: &str) -> BTreeMap<String, (String, u64)> {
    let resource = ApiResource {
        group: "reliablesyncs.kubeedge.io".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "reliablesyncs.kubeedge.io/v1alpha1".to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    let list = Api::<DynamicObject>::all_with(kube.clone(), &resource).list(&Default::default()).await;
    let records = list.map(|list| list.items).unwrap_or_default();
    let read = |record: DynamicObject| {
        let spec = &record.data["spec"];
        let what = format!(
            "{} {} {}",
            spec["objectAPIVersion"].as_str().unwrap_or_default(),
            spec["objectKind"].as_str().unwrap_or_default(),
            spec["objectName"].as_str().unwrap_or_default()
        );
        let version = record.data["status"]["objectResourceVersion"].as_str();
        let version = version.and_then(|version| version.parse().ok()).unwrap_or_default();
        (record.name_any(), (what, version))
    };
    records.into_iter().map(read).collect()
}

/// Tells whether the records are those of these pods, config maps and secrets, and say their versions.
/// A node is not told of a change of its pod's status, so a pod's may be an older one.
async fn are_right(kube: &Client, pods: &[&str], configs: &[&str]) -> bool {
    let mut expected = BTreeMap::new();
    for name in configs {
        let map = Api::<ConfigMap>::default_namespaced(kube.clone()).get(name).await;
        let secret = Api::<Secret>::default_namespaced(kube.clone()).get(name).await;
        let (Ok(map), Ok(secret)) = (map, secret) else { return false };
        expected.insert(record_name(&map), (format!("v1 ConfigMap {name}"), version(&map)));
        expected.insert(record_name(&secret), (format!("v1 Secret {name}"), version(&secret)));
    }
    let mut found = records(kube, "ObjectSync").await;
    for name in pods {
        let Ok(pod) = Api::<Pod>::default_namespaced(kube.clone()).get(name).await else { return false };
        let Some((what, at)) = found.remove(&record_name(&pod)) else { return false };
        if what != format!("v1 Pod {name}") || at == 0 || at > version(&pod) {
            return false;
        }
    }
    found == expected
}

fn record_name<K: ResourceExt>(object: &K) -> String {
    format!("{EDGE}.{}", object.uid().unwrap_or_default())
}

fn version<K: ResourceExt>(object: &K) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn start(sim: &mut Sim, cloud: &str, edge: &str) -> Result<Client, Failure> {
    sim.cloud(cloud)?;
    sim.edge(EDGE, edge)?;
    let kube = sim.kube();
    sim.until("it is ready", MINUTE, async || cluster::node_is_ready(&kube, EDGE).await)?;
    sim.block_on(make_config(&kube, "config"));
    create(sim, &kube, "first")?;
    Ok(kube)
}

fn create(sim: &mut Sim, kube: &Client, name: &str) -> Result<(), Failure> {
    let pods: Api<Pod> = Api::default_namespaced(kube.clone());
    sim.block_on(async { pods.create(&PostParams::default(), &pod(name, "config")).await })
        .expect("accepted");
    sim.until("it runs", MINUTE, async || cluster::pod_is(kube, name, "Running").await)
}

fn records_come_right(sim: &mut Sim, kube: &Client, pods: &[&str], configs: &[&str]) -> Result<(), Failure> {
    let right = async || are_right(kube, pods, configs).await;
    sim.until(&format!("the records of {pods:?} and {configs:?}"), 2 * MINUTE, right)
}

#[test]
fn what_a_node_acknowledged_is_recorded_and_what_it_forgot_is_not() {
    for edge in ["", KUBEEDGE] {
        simtests::check(1, |sim| {
            let kube = start(sim, "", edge)?;
            records_come_right(sim, &kube, &["first"], &["config"])?;
            let node = sim.block_on(Api::<Node>::all(kube.clone()).get(EDGE)).expect("it is there");
            let of_cluster = sim.block_on(records(&kube, "ClusterObjectSync"));
            assert_eq!(of_cluster.keys().collect::<Vec<_>>(), [&record_name(&node)]);

            sim.block_on(change_config(&kube, "config", 7));
            records_come_right(sim, &kube, &["first"], &["config"])?;
            create(sim, &kube, "second")?;
            records_come_right(sim, &kube, &["first", "second"], &["config"])?;
            for (name, left) in [("first", &["second"][..]), ("second", &[])] {
                let pods: Api<Pod> = Api::default_namespaced(kube.clone());
                sim.block_on(pods.delete(name, &DeleteParams::default())).expect("it is there");
                sim.until("it is gone", MINUTE, async || cluster::pod_is_gone(&kube, name).await)?;
                let configs = if left.is_empty() { &[][..] } else { &["config"] };
                records_come_right(sim, &kube, left, configs)?;
            }
            Ok(())
        });
    }
}

#[test]
fn a_storm_of_changes_is_few_writes() {
    simtests::check(2, |sim| {
        let kube = start(sim, "", "")?;
        records_come_right(sim, &kube, &["first"], &["config"])?;
        let writes = |sim: &Sim| {
            let trace = sim.trace();
            trace.lines().filter(|line| line.contains(" api Cloud P") && line.contains("objectsyncs")).count()
        };
        let before = writes(sim);
        for value in 0..600 {
            sim.block_on(change_config(&kube, "config", value));
            sim.run_for(Duration::from_millis(100))?;
        }
        records_come_right(sim, &kube, &["first"], &["config"])?;
        // One in each half minute, and the last.
        let written = writes(sim) - before;
        assert!((2..=4).contains(&written), "{written} writes");
        Ok(())
    });
}

#[test]
fn records_are_right_again_after_the_cloud_crashed_in_the_middle() {
    for edge in ["", KUBEEDGE] {
        simtests::check(3, |sim| {
            let kube = start(sim, "", edge)?;
            sim.allow_log("the cloud was not reached");
            records_come_right(sim, &kube, &["first"], &["config"])?;
            sim.block_on(change_config(&kube, "config", 1));
            create(sim, &kube, "second")?;
            let pods: Api<Pod> = Api::default_namespaced(kube.clone());
            sim.block_on(pods.delete("first", &DeleteParams::default().grace_period(0)))
                .expect("it is there");
            sim.run_for(Duration::from_millis(50))?;
            sim.crash("cloud");
            sim.run_for(MINUTE)?;
            sim.restart("cloud")?;
            records_come_right(sim, &kube, &["second"], &["config"])
        });
    }
}

#[test]
fn an_edge_that_cannot_say_what_it_holds_drops_what_was_deleted_without_it() {
    for crashes in [false, true] {
        simtests::check(6, |sim| {
            let kube = start(sim, "", KUBEEDGE)?;
            records_come_right(sim, &kube, &["first"], &["config"])?;
            // Until it is told that the pod is gone, it asks for what the pod needs.
            for text in ["the cloud was not reached", "the node is silent", "refused a request of a node"] {
                sim.allow_log(text);
            }
            for direction in Direction::BOTH {
                sim.cut(EDGE, direction);
            }
            sim.run_for(MINUTE)?;
            let pods: Api<Pod> = Api::default_namespaced(kube.clone());
            sim.block_on(pods.delete("first", &DeleteParams::default().grace_period(0)))
                .expect("it is there");
            sim.until("it is gone", MINUTE, async || cluster::pod_is_gone(&kube, "first").await)?;
            if crashes {
                sim.crash("cloud");
                sim.run_for(MINUTE / 12)?;
                sim.restart("cloud")?;
            }
            assert_eq!(sim.containers(EDGE).len(), 1, "it runs on");
            sim.heal_link(EDGE);
            sim.run_for(2 * MINUTE)?;
            assert!(sim.containers(EDGE).is_empty(), "nobody wants it any more");
            records_come_right(sim, &kube, &[], &[])
        });
    }
}

#[test]
fn records_go_with_their_node_and_come_back_with_it() {
    simtests::check(4, |sim| {
        let kube = start(sim, "", "")?;
        records_come_right(sim, &kube, &["first"], &["config"])?;
        sim.allow_log("the cloud was not reached");
        sim.crash(EDGE);
        sim.run_for(MINUTE / 12)?;
        let nodes: Api<Node> = Api::all(kube.clone());
        sim.block_on(nodes.delete(EDGE, &DeleteParams::default())).expect("it is there");
        sim.until("no record", MINUTE, async || records(&kube, "ObjectSync").await.is_empty())?;
        sim.until("none", MINUTE, async || records(&kube, "ClusterObjectSync").await.is_empty())?;
        sim.restart(EDGE)?;
        sim.until("it is ready", MINUTE, async || cluster::node_is_ready(&kube, EDGE).await)?;
        create(sim, &kube, "third")?;
        sim.until("its record", MINUTE, async || {
            records(&kube, "ObjectSync").await.values().any(|(what, _)| what == "v1 Pod third")
        })
    });
}

#[test]
fn a_cloud_without_the_module_leaves_no_records() {
    simtests::check(5, |sim| {
        let kube = start(sim, "modules: { syncController: { enable: false } }", "")?;
        sim.run_for(2 * MINUTE)?;
        assert!(sim.block_on(records(&kube, "ObjectSync")).is_empty());
        assert!(sim.block_on(records(&kube, "ClusterObjectSync")).is_empty());
        Ok(())
    });
}

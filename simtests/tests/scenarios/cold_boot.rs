//! An edge that boots where nobody is: all that its pods need is on its disk.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use edged::ports::SandboxState;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use simtests::{Failure, Sim, cluster};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;
const EDGE: &str = "edge-01";
const VOLUMES: [&str; 4] = ["config", "secret", "projected", "token"];

/// A pod with a volume of each kind that the cloud fills.
fn pod(name: &str) -> Pod {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": EDGE, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
            "containers": [{ "name": "c", "image": "example.com/app:1",
                "env": [{ "name": "KEY", "valueFrom": { "configMapKeyRef": { "name": "config", "key": "key" } } }] }],
            "volumes": [
                { "name": "config", "configMap": { "name": "config" } },
                { "name": "secret", "secret": { "secretName": "secret" } },
                { "name": "projected", "projected": { "sources": [
                    { "configMap": { "name": "config" } },
                    { "secret": { "name": "secret", "items": [{ "key": "password", "path": "inner/password" }] } },
                    { "downwardAPI": { "items": [{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] } },
                ] } },
                { "name": "token", "projected": { "sources": [
                    { "serviceAccountToken": { "expirationSeconds": 3600, "path": "token" } },
                ] } },
            ],
        },
    });
    serde_json::from_value(pod).expect("a pod")
}

async fn make_contents(kube: &Client) {
    let named = |name: &str| json!({ "metadata": { "name": name } });
    let (mut map, mut secret) = (named("config"), named("secret"));
    map["data"] = json!({ "key": "value" });
    secret["stringData"] = json!({ "password": "hunter2" });
    let map: ConfigMap = serde_json::from_value(map).expect("a config map");
    let secret: Secret = serde_json::from_value(secret).expect("a secret");
    let (maps, secrets) = (Api::default_namespaced(kube.clone()), Api::default_namespaced(kube.clone()));
    maps.create(&PostParams::default(), &map).await.expect("the API server is there");
    secrets.create(&PostParams::default(), &secret).await.expect("the API server is there");
}

type Volumes = BTreeMap<&'static str, BTreeMap<String, Bytes>>;

fn volumes(sim: &Sim, uid: &str) -> Volumes {
    VOLUMES.iter().filter_map(|volume| Some((*volume, sim.volume(EDGE, uid, volume)?))).collect()
}

fn ready_pods(sim: &mut Sim) -> Vec<String> {
    let ready = sim.containers(EDGE).into_iter().filter(|sandbox| sandbox.state == SandboxState::Ready);
    let mut names: Vec<String> = ready.map(|sandbox| sandbox.pod.name).collect();
    names.sort();
    names
}

/// Runs two pods, takes the power from the edge and the cloud from the world, and lets the edge boot
/// when its clock is so much further. Returns the volumes of each pod before and after.
fn boot_alone(sim: &mut Sim, edge: &str, later_ms: i64) -> Result<[(Volumes, Volumes); 2], Failure> {
    sim.cloud("")?;
    sim.edge(EDGE, edge)?;
    let kube = sim.kube();
    sim.until("it is ready", MINUTE, async || cluster::node_is_ready(&kube, EDGE).await)?;
    sim.block_on(make_contents(&kube));
    let pods: Api<Pod> = Api::default_namespaced(kube.clone());
    let names = ["first", "second"];
    let mut uids = Vec::new();
    for name in names {
        let made = sim.block_on(async { pods.create(&PostParams::default(), &pod(name)).await });
        uids.push(made.expect("accepted").metadata.uid.expect("it has one"));
        sim.until("it runs", MINUTE, async || cluster::pod_is(&kube, name, "Running").await)?;
    }
    let before: Vec<Volumes> = uids.iter().map(|uid| volumes(sim, uid)).collect();
    sim.allow_log("the cloud was not reached");
    sim.crash("cloud");
    sim.power_off(EDGE);
    assert!(ready_pods(sim).is_empty());
    assert!(uids.iter().all(|uid| volumes(sim, uid).is_empty()), "a loss of power empties them");
    sim.jump_clock(EDGE, later_ms);
    sim.restart(EDGE)?;
    sim.run_for(2 * MINUTE)?;
    let mut after = uids.iter().map(|uid| volumes(sim, uid));
    let mut before = before.into_iter();
    Ok([(); 2].map(|()| (before.next().expect("two pods"), after.next().expect("two pods"))))
}

#[test]
fn every_pod_and_all_that_it_mounts_is_back_without_a_cloud() {
    simtests::check(1, |sim| {
        let pods = boot_alone(sim, "", 0)?;
        assert_eq!(ready_pods(sim), ["first", "second"]);
        for (name, (before, after)) in ["first", "second"].into_iter().zip(pods) {
            assert_eq!(before.len(), VOLUMES.len());
            assert_eq!(after, before, "{name}");
            assert_eq!(after["config"]["key"], "value");
            assert_eq!(after["secret"]["password"], "hunter2");
            assert_eq!(after["projected"]["inner/password"], "hunter2");
            assert_eq!(after["projected"]["name"], name);
            assert_eq!(after["token"]["token"].split(|byte| *byte == b'.').count(), 3, "a token");
        }
        Ok(())
    });
}

#[test]
fn a_token_that_ended_long_ago_is_given_within_the_grace_and_not_beyond() {
    let grace = "modules: { metaManager: { tokenGracePeriod: 240h } }";
    simtests::check(2, |sim| {
        for (before, after) in boot_alone(sim, grace, 239 * HOUR_MS)? {
            assert_eq!(after, before, "it ended nine days ago");
        }
        assert_eq!(ready_pods(sim), ["first", "second"]);
        Ok(())
    });
    simtests::check(3, |sim| {
        sim.allow_log("token");
        for (_, after) in boot_alone(sim, grace, 242 * HOUR_MS)? {
            assert!(!after.contains_key("token"), "nobody gives one");
        }
        assert!(ready_pods(sim).is_empty(), "a pod does not start without its token");
        sim.set_clock_right(EDGE);
        sim.restart("cloud")?;
        let mut looks = 0;
        while ready_pods(sim).len() < 2 && looks < 60 {
            sim.run_for(MINUTE / 12)?;
            looks += 1;
        }
        assert_eq!(ready_pods(sim), ["first", "second"]);
        Ok(())
    });
}

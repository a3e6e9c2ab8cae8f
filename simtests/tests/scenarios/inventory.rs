//! What a node holds is compared by digests: what travels is the difference, and a divergence ends.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use protocol::edge::ListHeld;
use protocol::{Held, Inventory, ResourceType, group};
use serde_json::{Value, json};
use simtests::{Direction, Failure, Sim, cluster};

const SECOND: Duration = Duration::from_secs(1);
const EDGE: &str = "edge-01";
/// The tree of an edge's store that has the objects.
const OBJECTS: &str = "metamanager.objects";

fn config_map(number: usize) -> ConfigMap {
    let text = format!("{:x}", number * 7_919).repeat(40);
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("config-{number}") },
        "data": { "text": text },
    });
    serde_json::from_value(map).expect("a config map")
}

fn pod(name: &str, maps: impl Iterator<Item = usize>) -> Pod {
    let refer = |number| json!({ "configMapRef": { "name": format!("config-{number}") } });
    let sources: Vec<Value> = maps.map(refer).collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": EDGE, "terminationGracePeriodSeconds": 1, "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "c", "image": "example.com/app:1", "envFrom": sources }],
        },
    });
    serde_json::from_value(pod).expect("a pod")
}

/// Starts a cluster whose node holds so many config maps, which pods of 200 each need.
fn start(sim: &mut Sim, maps: usize, cloud: &str) -> Result<Client, Failure> {
    sim.cloud(cloud)?;
    sim.edge(EDGE, "")?;
    let kube = sim.kube();
    sim.until("the node is ready", 60 * SECOND, async || cluster::node_is_ready(&kube, EDGE).await)?;
    let (all_maps, pods) = (Api::default_namespaced(kube.clone()), Api::default_namespaced(kube.clone()));
    let names: Vec<String> = (0..maps.div_ceil(200)).map(|number| format!("pod-{number}")).collect();
    sim.block_on(async {
        for number in 0..maps {
            all_maps.create(&PostParams::default(), &config_map(number)).await.expect("the API server");
        }
        for (number, name) in names.iter().enumerate() {
            let needs = number * 200..maps.min((number + 1) * 200);
            pods.create(&PostParams::default(), &pod(name, needs)).await.expect("the API server");
        }
    });
    for name in &names {
        sim.until("the pod runs", 300 * SECOND, async || cluster::pod_is(&kube, name, "Running").await)?;
    }
    sim.run_for(30 * SECOND)?;
    Ok(kube)
}

/// Returns what the node holds.
fn held(sim: &mut Sim) -> Inventory {
    let bus = sim.bus(EDGE).expect("the edge runs");
    let listed = sim.block_on(async { bus.to(group::META).ask(ListHeld).within(10 * SECOND).await });
    listed.expect("an answer").expect("a store").into_iter().collect()
}

/// Returns the config maps of what a node holds: its Node object changes by itself.
fn maps(inventory: &Inventory) -> Vec<Held> {
    let mut all = inventory.list();
    all.retain(|held| held.key.resource == ResourceType::CONFIG_MAP);
    all
}

fn bytes(sim: &Sim) -> u64 {
    sim.link_bytes(EDGE).iter().sum()
}

/// Counts the lines of the trace that contain a text.
fn lines(sim: &Sim, text: &str) -> usize {
    sim.trace().lines().filter(|line| line.contains(text)).count()
}

fn change_maps(sim: &mut Sim, kube: &Client, numbers: std::ops::Range<usize>, to: &str) {
    let maps: Api<ConfigMap> = Api::default_namespaced(kube.clone());
    sim.block_on(async {
        for number in numbers {
            let patch = Patch::Merge(json!({ "data": { "text": to } }));
            let name = format!("config-{number}");
            maps.patch(&name, &PatchParams::default(), &patch).await.expect("the API server");
        }
    });
}

/// Cuts the node off for a minute, does something meanwhile, and returns the bytes of the first half
/// minute after that.
fn away(sim: &mut Sim, meanwhile: impl FnOnce(&mut Sim)) -> Result<u64, Failure> {
    Direction::BOTH.into_iter().for_each(|direction| sim.cut(EDGE, direction));
    sim.run_for(60 * SECOND)?;
    meanwhile(sim);
    let before = bytes(sim);
    sim.heal_link(EDGE);
    sim.run_for(30 * SECOND)?;
    Ok(bytes(sim) - before)
}

#[test]
fn a_node_that_returns_lists_nothing_and_is_told_only_what_changed() {
    simtests::check(1, |sim| {
        let kube = start(sim, 2000, "")?;
        sim.allow_log("the cloud was not reached");
        sim.allow_log("the node is silent");
        let before = held(sim);
        assert!(before.len() > 2000, "{}", before.len());
        let unchanged = away(sim, |_| {})?;
        let changed = away(sim, |sim| change_maps(sim, &kube, 0..10, "new"))?;
        let after = held(sim);
        let known = maps(&before);
        let differing = maps(&after).iter().filter(|held| !known.contains(held)).count();
        sim.crash("cloud");
        sim.run_for(20 * SECOND)?;
        let first = bytes(sim);
        sim.restart("cloud")?;
        sim.run_for(60 * SECOND)?;
        let forgotten = bytes(sim) - first;
        println!(
            "2000 objects: reconnect {unchanged} bytes, with 10 changes {changed}, after the cloud's restart {forgotten}"
        );
        assert_eq!(differing, 10);
        assert_eq!(maps(&held(sim)), maps(&after));
        assert!(unchanged < 12_000, "{unchanged}");
        assert!(changed < unchanged + 10 * 500, "{changed}");
        Ok(())
    });
}

#[test]
fn a_node_whose_disk_and_cloud_part_is_healed_within_a_period() {
    simtests::check(2, |sim| {
        start(sim, 40, "modules: { edgeController: { comparePeriod: 5m } }")?;
        let before = held(sim);
        sim.run_for(1200 * SECOND)?;
        assert_eq!(lines(sim, "it is told again"), 0, "nothing is wrong");
        sim.allow_log("missing from the edge store");
        sim.allow_log("the edge store holds a record that was not kept here");
        sim.allow_log("the node did not hold what it had acknowledged");
        let extra =
            br#"?{"metadata":{"name":"extra","namespace":"default","uid":"x","resourceVersion":"1"}}"#;
        let mut extra = extra.to_vec();
        extra[0] = 1;
        sim.tamper_disk(EDGE, OBJECTS, b"configmap\0default\0config-7", None);
        sim.tamper_disk(EDGE, OBJECTS, b"configmap\0default\0extra", Some(&extra));
        sim.run_for(310 * SECOND)?;
        assert_eq!(lines(sim, "it is told again"), 1);
        assert_eq!(held(sim), before);
        sim.run_for(900 * SECOND)?;
        assert_eq!(lines(sim, "it is told again"), 1, "and all is well again");
        Ok(())
    });
}

#[test]
fn a_way_that_is_cut_while_node_and_cloud_compare_leaves_nothing_wrong() {
    for step in 0..6 {
        simtests::check(3, |sim| {
            let kube = start(sim, 400, "")?;
            sim.allow_log("the cloud was not reached");
            sim.allow_log("the node is silent");
            sim.allow_log("a connection was not admitted");
            sim.crash("cloud");
            sim.run_for(20 * SECOND)?;
            sim.restart("cloud")?;
            // The first frame that is not the hello is the answer to the first question.
            let sent = sim.link_frames(EDGE)[0];
            while sim.link_frames(EDGE)[0] <= sent + 1 + step {
                sim.run_for(SECOND / 20)?;
            }
            Direction::BOTH.into_iter().for_each(|direction| sim.cut(EDGE, direction));
            sim.run_for(40 * SECOND)?;
            sim.heal_link(EDGE);
            sim.run_for(60 * SECOND)?;
            change_maps(sim, &kube, 3..5, "newer");
            sim.run_for(10 * SECOND)?;
            let api: Api<ConfigMap> = Api::default_namespaced(kube.clone());
            let held = held(sim).list();
            for number in 0..5 {
                let name = format!("config-{number}");
                let map = sim.block_on(async { api.get(&name).await }).expect("the API server");
                let found = held.iter().find(|held| held.key.name.as_str() == name).expect("it is held");
                let version = found.resource_version.as_ref().map(ToString::to_string);
                assert_eq!(version, map.metadata.resource_version, "{name}");
            }
            Ok(())
        });
    }
}

//! Pods through crashes, cuts and losses of power.

use std::time::Duration;

use edged::ports::{Sandbox, SandboxState};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use simtests::{Direction, Failure, Sim, cluster};

const MINUTE: Duration = Duration::from_secs(60);

fn pod(name: &str, node: &str) -> Pod {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "c", "image": "example.com/app:1" }],
        },
    });
    serde_json::from_value(pod).expect("a pod")
}

fn start(sim: &mut Sim, edges: &[&str]) -> Result<Client, Failure> {
    sim.cloud("")?;
    for edge in edges {
        sim.edge(edge, "")?;
    }
    let kube = sim.kube();
    for edge in edges {
        let ready = async || cluster::node_is_ready(&kube, edge).await;
        sim.until(&format!("{edge} is ready"), MINUTE, ready)?;
    }
    Ok(kube)
}

fn create(sim: &mut Sim, kube: &Client, name: &str, node: &str) {
    let pods: Api<Pod> = Api::default_namespaced(kube.clone());
    let created = sim.block_on(async { pods.create(&PostParams::default(), &pod(name, node)).await });
    created.expect("the API server is there");
}

#[test]
fn a_pod_deleted_while_its_edge_was_cut_off_ends_when_the_way_is_healed() {
    simtests::check(1, |sim| {
        let kube = start(sim, &["edge-01", "edge-02"])?;
        create(sim, &kube, "stays", "edge-01");
        create(sim, &kube, "goes", "edge-01");
        for name in ["stays", "goes"] {
            sim.until("it runs", MINUTE, async || cluster::pod_is(&kube, name, "Running").await)?;
        }
        sim.allow_log("the node is silent");
        sim.allow_log("the cloud was not reached");
        for direction in Direction::BOTH {
            sim.cut("edge-01", direction);
        }
        let pods: Api<Pod> = Api::default_namespaced(kube.clone());
        let now = DeleteParams::default().grace_period(0);
        sim.block_on(async { pods.delete("goes", &now).await }).expect("the API server is there");
        sim.run_for(2 * MINUTE)?;
        sim.heal_link("edge-01");
        sim.until("it is ready", MINUTE, async || cluster::node_is_ready(&kube, "edge-01").await)?;
        sim.run_for(MINUTE)?;
        let left = sim.containers("edge-01");
        assert_eq!(left.iter().map(|sandbox| sandbox.pod.name.as_str()).collect::<Vec<_>>(), ["stays"]);
        Ok(())
    });
}

#[test]
fn an_edge_that_lost_its_power_brings_its_pods_back_without_its_cloud() {
    simtests::check(2, |sim| {
        let kube = start(sim, &["edge-01"])?;
        create(sim, &kube, "kept", "edge-01");
        sim.until("it runs", MINUTE, async || cluster::pod_is(&kube, "kept", "Running").await)?;
        sim.allow_log("the cloud was not reached");
        sim.crash("cloud");
        sim.power_off("edge-01");
        assert!(sim.containers("edge-01").iter().all(|sandbox| sandbox.state != SandboxState::Ready));
        sim.run_for(MINUTE)?;
        sim.restart("edge-01")?;
        sim.run_for(MINUTE)?;
        let ready = |sandbox: &Sandbox| sandbox.state == SandboxState::Ready;
        assert_eq!(sim.containers("edge-01").into_iter().filter(ready).count(), 1);
        sim.restart("cloud")?;
        sim.until("it is ready", 2 * MINUTE, async || cluster::node_is_ready(&kube, "edge-01").await)?;
        sim.until("it runs", MINUTE, async || cluster::pod_is(&kube, "kept", "Running").await)
    });
}

#[test]
fn a_damaged_record_of_an_edge_is_healed_from_the_cloud() {
    simtests::check(3, |sim| {
        let kube = start(sim, &["edge-01"])?;
        for name in ["one", "two", "three"] {
            create(sim, &kube, name, "edge-01");
            sim.until("it runs", MINUTE, async || cluster::pod_is(&kube, name, "Running").await)?;
        }
        let before = sim.containers("edge-01");
        sim.allow_log("skipped a record of the edge store");
        sim.crash("edge-01");
        assert!(sim.damage_disk("edge-01", "metamanager.objects"));
        sim.restart("edge-01")?;
        sim.run_for(2 * MINUTE)?;
        assert_eq!(sim.containers("edge-01"), before, "no container noticed");
        Ok(())
    });
}

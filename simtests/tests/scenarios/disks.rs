//! Disks that fill up or fail: their stores open themselves anew, and no process is started again.

use std::time::Duration;

use edged::ports::SandboxState;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use simtests::{DiskFault, Failure, Sim, cluster};

const MINUTE: Duration = Duration::from_secs(60);

/// What is logged while a disk takes nothing.
const EXPLAINED: [&str; 8] = [
    "a change was not kept",
    "the node did not keep a change",
    "a change could not be made durable",
    "the store refused a write",
    "a task of the API server failed",
    "a node's request was not served",
    "could not correct a node",
    "the node's status was refused",
];

fn start(sim: &mut Sim) -> Result<Client, Failure> {
    sim.cloud("")?;
    sim.edge("edge-01", "")?;
    EXPLAINED.iter().for_each(|text| sim.allow_log(text));
    let kube = sim.kube();
    sim.until("the node is ready", MINUTE, async || cluster::node_is_ready(&kube, "edge-01").await)?;
    Ok(kube)
}

async fn create(kube: &Client, name: &str) -> bool {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": "edge-01", "terminationGracePeriodSeconds": 1,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "c", "image": "example.com/app:1" }],
        },
    });
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    Api::<Pod>::default_namespaced(kube.clone()).create(&PostParams::default(), &pod).await.is_ok()
}

fn until_it_runs(sim: &mut Sim, kube: &Client, name: &str) -> Result<(), Failure> {
    sim.until(&format!("{name} runs"), 2 * MINUTE, async || cluster::pod_is(kube, name, "Running").await)
}

/// Returns how often the trace has something.
fn count(sim: &Sim, what: &str) -> usize {
    sim.trace().lines().filter(|line| line.contains(what)).count()
}

#[test]
fn an_edge_goes_on_by_itself_when_its_full_disk_has_room_again() {
    simtests::check(21, |sim| {
        let kube = start(sim)?;
        assert!(sim.block_on(create(&kube, "before")));
        until_it_runs(sim, &kube, "before")?;
        sim.fill_disk("edge-01");
        assert!(sim.block_on(create(&kube, "during")));
        for _ in 0..10 {
            sim.run_for(Duration::from_secs(12))?;
            assert!(sim.block_on(cluster::node_is_ready(&kube, "edge-01")), "what needs no disk goes on");
            assert!(sim.block_on(cluster::pod_is(&kube, "before", "Running")), "what runs goes on");
            assert!(!sim.block_on(cluster::pod_is(&kube, "during", "Running")), "nothing is kept");
        }
        sim.heal_disk("edge-01");
        until_it_runs(sim, &kube, "during")?;
        assert_eq!(count(sim, "process edge-01 starts"), 1, "nobody started it again");
        // What came with the outage is on the disk, and is there without the cloud.
        sim.allow_log("the cloud was not reached");
        sim.crash("cloud");
        sim.power_off("edge-01");
        sim.restart("edge-01")?;
        let mut names = Vec::new();
        for _ in 0..60 {
            sim.run_for(Duration::from_secs(2))?;
            let sandboxes = sim.containers("edge-01").into_iter();
            let running = sandboxes.filter(|sandbox| sandbox.state == SandboxState::Ready);
            names = running.map(|sandbox| sandbox.pod.name).collect();
            if names.len() == 2 {
                break;
            }
        }
        names.sort();
        assert_eq!(names, ["before", "during"]);
        Ok(())
    });
}

#[test]
fn a_cloud_goes_on_by_itself_when_its_full_disk_has_room_again() {
    simtests::check(22, |sim| {
        let kube = start(sim)?;
        assert!(sim.block_on(create(&kube, "before")));
        until_it_runs(sim, &kube, "before")?;
        sim.allow_log("the node is silent");
        sim.fill_disk("cloud");
        sim.run_for(MINUTE)?;
        assert!(!sim.block_on(create(&kube, "during")), "nothing is acknowledged that is not kept");
        sim.heal_disk("cloud");
        sim.until("it takes writes", MINUTE, async || create(&kube, "after").await)?;
        until_it_runs(sim, &kube, "after")?;
        sim.until("the node is ready", MINUTE, async || cluster::node_is_ready(&kube, "edge-01").await)?;
        assert!(sim.block_on(cluster::pod_is_gone(&kube, "during")), "what was refused did not come");
        assert!(sim.block_on(cluster::pod_is(&kube, "before", "Running")));
        assert_eq!(count(sim, "process cloud starts"), 1, "nobody started it again");
        Ok(())
    });
}

/// A failed sync says nothing of what is on the disk: some of these batches are there afterwards.
#[test]
fn a_failed_sync_leaves_edge_and_cloud_of_one_mind() {
    for seed in 30..38 {
        simtests::check(seed, |sim| {
            let kube = start(sim)?;
            for number in 0..6_u32 {
                sim.fail_write("edge-01", 0, DiskFault::NotDurable);
                let name = format!("pod-{number}");
                assert!(sim.block_on(create(&kube, &name)));
                until_it_runs(sim, &kube, &name)?;
            }
            assert_eq!(sim.containers("edge-01").len(), 6);
            assert_eq!(count(sim, "process edge-01 starts"), 1);
            Ok(())
        });
    }
}

/// What a flash disk has to bear of a node where nothing happens: each pod's token is renewed and kept
/// every 49 minutes, and nothing else is written. docs/simulation.md has the figure.
#[test]
fn an_idle_node_with_five_pods_writes_their_tokens_and_nothing_else() {
    let outcome = simtests::run(40, |sim| {
        let kube = start(sim)?;
        for number in 0..5 {
            let name = format!("pod-{number}");
            assert!(sim.block_on(create(&kube, &name)));
            until_it_runs(sim, &kube, &name)?;
        }
        // Events leave the outbox meanwhile.
        sim.run_for(5 * MINUTE)?;
        let [batches, bytes] = sim.disk_writes("edge-01");
        sim.run_for(2 * 60 * MINUTE)?;
        let [batches_after, bytes_after] = sim.disk_writes("edge-01");
        let (batches, bytes) = (batches_after - batches, bytes_after - bytes);
        println!("an idle node with 5 pods gives its store {batches} batches of {bytes} bytes in two hours");
        assert!(batches <= 15 && bytes <= 15 * 1_500, "{batches} batches, {bytes} bytes");
        Ok(())
    });
    assert!(outcome.failure.is_none(), "{outcome}");
}

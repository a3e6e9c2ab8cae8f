//! Two edges and one cloud in one process: the production modules over ports in memory.

mod world;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use tokio::task::LocalSet;

use edged::ports::{Runtime, Sandbox, SandboxState};
use world::{Cloud, EdgeMachine, World, until};

fn pod(name: &str, node: Option<&str>) -> Pod {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{ "name": "c", "image": "example.com/app:1" }],
        },
    });
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    serde_json::from_value(pod).expect("a pod")
}

async fn ready(cloud: &Cloud, name: &str) -> Node {
    let nodes: Api<Node> = Api::all(cloud.client.clone());
    until(&format!("node {name} ready"), || async {
        let node = nodes.get_opt(name).await.expect("the API answers")?;
        let conditions = node.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True").then_some(node.clone())
    })
    .await
}

async fn phase(pods: &Api<Pod>, name: &str, wanted: &str) -> Pod {
    until(&format!("pod {name} {wanted}"), || async {
        let pod = pods.get_opt(name).await.expect("the API answers")?;
        (pod.status.as_ref()?.phase.as_deref() == Some(wanted)).then_some(pod.clone())
    })
    .await
}

async fn gone(pods: &Api<Pod>, name: &str) {
    until(&format!("pod {name} gone"), || async {
        pods.get_opt(name).await.expect("the API answers").is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn two_edges_and_a_cloud_run_pods_in_one_process() {
    LocalSet::new()
        .run_until(async {
            let world = World::new();
            let cloud = world.cloud(1).await;
            let (left, right) = (EdgeMachine::new("left"), EdgeMachine::new("right"));
            let left_edge = world.edge(&left, 2).await;
            let right_edge = world.edge(&right, 3).await;
            ready(&cloud, "left").await;
            ready(&cloud, "right").await;

            let pods: Api<Pod> = Api::default_namespaced(cloud.client.clone());
            for (name, node) in [("on-left", Some("left")), ("on-right", Some("right")), ("anywhere", None)] {
                pods.create(&PostParams::default(), &pod(name, node)).await.expect("the pod is accepted");
            }
            for name in ["on-left", "on-right", "anywhere"] {
                let running = phase(&pods, name, "Running").await;
                assert!(running.spec.and_then(|spec| spec.node_name).is_some());
            }
            pods.delete("on-left", &DeleteParams::default()).await.expect("the pod is deleted");
            gone(&pods, "on-left").await;

            left_edge.stop().await;
            right_edge.stop().await;
            cloud.node.stop().await;
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_pod_deleted_while_its_edge_was_away_ends_when_it_returns() {
    LocalSet::new()
        .run_until(async {
            let world = World::new();
            let cloud = world.cloud(1).await;
            let machine = EdgeMachine::new("away");
            let edge = world.edge(&machine, 2).await;
            ready(&cloud, "away").await;
            let pods: Api<Pod> = Api::default_namespaced(cloud.client.clone());
            for name in ["stays", "goes"] {
                pods.create(&PostParams::default(), &pod(name, Some("away"))).await.expect("accepted");
                phase(&pods, name, "Running").await;
            }
            edge.stop().await;
            pods.delete("goes", &DeleteParams::default().grace_period(0)).await.expect("deleted");
            gone(&pods, "goes").await;

            let edge = world.edge(&machine, 3).await;
            until("one sandbox left", || async {
                let sandboxes = machine.runtime.list().await.expect("it answers");
                (sandboxes.len() == 1 && sandboxes[0].pod.name == "stays").then_some(())
            })
            .await;
            phase(&pods, "stays", "Running").await;
            edge.stop().await;
            cloud.node.stop().await;
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn an_edge_that_starts_without_its_cloud_brings_its_pods_back() {
    LocalSet::new()
        .run_until(async {
            let world = World::new();
            let cloud = world.cloud(1).await;
            let machine = EdgeMachine::new("alone");
            let edge = world.edge(&machine, 2).await;
            ready(&cloud, "alone").await;
            let pods: Api<Pod> = Api::default_namespaced(cloud.client.clone());
            pods.create(&PostParams::default(), &pod("kept", Some("alone"))).await.expect("accepted");
            phase(&pods, "kept", "Running").await;
            edge.stop().await;
            cloud.node.stop().await;
            drop(cloud.client);

            let sandboxes = machine.runtime.list().await.expect("it answers");
            for sandbox in &sandboxes {
                machine.runtime.kill_sandbox(&sandbox.id);
            }
            let edge = world.edge(&machine, 3).await;
            until("the pod runs again", || async {
                let sandboxes = machine.runtime.list().await.expect("it answers");
                let ready = |sandbox: &&Sandbox| sandbox.state == SandboxState::Ready;
                (sandboxes.iter().filter(ready).count() == 1).then_some(())
            })
            .await;

            let cloud = world.cloud(4).await;
            ready(&cloud, "alone").await;
            let pods: Api<Pod> = Api::default_namespaced(cloud.client.clone());
            phase(&pods, "kept", "Running").await;
            edge.stop().await;
            cloud.node.stop().await;
        })
        .await;
}

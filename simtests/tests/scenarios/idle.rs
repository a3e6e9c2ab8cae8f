//! What a node costs on which nothing happens.

use std::cell::Cell;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use simtests::{Direction, Sim, cluster};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const EDGE: &str = "edge-01";

/// What a frame costs beside its bytes: a record of TLS 1.3 has 22 (a header of 5, the type, a tag of 16),
/// a small WebSocket frame 2, and 4 more for the mask where a client sends it.
const OVERHEAD: [(Direction, u64); 2] = [(Direction::Up, 28), (Direction::Down, 24)];

fn pod(name: &str) -> Pod {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": EDGE, "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "c", "image": "example.com/app:1" }],
        },
    });
    serde_json::from_value(pod).expect("a pod")
}

/// Returns the bytes and the frames of a while, both ways, of a node with five pods, and the bytes
/// with what is around the frames.
fn idle(codec: &str, while_: Duration) -> (u64, u64, u64) {
    let counted = Cell::new((0, 0, 0));
    let outcome = simtests::run(1, |sim: &mut Sim| {
        sim.cloud("")?;
        sim.edge(EDGE, &format!("modules: {{ edgeHub: {{ codec: {codec} }} }}"))?;
        let kube = sim.kube();
        sim.until("the node is ready", 60 * SECOND, async || cluster::node_is_ready(&kube, EDGE).await)?;
        let pods: Api<Pod> = Api::default_namespaced(kube.clone());
        for number in 0..5 {
            let name = format!("pod-{number}");
            let created = async { pods.create(&PostParams::default(), &pod(&name)).await };
            sim.block_on(created).expect("the API server");
            sim.until("the pod runs", 60 * SECOND, async || cluster::pod_is(&kube, &name, "Running").await)?;
        }
        sim.run_for(600 * SECOND)?;
        let (bytes, frames) = (sim.link_bytes(EDGE), sim.link_frames(EDGE));
        sim.block_on(async { tokio::time::sleep(while_).await });
        sim.run_for(SECOND)?;
        for (at, (_, overhead)) in OVERHEAD.into_iter().enumerate() {
            let sent = sim.link_bytes(EDGE)[at] - bytes[at];
            let count = sim.link_frames(EDGE)[at] - frames[at];
            let (sum, frames, all) = counted.get();
            counted.set((sum + sent, frames + count, all + sent + count * overhead));
        }
        sim.until("the node is ready", SECOND, async || cluster::node_is_ready(&kube, EDGE).await)
    });
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    counted.get()
}

#[test]
fn an_idle_node_with_five_pods_costs_five_quarters_of_a_megabyte_a_day() {
    // Unless it is optimised, the sixth part of a day.
    let part = if cfg!(debug_assertions) { 6 } else { 1 };
    let (bytes, frames, all) = idle("native", DAY / part);
    println!("an idle day / {part}, native: {frames} frames of {bytes} bytes, with TLS and WebSocket {all}");
    let all = all * u64::from(part);
    let hour = DAY / 24;
    let (bytes, frames, upstream) = idle("kubeedge", hour);
    println!(
        "an idle hour, KubeEdge's codec: {frames} frames of {bytes} bytes, with TLS and WebSocket {upstream}"
    );
    assert!(all < 1_250_000, "{all}");
    assert!(upstream * 24 > all * 5, "{upstream}");
}

//! What a link costs on which nothing happens.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use beehive::Probe;
use cloudhub::{CloudHub, CloudHubConfig};
use edgehub::CodecChoice;
use protocol::cloud::ServeNode;
use protocol::edge::AskCloud;
use protocol::{Lease, NodeReply, NodeRequest, Object, group};
use tokio::time::{Instant, sleep};
use wire::{MemoryLimits, MemoryNetwork};

use crate::hubs::edge;
use crate::shaped::{Shape, Shaped};

const SECOND: Duration = Duration::from_secs(1);
/// How often a node renews its lease.
const LEASE_PERIOD: Duration = Duration::from_secs(10);

/// Returns the bytes that the frames of a node's link have in an hour in which nothing happens but
/// that it renews its lease and both ends find each other alive.
async fn idle_hour(codec: CodecChoice) -> u64 {
    let network = MemoryNetwork::new(MemoryLimits { frames_max: 1, backlog_max: 1 });
    let ports = cloudhub::Ports { listeners: vec![Arc::new(network.clone())] };
    let cloud: Probe<CloudHub> = Probe::new(CloudHubConfig::default(), ports)
        .serve::<ServeNode>(group::EDGECONTROLLER, |ServeNode { request, .. }| match request {
            NodeRequest::Lease(Lease::Update(lease)) => NodeReply::Object(lease),
            other => panic!("only leases: {other:?}"),
        })
        .start()
        .await;
    let carried = Arc::new(AtomicU64::new(0));
    let shape = Shape { per_second: 1 << 20, delay: Duration::from_millis(10), queue: 64 << 10 };
    let dialer = Shaped { network: network.clone(), shape, carried: Arc::clone(&carried) };
    let edge = edge("edge-1", codec, dialer, &Rc::default()).await;
    cloud.advance(SECOND * 5).await;
    let bus = edge.bus();
    let started = Instant::now();
    let mut version = 1000;
    while started.elapsed() < SECOND * 3600 {
        version += 7;
        let (second, micros) = (started.elapsed().as_secs(), started.elapsed().subsec_micros());
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let renewed = format!("2026-11-28T{hour:02}:{minute:02}:{:02}.{micros:06}Z", second % 60);
        let lease = serde_json::json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": "edge-1", "namespace": "kube-node-lease", "resourceVersion": version.to_string(),
                "uid": "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9", "creationTimestamp": "2026-11-28T10:00:00Z",
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Node", "name": "edge-1",
                    "uid": "1a2b3c4d-5e6f-4708-9910-a2b3c4d5e6f7",
                }],
            },
            "spec": {
                "holderIdentity": "edge-1", "leaseDurationSeconds": 40,
                "renewTime": renewed,
            },
        });
        let lease = NodeRequest::Lease(Lease::Update(Object::from_value(&lease).expect("an object")));
        let answer = bus.to(group::HUB).ask(AskCloud(lease)).within(SECOND).await;
        assert!(matches!(answer, Ok(Ok(NodeReply::Object(_)))), "{answer:?}");
        sleep(LEASE_PERIOD).await;
    }
    carried.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_idle_node_costs_a_hundredth_of_what_it_does_on_upstream_s_codec() {
    let (native, kubeedge) = (idle_hour(CodecChoice::Native).await, idle_hour(CodecChoice::Kubeedge).await);
    println!("bytes of an idle node's frames in an hour: native {native}, KubeEdge's {kubeedge}");
    assert!(native < kubeedge / 100, "{native} of {kubeedge}");
}

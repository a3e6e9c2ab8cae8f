//! Failures that users of KubeEdge reported, played again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use beehive::{Bus, NodeOptions, Probe};
use cloudhub::{CloudHub, CloudHubConfig};
use edgehub::{CodecChoice, EdgeHub, EdgeHubConfig};
use futures::future::join_all;
use protocol::cloud::{SendToNode, ServeNode};
use protocol::edge::{AskCloud, KeepChange, ListHeld};
use protocol::{
    ChangeKind, Lease, NodeName, NodeReply, NodeRequest, Object, ObjectChange, ResourceType, group,
};
use store::MemoryStore;
use tokio::time::{Instant, sleep};
use wire::{MemoryLimits, MemoryNetwork};

use crate::shaped::{Shape, Shaped};

const SECOND: Duration = Duration::from_secs(1);
/// How often a node renews its lease.
const LEASE_PERIOD: Duration = Duration::from_secs(10);

/// Makes an object whose content resembles no other's.
fn object(name: &str, bytes: usize) -> Object {
    let mut seed = name.bytes().fold(1_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + u8::try_from((seed >> 33) % 26).expect("a letter"))
    });
    let noise: String = noise.take(bytes).collect();
    let text = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"default","resourceVersion":"1"}},"spec":"{noise}"}}"#
    );
    Object::parse(text).expect("an object")
}

/// The cloud's hub, whose other modules serve every request at once and note when a lease came.
async fn cloud(network: &MemoryNetwork, leases: &Leases) -> Probe<CloudHub> {
    let leases = leases.clone();
    let ports = cloudhub::Ports { listeners: vec![Arc::new(network.clone())] };
    Probe::new(CloudHubConfig::default(), ports)
        .serve::<ServeNode>(group::EDGECONTROLLER, move |ServeNode { node, request, .. }| {
            if matches!(request, NodeRequest::Lease(_)) {
                leases.came(&node);
            }
            NodeReply::Done
        })
        .start()
        .await
}

/// When each node last began to renew its lease, and the longest time that it took to come.
#[derive(Debug, Clone, Default)]
struct Leases {
    begun: Rc<RefCell<BTreeMap<String, Instant>>>,
    longest: Rc<Cell<Duration>>,
    count: Rc<Cell<usize>>,
}

impl Leases {
    fn came(&self, node: &NodeName) {
        let begun = self.begun.borrow()[node.as_str()];
        self.longest.set(self.longest.get().max(begun.elapsed()));
        self.count.set(self.count.get() + 1);
    }

    /// Renews a node's lease for ever, as `edged` does.
    async fn renew(&self, node: &str, bus: Bus) {
        loop {
            self.begun.borrow_mut().insert(node.to_owned(), Instant::now());
            let lease = NodeRequest::Lease(Lease::Update(object(node, 300)));
            let asked = Instant::now();
            if bus.to(group::HUB).ask(AskCloud(lease)).within(LEASE_PERIOD).await == Ok(Ok(NodeReply::Done)) {
                self.longest.set(self.longest.get().max(asked.elapsed()));
                sleep(LEASE_PERIOD).await;
            } else {
                sleep(SECOND / 5).await;
            }
        }
    }
}

async fn edge(name: &str, codec: CodecChoice, dialer: Shaped, kept: &Rc<Cell<usize>>) -> Probe<EdgeHub> {
    let kept = Rc::clone(kept);
    let ports = edgehub::Ports { dialer: Arc::new(dialer), store: Arc::new(MemoryStore::new()) };
    Probe::new(EdgeHubConfig { codec, ..EdgeHubConfig::default() }, ports)
        .serve::<ListHeld>(group::META, |_| Ok(Vec::new()))
        .serve::<KeepChange>(group::META, move |_| {
            kept.set(kept.get() + 1);
            Ok(())
        })
        .options(NodeOptions { name: name.to_owned(), ..NodeOptions::default() })
        .start()
        .await
}

/// Issue 7278: with 40 nodes and 2000 services the nodes flap between ready and not ready, because
/// a node's lease waits behind the changes that are sent to it one at a time.
///
/// `per_second` is what each node's link carries. Returns the longest time that a lease took to
/// reach the cloud or its answer to come back, and the time until all nodes knew everything.
async fn mass_resync(nodes: usize, objects: usize, per_second: u32) -> (Duration, Duration) {
    let network = MemoryNetwork::new(MemoryLimits { frames_max: 1, backlog_max: 64 });
    let (leases, kept) = (Leases::default(), Rc::new(Cell::new(0)));
    let cloud = cloud(&network, &leases).await;
    let shape = Shape { per_second, delay: Duration::from_millis(30), queue: 256 << 10 };
    let names: Vec<String> = (0..nodes).map(|number| format!("edge-{number}")).collect();
    let mut edges = Vec::new();
    for name in &names {
        let dialer = Shaped { network: network.clone(), shape, carried: Arc::default() };
        edges.push(edge(name, CodecChoice::Native, dialer, &kept).await);
    }
    cloud.advance(SECOND * 5).await;
    let renewing = join_all(edges.iter().zip(&names).map(|(edge, name)| leases.renew(name, edge.bus())));
    let started = Instant::now();
    let changes: Vec<ObjectChange> = (0..objects)
        .map(|number| {
            let object = object(&format!("service-{number}"), 1000);
            let key = object.key(ResourceType::CONFIG_MAP).expect("a key");
            ObjectChange { kind: ChangeKind::Update, key, object }
        })
        .collect();
    let bus = cloud.bus();
    let syncing = async {
        for change in &changes {
            for name in &names {
                let node = NodeName::parse(name).expect("a name");
                let send = SendToNode { node, change: change.clone() };
                let sent = bus.to(group::CLOUDHUB).ask(send).within(SECOND).await;
                assert_eq!(sent, Ok(Ok(())), "{name}");
            }
        }
        while kept.get() < nodes * objects {
            assert!(started.elapsed() < SECOND * 600, "{} changes arrived in ten minutes", kept.get());
            sleep(SECOND / 10).await;
        }
        started.elapsed()
    };
    let converged = tokio::select! {
        biased;
        converged = syncing => converged,
        _never = renewing => unreachable!("leases are renewed for ever"),
    };
    let expected =
        nodes * usize::try_from(converged.as_secs() / (LEASE_PERIOD.as_secs() + 1)).expect("small");
    assert!(leases.count.get() >= expected, "{} of {expected} leases came", leases.count.get());
    (leases.longest.get(), converged)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn no_lease_of_40_nodes_is_late_while_2000_objects_travel_to_each() {
    let (late, converged) = mass_resync(40, 2000, 64_000).await;
    println!("40 nodes x 2000 objects at 512 kbit/s: latest lease {late:?}, converged in {converged:?}");
    assert!(late < SECOND, "a lease was late by {late:?}");
    assert!(converged < SECOND * 90, "{converged:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn no_lease_is_late_on_a_link_of_128_kilobits() {
    let (late, converged) = mass_resync(1, 2000, 16_000).await;
    println!("1 node x 2000 objects at 128 kbit/s: latest lease {late:?}, converged in {converged:?}");
    assert!(late < SECOND, "a lease was late by {late:?}");
    assert!(converged < SECOND * 240, "{converged:?}");
}

/// Returns the bytes that the frames of a node's link have in a day in which nothing happens but
/// that it renews its lease and both ends find each other alive.
async fn idle_day(codec: CodecChoice) -> u64 {
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
    while started.elapsed() < SECOND * 86_400 {
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
    let (native, kubeedge) = (idle_day(CodecChoice::Native).await, idle_day(CodecChoice::Kubeedge).await);
    println!("bytes of an idle node's frames in a day: native {native}, KubeEdge's {kubeedge}");
    assert!(native < kubeedge / 100, "{native} of {kubeedge}");
}

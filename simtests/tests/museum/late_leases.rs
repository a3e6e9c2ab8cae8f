//! #7278: with 40 nodes and 2000 services the nodes flap between ready and not ready. Each node is told one
//! thing at a time, which takes minutes, and a lease waits behind what the transport has taken.
//!
//! Ours has a window of changes, sends what keeps nodes alive first, and gives the transport only what it
//! carries in a fifth of a second.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use beehive::{Bus, Probe};
use cloudhub::{CloudHub, CloudHubConfig};
use edgehub::CodecChoice;
use futures::future::join_all;
use protocol::cloud::{SendToNode, ServeNode};
use protocol::edge::AskCloud;
use protocol::{
    ChangeKind, Lease, NodeName, NodeReply, NodeRequest, Object, ObjectChange, ResourceType, group,
};
use simtests::{Failure, Invariant};
use tokio::time::{Instant, sleep};
use wire::{MemoryLimits, MemoryNetwork};

use crate::exhibit::{SECOND, demand};
use crate::hubs::edge;
use crate::shaped::{Shape, Shaped};

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
        .serve::<ServeNode>(group::EDGECONTROLLER, move |ServeNode { node, request, .. }| match request {
            NodeRequest::Lease(Lease::Update(lease)) => {
                leases.came(&node);
                NodeReply::Object(lease)
            }
            _ => NodeReply::Done,
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
            if let Ok(Ok(_)) = bus.to(group::HUB).ask(AskCloud(lease)).within(LEASE_PERIOD).await {
                self.longest.set(self.longest.get().max(asked.elapsed()));
                sleep(LEASE_PERIOD).await;
            } else {
                sleep(SECOND / 5).await;
            }
        }
    }
}

/// How many nodes are told how much over what, and how fast they must know it.
#[derive(Debug, Clone, Copy)]
struct Resync {
    nodes: usize,
    objects: usize,
    /// Bytes that each node's link carries in a second.
    per_second: u32,
    /// The longest that one object may take, on average.
    object: Duration,
}

/// While nodes are told much, no lease and no answer to one is late, and soon all nodes know all.
async fn scenario(resync: Resync, codec: CodecChoice) -> Result<(), Failure> {
    let Resync { nodes, objects, per_second, object: each } = resync;
    let network = MemoryNetwork::new(MemoryLimits { frames_max: 1, backlog_max: 64 });
    let (leases, kept) = (Leases::default(), Rc::new(Cell::new(0)));
    let cloud = cloud(&network, &leases).await;
    let shape = Shape { per_second, delay: Duration::from_millis(30), queue: 256 << 10 };
    let names: Vec<String> = (0..nodes).map(|number| format!("edge-{number}")).collect();
    let mut edges = Vec::new();
    for name in &names {
        let dialer = Shaped { network: network.clone(), shape, carried: Arc::default() };
        edges.push(edge(name, codec, dialer, &kept).await);
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
                assert!(matches!(sent, Ok(Ok(_))), "{name}: {sent:?}");
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
    let (count, late) = (leases.count.get(), leases.longest.get());
    demand(count >= expected, format!("{count} of {expected} leases came"))?;
    demand(late < SECOND, format!("a lease was late by {late:?}"))?;
    let patience = each * u32::try_from(objects).expect("a small number");
    demand(converged < patience, format!("the nodes knew all after {converged:?}"))
}

/// The nodes of the report, over half a megabit a second each, with a quarter of its objects: all of them
/// take a minute of real time.
const MANY_NODES: Resync =
    Resync { nodes: 40, objects: 500, per_second: 64_000, object: Duration::from_millis(45) };

#[tokio::test(flavor = "local", start_paused = true)]
async fn holds() {
    assert_eq!(scenario(MANY_NODES, CodecChoice::Native).await, Ok(()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn holds_with_all_objects_for_fewer_nodes() {
    let all = Resync { nodes: 5, objects: 2000, ..MANY_NODES };
    assert_eq!(scenario(all, CodecChoice::Native).await, Ok(()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn holds_on_a_link_of_128_kilobits() {
    let slow = Resync { nodes: 1, objects: 2000, per_second: 16_000, object: Duration::from_millis(120) };
    assert_eq!(scenario(slow, CodecChoice::Native).await, Ok(()));
}

/// KubeEdge's codec tells a node one thing at a time.
#[tokio::test(flavor = "local", start_paused = true)]
async fn fails_as_reported() {
    let some = Resync { nodes: 4, ..MANY_NODES };
    assert_eq!(scenario(some, CodecChoice::Native).await, Ok(()));
    let failure = scenario(some, CodecChoice::Kubeedge).await;
    let Err(Failure::Correctness(violation)) = failure else { panic!("{failure:?}") };
    assert_eq!(violation.invariant, Invariant::DemandsAreMet);
    assert!(violation.found.contains("the nodes knew all after"), "{violation}");
}

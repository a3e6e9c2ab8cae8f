//! What it costs to find out that a node holds what it is known to hold.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use beehive::{NodeOptions, Probe};
use cloudhub::{CloudHub, CloudHubConfig};
use edgehub::{EdgeHub, EdgeHubConfig};
use protocol::cloud::{NodeConnected, ServeNode};
use protocol::edge::{KeepChange, ListHeld};
use protocol::{Held, NodeReply, ObjectKey, ObjectName, ResourceType, ResourceVersion, Uid, group};
use store::MemoryStore;
use wire::{MemoryLimits, MemoryNetwork};

use crate::shaped::{Shape, Shaped};

const SECOND: Duration = Duration::from_secs(1);

fn held(number: u32, version: u32) -> Held {
    let name = ObjectName::parse(&format!("settings-of-service-{number}")).expect("a name");
    Held {
        key: ObjectKey { resource: ResourceType::CONFIG_MAP, namespace: None, name },
        uid: Uid::parse(&format!("0b1c2d3e-4f50-4617-8293-{:012x}", u64::from(number) * 7_919_113)).ok(),
        resource_version: Some(ResourceVersion::new(&version.to_string())),
    }
}

async fn edge(
    network: &MemoryNetwork,
    carried: &Arc<AtomicU64>,
    held: &Rc<RefCell<Vec<Held>>>,
) -> Probe<EdgeHub> {
    let shape = Shape { per_second: 1 << 20, delay: Duration::from_millis(10), queue: 64 << 10 };
    let dialer = Shaped { network: network.clone(), shape, carried: Arc::clone(carried) };
    let held = Rc::clone(held);
    let ports = edgehub::Ports { dialer: Arc::new(dialer), store: Arc::new(MemoryStore::new()) };
    Probe::new(EdgeHubConfig::default(), ports)
        .serve::<ListHeld>(group::META, move |_| Ok(held.borrow().clone()))
        .serve::<KeepChange>(group::META, |_| Ok(()))
        .options(NodeOptions { name: "edge-1".to_owned(), ..NodeOptions::default() })
        .start()
        .await
}

/// Bytes of frames, without those of WebSocket and TLS.
#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_with_2000_objects_that_returns_says_less_than_2_kib() {
    let network = MemoryNetwork::new(MemoryLimits { frames_max: 1, backlog_max: 1 });
    let ports = cloudhub::Ports { listeners: vec![Arc::new(network.clone())] };
    let cloud: Probe<CloudHub> = Probe::new(CloudHubConfig::default(), ports)
        .serve::<ServeNode>(group::EDGECONTROLLER, |_| NodeReply::Done)
        .start()
        .await;
    let carried = Arc::new(AtomicU64::new(0));
    let holds = Rc::new(RefCell::new((0..2000).map(|number| held(number, 1)).collect::<Vec<_>>()));
    let mut costs = Vec::new();
    for changed in [0, 0, 10] {
        for number in 0..changed {
            holds.borrow_mut()[number as usize * 199] = held(number * 199, 2);
        }
        let before = carried.load(Ordering::Relaxed);
        let edge = edge(&network, &carried, &holds).await;
        cloud.advance(SECOND * 8).await;
        let connected = cloud.published::<NodeConnected>().pop().expect("it connected");
        let told = connected.holds.said().expect("a list");
        assert_eq!(told.len(), 2000);
        assert!(holds.borrow().iter().all(|held| told.contains(held)));
        edge.stop().await;
        cloud.advance(SECOND).await;
        costs.push(carried.load(Ordering::Relaxed) - before);
    }
    let [unknown, known, differs] = costs.try_into().expect("three times");
    println!("2000 objects: unknown {unknown} bytes, known {known}, 10 of them unknown {differs}");
    assert!(known < 2 << 10, "{known}");
    assert!(differs < 16 << 10, "{differs}");
    assert!(unknown < 200 << 10, "{unknown}");
}

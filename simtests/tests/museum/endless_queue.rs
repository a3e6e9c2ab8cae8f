//! #4326, #4133, #4799: what waits for nodes that do not keep up fills the cloud's memory: with 500 nodes ten
//! gigabytes, until the process is killed.
//!
//! Ours bounds what waits for a node, in bytes; beyond that the node's session ends, and it is told the
//! difference when it connects.

use protocol::cloud::SendToNode;
use protocol::{ChangeKind, NodeName, Object, ObjectChange, ResourceType, group};
use serde_json::json;
use simtests::{Failure, Invariant, Shape, Sim};

use crate::exhibit::{self, Cast, SECOND, breaks, demand};

const OBJECTS: usize = 20;
const OBJECT_BYTES: usize = 1 << 20;
/// What may wait for one node by default.
const QUEUE_BYTES_MAX: usize = 16 << 20;

fn change(number: usize) -> ObjectChange {
    let metadata = json!({ "name": format!("map-{number}"), "namespace": "default", "resourceVersion": "1" });
    let map = json!({ "metadata": metadata, "data": { "text": "x".repeat(OBJECT_BYTES) } });
    let object = Object::from_value(&map).expect("an object");
    let key = object.key(ResourceType::CONFIG_MAP).expect("a valid name");
    ObjectChange { kind: ChangeKind::Insert, key, object }
}

/// The cloud keeps no more for a node on a slow link than it may.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    cast.start(sim, &["edge-01"])?;
    sim.allow_log("the node does not keep up");
    sim.shape_link("edge-01", Shape { bytes_per_second: Some(1000), ..Shape::default() });
    let node = NodeName::parse("edge-01").expect("a valid name");
    let bus = sim.bus("cloud").ok_or_else(|| Failure::Setup("the cloud does not run".to_owned()))?;
    let mut kept = 0;
    for number in 0..OBJECTS {
        let send = SendToNode { node: node.clone(), change: change(number) };
        let sent = sim.block_on(bus.to(group::CLOUDHUB).ask(send).within(SECOND));
        let sent = sent.map_err(|error| Failure::Setup(error.to_string()))?;
        if sent.is_ok() {
            kept += OBJECT_BYTES;
        }
    }
    demand(kept <= QUEUE_BYTES_MAX, format!("{kept} bytes wait for one node"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    let cast = Cast::ours().cloud_yaml("modules: { cloudHub: { nodeQueueMib: 65536, queueMib: 65536 } }");
    breaks(scenario, &cast, Invariant::DemandsAreMet, "bytes wait for one node");
}

//! CVE-2026-62370: the cloud reads a frame of whatever size a node sends, and its memory
//! is the node's to fill.
//!
//! Ours refuses a frame of more than eight mebibytes before it is read, and ends the connection.

use std::sync::Arc;

use async_trait::async_trait;
use cloudcore::CloudPorts;
use edgecore::EdgePorts;
use protocol::{NodeRequest, Object};
use serde_json::json;
use simtests::{Failure, Invariant, Sim};
use wire::codec::EdgeFrame;
use wire::link::{Incoming, LinkError, ListenOn, Listener};
use wire::{Envelope, Uplink};

use crate::exhibit::{self, Cast, SECOND, breaks, demand};
use crate::faulty::tap::Tap;
use crate::things::{ask_cloud, event};

const FRAME_BYTES_MAX: usize = 8 << 20;

/// A listener that reads whatever comes.
struct Unlimited(Arc<dyn Listener>);

#[async_trait]
impl Listener for Unlimited {
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn Incoming>, LinkError> {
        self.0.listen(ListenOn { frame_bytes_max: usize::MAX, ..on }).await
    }
}

/// Makes an event one of twelve megabytes.
fn inflated(frame: EdgeFrame) -> EdgeFrame {
    match frame {
        EdgeFrame::Up(Envelope {
            id,
            timestamp_ms,
            body: Uplink::Request { path, request: NodeRequest::RecordEvent(event) },
        }) => {
            let mut event = event.value().unwrap_or_default();
            event["message"] = json!("x".repeat(12_000_000));
            let request = NodeRequest::RecordEvent(Object::from_value(&event).expect("an object"));
            EdgeFrame::Up(Envelope { id, timestamp_ms, body: Uplink::Request { path, request } })
        }
        frame => frame,
    }
}

/// A cast whose edge is hostile.
fn hostile() -> Cast {
    Cast::ours().edge(|mut ports: EdgePorts| {
        ports.hub.dialer = Arc::new(Tap::new(ports.hub.dialer).up(|frame| Some(inflated(frame))));
        edgecore::catalog(ports)
    })
}

/// The cloud reads no frame of more than its limit.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    cast.start(sim, &["edge-01"])?;
    let _taken = ask_cloud(sim, "edge-01", NodeRequest::RecordEvent(event("edge-01", "exhibit", 1)))?;
    sim.run_for(5 * SECOND)?;
    let trace = sim.trace();
    let read = trace.lines().filter_map(|line| line.split_once("Up brought ")?.1.strip_suffix(" bytes"));
    let largest: usize = read.filter_map(|bytes| bytes.parse().ok()).max().unwrap_or_default();
    demand(largest <= FRAME_BYTES_MAX, format!("the cloud read a frame of {largest} bytes"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &hostile());
}

#[test]
fn fails_as_reported() {
    let cast = hostile().cloud(|mut ports: CloudPorts| {
        for listener in &mut ports.listeners {
            *listener = Arc::new(Unlimited(Arc::clone(listener)));
        }
        cloudcore::catalog(ports)
    });
    breaks(scenario, &cast, Invariant::DemandsAreMet, "the cloud read a frame of 12");
}

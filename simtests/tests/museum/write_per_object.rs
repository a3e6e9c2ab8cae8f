//! #4920, #5590: each change that a node acknowledges costs the API server two or three requests more, for a
//! record of what the node was sent; the API server's own store groans under it.
//!
//! Ours needs no record: a node that connects says what it holds. Those for people are written behind, of each
//! object the newest version, at a bounded rate.

use std::sync::Arc;

use async_trait::async_trait;
use cloudcore::CloudPorts;
use edgecore::EdgePorts;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use simtests::{Failure, Invariant, Sim};
use wire::codec::EdgeFrame;
use wire::link::{Accepted, Frame, FrameReader, Incoming, LinkError, ListenOn, Listener};
use wire::{Codec, Envelope, Uplink};

use crate::exhibit::{self, Cast, MINUTE, SECOND, breaks, demand};
use crate::faulty::tap::Tap;
use crate::things::{change_map, holds_text, make_map, make_pod, runs};

/// Changes that the node is told, and the requests of any other kind that may come beside.
const CHANGES: usize = 30;
const WRITES_MAX: usize = 5;

/// A listener that writes to the API server for each acknowledgement that comes.
struct Recorded {
    listener: Arc<dyn Listener>,
    kube: Client,
}

struct RecordedIncoming {
    incoming: Box<dyn Incoming>,
    kube: Client,
}

struct RecordedReader {
    reader: Box<dyn FrameReader>,
    codec: Codec,
    kube: Client,
}

#[async_trait]
impl Listener for Recorded {
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn Incoming>, LinkError> {
        let incoming = self.listener.listen(on).await?;
        Ok(Box::new(RecordedIncoming { incoming, kube: self.kube.clone() }))
    }
}

#[async_trait]
impl Incoming for RecordedIncoming {
    async fn accept(&mut self) -> Result<Accepted, LinkError> {
        let mut accepted = self.incoming.accept().await?;
        let (reader, codec, kube) = (accepted.link.reader, accepted.codec, self.kube.clone());
        accepted.link.reader = Box::new(RecordedReader { reader, codec, kube });
        Ok(accepted)
    }
}

#[async_trait]
impl FrameReader for RecordedReader {
    async fn next(&mut self) -> Result<Frame, LinkError> {
        let frame = self.reader.next().await?;
        if let Ok(EdgeFrame::Up(Envelope { body: Uplink::Ack { .. }, .. })) = self.codec.decode_edge(&frame) {
            let records = Api::<ConfigMap>::namespaced(self.kube.clone(), "kube-system");
            let record = Patch::Merge(json!({ "data": { "acknowledged": "yes" } }));
            let _written = records.patch("record", &PatchParams::default(), &record).await;
        }
        Ok(frame)
    }
}

/// Counts what the cloud's modules have written, but for what nodes report.
fn writes(sim: &Sim) -> usize {
    let is_write = |line: &&str| ["POST", "PUT", "PATCH", "DELETE"].iter().any(|verb| line.contains(verb));
    let is_report = |line: &&str| ["/status", "/leases", "/events"].iter().any(|part| line.contains(part));
    let trace = sim.trace();
    let cloud = trace.lines().filter(|line| line.contains(" api Cloud "));
    cloud.filter(is_write).filter(|line| !is_report(line)).count()
}

/// Changes that a node acknowledges cost the API server hardly any write.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    make_map(sim, &kube, "map", "before")?;
    make_pod(sim, &kube, "pod", "edge-01", &["map"])?;
    runs(sim, &kube, "pod", MINUTE)?;
    let before = writes(sim);
    for number in 0..CHANGES {
        let text = format!("text {number}");
        change_map(sim, &kube, "map", &text)?;
        holds_text(sim, "edge-01", "map", &text, 10 * SECOND)?;
    }
    let writes = writes(sim) - before;
    demand(writes <= WRITES_MAX, format!("{writes} writes for {CHANGES} changes"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    let untapped = |mut ports: EdgePorts| {
        ports.hub.dialer = Arc::new(Tap::new(ports.hub.dialer));
        edgecore::catalog(ports)
    };
    let recorded = |mut ports: CloudPorts| {
        for listener in &mut ports.listeners {
            *listener = Arc::new(Recorded { listener: Arc::clone(listener), kube: ports.kube.clone() });
        }
        cloudcore::catalog(ports)
    };
    let cast = Cast::ours().edge(untapped).cloud(recorded);
    breaks(scenario, &cast, Invariant::DemandsAreMet, "writes for 30 changes");
}

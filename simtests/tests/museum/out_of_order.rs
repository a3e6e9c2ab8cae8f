//! Seen while the original ran (3): of reports that follow each other quickly, the cloud's last is not the
//! edge's last, since several workers take them from one queue.
//!
//! Ours serves the requests that change one object one after the other.

use bytes::Bytes;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use protocol::NodeRequest;
use simtests::{Failure, Sim};

use crate::exhibit::{self, Cast, MINUTE, is_late};
use crate::faulty::cloud::{original_hub, simple_hub};
use crate::faulty::hub::Habit;
use crate::things::{ask_cloud, event};

const TIMES: u32 = 20;

/// An event that is counted twenty times in a second is counted twenty times in the API.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let kube = cast.start(sim, &["edge-01"])?;
    let event = |count| event("edge-01", "exhibit", count);
    let _taken = ask_cloud(sim, "edge-01", NodeRequest::RecordEvent(event(1)))?;
    for count in 2..=TIMES {
        let patch = Bytes::from(format!(r#"{{"count":{count}}}"#));
        let _taken = ask_cloud(sim, "edge-01", NodeRequest::PatchEvent { event: event(count), patch })?;
    }
    let events = Api::<Event>::default_namespaced(kube);
    let counted = async || events.get("exhibit").await.is_ok_and(|event| event.count == Some(20));
    sim.until("the event is counted as often as it was seen", MINUTE, counted)?;
    sim.run_for(MINUTE)?;
    sim.until("the event is counted as often as it was seen", MINUTE / 60, async || {
        events.get("exhibit").await.is_ok_and(|event| event.count == Some(20))
    })
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    exhibit::holds(scenario, &simple_hub());
    let cast = original_hub(Habit::ManyWorkers);
    is_late(scenario, &cast, "the event is counted as often as it was seen");
}

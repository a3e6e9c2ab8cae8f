//! The mapper against a node: edgecore's own modules and socket.

mod edge;

use std::time::Duration;

use edge::{Edge, beside, config, file};
use mapper_thermostat::Thermostats;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// The objects of the manifest, with cycles that suit a test.
fn objects() -> Vec<Value> {
    let manifest = file("manifests/thermostat.yaml");
    let manifest = manifest.replace("Cycle: 2000", "Cycle: 50").replace("Cycle: 10000", "Cycle: 50");
    manifest.split("\n---\n").map(|text| serde_saphyr::from_str(text).expect("YAML")).collect()
}

async fn apply(edge: &Edge) {
    for object in objects() {
        edge.put(&object).await;
    }
}

fn mapper(
    edge: &Edge,
) -> (impl Future<Output = Result<(), mapper_sdk::RunError>> + use<>, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let running =
        mapper_sdk::run(config(edge, "thermostat"), Thermostats, mapper_sdk::Host::of_process(), async {
            drop(stopped.await);
        });
    (running, stop)
}

#[tokio::test(flavor = "local")]
async fn a_thermostat_is_told_its_target_and_reports_until_it_is_taken_away() {
    let mut edge = Edge::start().await;
    apply(&edge).await;
    let (mapper, stop) = mapper(&edge);
    beside(mapper, stop, async {
        edge.until("default/room-1", |state| state == "online").await;
        edge.until("default/room-1/target", |value| value == "21.5").await;
        edge.until("default/room-1/target/desired", |value| value == "21.5").await;
        edge.until("default/room-1/heating", |value| value == "true").await;
        edge.until("default/room-1/temperature", |value| value.parse::<f64>().is_ok_and(|it| it > 8.2)).await;

        // Another value is wanted.
        let mut device = objects().remove(1);
        device["spec"]["properties"][1]["desired"]["value"] = json!("18");
        edge.put(&device).await;
        edge.until("default/room-1/target", |value| value == "18").await;

        // The node crashes, and a device appears that it learns of afterwards.
        edge.restart().await;
        device["metadata"]["name"] = json!("room-2");
        edge.put(&device).await;
        edge.until("default/room-2/target", |value| value == "18").await;
        edge.remove(&device).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        edge.until("default/room-1/temperature", |value| value.parse::<f64>().is_ok()).await;
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn a_mapper_may_be_there_before_its_node_and_its_devices() {
    let mut edge = Edge::start().await;
    let (mapper, stop) = mapper(&edge);
    beside(mapper, stop, async {
        apply(&edge).await;
        edge.until("default/room-1/target", |value| value == "21.5").await;
        edge.restart().await;
        edge.until("default/room-1/temperature", |value| value.parse::<f64>().is_ok_and(|it| it > 8.5)).await;
    })
    .await;
}

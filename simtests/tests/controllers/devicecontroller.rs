//! The device controller: what devices report is shown, at a bounded rate, and only what may be reported.

use std::time::Duration;

use ::devicecontroller::{DeviceController, DeviceControllerConfig};
use beehive::Probe;
use protocol::cloud::ServeNode;
use protocol::{ApiStatus, DeviceId, NodeName, NodeReply, NodeRequest};
use serde_json::{Value, json};

use crate::cluster::Cluster;

const DEVICES: &str = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices";
const STATUSES: &str = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devicestatuses";

async fn cluster() -> (Cluster, Probe<DeviceController>) {
    let cluster = Cluster::new().await;
    let device = json!({ "metadata": { "name": "t" }, "spec": {
        "nodeName": "n", "deviceModelRef": { "name": "m" },
        "properties": [{ "name": "temperature" }, { "name": "mode", "desired": { "value": "auto" } }] } });
    cluster.create(DEVICES, device).await;
    let probe =
        Probe::<DeviceController>::new(DeviceControllerConfig::default(), cluster.client()).start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    (cluster, probe)
}

fn device(name: &str) -> DeviceId {
    DeviceId::parse("default", name).expect("a device")
}

fn temperature(value: &str) -> NodeRequest {
    let twin = json!({ "actual": { "value": value, "metadata": { "timestamp": 7 } }, "metadata": { "type": "int" } });
    let report = json!({ "event_id": "e", "timestamp": 7, "twin": { "temperature": twin } });
    NodeRequest::ReportTwins { device: device("t"), report: report.to_string().into() }
}

fn state(state: &str) -> NodeRequest {
    let report =
        json!({ "device": { "name": "t", "state": state, "lastOnlineTime": "2026-01-02T03:04:05Z" } });
    NodeRequest::ReportDeviceState { device: device("t"), report: report.to_string().into() }
}

async fn serve(probe: &Probe<DeviceController>, node: &str, request: NodeRequest) -> NodeReply {
    let node = NodeName::parse(node).expect("a node");
    probe.ask(ServeNode { node, session: 1, request }).await.expect("an answer")
}

async fn status(cluster: &Cluster) -> Value {
    cluster.get(&format!("{STATUSES}/t")).await
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_a_device_reports_is_shown_in_its_status() {
    let (cluster, probe) = cluster().await;
    assert_eq!(serve(&probe, "n", temperature("20")).await, NodeReply::Done);
    assert_eq!(serve(&probe, "n", state("online")).await, NodeReply::Done);
    let shown = status(&cluster).await;
    let owner = &shown["metadata"]["ownerReferences"][0];
    let made = cluster.get(&format!("{DEVICES}/t")).await;
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Device"), &made["metadata"]["uid"]));
    assert_eq!(
        shown["status"],
        json!({
            "state": "online", "lastOnlineTime": "2026-01-02T03:04:05Z",
            "twins": [{ "propertyName": "temperature", "observedDesired": { "value": "" },
                "reported": { "value": "20", "metadata": { "timestamp": "7", "type": "int" } } }],
        })
    );
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_device_that_reports_without_pause_is_written_once_in_an_interval() {
    let (cluster, probe) = cluster().await;
    let before = cluster.writes();
    let begun = tokio::time::Instant::now();
    let mut reports = Vec::new();
    for number in 0..50 {
        reports.push(serve(&probe, "n", temperature(&number.to_string())));
    }
    for reply in futures::future::join_all(reports).await {
        assert_eq!(reply, NodeReply::Done);
    }
    assert_eq!(status(&cluster).await["status"]["twins"][0]["reported"]["value"], "49");
    // The object is made, and written twice at most.
    assert!(cluster.writes() - before <= 3, "{} writes", cluster.writes() - before);
    assert!(begun.elapsed() < Duration::from_secs(3));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_may_not_be_reported_changes_nothing() {
    let (cluster, probe) = cluster().await;
    let refused = |reply| match reply {
        NodeReply::Refused(ApiStatus { code, message, .. }) => (code, message),
        other => panic!("a refusal: {other:?}"),
    };
    let (code, message) = refused(serve(&probe, "other", temperature("1")).await);
    assert_eq!((code, message.contains("is not on the node other")), (403, true), "{message}");
    let unknown = NodeRequest::ReportTwins { device: device("x"), report: "{}".into() };
    assert_eq!(refused(serve(&probe, "n", unknown).await).0, 404);
    let garbage = NodeRequest::ReportTwins { device: device("t"), report: r#"{"twin":[]}"#.into() };
    assert_eq!(refused(serve(&probe, "n", garbage).await).0, 400);
    assert_eq!(cluster.writes(), 0);
    let strange = json!({ "twin": { "no-property": { "actual": { "value": "1" } } } });
    let strange = NodeRequest::ReportTwins { device: device("t"), report: strange.to_string().into() };
    assert_eq!(serve(&probe, "n", strange).await, NodeReply::Done);
    assert_eq!(status(&cluster).await["status"]["twins"], Value::Null);
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_report_that_could_not_be_written_is_refused_and_the_next_one_is_written_whole() {
    let (cluster, probe) = cluster().await;
    assert_eq!(serve(&probe, "n", temperature("20")).await, NodeReply::Done);
    cluster.cut(true);
    let reply = serve(&probe, "n", state("online")).await;
    assert!(matches!(&reply, NodeReply::Refused(status) if status.code >= 500), "{reply:?}");
    cluster.cut(false);
    assert_eq!(serve(&probe, "n", state("offline")).await, NodeReply::Done);
    let shown = status(&cluster).await;
    assert_eq!(
        (&shown["status"]["state"], &shown["status"]["twins"][0]["reported"]["value"]),
        (&json!("offline"), &json!("20"))
    );
    probe.stop().await;
}

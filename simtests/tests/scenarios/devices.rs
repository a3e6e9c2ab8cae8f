//! Devices: from their manifests to a node, and from what they publish to their statuses.

use std::time::Duration;

use eventbus::BrokerUrl;
use eventbus::memory::{MemoryBroker, message};
use eventbus::ports::{ConnectTo, Connection, Mqtt};
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use simtests::{Direction, Failure, Sim, cluster};

const SECOND: Duration = Duration::from_secs(1);
const EDGE: &str = "edge-01";

pub(crate) fn api(kube: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("devices.kubeedge.io", "v1beta1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    Api::default_namespaced_with(kube.clone(), &resource)
}

/// Starts a cluster with one node, and a thermometer on it.
fn start(sim: &mut Sim) -> Result<Client, Failure> {
    sim.cloud("")?;
    sim.edge(EDGE, "")?;
    let kube = sim.kube();
    sim.until("the node is ready", 60 * SECOND, async || cluster::node_is_ready(&kube, EDGE).await)?;
    let property = json!({ "name": "temperature", "type": "INT", "accessMode": "ReadOnly" });
    let objects = [
        ("DeviceModel", "devicemodels", "thermometer", json!({ "properties": [property] })),
        (
            "Device",
            "devices",
            "t1",
            json!({ "nodeName": EDGE, "deviceModelRef": { "name": "thermometer" },
                "properties": [{ "name": "temperature" }] }),
        ),
    ];
    for (kind, plural, name, spec) in objects {
        let object = json!({ "apiVersion": "devices.kubeedge.io/v1beta1", "kind": kind,
            "metadata": { "name": name }, "spec": spec });
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        let api = api(&kube, kind, plural);
        sim.block_on(async { api.create(&PostParams::default(), &object).await }).expect("the API server");
    }
    sim.run_for(5 * SECOND)?;
    Ok(kube)
}

/// An application on the node.
struct App(Connection);

impl App {
    fn connect(sim: &mut Sim, id: &str) -> Self {
        let broker: MemoryBroker = sim.broker(EDGE).expect("the edge");
        let to = ConnectTo {
            server: BrokerUrl::parse("tcp://127.0.0.1:1883").expect("an address"),
            tls: None,
            client_id: id.to_owned(),
            credentials: None,
            is_clean: true,
            keep_alive: 30 * SECOND,
            timeout: SECOND,
            packet_bytes_max: 1 << 20,
        };
        Self(sim.block_on(broker.connect(to)).expect("the broker"))
    }

    fn report(&self, sim: &mut Sim, value: &str) {
        let twin = json!({ "actual": { "value": value }, "metadata": { "type": "int" } });
        let update = json!({ "event_id": value, "timestamp": 0, "twin": { "temperature": twin } });
        self.publish(sim, "$hw/events/device/default/t1/twin/update", &update);
    }

    fn publish(&self, sim: &mut Sim, topic: &str, payload: &Value) {
        let publication = message(topic, payload.to_string());
        sim.block_on(self.0.client.publish(publication)).expect("the broker");
    }

    fn ask(&mut self, sim: &mut Sim) -> Result<Value, Failure> {
        sim.block_on(self.0.client.subscribe("$hw/events/device/default/t1/twin/get/result"))
            .expect("the broker");
        self.publish(
            sim,
            "$hw/events/device/default/t1/twin/get",
            &json!({ "event_id": "g", "timestamp": 0 }),
        );
        sim.run_for(SECOND)?;
        let arrived = sim.block_on(self.0.arrivals.next()).expect("an answer");
        self.0.client.acknowledge(arrived.receipt).expect("the broker");
        Ok(serde_json::from_slice(&arrived.payload).expect("JSON"))
    }
}

pub(crate) async fn shows(kube: &Client, value: &str) -> bool {
    let status = api(kube, "DeviceStatus", "devicestatuses").get_opt("t1").await.ok().flatten();
    status.is_some_and(|status| status.data["status"]["twins"][0]["reported"]["value"] == value)
}

#[test]
fn what_a_device_reports_is_shown_across_a_crash_and_an_hour_without_the_cloud() {
    simtests::check(1, |sim: &mut Sim| {
        sim.allow_log("the node is silent");
        sim.allow_log("the cloud was not reached");
        let kube = start(sim)?;
        let app = App::connect(sim, "app");
        app.report(sim, "20");
        sim.until("the first value is shown", 10 * SECOND, async || shows(&kube, "20").await)?;

        sim.crash(EDGE);
        sim.restart(EDGE)?;
        sim.run_for(10 * SECOND)?;
        app.report(sim, "21");
        sim.until("the value after the crash is shown", 30 * SECOND, async || shows(&kube, "21").await)?;

        for direction in Direction::BOTH {
            sim.cut(EDGE, direction);
        }
        sim.run_for(60 * SECOND)?;
        app.report(sim, "22");
        sim.run_for(SECOND)?;
        let answer = App::connect(sim, "other").ask(sim)?;
        assert_eq!(answer["twin"]["temperature"]["actual"]["value"], "22", "{answer}");
        sim.crash(EDGE);
        sim.restart(EDGE)?;
        sim.run_for(3600 * SECOND)?;
        sim.heal_link(EDGE);
        sim.until("what came meanwhile is shown", 120 * SECOND, async || shows(&kube, "22").await)
    });
}

#[test]
fn a_device_that_reports_without_pause_is_written_once_a_second() {
    simtests::check(2, |sim: &mut Sim| {
        let kube = start(sim)?;
        let app = App::connect(sim, "app");
        for number in 0..600 {
            app.report(sim, &number.to_string());
            sim.run_for(Duration::from_millis(100))?;
        }
        sim.until("the last value is shown", 10 * SECOND, async || shows(&kube, "599").await)?;
        let writes = sim
            .trace()
            .lines()
            .filter(|line| line.contains("PATCH") && line.contains("devicestatuses"))
            .count();
        assert!((20..=65).contains(&writes), "{writes} writes in a minute");
        Ok(())
    });
}

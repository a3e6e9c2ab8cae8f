//! Device mappers: from manifests to what a mapper is told, and from what it reports to the device's status.

use std::time::Duration;

use dmi::memory::{Manner, MapperError, MemoryMappers};
use dmi::ports::MapperCall;
use dmi_proto::v1beta1::{
    DeviceStatus, MapperInfo, MapperRegisterRequest, MapperRegisterResponse, ReportDeviceStatusRequest, Twin,
    TwinProperty,
};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};
use simtests::{Direction, Failure, Sim, cluster};

use crate::devices::{api, shows};

const SECOND: Duration = Duration::from_secs(1);
const EDGE: &str = "edge-01";
const ADDRESS: &[u8] = b"/etc/kubeedge/sim.sock";

fn create(sim: &mut Sim, api: &Api<DynamicObject>, kind: &str, name: &str, spec: &Value) {
    let object = json!({ "apiVersion": "devices.kubeedge.io/v1beta1", "kind": kind,
        "metadata": { "name": name }, "spec": spec });
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    sim.block_on(async { api.create(&PostParams::default(), &object).await }).expect("the API server");
}

/// Starts a cluster with one node and a valve on it, whose protocol a mapper speaks.
fn start(sim: &mut Sim) -> Result<(Client, MemoryMappers), Failure> {
    sim.cloud("")?;
    sim.edge(EDGE, "")?;
    let kube = sim.kube();
    sim.until("the node is ready", 60 * SECOND, async || cluster::node_is_ready(&kube, EDGE).await)?;
    let property = json!({ "name": "opening", "type": "INT", "accessMode": "ReadWrite" });
    let model = json!({ "protocol": "sim", "properties": [property] });
    create(sim, &api(&kube, "DeviceModel", "devicemodels"), "DeviceModel", "valve", &model);
    let device = json!({ "nodeName": EDGE, "deviceModelRef": { "name": "valve" },
        "protocol": { "protocolName": "sim" },
        "properties": [{ "name": "opening", "desired": { "value": "10" } }] });
    create(sim, &api(&kube, "Device", "devices"), "Device", "t1", &device);
    sim.run_for(5 * SECOND)?;
    let mappers = sim.mappers(EDGE).expect("the edge");
    Ok((kube, mappers))
}

/// Wants another opening.
fn want(sim: &mut Sim, kube: &Client, value: &str) {
    let properties = json!([{ "name": "opening", "desired": { "value": value } }]);
    let patch = Patch::Merge(json!({ "spec": { "properties": properties } }));
    let devices = api(kube, "Device", "devices");
    sim.block_on(async { devices.patch("t1", &PatchParams::default(), &patch).await })
        .expect("the API server");
}

fn register(sim: &mut Sim, mappers: &MemoryMappers) -> Result<MapperRegisterResponse, MapperError> {
    let mapper = MapperInfo {
        name: "sim-mapper".to_owned(),
        protocol: "sim".to_owned(),
        address: ADDRESS.to_vec(),
        ..MapperInfo::default()
    };
    sim.block_on(mappers.register(MapperRegisterRequest { with_data: true, mapper: Some(mapper) }))
}

fn report(sim: &mut Sim, mappers: &MemoryMappers, value: &str) -> Result<(), MapperError> {
    let value = Some(TwinProperty { value: value.to_owned(), ..TwinProperty::default() });
    let twin = Twin { property_name: "opening".to_owned(), reported: value.clone(), observed_desired: value };
    sim.block_on(mappers.report_status(ReportDeviceStatusRequest {
        device_name: "t1".to_owned(),
        device_namespace: "default".to_owned(),
        reported_device: Some(DeviceStatus { twins: vec![twin], ..DeviceStatus::default() }),
    }))
}

/// Returns which openings the mapper was told to be wanted since this was last asked.
fn wanted(mappers: &MemoryMappers) -> Vec<String> {
    let device = |call| match call {
        MapperCall::RegisterDevice(it) => it.device,
        MapperCall::UpdateDevice(it) => it.device,
        _ => None,
    };
    let properties = mappers.heard(ADDRESS).into_iter().filter_map(device).filter_map(|device| device.spec);
    properties.filter_map(|spec| Some(spec.properties.first()?.desired.clone()?.value)).collect()
}

#[test]
fn a_mapper_is_told_what_is_wanted_and_its_reports_are_shown_across_crashes_and_absences() {
    simtests::check(3, |sim: &mut Sim| {
        sim.allow_log("the node is silent");
        sim.allow_log("the cloud was not reached");
        sim.allow_log("a mapper is away and is told of its devices when it is back");
        let (kube, mappers) = start(sim)?;
        mappers.serve(ADDRESS, Manner::Willing);
        let all = register(sim, &mappers).expect("it may register");
        assert_eq!((all.device_list.len(), all.model_list.len()), (1, 1));
        assert_eq!(report(sim, &mappers, "10"), Ok(()));
        sim.until("the first value is shown", 10 * SECOND, async || shows(&kube, "10").await)?;

        want(sim, &kube, "20");
        sim.run_for(5 * SECOND)?;
        assert_eq!(wanted(&mappers), ["20"]);

        // The mapper and the edge are away while something else is wanted.
        mappers.stop(ADDRESS);
        want(sim, &kube, "30");
        sim.run_for(10 * SECOND)?;
        sim.crash(EDGE);
        want(sim, &kube, "40");
        sim.restart(EDGE)?;
        mappers.serve(ADDRESS, Manner::Willing);
        sim.run_for(90 * SECOND)?;
        assert_eq!(wanted(&mappers).last().map(String::as_str), Some("40"), "it did not register again");

        // What was acknowledged is there after a crash, though the cloud was away.
        for direction in Direction::BOTH {
            sim.cut(EDGE, direction);
        }
        sim.run_for(60 * SECOND)?;
        assert_eq!(report(sim, &mappers, "40"), Ok(()));
        sim.crash(EDGE);
        sim.restart(EDGE)?;
        sim.heal_link(EDGE);
        sim.until("the value is shown", 120 * SECOND, async || shows(&kube, "40").await)
    });
}

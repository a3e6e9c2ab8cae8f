use dmi_proto::ProtobufMessage as _;
use protocol::{Namespace, ObjectName, ResourceType};
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

fn key(resource: ResourceType, name: &str) -> ObjectKey {
    let name = ObjectName::parse(name).expect("a name");
    ObjectKey { resource, namespace: Namespace::parse("default").ok(), name }
}

fn made(given: &Value, of_model: &Value) -> Result<dmi::Device, MessageError> {
    let given = serde_json::from_value(json!({ "spec": given })).expect("a device");
    let of_model = serde_json::from_value(json!({ "spec": of_model })).expect("a model");
    device(&key(ResourceType::DEVICE, "t1"), &given, &of_model)
}

fn values(config: Option<&dmi::CustomizedValue>) -> Value {
    let data = &config.expect("it is always there").data;
    data.iter().map(|(key, any)| (key.clone(), dmi_proto::from_any(any).expect("a value"))).collect()
}

/// Returns the protocol and the values by which the first property is reached.
fn visitors(device: &dmi::Device) -> (String, Value) {
    let spec = device.spec.as_ref().expect("it is always there");
    let visitors = spec.properties[0].visitors.as_ref().expect("they are always there");
    (visitors.protocol_name.clone(), values(visitors.config_data.as_ref()))
}

#[test]
fn what_mappers_take_for_granted_is_there_whatever_the_device_says() {
    let given = json!({ "protocol": { "protocolName": "p" }, "properties": [{ "name": "x" }] });
    let device = made(&given, &json!({ "properties": [{ "name": "x" }] })).expect("a message");
    assert_eq!((device.name.as_str(), device.namespace.as_str()), ("t1", "default"));
    assert_eq!(device.status, Some(dmi::DeviceStatus::default()));
    let spec = device.spec.expect("it is there");
    let protocol = spec.protocol.expect("it is there");
    assert_eq!((protocol.protocol_name.as_str(), protocol.config_data), ("p", Some(Default::default())));
    let [property] = &spec.properties[..] else { panic!("one property: {:?}", spec.properties) };
    assert_eq!(property.desired, Some(dmi::TwinProperty::default()));
    let visitors = property.visitors.as_ref().expect("they are there");
    assert_eq!(visitors.config_data, Some(Default::default()));
    assert_eq!(property.push_method, None);
}

#[test]
fn the_device_s_values_are_laid_over_the_model_s() {
    let given = json!({
        "protocol": { "protocolName": "modbus", "configData": { "ip": "10.0.0.1", "data": 5 } },
        "properties": [{ "name": "x", "visitors": { "protocolName": "other", "configData": { "offset": 2, "scale": 0.1 } } }],
    });
    let of_model = json!({
        "protocolConfigData": { "ip": "0.0.0.0", "port": 502 },
        "properties": [{ "name": "x", "visitors": { "protocolName": "modbus", "configData": { "offset": 1, "register": "HoldingRegister" } } }],
    });
    let device = made(&given, &of_model).expect("a message");
    let protocol = device.spec.as_ref().and_then(|spec| spec.protocol.as_ref()).expect("it is there");
    // KubeEdge cannot deliver a device with a key of the name `data`.
    assert_eq!(values(protocol.config_data.as_ref()), json!({ "ip": "10.0.0.1", "port": 502, "data": 5 }));
    let merged = json!({ "offset": 2, "register": "HoldingRegister", "scale": 0.1 });
    assert_eq!(visitors(&device), ("modbus".to_owned(), merged));
    let of_model = json!({ "properties": [{ "name": "x" }] });
    let device = made(&given, &of_model).expect("a message");
    assert_eq!(visitors(&device), ("other".to_owned(), json!({ "offset": 2, "scale": 0.1 })));
}

#[test]
fn all_fields_of_a_device_are_told() {
    let given = json!({
        "deviceModelRef": { "name": "m" },
        "protocol": { "protocolName": "p", "configData": { "big": 16_777_217, "none": null } },
        "methods": [{ "name": "set", "description": "d", "propertyNames": ["x"] }],
        "stateReport": { "reportToCloud": true, "reportCycle": 5000 },
        "properties": [{
            "name": "x", "desired": { "value": "5", "metadata": { "type": "int" } },
            "reportCycle": 1, "collectCycle": 2, "reportToCloud": true,
            "pushMethod": {
                "http": { "hostName": "http://h", "port": 80, "requestPath": "/p", "timeout": 3 },
                "mqtt": { "address": "tcp://b:1883", "topic": "t", "qos": 1, "retained": true },
                "otel": { "endpointURL": "http://o/v1/metrics" },
                "anomalyDetection": { "limit": 3 },
                "dbMethod": {
                    "influxdb2": { "influxdb2ClientConfig": { "url": "u", "org": "o", "bucket": "b" },
                        "influxdb2DataConfig": { "measurement": "m", "tag": { "a": "b" }, "fieldKey": "f" } },
                    "redis": { "redisClientConfig": { "addr": "a", "db": 1, "poolsize": 2, "minIdleConns": 3 } },
                    "TDEngine": { "TDEngineClientConfig": { "addr": "a", "dbName": "d" } },
                    "mysql": { "mysqlClientConfig": { "addr": "a", "database": "d", "userName": "u" } },
                },
            },
        }],
    });
    let device = made(&given, &json!({ "properties": [{ "name": "x" }] })).expect("a message");
    assert_eq!(device.status.map(|it| (it.report_to_cloud, it.report_cycle)), Some((true, 5000)));
    let spec = device.spec.expect("it is there");
    assert_eq!(spec.device_model_reference, "m");
    assert_eq!(values(spec.protocol.and_then(|it| it.config_data).as_ref()), json!({ "big": 16_777_217 }));
    assert_eq!(spec.methods[0].property_names, ["x"]);
    let property = &spec.properties[0];
    assert_eq!((property.report_cycle, property.collect_cycle, property.report_to_cloud), (1, 2, true));
    assert_eq!(property.desired.as_ref().map(|it| it.value.as_str()), Some("5"));
    let push = property.push_method.clone().expect("it is there");
    let http = push.http.expect("it is there");
    assert_eq!(
        (http.hostname.as_str(), http.port, http.requestpath.as_str(), http.timeout),
        ("http://h", 80, "/p", 3)
    );
    let mqtt = push.mqtt.expect("it is there");
    assert_eq!(
        (mqtt.address.as_str(), mqtt.topic.as_str(), mqtt.qos, mqtt.retained),
        ("tcp://b:1883", "t", 1, true)
    );
    assert_eq!(push.otel.expect("it is there").endpoint_url, "http://o/v1/metrics");
    assert_eq!(push.anomaly_detection.expect("it is there").data.len(), 1);
    let database = push.db_method.expect("it is there");
    let influx = database.influxdb2.and_then(|it| it.influxdb2_data_config).expect("it is there");
    assert_eq!((influx.measurement.as_str(), influx.field_key.as_str(), influx.tag.len()), ("m", "f", 1));
    let redis = database.redis.and_then(|it| it.redis_client_config).expect("it is there");
    assert_eq!((redis.db, redis.poolsize, redis.min_idle_conns), (1, 2, 3));
    let td_engine = database.tdengine.and_then(|it| it.td_engine_client_config).expect("it is there");
    assert_eq!((td_engine.addr.as_str(), td_engine.dbname.as_str()), ("a", "d"));
    let mysql = database.mysql.and_then(|it| it.mysql_client_config).expect("it is there");
    assert_eq!((mysql.database.as_str(), mysql.user_name.as_str()), ("d", "u"));
}

#[test]
fn a_property_that_the_model_has_not_is_left_out() {
    let given =
        json!({ "protocol": { "protocolName": "p" }, "properties": [{ "name": "x" }, { "name": "y" }] });
    let device = made(&given, &json!({ "properties": [{ "name": "y" }] })).expect("a message");
    let names: Vec<String> =
        device.spec.expect("it is there").properties.into_iter().map(|property| property.name).collect();
    assert_eq!(names, ["y"]);
}

#[test]
fn how_the_state_is_reported_may_stand_where_earlier_versions_had_it() {
    let given = serde_json::from_value(json!({
        "spec": { "protocol": { "protocolName": "p" } },
        "status": { "reportToCloud": true, "reportCycle": 7, "twins": [] },
    }));
    let of_model = serde_json::from_value(json!({ "spec": {} })).expect("a model");
    let made =
        device(&key(ResourceType::DEVICE, "t1"), &given.expect("a device"), &of_model).expect("a message");
    assert_eq!(made.status.map(|it| (it.report_to_cloud, it.report_cycle)), Some((true, 7)));
}

#[test]
fn what_cannot_be_told_is_named() {
    let check = |given: Value, expect: &str| {
        let error = made(&given, &json!({ "properties": [{ "name": "x" }] })).expect_err("it cannot be told");
        assert_eq!(error.to_string(), expect);
    };
    check(json!({}), "its spec names no protocol (protocol.protocolName)");
    check(
        json!({ "protocol": { "protocolName": "p", "configData": { "list": [1] } } }),
        "the value at protocol.configData.list cannot be told to a mapper: it is a list, and mappers take texts, \
         numbers, true and false",
    );
    check(
        json!({ "protocol": { "protocolName": "p" },
            "properties": [{ "name": "x", "visitors": { "configData": { "a": {} } } }] }),
        "the value at properties.x.visitors.configData.a cannot be told to a mapper: it is an object, and mappers \
         take texts, numbers, true and false",
    );
}

#[test]
fn a_model_is_told_with_its_properties() {
    let of_model: crate::view::Model = serde_json::from_value(json!({ "spec": { "properties": [{
        "name": "x", "description": "d", "type": "INT", "accessMode": "ReadOnly",
        "minimum": "1", "maximum": "2", "unit": "C",
    }] } }))
    .expect("a model");
    let made = model(&key(ResourceType::DEVICE_MODEL, "m"), &of_model);
    assert_eq!((made.name.as_str(), made.namespace.as_str()), ("m", "default"));
    let property = &made.spec.expect("it is there").properties[0];
    let texts = [
        &property.name,
        &property.description,
        &property.r#type,
        &property.access_mode,
        &property.minimum,
        &property.maximum,
        &property.unit,
    ];
    assert_eq!(texts, ["x", "d", "INT", "ReadOnly", "1", "2", "C"]);
}

/// A device and its model, and what KubeEdge's own code tells a mapper of them, byte by byte: the model's
/// values laid under the device's, and each message in hexadecimal digits.
#[derive(Deserialize)]
struct Told {
    name: String,
    device: Value,
    model: Value,
    told: String,
    told_model: String,
}

#[test]
fn a_mapper_is_told_what_kubeedge_s_edge_tells_it() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for line in include_str!("golden/told.ndjson").lines() {
        let told: Told = serde_json::from_str(line).expect("a case");
        let of_model: crate::view::Model = serde_json::from_value(told.model).expect("a model");
        let given = serde_json::from_value(told.device).expect("a device");
        let made = device(&key(ResourceType::DEVICE, "t1"), &given, &of_model).expect("a message");
        assert_eq!(hex(made.encode_to_vec()), told.told, "{}: {made:?}", told.name);
        let made = model(&key(ResourceType::DEVICE_MODEL, "m"), &of_model);
        assert_eq!(hex(made.encode_to_vec()), told.told_model, "{}: {made:?}", told.name);
    }
}

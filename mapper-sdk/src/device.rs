//! Devices, as a mapper knows them.

use std::collections::BTreeMap;
use std::time::Duration;

use dmi_proto::v1beta1 as dmi;
use serde_json::{Map, Value as Json};

use crate::value::Kind;

/// What is meant by a cycle of 0, as in `mapper-framework`.
const CYCLE: Duration = Duration::from_secs(1);
/// The shortest cycle.
const CYCLE_MIN: Duration = Duration::from_millis(10);

/// A device.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The name of its protocol.
    pub protocol: String,
    /// How it is reached, as its `spec.protocol.configData` and its model say.
    pub config: Map<String, Json>,
    /// Its properties.
    pub properties: Vec<Property>,
    /// How often its state is reported, if it is.
    pub state_cycle: Option<Duration>,
}

/// A property of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Whether it may be written.
    pub is_writable: bool,
    /// The value that is wanted of it; empty if none is.
    pub desired: String,
    /// How it is reached, as its `visitors.configData` and its model say.
    pub visitor: Map<String, Json>,
    /// How often it is read and reported, if it is.
    pub collect_cycle: Option<Duration>,
    /// How often it is sent to where `push` and `database` say.
    pub report_cycle: Duration,
    /// What is said of the type beside the value.
    pub type_name: String,
    /// Where values are sent.
    pub push: Option<PushMethod>,
    /// The database that values are written to.
    pub database: Option<dmi::DbMethod>,
}

/// Where values are sent: one of them, the first in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum PushMethod {
    /// To a web server.
    Http(dmi::PushMethodHttp),
    /// To an MQTT broker.
    Mqtt(dmi::PushMethodMqtt),
    /// To a collector of OpenTelemetry.
    Otel(dmi::PushMethodOtel),
}

impl Device {
    /// Returns `<namespace>/<name>`.
    #[must_use]
    pub fn id(&self) -> String {
        id(&self.namespace, &self.name)
    }

    /// Reads a device, with what its model says of its properties.
    pub(crate) fn of(device: &dmi::Device, model: &dmi::DeviceModel) -> Self {
        let spec = device.spec.clone().unwrap_or_default();
        let protocol = spec.protocol.unwrap_or_default();
        let known = model.spec.clone().unwrap_or_default().properties;
        let known: BTreeMap<&str, &dmi::ModelProperty> =
            known.iter().map(|property| (property.name.as_str(), property)).collect();
        let status = device.status.clone().unwrap_or_default();
        Self {
            namespace: device.namespace.clone(),
            name: device.name.clone(),
            protocol: protocol.protocol_name,
            config: values(protocol.config_data),
            properties: spec.properties.into_iter().map(|it| property(&known, it)).collect(),
            state_cycle: status.report_to_cloud.then(|| cycle(status.report_cycle)),
        }
    }
}

fn property(known: &BTreeMap<&str, &dmi::ModelProperty>, given: dmi::DeviceProperty) -> Property {
    let of_model = known.get(given.name.as_str());
    let desired = given.desired.unwrap_or_default();
    let push = given.push_method.unwrap_or_default();
    let method = match push {
        dmi::PushMethod { http: Some(http), .. } => Some(PushMethod::Http(http)),
        dmi::PushMethod { mqtt: Some(mqtt), .. } => Some(PushMethod::Mqtt(mqtt)),
        dmi::PushMethod { otel: Some(otel), .. } => Some(PushMethod::Otel(otel)),
        dmi::PushMethod { .. } => None,
    };
    Property {
        kind: of_model.map(|it| Kind::parse(&it.r#type)).unwrap_or_default(),
        // `mapper-framework` writes what is not said to be read only.
        is_writable: of_model.is_some_and(|it| it.access_mode != "ReadOnly"),
        desired: desired.value,
        visitor: values(given.visitors.unwrap_or_default().config_data),
        collect_cycle: given.report_to_cloud.then(|| cycle(given.collect_cycle)),
        report_cycle: cycle(given.report_cycle),
        type_name: desired.metadata.get("type").cloned().unwrap_or_default(),
        push: method,
        database: push.db_method,
        name: given.name,
    }
}

pub(crate) fn id(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn cycle(millis: i64) -> Duration {
    match u64::try_from(millis) {
        Ok(millis) if millis > 0 => Duration::from_millis(millis).max(CYCLE_MIN),
        _ => CYCLE,
    }
}

/// What is in no wrapper that is known is left out, as in `mapper-framework`.
fn values(config: Option<dmi::CustomizedValue>) -> Map<String, Json> {
    let data = config.unwrap_or_default().data;
    data.into_iter().filter_map(|(key, any)| Some((key, dmi_proto::from_any(&any).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_with_its_model() {
        let wrapped = |value: Json| dmi_proto::to_any(&value).expect("it can travel");
        let config =
            |key: &str, value: Json| dmi::CustomizedValue { data: [(key.to_owned(), wrapped(value))].into() };
        let property = dmi::DeviceProperty {
            name: "x".to_owned(),
            desired: Some(dmi::TwinProperty {
                value: "5".to_owned(),
                metadata: [("type".to_owned(), "int".to_owned())].into(),
            }),
            visitors: Some(dmi::VisitorConfig {
                protocol_name: "p".to_owned(),
                config_data: Some(config("offset", 2.into())),
            }),
            collect_cycle: 500,
            report_to_cloud: true,
            push_method: Some(dmi::PushMethod {
                http: Some(dmi::PushMethodHttp::default()),
                mqtt: Some(dmi::PushMethodMqtt::default()),
                ..dmi::PushMethod::default()
            }),
            ..dmi::DeviceProperty::default()
        };
        let spec = dmi::DeviceSpec {
            protocol: Some(dmi::ProtocolConfig {
                protocol_name: "p".to_owned(),
                config_data: Some(config("ip", "::1".into())),
            }),
            properties: vec![property, dmi::DeviceProperty { name: "y".to_owned(), ..Default::default() }],
            ..dmi::DeviceSpec::default()
        };
        let given = dmi::Device {
            name: "d".to_owned(),
            namespace: "n".to_owned(),
            spec: Some(spec),
            status: Some(dmi::DeviceStatus { report_to_cloud: true, ..Default::default() }),
        };
        let of_model = dmi::ModelProperty {
            name: "x".to_owned(),
            r#type: "INT".to_owned(),
            access_mode: "ReadWrite".to_owned(),
            ..Default::default()
        };
        let model = dmi::DeviceModel {
            spec: Some(dmi::DeviceModelSpec { properties: vec![of_model], commands: Vec::new() }),
            ..Default::default()
        };
        let device = Device::of(&given, &model);
        assert_eq!((device.id().as_str(), device.protocol.as_str()), ("n/d", "p"));
        assert_eq!((device.config["ip"].as_str(), device.state_cycle), (Some("::1"), Some(CYCLE)));
        let [x, y] = &device.properties[..] else { panic!("two properties") };
        assert_eq!(
            (x.kind, x.is_writable, x.desired.as_str(), x.type_name.as_str()),
            (Kind::Int, true, "5", "int")
        );
        assert_eq!((x.collect_cycle, x.report_cycle), (Some(Duration::from_millis(500)), CYCLE));
        assert_eq!(x.visitor["offset"].as_i64(), Some(2));
        assert!(matches!(x.push, Some(PushMethod::Http(_))), "the first one wins");
        assert_eq!(
            (y.kind, y.is_writable, y.collect_cycle),
            (Kind::Text, false, None),
            "the model has it not"
        );
    }
}

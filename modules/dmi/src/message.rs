//! From the objects of the API to what a mapper is told.

use std::collections::BTreeMap;

use dmi_proto::v1beta1 as dmi;
use dmi_proto::{ValueError, to_any};

use protocol::ObjectKey;

use crate::view;

/// Says why a device cannot be told to a mapper.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("its spec names no device model (deviceModelRef)")]
    NoModelNamed,
    #[error("its device model {0} is not on this node")]
    NoModel(String),
    #[error("its spec names no protocol (protocol.protocolName)")]
    NoProtocol,
    #[error("the value at {place} cannot be told to a mapper: {cause}")]
    Value { place: String, cause: ValueError },
}

/// Makes a device's message of its object and its model's: what the model says of how it and its properties
/// are reached holds unless the device says otherwise.
///
/// `mapper-framework` takes for granted that each property has `desired`, `visitors` and `visitors.configData`
/// and that there are `protocol` and `status`, and that the model has each property: one that it has not is
/// left out, since the mapper would crash.
pub(crate) fn device(
    key: &ObjectKey,
    device: &view::Device,
    model: &view::Model,
) -> Result<dmi::Device, MessageError> {
    let spec = &device.spec;
    if spec.protocol.protocol_name.is_empty() {
        return Err(MessageError::NoProtocol);
    }
    let protocol = dmi::ProtocolConfig {
        protocol_name: spec.protocol.protocol_name.clone(),
        config_data: Some(config(
            "protocol",
            &overlaid(&model.spec.protocol_config_data, &spec.protocol.config_data),
        )?),
    };
    let mut properties = Vec::with_capacity(spec.properties.len());
    for given in &spec.properties {
        if let Some(known) = model.spec.properties.iter().find(|known| known.name == given.name) {
            properties.push(property(given, known)?);
        }
    }
    let methods = spec.methods.iter().map(|method| dmi::DeviceMethod {
        name: method.name.clone(),
        description: method.description.clone(),
        property_names: method.property_names.clone(),
    });
    let reporting = spec.state_report.as_ref().unwrap_or(&device.status);
    Ok(dmi::Device {
        name: key.name.to_string(),
        namespace: key.namespace.as_ref().map(ToString::to_string).unwrap_or_default(),
        spec: Some(dmi::DeviceSpec {
            device_model_reference: spec.device_model_ref.name.clone(),
            protocol: Some(protocol),
            properties,
            methods: methods.collect(),
        }),
        status: Some(dmi::DeviceStatus {
            twins: Vec::new(),
            report_to_cloud: reporting.report_to_cloud,
            report_cycle: reporting.report_cycle,
        }),
    })
}

/// Returns the names of a device's properties that its model has not.
pub(crate) fn strangers<'a>(device: &'a view::Device, model: &view::Model) -> Vec<&'a str> {
    let is_known = |name: &str| model.spec.properties.iter().any(|known| known.name == name);
    device.spec.properties.iter().map(|given| given.name.as_str()).filter(|name| !is_known(name)).collect()
}

fn property(
    given: &view::Property,
    known: &view::ModelProperty,
) -> Result<dmi::DeviceProperty, MessageError> {
    // The model's visitors replace the device's as a whole, its protocol's name too, before the device's
    // values are laid over: so does KubeEdge.
    let of_model = known.visitors.as_ref();
    let protocol_name = of_model.map_or(&given.visitors.protocol_name, |it| &it.protocol_name).clone();
    let none = view::Open::new();
    let merged = overlaid(of_model.map_or(&none, |it| &it.config_data), &given.visitors.config_data);
    let push_method = given.push_method.as_ref().map(|push| push_method(&given.name, push)).transpose()?;
    Ok(dmi::DeviceProperty {
        name: given.name.clone(),
        desired: Some(dmi::TwinProperty {
            value: given.desired.value.clone(),
            metadata: given.desired.metadata.clone(),
        }),
        visitors: Some(dmi::VisitorConfig {
            protocol_name,
            config_data: Some(config(&format!("properties.{}.visitors", given.name), &merged)?),
        }),
        report_cycle: given.report_cycle,
        collect_cycle: given.collect_cycle,
        report_to_cloud: given.report_to_cloud,
        push_method,
    })
}

fn overlaid(under: &view::Open, over: &view::Open) -> view::Open {
    let mut merged = under.clone();
    merged.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
    merged
}

fn config(place: &str, values: &view::Open) -> Result<dmi::CustomizedValue, MessageError> {
    Ok(dmi::CustomizedValue { data: wrapped(&format!("{place}.configData"), values)? })
}

fn wrapped(place: &str, values: &view::Open) -> Result<BTreeMap<String, dmi_proto::Any>, MessageError> {
    // What is null is not there.
    let values = values.iter().filter(|(_, value)| !value.is_null());
    let wrapped = values.map(|(key, value)| match to_any(value) {
        Ok(any) => Ok((key.clone(), any)),
        Err(cause) => Err(MessageError::Value { place: format!("{place}.{key}"), cause }),
    });
    wrapped.collect()
}

fn push_method(property: &str, push: &view::PushMethod) -> Result<dmi::PushMethod, MessageError> {
    let place = format!("properties.{property}.pushMethod.anomalyDetection");
    let anomaly_detection = push
        .anomaly_detection
        .as_ref()
        .map(|values| wrapped(&place, values).map(|data| dmi::AnomalyDetection { data }));
    Ok(dmi::PushMethod {
        http: push.http.as_ref().map(|http| dmi::PushMethodHttp {
            hostname: http.host_name.clone(),
            port: http.port,
            requestpath: http.request_path.clone(),
            timeout: http.timeout,
        }),
        mqtt: push.mqtt.as_ref().map(|mqtt| dmi::PushMethodMqtt {
            address: mqtt.address.clone(),
            topic: mqtt.topic.clone(),
            qos: mqtt.qos,
            retained: mqtt.retained,
        }),
        otel: push.otel.as_ref().map(|otel| dmi::PushMethodOtel { endpoint_url: otel.endpoint_url.clone() }),
        db_method: push.db_method.as_ref().map(database),
        anomaly_detection: anomaly_detection.transpose()?,
    })
}

fn database(database: &view::DbMethod) -> dmi::DbMethod {
    dmi::DbMethod {
        influxdb2: database.influxdb2.as_ref().map(|influx| dmi::DbMethodInfluxdb2 {
            influxdb2_client_config: Some(dmi::Influxdb2ClientConfig {
                url: influx.influxdb2_client_config.url.clone(),
                org: influx.influxdb2_client_config.org.clone(),
                bucket: influx.influxdb2_client_config.bucket.clone(),
            }),
            influxdb2_data_config: Some(dmi::Influxdb2DataConfig {
                measurement: influx.influxdb2_data_config.measurement.clone(),
                tag: influx.influxdb2_data_config.tag.clone(),
                field_key: influx.influxdb2_data_config.field_key.clone(),
            }),
        }),
        redis: database.redis.as_ref().map(|redis| dmi::DbMethodRedis {
            redis_client_config: Some(dmi::RedisClientConfig {
                addr: redis.redis_client_config.addr.clone(),
                db: redis.redis_client_config.db,
                poolsize: redis.redis_client_config.poolsize,
                min_idle_conns: redis.redis_client_config.min_idle_conns,
            }),
        }),
        tdengine: database.td_engine.as_ref().map(|td_engine| dmi::DbMethodTdEngine {
            td_engine_client_config: Some(dmi::TdEngineClientConfig {
                addr: td_engine.client_config.addr.clone(),
                dbname: td_engine.client_config.db_name.clone(),
            }),
        }),
        mysql: database.mysql.as_ref().map(|mysql| dmi::DbMethodMySql {
            mysql_client_config: Some(dmi::MySqlClientConfig {
                addr: mysql.mysql_client_config.addr.clone(),
                database: mysql.mysql_client_config.database.clone(),
                user_name: mysql.mysql_client_config.user_name.clone(),
            }),
        }),
    }
}

/// Makes a model's message of its object.
pub(crate) fn model(key: &ObjectKey, model: &view::Model) -> dmi::DeviceModel {
    let properties = model.spec.properties.iter().map(|property| dmi::ModelProperty {
        name: property.name.clone(),
        description: property.description.clone(),
        r#type: property.kind.clone(),
        access_mode: property.access_mode.clone(),
        minimum: property.minimum.clone(),
        maximum: property.maximum.clone(),
        unit: property.unit.clone(),
    });
    dmi::DeviceModel {
        name: key.name.to_string(),
        namespace: key.namespace.as_ref().map(ToString::to_string).unwrap_or_default(),
        spec: Some(dmi::DeviceModelSpec { properties: properties.collect(), commands: Vec::new() }),
    }
}

#[cfg(test)]
mod tests;

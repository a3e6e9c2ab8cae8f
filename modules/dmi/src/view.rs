//! The fields of `Device` and `DeviceModel` objects that mappers are told, as KubeEdge's v1beta1 names them.
//!
//! A null is an absent field, as Go reads it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Values of the users' own.
pub(crate) type Open = Map<String, Value>;

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

macro_rules! view {
    ($($(#[$doc:meta])* struct $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub(crate) struct $name {
                $($(#[$attribute])* #[serde(deserialize_with = "or_default")] pub(crate) $field: $type,)*
            }
        )*
    };
}

view! {
    /// A device.
    struct Device {
        spec: DeviceSpec,
        /// How earlier versions said how the state is reported.
        status: Reporting,
    }

    struct DeviceSpec {
        device_model_ref: Reference,
        protocol: Protocol,
        properties: Vec<Property>,
        methods: Vec<Method>,
        state_report: Option<Reporting>,
    }

    struct Reference {
        name: String,
    }

    struct Protocol {
        protocol_name: String,
        config_data: Open,
    }

    struct Reporting {
        report_to_cloud: bool,
        report_cycle: i64,
    }

    struct Method {
        name: String,
        description: String,
        property_names: Vec<String>,
    }

    struct Property {
        name: String,
        desired: Desired,
        visitors: Protocol,
        report_cycle: i64,
        collect_cycle: i64,
        report_to_cloud: bool,
        push_method: Option<PushMethod>,
    }

    struct Desired {
        value: String,
        metadata: BTreeMap<String, String>,
    }

    struct PushMethod {
        http: Option<Http>,
        mqtt: Option<Mqtt>,
        otel: Option<Otel>,
        db_method: Option<DbMethod>,
        anomaly_detection: Option<Open>,
    }

    struct Http {
        host_name: String,
        port: i64,
        request_path: String,
        timeout: i64,
    }

    struct Mqtt {
        address: String,
        topic: String,
        qos: i32,
        retained: bool,
    }

    struct Otel {
        #[serde(rename = "endpointURL")]
        endpoint_url: String,
    }

    struct DbMethod {
        influxdb2: Option<Influxdb2>,
        redis: Option<Redis>,
        #[serde(rename = "TDEngine")]
        td_engine: Option<TdEngine>,
        mysql: Option<Mysql>,
    }

    struct Influxdb2 {
        influxdb2_client_config: Influxdb2Client,
        influxdb2_data_config: Influxdb2Data,
    }

    struct Influxdb2Client {
        url: String,
        org: String,
        bucket: String,
    }

    struct Influxdb2Data {
        measurement: String,
        tag: BTreeMap<String, String>,
        field_key: String,
    }

    struct Redis {
        redis_client_config: RedisClient,
    }

    struct RedisClient {
        addr: String,
        db: i32,
        poolsize: i32,
        min_idle_conns: i32,
    }

    struct TdEngine {
        #[serde(rename = "TDEngineClientConfig")]
        client_config: TdEngineClient,
    }

    struct TdEngineClient {
        addr: String,
        db_name: String,
    }

    struct Mysql {
        mysql_client_config: MysqlClient,
    }

    struct MysqlClient {
        addr: String,
        database: String,
        user_name: String,
    }

    /// What devices of one type have in common.
    struct Model {
        spec: ModelSpec,
    }

    struct ModelSpec {
        properties: Vec<ModelProperty>,
        protocol: String,
        protocol_config_data: Open,
    }

    struct ModelProperty {
        name: String,
        description: String,
        #[serde(rename = "type")]
        kind: String,
        access_mode: String,
        minimum: String,
        maximum: String,
        unit: String,
        visitors: Option<Protocol>,
    }
}

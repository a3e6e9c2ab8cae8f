//! The stored version.

use std::collections::BTreeMap;

pub use super::v1alpha2::{AccessMode, TwinProperty};
use crate::kubernetes::{LocalObjectReference, Open};
use crate::shape::{shape, words};

words! {
    /// A property's type.
    pub enum PropertyType {
        Int = "INT",
        Float = "FLOAT",
        Double = "DOUBLE",
        String = "STRING",
        Boolean = "BOOLEAN",
        Bytes = "BYTES",
        Stream = "STREAM",
    }
}

shape! {
    /// What a device is.
    pub struct DeviceSpec {
        /// Its model.
        may device_model_ref: LocalObjectReference,
        /// What can be called on it.
        may methods: Vec<DeviceMethod>,
        /// The node that it is attached to.
        may node_name: String,
        /// What its properties shall be and how they are reached.
        may properties: Vec<DeviceProperty>,
        /// How it is reached.
        may protocol: ProtocolConfig,
        /// How its state is reported.
        may state_report: Reporting,
    }

    /// What can be called on a device.
    pub struct DeviceMethod {
        /// What it does.
        may description: String,
        /// Its name.
        may name: String,
        /// The properties that it is for.
        may property_names: Vec<String>,
    }

    /// What a property shall be and how it is reached.
    pub struct DeviceProperty {
        /// How often it is read, in milliseconds.
        may collect_cycle: i64,
        /// What it shall be.
        may desired: TwinProperty,
        /// Its name in the model.
        may name: String,
        /// Where a mapper sends its values.
        may push_method: PushMethod,
        /// How often it is reported, in milliseconds.
        may report_cycle: i64,
        /// Whether it is reported to the cloud.
        may report_to_cloud: bool,
        /// How it is read and written.
        may visitors: VisitorConfig,
    }

    /// Where a mapper sends values.
    pub struct PushMethod {
        /// How it finds what is out of the ordinary.
        may anomaly_detection: Open,
        /// To a database.
        may db_method: DbMethod,
        /// To a web server.
        may http: PushHttp,
        /// To a broker.
        may mqtt: PushMqtt,
        /// To a collector of telemetry.
        may otel: PushOtel,
    }

    /// A database: one of them.
    pub struct DbMethod {
        /// TDengine.
        #[serde(rename = "TDEngine")]
        may td_engine: TdEngine,
        /// InfluxDB 2.
        may influxdb2: Influxdb2,
        /// MySQL.
        may mysql: Mysql,
        /// Redis.
        may redis: Redis,
    }

    /// TDengine.
    pub struct TdEngine {
        /// How it is reached.
        #[serde(rename = "TDEngineClientConfig")]
        may client_config: TdEngineClient,
    }

    /// How TDengine is reached.
    pub struct TdEngineClient {
        /// The address.
        may addr: String,
        /// The database.
        may db_name: String,
    }

    /// InfluxDB 2.
    pub struct Influxdb2 {
        /// How it is reached.
        #[serde(rename = "influxdb2ClientConfig")]
        may client_config: Influxdb2Client,
        /// How values are written.
        #[serde(rename = "influxdb2DataConfig")]
        may data_config: Influxdb2Data,
    }

    /// How InfluxDB 2 is reached.
    pub struct Influxdb2Client {
        /// The bucket.
        may bucket: String,
        /// The organisation.
        may org: String,
        /// The address.
        may url: String,
    }

    /// How values are written to InfluxDB 2.
    pub struct Influxdb2Data {
        /// The field.
        may field_key: String,
        /// The measurement.
        may measurement: String,
        /// The tags.
        may tag: BTreeMap<String, String>,
    }

    /// MySQL.
    pub struct Mysql {
        /// How it is reached.
        #[serde(rename = "mysqlClientConfig")]
        may client_config: MysqlClient,
    }

    /// How MySQL is reached.
    pub struct MysqlClient {
        /// The address.
        may addr: String,
        /// The database.
        may database: String,
        /// The user.
        may user_name: String,
    }

    /// Redis.
    pub struct Redis {
        /// How it is reached.
        #[serde(rename = "redisClientConfig")]
        may client_config: RedisClient,
    }

    /// How Redis is reached.
    pub struct RedisClient {
        /// The address.
        may addr: String,
        /// The database's number.
        may db: isize,
        /// How many connections are kept at least.
        may min_idle_conns: isize,
        /// How many connections there may be.
        may poolsize: isize,
    }

    /// A web server.
    pub struct PushHttp {
        /// The host.
        may host_name: String,
        /// The port.
        may port: i64,
        /// The path.
        may request_path: String,
        /// How long a request may take.
        may timeout: i64,
    }

    /// A broker.
    pub struct PushMqtt {
        /// The address.
        may address: String,
        /// The quality of service.
        may qos: i32,
        /// Whether the broker keeps the last value.
        may retained: bool,
        /// The topic.
        may topic: String,
    }

    /// A collector of telemetry.
    pub struct PushOtel {
        /// The address.
        #[serde(rename = "endpointURL")]
        may endpoint_url: String,
    }

    /// How a property is read and written.
    pub struct VisitorConfig {
        /// What the protocol needs.
        may config_data: Open,
        /// The protocol's name.
        may protocol_name: String,
    }

    /// How a device is reached.
    pub struct ProtocolConfig {
        /// What the protocol needs.
        may config_data: Open,
        /// The protocol's name.
        may protocol_name: String,
    }

    /// How a device's state is reported.
    pub struct Reporting {
        /// How often, in milliseconds.
        may report_cycle: i64,
        /// Whether it is reported to the cloud.
        may report_to_cloud: bool,
    }

    /// What a device says of itself, as earlier versions had it here; see [`DeviceStatusStatus`].
    pub struct DeviceReport {
        /// How often, in milliseconds.
        may report_cycle: i64,
        /// Whether it is reported to the cloud.
        may report_to_cloud: bool,
        /// What else is there.
        rest others: Open,
    }

    /// What devices of one type have in common.
    pub struct DeviceModelSpec {
        /// Their properties.
        may properties: Vec<ModelProperty>,
        /// How they are reached.
        may protocol: String,
        /// What the protocol needs.
        may protocol_config_data: Open,
    }

    /// A property of a model.
    pub struct ModelProperty {
        /// What it is for.
        may access_mode: AccessMode,
        /// What it is.
        may description: String,
        /// The greatest value.
        may maximum: String,
        /// The least value.
        may minimum: String,
        /// Its name.
        may name: String,
        /// Its type.
        #[serde(rename = "type")]
        may kind: PropertyType,
        /// The unit.
        may unit: String,
        /// How it is read and written.
        may visitors: VisitorConfig,
    }

    /// Nothing: what is known of a device is in its status.
    pub struct DeviceStatusSpec {}

    /// What is known of a device.
    pub struct DeviceStatusStatus {
        /// What mappers add.
        may extensions: Open,
        /// When it was last seen.
        may last_online_time: String,
        /// Its state.
        may state: String,
        /// Its properties.
        may twins: Vec<Twin>,
    }

    /// A property: what it shall be, as its device heard it, and what it is.
    pub struct Twin {
        /// What it shall be.
        may observed_desired: TwinProperty,
        /// Its name.
        may property_name: String,
        /// What it is.
        may reported: TwinProperty,
    }
}

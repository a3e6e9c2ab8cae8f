//! The second version, which is served beside the stored one.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::kubernetes::{Base64, LocalObjectReference, NodeSelector, Open};
use crate::shape::{shape, words};

words! {
    /// What a property is for.
    pub enum AccessMode { ReadWrite = "ReadWrite", ReadOnly = "ReadOnly", }
    /// Which registers of a Modbus device are meant.
    pub enum ModbusRegister {
        Coil = "CoilRegister",
        DiscreteInput = "DiscreteInputRegister",
        Input = "InputRegister",
        Holding = "HoldingRegister",
    }
    /// How values are collected.
    pub enum CollectType { Sync = "sync", Async = "async", }
    /// A serial line's parity.
    pub enum Parity { None = "none", Even = "even", Odd = "odd", }
}

/// Declares a number that has one of a few values.
macro_rules! one_of {
    ($( $(#[$meta:meta])* $name:ident: $($value:literal),*; )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name(pub i64);

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "integer", "format": "int64", "enum": [$($value),*]})
            }
        }
    )* };
}

one_of! {
    /// A serial line's speed.
    BaudRate: 115200, 57600, 38400, 19200, 9600, 4800, 2400, 1800, 1200, 600, 300, 200, 150, 134, 110, 75, 50;
    /// How many bits of data a serial line's words have.
    DataBits: 8, 7, 6, 5;
    /// How many bits end a serial line's words.
    StopBits: 1, 2;
}

shape! {
    /// What a device is.
    pub struct DeviceSpec {
        /// What of it is published in the edge's broker.
        may data: DeviceData,
        /// Its model.
        may device_model_ref: LocalObjectReference,
        /// The node that it is attached to.
        may node_selector: NodeSelector,
        /// How its properties are read and written.
        may property_visitors: Vec<PropertyVisitor>,
        /// How it is reached.
        may protocol: ProtocolConfig,
    }

    /// What of a device is published in the edge's broker.
    pub struct DeviceData {
        /// The properties.
        may data_properties: Vec<DataProperty>,
        /// The topic.
        may data_topic: String,
    }

    /// A property that is published.
    pub struct DataProperty {
        /// Notes, as the type and the time.
        may metadata: BTreeMap<String, String>,
        /// The property's name.
        may property_name: String,
    }

    /// How a property is read and written.
    pub struct PropertyVisitor {
        /// With Bluetooth.
        may bluetooth: BluetoothVisitor,
        /// How often it is read, in milliseconds.
        may collect_cycle: i64,
        /// With a protocol of one's own.
        may customized_protocol: CustomizedProtocol,
        /// What one's own protocol needs.
        may customized_values: Open,
        /// With Modbus.
        may modbus: ModbusVisitor,
        /// With OPC UA.
        may opcua: OpcuaVisitor,
        /// The property's name.
        may property_name: String,
        /// How often it is reported, in milliseconds.
        may report_cycle: i64,
    }

    /// How a property is read and written with Bluetooth.
    pub struct BluetoothVisitor {
        /// The characteristic.
        #[serde(rename = "characteristicUUID")]
        may characteristic_uuid: String,
        /// How bytes become a value.
        may data_converter: BluetoothConverter,
        /// The bytes that are written for each value.
        may data_write: BTreeMap<String, Base64>,
    }

    /// How bytes become a value.
    pub struct BluetoothConverter {
        /// The last byte.
        may end_index: isize,
        /// What is done with the number, in this order.
        may order_of_operations: Vec<BluetoothOperation>,
        /// By how many bits it is shifted to the left.
        may shift_left: isize,
        /// By how many bits it is shifted to the right.
        may shift_right: isize,
        /// The first byte.
        may start_index: isize,
    }

    /// What is done with a number.
    pub struct BluetoothOperation {
        /// The operation, as `Multiply`.
        may operation_type: String,
        /// Its second number.
        may operation_value: f64,
    }

    /// How a device with a protocol of one's own is reached.
    pub struct CustomizedProtocol {
        /// What the protocol needs.
        may config_data: Open,
        /// The protocol's name.
        may protocol_name: String,
    }

    /// How a property is read and written with Modbus.
    pub struct ModbusVisitor {
        /// Whether registers change places.
        may is_register_swap: bool,
        /// Whether the bytes of a register change places.
        may is_swap: bool,
        /// How many registers.
        may limit: i64,
        /// The first register.
        may offset: i64,
        /// Which registers.
        may register: ModbusRegister,
        /// What the number is multiplied with.
        may scale: f64,
    }

    /// How a property is read and written with OPC UA.
    pub struct OpcuaVisitor {
        /// The variable's name.
        may browse_name: String,
        /// The variable's id.
        #[serde(rename = "nodeID")]
        may node_id: String,
    }

    /// How a device is reached.
    pub struct ProtocolConfig {
        /// With Bluetooth.
        may bluetooth: BluetoothProtocol,
        /// What protocols have in common.
        may common: CommonProtocol,
        /// With a protocol of one's own.
        may customized_protocol: CustomizedProtocol,
        /// With Modbus.
        may modbus: ModbusProtocol,
        /// With OPC UA.
        may opcua: OpcuaProtocol,
    }

    /// How a Bluetooth device is reached.
    pub struct BluetoothProtocol {
        /// Its address.
        may mac_address: String,
    }

    /// What protocols have in common.
    pub struct CommonProtocol {
        /// How often a read is tried again.
        may collect_retry_times: i64,
        /// How long a read may take.
        may collect_timeout: i64,
        /// How values are collected.
        may collect_type: CollectType,
        /// Over a serial line.
        may com: SerialLine,
        /// What carries it, as `tcp`.
        may comm_type: String,
        /// What else is needed.
        may customized_values: Open,
        /// How often a connection is tried again.
        may reconn_retry_times: i64,
        /// How long a connection may take.
        may reconn_timeout: i64,
        /// Over TCP.
        may tcp: TcpAddress,
    }

    /// A serial line.
    pub struct SerialLine {
        /// Its speed.
        may baud_rate: BaudRate,
        /// Bits of data.
        may data_bits: DataBits,
        /// The parity.
        may parity: Parity,
        /// The line, as `/dev/ttyS0`.
        may serial_port: String,
        /// Bits at the end.
        may stop_bits: StopBits,
    }

    /// An address.
    pub struct TcpAddress {
        /// The host.
        may ip: String,
        /// The port.
        may port: i64,
    }

    /// How a Modbus device is reached.
    pub struct ModbusProtocol {
        /// Its number on the line.
        #[serde(rename = "slaveID")]
        may slave_id: i64,
    }

    /// How an OPC UA server is reached.
    pub struct OpcuaProtocol {
        /// The client's certificate.
        may certificate: String,
        /// The password.
        may password: String,
        /// The client's key.
        may private_key: String,
        /// Whether messages are signed and encrypted.
        may security_mode: String,
        /// With which algorithms.
        may security_policy: String,
        /// How long a request may take.
        may timeout: i64,
        /// The address.
        may url: String,
        /// The user.
        may user_name: String,
    }

    /// What is known of a device.
    pub struct DeviceStatus {
        /// Its properties.
        may twins: Vec<Twin>,
    }

    /// A property: what it shall be and what it is.
    pub struct Twin {
        /// What it shall be.
        may desired: TwinProperty,
        /// Its name.
        may property_name: String,
        /// What it is.
        may reported: TwinProperty,
    }

    /// A value.
    pub struct TwinProperty {
        /// Notes, as the type and the time.
        may metadata: BTreeMap<String, String>,
        /// The value.
        must value: String,
    }

    /// What devices of one type have in common.
    pub struct DeviceModelSpec {
        /// Their properties.
        may properties: Vec<DeviceProperty>,
        /// How they are reached.
        may protocol: String,
    }

    /// A property of a model.
    pub struct DeviceProperty {
        /// What it is.
        may description: String,
        /// Its name.
        may name: String,
        /// Its type.
        #[serde(rename = "type")]
        may kind: PropertyType,
    }

    /// A property's type: one of them.
    pub struct PropertyType {
        /// True or false.
        may boolean: BooleanType,
        /// Bytes.
        may bytes: BytesType,
        /// A number of 64 bits with a fraction.
        may double: RealType,
        /// A number of 32 bits with a fraction.
        may float: RealType,
        /// A whole number.
        may int: IntType,
        /// A text.
        may string: StringType,
    }

    /// True or false.
    pub struct BooleanType {
        /// What it is for.
        may access_mode: AccessMode,
        /// Its value at first.
        may default_value: bool,
    }

    /// Bytes.
    pub struct BytesType {
        /// What they are for.
        may access_mode: AccessMode,
    }

    /// A number with a fraction.
    pub struct RealType {
        /// What it is for.
        may access_mode: AccessMode,
        /// Its value at first.
        may default_value: f64,
        /// The greatest.
        may maximum: f64,
        /// The least.
        may minimum: f64,
        /// The unit.
        may unit: String,
    }

    /// A whole number.
    pub struct IntType {
        /// What it is for.
        may access_mode: AccessMode,
        /// Its value at first.
        may default_value: i64,
        /// The greatest.
        may maximum: i64,
        /// The least.
        may minimum: i64,
        /// The unit.
        may unit: String,
    }

    /// A text.
    pub struct StringType {
        /// What it is for.
        may access_mode: AccessMode,
        /// Its value at first.
        may default_value: String,
    }
}

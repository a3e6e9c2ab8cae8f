//! A mapper of devices that speak Modbus over TCP.
//!
//! The keys of `configData` are those of KubeEdge's Modbus mapper, so that its devices and models need no
//! change; see the README.

mod registers;

use async_trait::async_trait;
use mapper_sdk::{Device, Driver, DriverError, Kind, Property, Value};
use serde::Deserialize;
use serde_json::Map;
use tokio::net::{TcpStream, lookup_host};
use tokio_modbus::client::{Context, Reader as _, Writer as _, tcp};
use tokio_modbus::{Error, ExceptionCode, Slave};

use crate::registers::{Layout, decode, encode};

/// The driver.
#[derive(Debug, Clone, Copy, Default)]
pub struct Modbus;

/// How a device is reached: `spec.protocol.configData`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Address {
    ip: String,
    #[serde(default = "port")]
    port: u16,
    #[serde(default, rename = "slaveID")]
    slave_id: u8,
}

fn port() -> u16 {
    502
}

/// The tables of a Modbus device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Table {
    #[serde(rename = "CoilRegister")]
    Coil,
    #[serde(rename = "DiscreteInputRegister")]
    DiscreteInput,
    #[serde(rename = "InputRegister")]
    Input,
    #[serde(rename = "HoldingRegister")]
    Holding,
}

/// How a property is reached: its `visitors.configData`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Visitor {
    register: Table,
    offset: u16,
    /// How many registers it has.
    #[serde(default = "one")]
    limit: u16,
    #[serde(default = "unscaled")]
    scale: f64,
    /// Whether the bytes of each register are swapped.
    #[serde(default)]
    is_swap: bool,
    /// Whether the registers are in reverse order.
    #[serde(default)]
    is_register_swap: bool,
}

fn one() -> u16 {
    1
}

fn unscaled() -> f64 {
    1.0
}

impl Visitor {
    fn of(property: &Property) -> Result<Self, DriverError> {
        let visitor: Self = read(&property.visitor, "visitors.configData")?;
        if visitor.scale == 0.0 || !visitor.scale.is_finite() {
            return Err(DriverError::Failed("visitors.configData: scale must not be 0".to_owned()));
        }
        Ok(visitor)
    }

    fn layout(&self) -> Layout {
        Layout { swaps_bytes: self.is_swap, swaps_registers: self.is_register_swap }
    }
}

fn read<T: for<'de> Deserialize<'de>>(
    config: &Map<String, serde_json::Value>,
    place: &str,
) -> Result<T, DriverError> {
    serde_json::from_value(serde_json::Value::Object(config.clone()))
        .map_err(|error| DriverError::Failed(format!("{place}: {error}")))
}

/// An answer of the device: an exception says that it is there and has no such register.
fn answered<T>(answer: Result<Result<T, ExceptionCode>, Error>) -> Result<T, DriverError> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(exception)) => Err(DriverError::Failed(format!("the device answers: {exception}"))),
        Err(error) => Err(DriverError::Disconnected(error.to_string())),
    }
}

#[async_trait]
impl Driver for Modbus {
    type Handle = Context;

    async fn open(&self, device: &Device) -> Result<Context, DriverError> {
        let Address { ip, port, slave_id } = read(&device.config, "protocol.configData")?;
        let lost = |error: std::io::Error| DriverError::Disconnected(format!("{ip}:{port}: {error}"));
        let addresses: Vec<_> = lookup_host((ip.as_str(), port)).await.map_err(lost)?.collect();
        let stream = TcpStream::connect(&addresses[..]).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        Ok(tcp::attach_slave(stream, Slave(slave_id)))
    }

    async fn read(&self, device: &mut Context, property: &Property) -> Result<Value, DriverError> {
        let visitor = Visitor::of(property)?;
        let (at, count) = (visitor.offset, visitor.limit);
        let bit = |bits: Vec<bool>| match (bits.first(), property.kind) {
            (Some(bit), Kind::Boolean | Kind::Text) => Ok(Value::Boolean(*bit)),
            (Some(bit), _) => Ok(Value::Int(i64::from(*bit))),
            (None, _) => Err(DriverError::Failed("the device answers without a value".to_owned())),
        };
        let registers = match visitor.register {
            Table::Coil => return bit(answered(device.read_coils(at, 1).await)?),
            Table::DiscreteInput => return bit(answered(device.read_discrete_inputs(at, 1).await)?),
            Table::Input => answered(device.read_input_registers(at, count).await)?,
            Table::Holding => answered(device.read_holding_registers(at, count).await)?,
        };
        decode(&registers, property.kind, visitor.scale, visitor.layout()).map_err(DriverError::Failed)
    }

    async fn write(
        &self,
        device: &mut Context,
        property: &Property,
        value: &Value,
    ) -> Result<(), DriverError> {
        let visitor = Visitor::of(property)?;
        match visitor.register {
            Table::Coil => {
                let bit = value.number().map(|number| number != 0.0);
                let bit = bit.ok_or_else(|| DriverError::Failed(format!("{value} is neither on nor off")))?;
                answered(device.write_single_coil(visitor.offset, bit).await)
            }
            Table::Holding => {
                let count = usize::from(visitor.limit);
                let registers = encode(value, property.kind, count, visitor.scale, visitor.layout());
                let registers = registers.map_err(DriverError::Failed)?;
                answered(device.write_multiple_registers(visitor.offset, &registers).await)
            }
            Table::DiscreteInput | Table::Input => Err(DriverError::Failed(format!(
                "a register of the table {:?} cannot be written",
                visitor.register
            ))),
        }
    }

    async fn close(&self, mut device: Context) {
        use tokio_modbus::client::Client as _;
        // A device that is lost cannot be told so.
        drop(device.disconnect().await);
    }
}

//! Values of a device's free-form configuration, each in an `Any` around one of protobuf's wrappers.

use prost::Message;
pub use prost_types::Any;
use serde_json::Value;

const PREFIX: &str = "type.googleapis.com/google.protobuf.";

/// Says why a value cannot travel to a mapper, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Mappers take texts, numbers and truth values.
    #[error("it is {0}, and mappers take texts, numbers, true and false")]
    Compound(&'static str),
    /// The type is none of the wrappers.
    #[error("its type {0:?} is none that DMI carries")]
    Type(String),
    /// The bytes are not of the type.
    #[error("it is no valid {0}")]
    Bytes(String),
}

/// Wraps a JSON value as KubeEdge's `mapper-framework` unwraps it.
///
/// A whole number travels as `Int64Value`: KubeEdge sends every number as a 32-bit `FloatValue`, which has
/// no room for whole numbers above 2^24, and its mappers read both. Of fractions they read 32 bits only.
///
/// # Errors
///
/// When the value is a list, an object or null.
pub fn to_any(value: &Value) -> Result<Any, ValueError> {
    let (name, value) = match value {
        Value::String(text) => ("StringValue", text.encode_to_vec()),
        Value::Bool(truth) => ("BoolValue", truth.encode_to_vec()),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => ("Int64Value", whole.encode_to_vec()),
            None => ("FloatValue", single(number.as_f64().unwrap_or_default()).encode_to_vec()),
        },
        Value::Array(_) => return Err(ValueError::Compound("a list")),
        Value::Object(_) => return Err(ValueError::Compound("an object")),
        Value::Null => return Err(ValueError::Compound("null")),
    };
    Ok(Any { type_url: format!("{PREFIX}{name}"), value })
}

#[expect(clippy::cast_possible_truncation, reason = "mappers of KubeEdge read fractions of 32 bits only")]
const fn single(number: f64) -> f32 {
    number as f32
}

/// Unwraps a value that KubeEdge's edgecore or ours wrapped.
///
/// # Errors
///
/// When it is in none of the wrappers, or damaged.
pub fn from_any(any: &Any) -> Result<Value, ValueError> {
    let name = any.type_url.strip_prefix(PREFIX).ok_or_else(|| ValueError::Type(any.type_url.clone()))?;
    let bytes = any.value.as_slice();
    let read = match name {
        "StringValue" => String::decode(bytes).map(Value::from),
        "BoolValue" => bool::decode(bytes).map(Value::from),
        "Int64Value" => i64::decode(bytes).map(Value::from),
        "Int32Value" => i32::decode(bytes).map(Value::from),
        "UInt64Value" => u64::decode(bytes).map(Value::from),
        "UInt32Value" => u32::decode(bytes).map(Value::from),
        "DoubleValue" => f64::decode(bytes).map(Value::from),
        "FloatValue" => f32::decode(bytes).map(shortest),
        _ => return Err(ValueError::Type(any.type_url.clone())),
    };
    read.map_err(|_| ValueError::Bytes(name.to_owned()))
}

/// Returns the number that people would write for a 32-bit one: 0.1, not 0.10000000149011612. A whole one
/// is whole, since KubeEdge's edgecore sends those so too.
fn shortest(single: f32) -> Value {
    // Below 2^63 in magnitude a whole `f32` is an `i64` exactly.
    if single.fract() == 0.0 && single.abs() < 9.0e18 {
        return format!("{single:.0}").parse::<i64>().map_or(Value::Null, Value::from);
    }
    single.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_mapper_reads_is_what_was_written() {
        for value in [
            json!("text"),
            json!(""),
            json!(true),
            json!(false),
            json!(0),
            json!(-1),
            json!(16_777_217),
            json!(i64::MAX),
            json!(21.5),
            json!(0.1),
            json!(-1.25e-3),
        ] {
            let any = to_any(&value).expect("it can travel");
            assert_eq!(from_any(&any), Ok(value));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_wrappers() {
        let any = to_any(&json!("tcp")).expect("a text");
        assert_eq!(any.type_url, "type.googleapis.com/google.protobuf.StringValue");
        assert_eq!(any.value, b"\x0a\x03tcp");
        let any = to_any(&json!(502)).expect("a number");
        assert_eq!(any.type_url, "type.googleapis.com/google.protobuf.Int64Value");
        assert_eq!(any.value, b"\x08\xf6\x03");
        let any = to_any(&json!(1.5)).expect("a number");
        assert_eq!(any.type_url, "type.googleapis.com/google.protobuf.FloatValue");
        assert_eq!(any.value, b"\x0d\0\0\xc0\x3f");
    }

    #[test]
    fn a_whole_number_from_kubeedge_is_whole() {
        let float = Any { type_url: format!("{PREFIX}FloatValue"), value: 502f32.encode_to_vec() };
        assert_eq!(from_any(&float), Ok(json!(502)));
    }

    #[test]
    fn what_mappers_do_not_take_is_an_error() {
        assert_eq!(to_any(&json!([1])), Err(ValueError::Compound("a list")));
        assert_eq!(to_any(&json!({})), Err(ValueError::Compound("an object")));
        assert_eq!(to_any(&Value::Null), Err(ValueError::Compound("null")));
        let bad = Any { type_url: format!("{PREFIX}StringValue"), value: vec![0x0a, 9, b'x'] };
        assert_eq!(from_any(&bad), Err(ValueError::Bytes("StringValue".to_owned())));
        for url in ["", "type.googleapis.com/google.protobuf.Any", "StringValue"] {
            let any = Any { type_url: url.to_owned(), value: Vec::new() };
            assert_eq!(from_any(&any), Err(ValueError::Type(url.to_owned())));
        }
        let nan = Any { type_url: format!("{PREFIX}FloatValue"), value: f32::NAN.encode_to_vec() };
        assert_eq!(from_any(&nan), Ok(Value::Null));
    }
}

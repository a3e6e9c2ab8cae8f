//! Values without parts, and the small messages that JSON writes as one value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Number, Value};

use super::DecodeError;
use super::reader::{Reader, Wire};
use crate::schema::types::Scalar;

/// Returns whether a list of these may stand in one field.
pub(super) fn may_be_packed(scalar: Scalar) -> bool {
    matches!(scalar, Scalar::Bool | Scalar::Int32 | Scalar::Int64 | Scalar::Double)
}

/// Decodes a list that stands in one field.
pub(super) fn packed(scalar: Scalar, bytes: &[u8]) -> Result<Vec<Value>, DecodeError> {
    let mut values = Vec::new();
    let mut reader = Reader::new(bytes);
    while !reader.is_done() {
        let wire = match scalar {
            Scalar::Double => Wire::Fixed64(u64::from_le_bytes(reader.array()?)),
            _ => Wire::Varint(reader.varint()?),
        };
        values.push(decode(scalar, wire)?);
    }
    Ok(values)
}

/// Decodes one value; null stands for an absent one.
pub(super) fn decode(scalar: Scalar, wire: Wire<'_>) -> Result<Value, DecodeError> {
    Ok(match scalar {
        Scalar::String => Value::from(wire.text()?),
        Scalar::Bool => Value::from(wire.varint()? != 0),
        Scalar::Int32 | Scalar::Int64 => Value::from(wire.varint()?.cast_signed()),
        Scalar::Double => number(wire)?,
        Scalar::Bytes => Value::from(STANDARD.encode(wire.bytes()?)),
        Scalar::Quantity => {
            let text = text_of(wire.bytes()?)?;
            Value::from(if text.is_empty() { "0".to_owned() } else { text })
        }
        Scalar::Time => time(wire.bytes()?, "%Y-%m-%dT%H:%M:%SZ")?,
        Scalar::MicroTime => time(wire.bytes()?, "%Y-%m-%dT%H:%M:%S.%6fZ")?,
        Scalar::Duration => Value::from(duration(numbers(wire.bytes()?)?.0)),
        Scalar::IntOrString => int_or_string(wire.bytes()?)?,
    })
}

fn number(wire: Wire<'_>) -> Result<Value, DecodeError> {
    let float = match wire {
        Wire::Fixed64(bits) => f64::from_bits(bits),
        Wire::Fixed32(bits) => f64::from(f32::from_bits(bits)),
        _ => return Err(DecodeError::Malformed("a number is of another type")),
    };
    if float.fract() == 0.0 && float.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        return Ok(Value::from(float as i64));
    }
    Number::from_f64(float).map(Value::Number).ok_or(DecodeError::Malformed("a number is not finite"))
}

/// Decodes JSON that a message carries as text.
pub(super) fn raw_json(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut raw: &[u8] = &[];
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            raw = wire.bytes()?;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(raw).map_err(|_| DecodeError::Malformed("a raw value is no JSON"))
}

fn text_of(bytes: &[u8]) -> Result<String, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut text = String::new();
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            text = wire.text()?;
        }
    }
    Ok(text)
}

/// Reads fields 1 and 2, both numbers.
fn numbers(bytes: &[u8]) -> Result<(i64, i64), DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut both = (0, 0);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => both.0 = wire.varint()?.cast_signed(),
            2 => both.1 = wire.varint()?.cast_signed(),
            _ => {}
        }
    }
    Ok(both)
}

fn time(bytes: &[u8], format: &str) -> Result<Value, DecodeError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (seconds, nanoseconds) = numbers(bytes)?;
    let out_of_range = DecodeError::Malformed("a time is out of range");
    let nanoseconds = i32::try_from(nanoseconds).map_err(|_| out_of_range.clone())?;
    let time = Timestamp::new(seconds, nanoseconds).map_err(|_| out_of_range)?;
    Ok(Value::from(time.strftime(format).to_string()))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader::new(bytes);
    let (mut is_text, mut int, mut text) = (false, 0, String::new());
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => is_text = wire.varint()? == 1,
            2 => int = wire.varint()?.cast_signed(),
            3 => text = wire.text()?,
            _ => {}
        }
    }
    Ok(if is_text { Value::from(text) } else { Value::from(int) })
}

/// Writes nanoseconds as `1h2m3s`.
fn duration(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let with_fraction = |whole: u64, fraction: u64, digits: usize| {
        let fraction = format!("{fraction:0digits$}");
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") }
    };
    if total < 1_000 {
        return format!("{sign}{total}ns");
    }
    if total < 1_000_000 {
        return format!("{sign}{}µs", with_fraction(total / 1_000, total % 1_000, 3));
    }
    if total < 1_000_000_000 {
        return format!("{sign}{}ms", with_fraction(total / 1_000_000, total % 1_000_000, 6));
    }
    let seconds = total / 1_000_000_000;
    let shown = with_fraction(seconds % 60, total % 1_000_000_000, 9);
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{sign}{shown}s"),
        (0, minutes) => format!("{sign}{minutes}m{shown}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{shown}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_written_as_go_does() {
        fn check(nanoseconds: i64, expected: &str) {
            assert_eq!(duration(nanoseconds), expected);
        }
        check(0, "0s");
        check(1, "1ns");
        check(1_500, "1.5µs");
        check(2_000_000, "2ms");
        check(1_500_000_000, "1.5s");
        check(90_000_000_000, "1m30s");
        check(3_600_000_000_000, "1h0m0s");
        check(-90_000_000_000, "-1m30s");
    }
}

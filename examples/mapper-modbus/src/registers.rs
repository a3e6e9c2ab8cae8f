//! Values in registers of 16 bits, the most significant first.

use mapper_sdk::{Kind, Value};

/// In which order bytes and registers are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) swaps_bytes: bool,
    pub(crate) swaps_registers: bool,
}

impl Layout {
    /// Brings registers into the usual order, or from it.
    fn ordered(self, registers: &[u16]) -> Vec<u16> {
        let swapped = |register: &u16| if self.swaps_bytes { register.swap_bytes() } else { *register };
        let mut ordered: Vec<u16> = registers.iter().map(swapped).collect();
        if self.swaps_registers {
            ordered.reverse();
        }
        ordered
    }
}

/// Reads a value.
pub(crate) fn decode(registers: &[u16], kind: Kind, scale: f64, layout: Layout) -> Result<Value, String> {
    let bytes: Vec<u8> =
        layout.ordered(registers).iter().flat_map(|register| register.to_be_bytes()).collect();
    match kind {
        Kind::Text => {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8(text.to_vec())
                .map(Value::Text)
                .map_err(|_| "the registers hold no text".to_owned())
        }
        Kind::Boolean => Ok(Value::Boolean(bytes.iter().any(|byte| *byte != 0))),
        Kind::Int => {
            let whole = whole(&bytes)?;
            if scale == 1.0 { Ok(Value::Int(whole)) } else { scaled(whole, scale).map(rounded) }
        }
        // One register has no room for a fraction: there the scale makes one of a whole number.
        Kind::Float | Kind::Double => match bytes.as_slice() {
            [a, b, c, d] => Ok(Value::Number(short(f32::from_be_bytes([*a, *b, *c, *d])) * scale)),
            [a, b, c, d, e, f, g, h] => {
                Ok(Value::Number(f64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) * scale))
            }
            _ => scaled(whole(&bytes)?, scale).map(Value::Number),
        },
    }
}

/// Writes a value to so many registers.
pub(crate) fn encode(
    value: &Value,
    kind: Kind,
    count: usize,
    scale: f64,
    layout: Layout,
) -> Result<Vec<u16>, String> {
    let number =
        || value.number().map(|number| number / scale).ok_or_else(|| format!("{value} is no number"));
    let bytes = match (kind, count) {
        (Kind::Text, count) => {
            let mut bytes = value.to_string().into_bytes();
            if bytes.len() > 2 * count {
                return Err(format!("{value:?} is longer than {count} registers"));
            }
            bytes.resize(2 * count, 0);
            bytes
        }
        (Kind::Float | Kind::Double, 2) => single(number()?).to_be_bytes().to_vec(),
        (Kind::Float | Kind::Double, 4) => number()?.to_be_bytes().to_vec(),
        (_, count @ (1 | 2 | 4)) => {
            let whole = match value {
                Value::Int(whole) if scale == 1.0 => *whole,
                _ => nearest(number()?)?,
            };
            let bits = 16 * u32::try_from(count).unwrap_or(4);
            let fits = bits == 64 || (-(1_i64 << (bits - 1))..(1_i64 << bits)).contains(&whole);
            if !fits {
                return Err(format!("{value} does not fit into {count} registers"));
            }
            whole.to_be_bytes().get(8 - 2 * count..).unwrap_or_default().to_vec()
        }
        (_, count) => return Err(format!("a number has 1, 2 or 4 registers, not {count}")),
    };
    let registers: Vec<u16> =
        bytes.chunks_exact(2).filter_map(|pair| Some(u16::from_be_bytes(*pair.first_chunk()?))).collect();
    Ok(layout.ordered(&registers))
}

fn whole(bytes: &[u8]) -> Result<i64, String> {
    match bytes {
        [a, b] => Ok(i64::from(i16::from_be_bytes([*a, *b]))),
        [a, b, c, d] => Ok(i64::from(i32::from_be_bytes([*a, *b, *c, *d]))),
        [a, b, c, d, e, f, g, h] => Ok(i64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        _ => Err(format!("a number has 1, 2 or 4 registers, not {}", bytes.len() / 2)),
    }
}

/// Returns the number that a device's float is written as: 21.3, not 21.299999237060547.
fn short(single: f32) -> f64 {
    single.to_string().parse().unwrap_or_else(|_| f64::from(single))
}

#[expect(clippy::unnecessary_wraps, reason = "it stands among others that fail")]
fn scaled(whole: i64, scale: f64) -> Result<f64, String> {
    #[expect(clippy::cast_precision_loss, reason = "a scaled number is a fraction")]
    let number = whole as f64 * scale;
    // 213 times 0.1 is 21.3.
    Ok((number * 1e9).round() / 1e9)
}

fn rounded(number: f64) -> Value {
    nearest(number).map_or(Value::Number(number), Value::Int)
}

fn nearest(number: f64) -> Result<i64, String> {
    let rounded = number.round();
    if !rounded.is_finite() || rounded.abs() >= 9.0e18 {
        return Err(format!("{number} is too large"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within range")]
    let whole = rounded as i64;
    Ok(whole)
}

#[expect(clippy::cast_possible_truncation, reason = "two registers have 32 bits")]
const fn single(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Layout = Layout { swaps_bytes: false, swaps_registers: false };
    const SWAPPED: Layout = Layout { swaps_bytes: true, swaps_registers: true };

    #[test]
    fn what_is_written_is_what_is_read() {
        let check = |kind: Kind, scale: f64, layout: Layout, registers: &[u16], text: &str| {
            let value = decode(registers, kind, scale, layout).expect("a value");
            assert_eq!(value.to_string(), text);
            let written = encode(&value, kind, registers.len(), scale, layout);
            assert_eq!(written.as_deref(), Ok(registers), "{text}");
        };
        check(Kind::Int, 1.0, PLAIN, &[502], "502");
        check(Kind::Int, 1.0, PLAIN, &[0xffff], "-1");
        check(Kind::Int, 1.0, PLAIN, &[1, 0], "65536");
        check(Kind::Int, 1.0, SWAPPED, &[0, 0x0100], "65536");
        check(Kind::Int, 1.0, PLAIN, &[0x7fff, 0xffff, 0xffff, 0xffff], "9223372036854775807");
        check(Kind::Float, 0.1, PLAIN, &[213], "21.3");
        check(Kind::Float, 1.0, PLAIN, &[0x41aa, 0x6666], "21.3");
        check(Kind::Double, 1.0, PLAIN, &[0x3fb9, 0x9999, 0x9999, 0x999a], "0.1");
        check(Kind::Text, 1.0, PLAIN, &[0x6162, 0x6300], "abc");
        check(Kind::Boolean, 1.0, PLAIN, &[1], "true");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for (value, kind, count) in [
            (Value::Int(70_000), Kind::Int, 1),
            (Value::Int(1), Kind::Int, 3),
            (Value::Text("x".to_owned()), Kind::Int, 1),
            (Value::Text("abc".to_owned()), Kind::Text, 1),
            (Value::Number(f64::NAN), Kind::Int, 1),
            (Value::Number(1e300), Kind::Int, 4),
        ] {
            assert!(encode(&value, kind, count, 1.0, PLAIN).is_err(), "{value:?}");
        }
        assert!(decode(&[1, 2, 3], Kind::Int, 1.0, PLAIN).is_err());
        assert!(decode(&[], Kind::Float, 1.0, PLAIN).is_err());
    }
}

//! Kubernetes quantities, read exactly.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// An amount of a resource in billionths of its unit, the finest that Kubernetes knows.
pub(crate) type Amount = i128;

/// One whole unit.
pub(crate) const UNIT: Amount = 1_000_000_000;

/// Amounts by the name of the resource.
pub(crate) type Resources = BTreeMap<String, Amount>;

/// Says why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no quantity")]
pub(crate) struct QuantityError(String);

/// Reads a quantity such as `1.5`, `250m`, `64Mi` or `1e3`.
///
/// Fractions finer than a billionth are rounded up and values beyond 64 bits are capped, as the API server does.
pub(crate) fn parse(text: &str) -> Result<Amount, QuantityError> {
    read(text).ok_or_else(|| QuantityError(text.chars().take(64).collect()))
}

/// Reads the quantities of a resource list; those that are none are left out.
pub(crate) fn parse_list(list: Option<&BTreeMap<String, Quantity>>) -> Resources {
    list.into_iter()
        .flatten()
        .filter_map(|(name, quantity)| match parse(&quantity.0) {
            Ok(amount) => Some((name.clone(), amount)),
            Err(invalid) => {
                tracing::warn!(resource = %name, %invalid, "left out an invalid quantity");
                None
            }
        })
        .collect()
}

fn read(text: &str) -> Option<Amount> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let scale = Scale::read(suffix)?;
    let magnitude = scale.apply(whole, fraction);
    Some(if negative { -magnitude } else { magnitude })
}

/// What a suffix multiplies a number by: `2^binary * 10^decimal`.
#[derive(Debug, Clone, Copy)]
struct Scale {
    binary: u32,
    decimal: i32,
}

impl Scale {
    fn read(suffix: &str) -> Option<Self> {
        let decimal = |decimal| Some(Self { binary: 0, decimal });
        let binary = |binary| Some(Self { binary, decimal: 0 });
        match suffix {
            "n" => decimal(-9),
            "u" => decimal(-6),
            "m" => decimal(-3),
            "" => decimal(0),
            "k" => decimal(3),
            "M" => decimal(6),
            "G" => decimal(9),
            "T" => decimal(12),
            "P" => decimal(15),
            "E" => decimal(18),
            "Ki" => binary(10),
            "Mi" => binary(20),
            "Gi" => binary(30),
            "Ti" => binary(40),
            "Pi" => binary(50),
            "Ei" => binary(60),
            exponent => decimal(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
        }
    }

    /// Multiplies the decimal number `whole.fraction`, in billionths.
    fn apply(self, whole: &str, fraction: &str) -> Amount {
        let cap = Amount::from(i64::MAX) * UNIT;
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return 0;
        }
        let places = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        let exponent = (i64::from(self.decimal) + 9).saturating_sub(places);
        let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        if length.saturating_add(exponent) > 32 {
            return cap;
        }
        if length.saturating_add(exponent) < -30 {
            return 1;
        }
        let (kept, dropped) = split_digits(digits, exponent);
        let mut amount: Amount = kept.parse().unwrap_or(0);
        let mut inexact = false;
        if exponent >= 0 {
            amount =
                amount.saturating_mul(10_i128.saturating_pow(u32::try_from(exponent).unwrap_or(u32::MAX)));
        } else if self.binary > 0 {
            return self.apply_binary(digits, exponent).min(cap);
        } else {
            inexact = dropped.bytes().any(|digit| digit != b'0');
        }
        amount = amount.saturating_mul(1 << self.binary);
        (amount + Amount::from(inexact)).min(cap)
    }

    /// Multiplies first and divides then, so that `0.5Ki` is exact.
    fn apply_binary(self, digits: &str, exponent: i64) -> Amount {
        let Ok(number) = digits.parse::<Amount>() else { return Amount::MAX };
        let Some(product) = number.checked_mul(1 << self.binary) else { return Amount::MAX };
        let divisor = 10_i128.saturating_pow(u32::try_from(-exponent).unwrap_or(u32::MAX));
        product / divisor + Amount::from(product % divisor != 0)
    }
}

/// Splits off the digits that lie below a billionth.
fn split_digits(digits: &str, exponent: i64) -> (&str, &str) {
    let below = usize::try_from(-exponent).unwrap_or(0).min(digits.len());
    digits.split_at_checked(digits.len() - below).unwrap_or((digits, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_exactly() {
        let cases: [(&str, Amount); 24] = [
            ("0", 0),
            ("1", UNIT),
            ("+1", UNIT),
            ("-1", -UNIT),
            ("100m", 100_000_000),
            ("0.1", 100_000_000),
            (".5", 500_000_000),
            ("1.", UNIT),
            ("1500u", 1_500_000),
            ("7n", 7),
            ("2k", 2_000 * UNIT),
            ("64Mi", 64 * 1024 * 1024 * UNIT),
            ("0.5Ki", 512 * UNIT),
            ("1.5Gi", 1_610_612_736 * UNIT),
            ("0.1Ki", 102_400_000_000),
            ("1e3", 1_000 * UNIT),
            ("1E3", 1_000 * UNIT),
            ("12e-3", 12_000_000),
            ("1E", 1_000_000_000_000_000_000 * UNIT),
            ("0.0000000001", 1),
            ("1.0000000001", UNIT + 1),
            ("1.1n", 2),
            ("9Ei", Amount::from(i64::MAX) * UNIT),
            ("1e400", Amount::from(i64::MAX) * UNIT),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "-", ".", "1.2.3", "1 ", " 1", "1mi", "Ki", "1e", "1e1.5", "0x1", "1KiB", "é"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_reading_panic(text in "[-+]?[0-9.]{0,60}([eE]?-?[0-9]{0,12}|[a-zA-Z]{0,2}|\\PC*)") {
            if let Ok(amount) = parse(&text) {
                prop_assert!(amount.abs() <= Amount::from(i64::MAX) * UNIT);
            }
        }

        #[test]
        fn millis_are_thousandths(value in 0_i64..1_000_000_000_000) {
            prop_assert_eq!(parse(&format!("{value}m")), Ok(Amount::from(value) * 1_000_000));
            prop_assert_eq!(parse(&format!("{value}Ki")), Ok(Amount::from(value) * 1024 * UNIT));
        }
    }
}

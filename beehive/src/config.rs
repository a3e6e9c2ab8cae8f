//! What a module's section of the configuration is made of.

use serde::de::DeserializeOwned;

use crate::problem::Problems;

/// A module's section: its fields with their defaults, and what must hold between them.
///
/// Unknown keys need no `deny_unknown_fields`: the section is decoded strictly, see
/// [`section`](crate::section).
pub trait ModuleConfig: DeserializeOwned + 'static {
    /// Adds what is wrong with the values to `problems`, each under its key. Pure: touches nothing.
    fn validate(&self, problems: &mut Problems) {
        let _none = problems;
    }
}

impl ModuleConfig for () {}

/// Durations as people write them: `30s`, `500ms`, `1h30m`. For serde's `with`.
pub mod duration {
    use std::fmt;
    use std::time::Duration;

    use serde::{Deserializer, Serializer, de};

    const UNITS: [(&str, u64); 6] = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];

    /// Says why a text is no duration.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    #[error("{text:?} is no duration: write it as 30s, 500ms or 1h30m")]
    pub struct DurationError {
        text: String,
    }

    /// Reads a duration. A bare `0` needs no unit, and numbers may have a fraction, as in `1.5h`.
    ///
    /// # Errors
    ///
    /// When the text is no sequence of numbers with units, or beyond 584 years.
    pub fn parse(text: &str) -> Result<Duration, DurationError> {
        let error = || DurationError { text: text.chars().take(64).collect() };
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Duration::ZERO);
        }
        if rest.is_empty() {
            return Err(error());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (number, after) = split_at_first(rest, |c| !c.is_ascii_digit() && c != '.');
            let (unit, next) = split_at_first(after, |c| c.is_ascii_digit() || c == '.');
            let unit = if unit == "\u{b5}s" || unit == "\u{3bc}s" { "us" } else { unit };
            let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
            let part = nanoseconds(number, *nanos).ok_or_else(error)?;
            total = total.checked_add(part).ok_or_else(error)?;
            rest = next;
        }
        Ok(Duration::from_nanos(total))
    }

    fn split_at_first(text: &str, end: impl FnMut(char) -> bool) -> (&str, &str) {
        text.split_at(text.find(end).unwrap_or(text.len()))
    }

    fn nanoseconds(number: &str, unit: u64) -> Option<u64> {
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let mut nanos = whole.checked_mul(unit)?;
        let mut scale = unit;
        for digit in fraction.bytes() {
            scale /= 10;
            nanos = nanos.checked_add(u64::from(digit - b'0').checked_mul(scale)?)?;
        }
        Some(nanos)
    }

    /// Writes a duration so that [`parse`] reads the same one.
    #[must_use]
    pub fn format(duration: Duration) -> String {
        let mut rest = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if rest == 0 {
            return "0s".to_owned();
        }
        let mut text = String::new();
        for (unit, nanos) in UNITS {
            let count = rest / nanos;
            rest %= nanos;
            if count > 0 {
                text.push_str(&count.to_string());
                text.push_str(unit);
            }
        }
        text
    }

    /// Writes a duration for serde.
    ///
    /// # Errors
    ///
    /// When the serializer fails.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*duration))
    }

    /// Reads a duration for serde.
    ///
    /// # Errors
    ///
    /// When the value is no text that [`parse`] reads.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 30s")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Durations that may be absent. For serde's `with`, beside `default`.
pub mod optional_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text(#[serde(with = "super::duration")] Duration);

    /// Writes an optional duration for serde.
    ///
    /// # Errors
    ///
    /// When the serializer fails.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::duration::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads an optional duration for serde.
    ///
    /// # Errors
    ///
    /// When the value is there and no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration::{format, parse};

    #[test]
    fn durations_read_as_people_write_them() {
        let check = |text: &str, millis: u64| {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        };
        check("30s", 30_000);
        check("500ms", 500);
        check("1m", 60_000);
        check("1h30m", 5_400_000);
        check("1.5h", 5_400_000);
        check("10m0s", 600_000);
        check("0", 0);
        check(" 2s ", 2_000);
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "30", "s", "-1s", "1x", "1s 2m", ".s", "1..5s", "99999999999999h", "1\u{1f41d}"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_written_duration_reads_back() {
        for nanos in [0, 1, 999, 1_000, 1_500_000, 61_000_000_000, 5_400_000_000_000, u64::MAX] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse(&format(duration)), Ok(duration), "{nanos}");
        }
    }
}

//! Values of properties.

use std::fmt;

/// The type of a property, as its model says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// `INT`: 64 bits.
    Int,
    /// `FLOAT`: 32 bits.
    Float,
    /// `DOUBLE`: 64 bits.
    Double,
    /// `BOOLEAN`.
    Boolean,
    /// `STRING`, and whatever else.
    #[default]
    Text,
}

impl Kind {
    /// Reads the type of a model's property, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "int" => Self::Int,
            "float" => Self::Float,
            "double" => Self::Double,
            "boolean" => Self::Boolean,
            _ => Self::Text,
        }
    }
}

/// A value of a property.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// A number.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// A text.
    Text(String),
}

/// Says why a text is no value of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind:?}")]
pub struct ValueError {
    text: String,
    kind: Kind,
}

impl Value {
    /// Reads the value that is wanted of a property.
    ///
    /// # Errors
    ///
    /// When the text is not of the type.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, ValueError> {
        let value = match kind {
            Kind::Int => text.parse().ok().map(Self::Int),
            Kind::Float => text.parse::<f32>().ok().map(|single| Self::Number(f64::from(single))),
            Kind::Double => text.parse().ok().map(Self::Number),
            Kind::Boolean => boolean(text).map(Self::Boolean),
            Kind::Text => Some(Self::Text(text.to_owned())),
        };
        value.ok_or_else(|| ValueError { text: text.chars().take(64).collect(), kind })
    }

    /// Returns the number that the value is, if it is one. True is 1.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "telemetry is of 64-bit numbers")]
            Self::Int(whole) => Some(*whole as f64),
            Self::Number(number) => Some(*number),
            Self::Boolean(truth) => Some(f64::from(u8::from(*truth))),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// The texts that Go's `strconv.ParseBool` takes.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// As it is reported.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(whole) => write!(f, "{whole}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<i64> for Value {
    fn from(whole: i64) -> Self {
        Self::Int(whole)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_by_its_type_and_written_as_kubeedge_s_mappers_write_it() {
        for (kind, text, expect) in [
            ("INT", "-5", Some("-5")),
            ("INT", "1.5", None),
            ("float", "21.5", Some("21.5")),
            ("DOUBLE", "0.1", Some("0.1")),
            ("DOUBLE", "1e21", Some("1000000000000000000000")),
            ("double", "x", None),
            ("BOOLEAN", "T", Some("true")),
            ("BOOLEAN", "yes", None),
            ("STRING", "a b", Some("a b")),
            ("", "", Some("")),
        ] {
            let value = Value::parse(Kind::parse(kind), text).ok().map(|value| value.to_string());
            assert_eq!(value.as_deref(), expect, "{kind} {text:?}");
        }
    }

    #[test]
    fn telemetry_is_of_numbers() {
        assert_eq!(Value::from(true).number(), Some(1.0));
        assert_eq!(Value::from(5).number(), Some(5.0));
        assert_eq!(Value::from("2.5".to_owned()).number(), Some(2.5));
        assert_eq!(Value::from("on".to_owned()).number(), None);
    }
}

//! JSON text into values, noticing keys that stand twice in one object.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A parsed body.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The value; of keys that stand twice it has the last.
    pub value: Value,
    /// One text for each repeated key: `duplicate field "spec.replicas"`.
    pub duplicates: Vec<String>,
}

/// Parses a JSON body.
///
/// # Errors
///
/// When it is no JSON, or has something after its end.
pub fn parse_json(body: &[u8]) -> Result<Parsed, String> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = Tracked { path: String::new(), duplicates: &mut duplicates };
    let value = seed.deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(Parsed { value, duplicates })
}

/// Deserializes a value that stands at a path.
struct Tracked<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Tracked<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tracked<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, values.len());
            match items.next_element_seed(Tracked { path, duplicates: self.duplicates })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            if fields.contains_key(&key) {
                let text = format!("duplicate field {path:?}");
                if !self.duplicates.contains(&text) {
                    self.duplicates.push(text);
                }
            }
            let value = entries.next_value_seed(Tracked { path, duplicates: self.duplicates })?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repeated_keys_are_noticed_and_the_last_one_wins() {
        let parsed =
            parse_json(br#"{"a": 1, "b": {"c": 1, "c": 2}, "d": [{"e": 1, "e": 1}], "a": 3.5}"#).unwrap();
        assert_eq!(parsed.value, json!({"a": 3.5, "b": {"c": 2}, "d": [{"e": 1}]}));
        assert_eq!(
            parsed.duplicates,
            ["duplicate field \"b.c\"", "duplicate field \"d[0].e\"", "duplicate field \"a\""]
        );
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for body in ["", "{", "{} x", "nul", &"[".repeat(10_000)] {
            assert!(parse_json(body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(parse_json(b"null").unwrap().value, Value::Null);
        assert_eq!(parse_json(br#"{"n": -5}"#).unwrap().value, json!({"n": -5}));
    }
}

//! The rows of custom resources, by the columns of their definitions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::{human, since};
use super::jsonpath::JsonPath;
use super::{cells, definition};
use crate::registry::{Column, Resource};

/// Prints the objects of one custom resource.
pub(super) struct Printer<'a> {
    columns: Vec<(&'a Column, Option<JsonPath>)>,
}

impl<'a> Printer<'a> {
    /// Returns a printer for a custom resource; `None` for a built-in one.
    pub(super) fn new(resource: &'a Resource) -> Option<Self> {
        let custom = resource.custom.as_ref()?;
        let columns =
            custom.columns.iter().map(|column| (column, JsonPath::parse(&column.json_path))).collect();
        Some(Self { columns })
    }

    /// Returns the column definitions.
    pub(super) fn definitions(&self) -> Value {
        let mut definitions = vec![definition("Name", "string", "name", "", 0)];
        if self.columns.is_empty() {
            definitions.push(definition("Age", "date", "", "", 0));
        }
        definitions.extend(self.columns.iter().map(|(column, _)| {
            let description = if column.description.is_empty() {
                format!("Custom resource definition column (in JSONPath format): {}", column.json_path)
            } else {
                column.description.clone()
            };
            definition(&column.name, &column.kind, &column.format, &description, column.priority)
        }));
        Value::from(definitions)
    }

    /// Returns the cells of one object.
    pub(super) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut row = vec![Value::from(cells::name(object))];
        if self.columns.is_empty() {
            row.push(Value::from(since(object.pointer("/metadata/creationTimestamp"), now)));
        }
        row.extend(self.columns.iter().map(|(column, path)| match path {
            Some(path) => cell(&column.kind, &path.find(object), now),
            None => Value::Null,
        }));
        row
    }
}

fn cell(kind: &str, found: &[&Value], now: Timestamp) -> Value {
    let Some(first) = found.first().filter(|first| !first.is_null()) else { return Value::Null };
    match kind {
        "integer" => first
            .as_i64()
            .map_or_else(|| first.as_f64().map_or(Value::Null, |number| json!(number.trunc())), Value::from),
        "number" => first.as_f64().map_or(Value::Null, Value::from),
        "boolean" => first.as_bool().map_or(Value::Null, Value::from),
        "date" => match first.as_str().map(str::parse::<Timestamp>) {
            Some(Ok(then)) => Value::from(human(now.as_second() - then.as_second())),
            Some(Err(_)) => Value::from("<invalid>"),
            None => Value::Null,
        },
        _ => {
            let texts: Vec<String> = found
                .iter()
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                .collect();
            Value::from(texts.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn printer_columns_show_what_their_paths_lead_to() {
        let mut registry = Registry::builtin();
        registry
            .upsert_crd(&json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com",
                "names": {"plural": "things", "kind": "Thing"}, "versions": [
                {"name": "v1", "served": true, "storage": true, "additionalPrinterColumns": [
                {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                {"name": "Gone", "type": "string", "jsonPath": ".spec.gone", "priority": 1},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]},
                {"name": "v0", "served": true, "storage": false}]}}))
            .unwrap();
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"replicas": 3}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let now = Timestamp::from_second(7200).unwrap();
        let things = registry.find("example.com", "v1", "things").unwrap();
        let printer = Printer::new(things).unwrap();
        assert_eq!(
            printer.cells(&object, now),
            [json!("a"), json!(3), json!("True"), json!(null), json!("120m")]
        );
        assert_eq!(printer.definitions()[3]["priority"], 1);
        let printer = Printer::new(registry.find("example.com", "v0", "things").unwrap()).unwrap();
        assert_eq!(printer.cells(&object, now), [json!("a"), json!("120m")]);
    }
}

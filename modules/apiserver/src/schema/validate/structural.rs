//! The schemas of custom resources.

mod formats;

use regex::Regex;
use serde_json::Value;

use super::{Check, items, text};
use crate::schema::error::{FieldError, FieldErrors, Reason};

/// Checks an object against its schema.
pub(super) fn check(schema: &Value, check: &mut Check<'_>) {
    if schema.is_null() {
        return;
    }
    let mut errors = FieldErrors::default();
    value(schema, check.new, "", &mut errors);
    check.errors.0.append(&mut errors.0);
}

fn at_field(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool) == Some(true)
}

/// Returns the name of the field as messages begin with it.
fn body(path: &str) -> String {
    if path.is_empty() { "<nil>".to_owned() } else { path.to_owned() }
}

fn value(schema: &Value, value: &Value, path: &str, errors: &mut FieldErrors) {
    if value.is_null() && flag(schema, "nullable") {
        return;
    }
    if !type_fits(schema, value, path, errors) {
        return;
    }
    if let Some(known) = schema.get("enum").and_then(Value::as_array)
        && !known.contains(value)
    {
        let known: Vec<String> = known
            .iter()
            .map(|known| known.as_str().map_or_else(|| known.to_string(), str::to_owned))
            .collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(body(path), value, &known));
    }
    match value {
        Value::String(found) => string(schema, found, path, errors),
        Value::Number(_) => number(schema, value, path, errors),
        Value::Array(found) => array(schema, found, path, errors),
        Value::Object(_) => object(schema, value, path, errors),
        _ => {}
    }
    combined(schema, value, path, errors);
}

fn type_fits(schema: &Value, value: &Value, path: &str, errors: &mut FieldErrors) -> bool {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() && number.as_f64().is_none_or(|n| n.fract() != 0.0) => {
            "number"
        }
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if flag(schema, "x-kubernetes-int-or-string") {
        if matches!(found, "integer" | "string") {
            return true;
        }
        return wrong_type(value, path, "integer,string", found, errors);
    }
    match text(schema, "type") {
        "" => true,
        wanted if wanted == found => true,
        "number" if found == "integer" => true,
        wanted => wrong_type(value, path, wanted, found, errors),
    }
}

fn wrong_type(value: &Value, path: &str, wanted: &str, found: &str, errors: &mut FieldErrors) -> bool {
    let field = body(path);
    let detail = format!("{field} in body must be of type {wanted}: {found:?}");
    let shown = match value {
        Value::Object(_) | Value::Array(_) | Value::Null => Value::from(found),
        scalar => scalar.clone(),
    };
    errors.push(FieldError { reason: Reason::TypeInvalid, ..FieldError::invalid(field, &shown, &detail) });
    false
}

fn string(schema: &Value, found: &str, path: &str, errors: &mut FieldErrors) {
    let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
    let length = found.chars().count() as u64;
    let shown = Value::from(found);
    let field = body(path);
    if let Some(most) = limit("maxLength").filter(|most| length > *most) {
        let bytes = usize::try_from(most).unwrap_or(usize::MAX);
        errors.push(FieldError::too_long(&field, bytes));
    }
    if let Some(least) = limit("minLength").filter(|least| length < *least) {
        let detail = format!("{field} in body should be at least {least} chars long");
        errors.push(FieldError::invalid(&field, &shown, &detail));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(found))
    {
        let detail = format!("{field} in body should match '{pattern}'");
        errors.push(FieldError::invalid(&field, &shown, &detail));
    }
    let format = text(schema, "format");
    if !format.is_empty() && !formats::fits(format, found) {
        let detail = format!("{field} in body must be of type {format}: {found:?}");
        errors.push(FieldError::invalid(&field, &shown, &detail));
    }
}

fn number(schema: &Value, value: &Value, path: &str, errors: &mut FieldErrors) {
    let Some(found) = value.as_f64() else { return };
    let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
    let field = body(path);
    let mut refuse = |detail: String| errors.push(FieldError::invalid(&field, value, &detail));
    if let Some(least) = limit("minimum") {
        if flag(schema, "exclusiveMinimum") && found <= least {
            refuse(format!("{field} in body should be greater than {least}"));
        } else if found < least {
            refuse(format!("{field} in body should be greater than or equal to {least}"));
        }
    }
    if let Some(most) = limit("maximum") {
        if flag(schema, "exclusiveMaximum") && found >= most {
            refuse(format!("{field} in body should be less than {most}"));
        } else if found > most {
            refuse(format!("{field} in body should be less than or equal to {most}"));
        }
    }
    if let Some(unit) = limit("multipleOf").filter(|unit| *unit != 0.0)
        && (found / unit).fract() != 0.0
    {
        refuse(format!("{field} in body should be a multiple of {unit}"));
    }
    let fits = match text(schema, "format") {
        "int32" => value.as_i64().is_none_or(|number| i32::try_from(number).is_ok()),
        "int64" => value.as_i64().is_some() || value.is_f64(),
        _ => true,
    };
    if !fits {
        refuse(format!("{field} in body must be of type int32: {value}"));
    }
}

fn array(schema: &Value, found: &[Value], path: &str, errors: &mut FieldErrors) {
    let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
    let field = body(path);
    let count = found.len() as u64;
    if let Some(most) = limit("maxItems").filter(|most| count > *most) {
        errors.push(FieldError {
            reason: Reason::TooMany,
            message: format!("Too many: {count}: must have at most {most} items"),
            field: field.clone(),
        });
    }
    if let Some(least) = limit("minItems").filter(|least| count < *least) {
        let detail = format!("{field} in body should have at least {least} items");
        errors.push(FieldError::invalid(&field, &Value::from(count), &detail));
    }
    let keys = items(schema, "x-kubernetes-list-map-keys");
    let kind = text(schema, "x-kubernetes-list-type");
    let identity = |item: &Value| -> Value {
        if kind == "map" {
            keys.iter()
                .filter_map(Value::as_str)
                .map(|key| (key.to_owned(), item.get(key).cloned().unwrap_or(Value::Null)))
                .collect()
        } else {
            item.clone()
        }
    };
    if matches!(kind, "map" | "set") || flag(schema, "uniqueItems") {
        let mut seen: Vec<Value> = Vec::new();
        for (index, item) in found.iter().enumerate() {
            let own = identity(item);
            if seen.contains(&own) {
                errors.push(FieldError::duplicate(format!("{path}[{index}]"), &own));
            }
            seen.push(own);
        }
    }
    if let Some(schema) = schema.get("items") {
        for (index, item) in found.iter().enumerate() {
            value(schema, item, &format!("{path}[{index}]"), errors);
        }
    }
}

fn object(schema: &Value, found: &Value, path: &str, errors: &mut FieldErrors) {
    let Value::Object(fields) = found else { return };
    let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
    let count = fields.len() as u64;
    if let Some(most) = limit("maxProperties").filter(|most| count > *most) {
        let message = format!("Too many: {count}: must have at most {most} items");
        errors.push(FieldError { reason: Reason::TooMany, message, field: body(path) });
    }
    if let Some(least) = limit("minProperties").filter(|least| count < *least) {
        let detail = format!("{} in body should have at least {least} properties", body(path));
        errors.push(FieldError::invalid(body(path), &Value::from(count), &detail));
    }
    for name in items(schema, "required").iter().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            errors.push(FieldError::required(at_field(path, name), ""));
        }
    }
    if flag(schema, "x-kubernetes-embedded-resource") {
        for name in ["apiVersion", "kind"] {
            if fields.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
                errors.push(FieldError::required(at_field(path, name), "must not be empty"));
            }
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let rest = schema.get("additionalProperties").filter(|rest| rest.is_object());
    for (name, field) in fields {
        let is_root = path.is_empty() && matches!(name.as_str(), "metadata" | "apiVersion" | "kind");
        let own = match properties.and_then(|properties| properties.get(name)) {
            Some(own) => Some(own),
            None if is_root => None,
            None => rest,
        };
        let Some(own) = own else { continue };
        if name == "metadata" && path.is_empty() {
            metadata(own, field, errors);
        } else {
            value(own, field, &at_field(path, name), errors);
        }
    }
}

/// Of an object's own metadata a schema may only restrict the name.
fn metadata(schema: &Value, metadata: &Value, errors: &mut FieldErrors) {
    for name in ["name", "generateName"] {
        if let (Some(schema), Some(found)) =
            (schema.get("properties").and_then(|all| all.get(name)), metadata.get(name))
        {
            value(schema, found, &format!("metadata.{name}"), errors);
        }
    }
}

fn fits(schema: &Value, found: &Value, path: &str) -> bool {
    let mut errors = FieldErrors::default();
    value(schema, found, path, &mut errors);
    errors.is_empty()
}

fn combined(schema: &Value, found: &Value, path: &str, errors: &mut FieldErrors) {
    for all in items(schema, "allOf") {
        value(all, found, path, errors);
    }
    let field = body(path);
    let any = items(schema, "anyOf");
    if !any.is_empty() && !any.iter().any(|any| fits(any, found, path)) {
        let detail = format!("{field} in body must validate at least one schema (anyOf)");
        errors.push(FieldError::invalid(&field, &Value::from(""), &detail));
    }
    let one = items(schema, "oneOf");
    let fitting = one.iter().filter(|one| fits(one, found, path)).count();
    if !one.is_empty() && fitting != 1 {
        let none = if fitting == 0 { ". Found none valid" } else { "" };
        let detail = format!("{field} in body must validate one and only one schema (oneOf){none}");
        errors.push(FieldError::invalid(&field, &Value::from(""), &detail));
    }
    if let Some(not) = schema.get("not")
        && fits(not, found, path)
    {
        let detail = format!("{field} in body must not validate the schema (not)");
        errors.push(FieldError::invalid(&field, &Value::from(""), &detail));
    }
}

//! The protobuf form of the v2 document, which older kubectl asks for.
//!
//! Numbers are those of the public `openapi.v2` messages.

use serde_json::{Map, Value};

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or(0));
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u32, owner: &Value, name: &str) {
        if let Some(text) = owner.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u32, owner: &Value, name: &str) {
        for text in owner.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        {
            self.bytes(field, text.as_bytes());
        }
    }

    fn flag(&mut self, field: u32, owner: &Value, name: &str) {
        if owner.get(name).and_then(Value::as_bool) == Some(true) {
            self.tag(field, 0);
            self.varint(1);
        }
    }

    fn integer(&mut self, field: u32, owner: &Value, name: &str) {
        if let Some(number) = owner.get(name).and_then(Value::as_u64).filter(|number| *number != 0) {
            self.tag(field, 0);
            self.varint(number);
        }
    }

    fn double(&mut self, field: u32, owner: &Value, name: &str) {
        if let Some(number) = owner.get(name).and_then(Value::as_f64).filter(|number| *number != 0.0) {
            self.tag(field, 1);
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn message(&mut self, field: u32, inner: &Message) {
        self.bytes(field, &inner.0);
    }

    /// Writes a named message: its name is field 1, the rest field 2.
    fn named(&mut self, field: u32, name: &str, inner: &Message) {
        let mut named = Message::default();
        named.bytes(1, name.as_bytes());
        named.message(2, inner);
        self.message(field, &named);
    }

    /// Writes what begins with `x-`.
    fn extensions(&mut self, field: u32, owner: &Value) {
        for (name, value) in objects(owner).filter(|(name, _)| name.starts_with("x-")) {
            self.named(field, name, &any(value));
        }
    }
}

fn objects(owner: &Value) -> impl Iterator<Item = (&String, &Value)> {
    owner.as_object().into_iter().flatten()
}

/// Any value stands as YAML text, and JSON is YAML.
fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, format!("{value}\n").as_bytes());
    message
}

/// Encodes a v2 document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, document, "swagger");
    if let Some(info) = document.get("info") {
        let mut inner = Message::default();
        inner.text(1, info, "title");
        inner.text(2, info, "version");
        message.message(2, &inner);
    }
    if let Some(paths) = document.get("paths") {
        let mut inner = Message::default();
        for (name, value) in objects(paths) {
            inner.named(2, name, &path(value));
        }
        message.message(8, &inner);
    }
    if let Some(Value::Object(definitions)) = document.get("definitions") {
        message.message(9, &schemas(definitions, 1));
    }
    message.0
}

fn schemas(schemas: &Map<String, Value>, field: u32) -> Message {
    let mut message = Message::default();
    for (name, value) in schemas {
        message.named(field, name, &schema(value));
    }
    message
}

fn path(value: &Value) -> Message {
    let mut message = Message::default();
    for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(found) = value.get(method) {
            message.message(field, &operation(found));
        }
    }
    for found in value.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        message.message(9, &parameter(found));
    }
    message.extensions(10, value);
    message
}

fn operation(value: &Value) -> Message {
    let mut message = Message::default();
    message.texts(1, value, "tags");
    message.text(3, value, "description");
    message.text(5, value, "operationId");
    message.texts(6, value, "produces");
    message.texts(7, value, "consumes");
    for found in value.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        message.message(8, &parameter(found));
    }
    if let Some(responses) = value.get("responses") {
        let mut inner = Message::default();
        for (code, value) in objects(responses) {
            let mut response = Message::default();
            response.text(1, value, "description");
            if let Some(found) = value.get("schema") {
                let mut item = Message::default();
                item.message(1, &schema(found));
                response.message(2, &item);
            }
            let mut one_of = Message::default();
            one_of.message(1, &response);
            inner.named(1, code, &one_of);
        }
        message.message(9, &inner);
    }
    message.texts(10, value, "schemes");
    message.extensions(13, value);
    message
}

fn parameter(value: &Value) -> Message {
    let mut parameter = Message::default();
    let place = value.get("in").and_then(Value::as_str).unwrap_or_default();
    if place == "body" {
        let mut body = Message::default();
        body.text(1, value, "description");
        body.text(2, value, "name");
        body.text(3, value, "in");
        body.flag(4, value, "required");
        if let Some(found) = value.get("schema") {
            body.message(5, &schema(found));
        }
        parameter.message(1, &body);
    } else {
        let in_path = place == "path";
        let mut own = Message::default();
        own.flag(1, value, "required");
        own.text(2, value, "in");
        own.text(3, value, "description");
        own.text(4, value, "name");
        own.text(if in_path { 5 } else { 6 }, value, "type");
        let mut one_of = Message::default();
        one_of.message(if in_path { 4 } else { 3 }, &own);
        parameter.message(2, &one_of);
    }
    let mut item = Message::default();
    item.message(1, &parameter);
    item
}

fn schema(value: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, value, "$ref");
    message.text(2, value, "format");
    message.text(3, value, "title");
    message.text(4, value, "description");
    if let Some(default) = value.get("default") {
        message.message(5, &any(default));
    }
    message.double(6, value, "multipleOf");
    message.double(7, value, "maximum");
    message.flag(8, value, "exclusiveMaximum");
    message.double(9, value, "minimum");
    message.flag(10, value, "exclusiveMinimum");
    message.integer(11, value, "maxLength");
    message.integer(12, value, "minLength");
    message.text(13, value, "pattern");
    message.integer(14, value, "maxItems");
    message.integer(15, value, "minItems");
    message.flag(16, value, "uniqueItems");
    message.integer(17, value, "maxProperties");
    message.integer(18, value, "minProperties");
    message.texts(19, value, "required");
    for known in value.get("enum").and_then(Value::as_array).into_iter().flatten() {
        message.message(20, &any(known));
    }
    match value.get("additionalProperties") {
        Some(Value::Bool(flag)) => {
            let mut item = Message::default();
            item.tag(2, 0);
            item.varint(u64::from(*flag));
            message.message(21, &item);
        }
        Some(found) if found.is_object() => {
            let mut item = Message::default();
            item.message(1, &schema(found));
            message.message(21, &item);
        }
        _ => {}
    }
    if let Some(kind) = value.get("type").and_then(Value::as_str) {
        let mut item = Message::default();
        item.bytes(1, kind.as_bytes());
        message.message(22, &item);
    }
    if let Some(found) = value.get("items").filter(|found| found.is_object()) {
        let mut item = Message::default();
        item.message(1, &schema(found));
        message.message(23, &item);
    }
    for all in value.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        message.message(24, &schema(all));
    }
    if let Some(Value::Object(properties)) = value.get("properties") {
        message.message(25, &schemas(properties, 1));
    }
    message.extensions(31, value);
    message
}

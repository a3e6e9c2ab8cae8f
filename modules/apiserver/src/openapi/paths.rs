//! The paths of a resource and what can be done there.

use serde_json::{Map, Value, json};

use super::schemas::{PREFIX, list_name, name};
use crate::registry::{Resource, Subresource, Verb};
use crate::schema::types::type_name;

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

const WRITE: [(&str, &str, &str); 4] = [
    ("dryRun", "string", "When present, indicates that modifications should not be persisted."),
    (
        "fieldManager",
        "string",
        "fieldManager is a name associated with the actor or entity that is making these changes.",
    ),
    (
        "fieldValidation",
        "string",
        "fieldValidation instructs the server on how to handle unknown or duplicate fields: Ignore, Warn or Strict.",
    ),
    ("pretty", "string", "If 'true', then the output is pretty printed."),
];
const LIST: [(&str, &str, &str); 7] = [
    ("allowWatchBookmarks", "boolean", "allowWatchBookmarks requests watch events with type \"BOOKMARK\"."),
    ("continue", "string", "The continue option should be set when retrieving more results from the server."),
    ("fieldSelector", "string", "A selector to restrict the list of returned objects by their fields."),
    ("labelSelector", "string", "A selector to restrict the list of returned objects by their labels."),
    ("limit", "integer", "limit is a maximum number of responses to return for a list call."),
    (
        "resourceVersion",
        "string",
        "resourceVersion sets a constraint on what resource versions a request may be served from.",
    ),
    ("watch", "boolean", "Watch for changes to the described resources and return them as a stream."),
];
const FORCE: (&str, &str, &str) = (
    "force",
    "boolean",
    "Force is going to \"force\" Apply requests. It means user will re-acquire conflicting fields.",
);

/// Adds the paths of a resource.
pub(super) fn add(resource: &Resource, paths: &mut Map<String, Value>) {
    let prefix = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let collection = if resource.namespaced {
        if resource.supports(Verb::List) {
            let all = format!("{prefix}/{}", resource.plural);
            paths.insert(all, item(resource, &[Verb::List], false, None));
        }
        format!("{prefix}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{prefix}/{}", resource.plural)
    };
    let present = |verbs: &[Verb]| -> Vec<Verb> {
        verbs.iter().copied().filter(|verb| resource.supports(*verb)).collect()
    };
    let many = present(&[Verb::List, Verb::Create, Verb::DeleteCollection]);
    if !many.is_empty() {
        paths.insert(collection.clone(), item(resource, &many, false, None));
    }
    let one = present(&[Verb::Get, Verb::Update, Verb::Patch, Verb::Delete]);
    if !one.is_empty() {
        paths.insert(format!("{collection}/{{name}}"), item(resource, &one, true, None));
    }
    for part in &resource.subresources {
        let path = format!("{collection}/{{name}}/{}", part.name);
        paths.insert(path, item(resource, &part.verbs, true, Some(part)));
    }
}

/// Returns the operations of one path.
fn item(resource: &Resource, verbs: &[Verb], named: bool, part: Option<&Subresource>) -> Value {
    let mut operations = Map::new();
    for verb in verbs {
        let method = match verb {
            Verb::Get | Verb::List | Verb::Watch => "get",
            Verb::Create => "post",
            Verb::Update => "put",
            Verb::Patch => "patch",
            Verb::Delete | Verb::DeleteCollection => "delete",
        };
        operations.insert(method.to_owned(), operation(resource, *verb, part));
    }
    let mut parameters = Vec::new();
    if named {
        parameters.push(in_path("name", &format!("name of the {}", resource.kind)));
    }
    if resource.namespaced && (named || verbs != [Verb::List]) {
        parameters.push(in_path("namespace", "object name and auth scope, such as for teams and projects"));
    }
    if !parameters.is_empty() {
        operations.insert("parameters".to_owned(), Value::from(parameters));
    }
    Value::Object(operations)
}

fn in_path(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": description,
        "schema": {"type": "string", "uniqueItems": true}})
}

fn in_query(parameters: &[(&str, &str, &str)]) -> Vec<Value> {
    parameters
        .iter()
        .map(|(name, kind, description)| {
            json!({"name": name, "in": "query", "description": description,
                "schema": {"type": kind, "uniqueItems": true}})
        })
        .collect()
}

fn operation(resource: &Resource, verb: Verb, part: Option<&Subresource>) -> Value {
    let own = match part {
        Some(part) if part.kind != resource.kind => type_name(&part.group, &part.version, &part.kind),
        _ => name(resource),
    };
    let is_options = own.ends_with("Options");
    let target = |name: &str| json!({ "$ref": format!("{PREFIX}{name}") });
    let (action, answer, body, parameters) = match verb {
        Verb::List => ("list", list_name(resource), None, in_query(&LIST)),
        Verb::Get | Verb::Watch => ("get", own.clone(), None, Vec::new()),
        Verb::Create => ("post", own.clone(), Some(own.as_str()), in_query(&WRITE)),
        Verb::Update => ("put", own.clone(), Some(own.as_str()), in_query(&WRITE)),
        Verb::Patch => {
            let mut parameters = in_query(&WRITE);
            parameters.extend(in_query(&[FORCE]));
            ("patch", own.clone(), Some(PATCH), parameters)
        }
        Verb::Delete => ("delete", STATUS.to_owned(), Some(DELETE_OPTIONS), in_query(&WRITE[..1])),
        Verb::DeleteCollection => {
            ("deletecollection", STATUS.to_owned(), Some(DELETE_OPTIONS), in_query(&LIST[2..4]))
        }
    };
    let (group, version, kind) = match part {
        Some(part) => (&part.group, &part.version, &part.kind),
        None => (&resource.group, &resource.version, &resource.kind),
    };
    let mut operation = json!({
        "description": format!("{action} {} {}", resource.kind, part.map_or("", |part| &part.name)).trim_end(),
        "operationId": operation_id(resource, verb, part),
        "tags": [format!("{}_{}", tag(resource), resource.version)],
        "responses": {"401": {"description": "Unauthorized"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group, "kind": kind, "version": version}});
    let mut ok = json!({"description": "OK"});
    if is_options {
        operation["x-kubernetes-action"] = Value::from("connect");
        ok["content"] = json!({"*/*": {"schema": {"type": "string"}}});
    } else {
        ok["content"] = json!({"application/json": {"schema": target(&answer)}});
        if let Some(body) = body {
            let media = match verb {
                Verb::Patch => "application/merge-patch+json",
                _ => "*/*",
            };
            operation["requestBody"] = json!({"content": {media: {"schema": target(body)}}});
        }
    }
    operation["responses"][if verb == Verb::Create && !is_options { "201" } else { "200" }] = ok;
    if !parameters.is_empty() {
        operation["parameters"] = Value::from(parameters);
    }
    operation
}

fn tag(resource: &Resource) -> String {
    if resource.group.is_empty() {
        return "core".to_owned();
    }
    resource.group.strip_suffix(".k8s.io").unwrap_or(&resource.group).replace(['.', '-'], "_")
}

fn operation_id(resource: &Resource, verb: Verb, part: Option<&Subresource>) -> String {
    let capital = |text: &str| {
        let mut characters = text.chars();
        characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
    };
    let word = match verb {
        Verb::Create => "create",
        Verb::Delete => "delete",
        Verb::DeleteCollection => "deleteCollection",
        Verb::Get => "read",
        Verb::List => "list",
        Verb::Patch => "patch",
        Verb::Update => "replace",
        Verb::Watch => "watch",
    };
    let group: String = tag(resource).split('_').map(capital).collect();
    let scope = if resource.namespaced { "Namespaced" } else { "" };
    let part = part.map(|part| capital(&part.name)).unwrap_or_default();
    format!("{word}{group}{}{scope}{}{part}", capital(&resource.version), resource.kind)
}

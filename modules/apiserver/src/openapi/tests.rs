use super::*;
use crate::schema::types::{Shape, type_name};

fn document(registry: &Registry, path: &str) -> Value {
    let bytes = OpenApi::new().v3_document(registry, path).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn refs<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| refs(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| refs(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_of_every_document_leads_somewhere() {
    let registry = Registry::builtin();
    let openapi = OpenApi::new();
    let index: Value = serde_json::from_slice(&openapi.v3_index(&registry)).unwrap();
    for path in index["paths"].as_object().unwrap().keys() {
        let document = document(&registry, path);
        let mut found = Vec::new();
        refs(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{path}: {name}");
        }
    }
    let all: Value = serde_json::from_slice(&openapi.v2(&registry, OpenApiV2::Json)).unwrap();
    let mut found = Vec::new();
    refs(&all, &mut found);
    for reference in found {
        let name = reference.strip_prefix("#/definitions/").unwrap();
        assert!(all["definitions"].get(name).is_some(), "{name}");
    }
}

#[test]
fn schemas_say_how_lists_merge() {
    let core = document(&Registry::builtin(), "api/v1");
    let schemas = &core["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(containers["items"]["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.core.v1.Container");
    assert_eq!(
        schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"],
        json!([{"group": "", "kind": "Pod", "version": "v1"}])
    );
    let port = &schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(port["format"], "int-or-string");
}

#[test]
fn what_may_be_anything_has_no_type() {
    let document = document(&Registry::builtin(), "apis/apiextensions.k8s.io/v1");
    let schemas = &document["components"]["schemas"];
    for kind in ["JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray"] {
        let schema = &schemas[&format!("{}.{kind}", crate::schema::types::APIEXTENSIONS)];
        assert_eq!(schema.as_object().unwrap().keys().collect::<Vec<_>>(), ["description"], "{kind}");
    }
}

#[test]
fn operations_name_their_kind_and_parameters() {
    let apps = document(&Registry::builtin(), "apis/apps/v1");
    let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "kind": "Deployment", "version": "v1"})
    );
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"fieldValidation") && names.contains(&"dryRun"), "{names:?}");
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    assert!(apps["paths"].get("/apis/apps/v1/deployments").is_some());
}

/// The field tables and the schemas come from different sources; neither may lag behind.
#[test]
fn the_tables_know_every_field_of_the_schemas() {
    let registry = Registry::builtin();
    let mut problems = Vec::new();
    let resources: Vec<&Resource> = registry.resources().map(AsRef::as_ref).collect();
    let schemas = schemas::of(&registry, &resources);
    for built in registry.types().iter() {
        let Some(schema) = schemas.get(&*built.name) else { continue };
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { continue };
        for name in properties.keys().filter(|name| !built.fields.contains_key(name.as_str())) {
            problems.push(format!("the table of {} lacks {name}", built.name));
        }
        for (name, field) in &built.fields {
            let Some(property) = properties.get(&**name) else {
                problems.push(format!("{} has no field {name}", built.name));
                continue;
            };
            let kind = property.get("type").and_then(Value::as_str);
            let fits = match &field.shape {
                Shape::List(..) => kind == Some("array"),
                Shape::Map(..) => kind == Some("object"),
                Shape::Named(_) => property.get("allOf").is_some(),
                _ => true,
            };
            if !fits {
                problems.push(format!("{}.{name} is {kind:?}, not {:?}", built.name, field.shape));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(schemas.contains_key(&type_name("", "v1", "Pod")));
}

#[test]
fn definitions_are_described_with_the_fields_of_all_objects() {
    let mut registry = Registry::builtin();
    let before = OpenApi::new().v3_index(&registry);
    registry
        .upsert_crd(&json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com",
            "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": {"type": "object", "description": "what it is"}}}}}]}}))
        .unwrap();
    assert_ne!(OpenApi::new().v3_index(&registry), before);
    let document = document(&registry, "apis/example.com/v1");
    let schema = &document["components"]["schemas"]["com.example.v1.Thing"];
    assert_eq!(schema["properties"]["spec"]["description"], "what it is");
    assert!(schema["properties"]["metadata"]["allOf"].is_array());
    assert!(document["paths"].get("/apis/example.com/v1/namespaces/{namespace}/things/{name}").is_some());
    assert!(OpenApi::new().v3_document(&registry, "apis/none.com/v1").is_none());
    assert!(OpenApi::new().v3_document(&registry, "x").is_none());
}

#[test]
fn documents_are_kept_until_what_they_describe_changes() {
    let openapi = OpenApi::new();
    let mut registry = Registry::builtin();
    let first = openapi.v3_document(&registry, "apis/apps/v1").unwrap();
    let again = openapi.v3_document(&registry, "apis/apps/v1").unwrap();
    assert_eq!(first.as_ptr(), again.as_ptr());
    for path in [
        "apis/batch/v1",
        "apis/policy/v1",
        "apis/events.k8s.io/v1",
        "apis/node.k8s.io/v1",
        "apis/autoscaling/v2",
    ] {
        openapi.v3_document(&registry, path).unwrap();
    }
    assert_eq!(openapi.kept.lock().unwrap().len(), KEPT_MAX);
    registry.remove_crd("none");
}

#[test]
fn the_form_of_v2_is_negotiated() {
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    assert_eq!(negotiate_v2(protobuf), OpenApiV2::Protobuf);
    assert_eq!(negotiate_v2(OpenApiV2::Protobuf.content_type()), OpenApiV2::Protobuf);
    assert_eq!(negotiate_v2(&format!("application/json, {protobuf}")), OpenApiV2::Json);
    assert_eq!(negotiate_v2(""), OpenApiV2::Json);
}

//! The definitions say what KubeEdge's say.
//!
//! `facts/` has, for each version of each resource, one line for each field: its path, its type, and what else the
//! schema asks of it. The lists were derived from the definitions that KubeEdge ships.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// Writes down what a schema says of a field and of all below it.
fn tell(path: &str, schema: &Value, is_required: bool, facts: &mut BTreeSet<String>) {
    let mut fact = match schema["x-kubernetes-int-or-string"].as_bool() {
        Some(true) => "int-or-string".to_owned(),
        _ => schema["type"].as_str().unwrap_or("any").to_owned(),
    };
    if is_required {
        fact.push_str(" required");
    }
    for (name, value) in schema.as_object().expect("a schema is an object") {
        match (name.as_str(), value) {
            ("type" | "description" | "properties" | "items" | "additionalProperties" | "required", _)
            | ("x-kubernetes-int-or-string", _) => {}
            ("anyOf", _) if fact.starts_with("int-or-string") => {}
            ("x-kubernetes-preserve-unknown-fields", Value::Bool(true)) => fact.push_str(" open"),
            ("enum", Value::Array(values)) => {
                let values: BTreeSet<_> = values.iter().map(plain).collect();
                fact.push_str(&format!(" enum={}", Vec::from_iter(values).join(",")));
            }
            (name, value) => {
                fact.push_str(&format!(" {}={}", name.trim_start_matches("x-kubernetes-"), plain(value)));
            }
        }
    }
    facts.insert(format!("{}: {fact}", if path.is_empty() { "." } else { path }));
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        tell(&path, below, required.iter().any(|it| it == name), facts);
    }
    for (field, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(below) = schema.get(field) {
            tell(&format!("{path}{suffix}"), below, false, facts);
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(
        || value.to_string(),
        |text| if text.is_empty() { "''".to_owned() } else { text.to_owned() },
    )
}

/// Writes down what a definition says of the resource as a whole.
fn head(definition: &Value) -> String {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |value: &Value| plain(value);
    let short = names["shortNames"]
        .as_array()
        .map_or_else(|| "-".to_owned(), |all| Vec::from_iter(all.iter().map(plain)).join(","));
    format!(
        "{} kind={} singular={} short={short} scope={}",
        text(&definition["metadata"]["name"]),
        text(&names["kind"]),
        text(&names["singular"]),
        text(&spec["scope"]),
    )
}

fn facts_of(definition: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::from([head(definition)]);
    for version in definition["spec"]["versions"].as_array().expect("versions") {
        let name = version["name"].as_str().expect("a name");
        let subresources = version["subresources"].as_object();
        let subresources =
            subresources.map_or_else(|| "-".to_owned(), |all| Vec::from_iter(all.keys().cloned()).join(","));
        let columns = version["additionalPrinterColumns"].as_array().map_or(0, Vec::len);
        all.insert(format!(
            "{name} served={} stored={} subresources={subresources} columns={columns}",
            version["served"], version["storage"]
        ));
        let mut facts = BTreeSet::new();
        tell("", &version["schema"]["openAPIV3Schema"], false, &mut facts);
        all.extend(facts.into_iter().map(|fact| format!("{name} {fact}")));
    }
    all
}

#[test]
fn every_schema_has_the_fields_that_kubeedge_s_has() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/facts");
    let mut listed: BTreeSet<String> = std::fs::read_dir(&folder)
        .expect("the lists")
        .map(|entry| entry.expect("a list").file_name().to_string_lossy().trim_end_matches(".txt").to_owned())
        .collect();
    assert_eq!(listed.len(), 13);
    for definition in api::definitions() {
        let name = definition["metadata"]["name"].as_str().expect("a name");
        assert!(listed.remove(name), "{name} has no list");
        let expected = std::fs::read_to_string(folder.join(format!("{name}.txt"))).expect("a list");
        let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
        let ours = facts_of(&definition);
        let missing: Vec<_> = expected.difference(&ours).collect();
        let other: Vec<_> = ours.difference(&expected).collect();
        assert!(missing.is_empty() && other.is_empty(), "{name} lacks {missing:#?} and has {other:#?}");
    }
    assert!(listed.is_empty(), "nothing defines {listed:?}");
}

#[test]
fn one_version_is_stored_and_every_field_is_described() {
    fn check(path: &str, schema: &Value) {
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let is_header = matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
            assert!(is_header || below["description"].is_string(), "{path} has no description");
            check(&path, below);
        }
        for below in ["items", "additionalProperties"].iter().filter_map(|below| schema.get(below)) {
            check(path, below);
        }
    }
    for definition in api::definitions() {
        let versions = definition["spec"]["versions"].as_array().expect("versions").clone();
        assert_eq!(versions.iter().filter(|version| version["storage"] == true).count(), 1);
        for version in versions {
            check(&definition["metadata"]["name"].to_string(), &version["schema"]["openAPIV3Schema"]);
        }
    }
}

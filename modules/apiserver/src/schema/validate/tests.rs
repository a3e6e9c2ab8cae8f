use serde_json::json;

use super::*;
use crate::schema::{default, prepare};

/// Checks a create after defaulting: the messages in order.
fn created(group: &str, plural: &str, object: Value) -> Vec<String> {
    let registry = Registry::builtin();
    let version = if group == "autoscaling" { "v2" } else { "v1" };
    let resource = registry.find(group, version, plural).unwrap();
    let mut object = object;
    prepare(resource, None, &mut object, "");
    default(&registry, resource, &mut object);
    validate(&registry, resource, None, &object, "").0.iter().map(ToString::to_string).collect()
}

fn updated(group: &str, plural: &str, old: &Value, new: &Value) -> Vec<String> {
    let registry = Registry::builtin();
    let resource = registry.find(group, "v1", plural).unwrap();
    let (mut old, mut new) = (old.clone(), new.clone());
    for object in [&mut old, &mut new] {
        default(&registry, resource, object);
    }
    prepare(resource, Some(&old), &mut new, "");
    validate(&registry, resource, Some(&old), &new, "").0.iter().map(ToString::to_string).collect()
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})
}

fn container() -> Value {
    json!({"name": "c", "image": "i"})
}

#[test]
fn names_are_checked_by_kind() {
    let check = |group: &str, plural: &str, name: &str, expected: &str| {
        let mut object =
            json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"ports": [{"port": 1}]}});
        if plural != "services" && plural != "configmaps" {
            object = json!({"metadata": {"name": name}});
        }
        let found = created(group, plural, object);
        assert!(found.iter().any(|message| message.contains(expected)), "{name}: {found:?}");
    };
    check(
        "",
        "configmaps",
        "Bad_Name",
        "metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must consist of",
    );
    check("", "services", "1a", "a DNS-1035 label must consist of");
    check("", "namespaces", "a.b", "a lowercase RFC 1123 label must consist of");
    check("", "configmaps", "", "metadata.name: Required value: name or generateName is required");
    assert!(
        created("rbac.authorization.k8s.io", "clusterroles", json!({"metadata": {"name": "system:Node"}}))
            .is_empty()
    );
}

#[test]
fn labels_and_annotations_are_checked() {
    let found = created(
        "",
        "configmaps",
        json!({"metadata": {"name": "c", "namespace": "n", "labels": {"a/b/c": "x", "ok": "bad value"},
        "annotations": {"": "x"}}}),
    );
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(
        found[0].starts_with("metadata.labels: Invalid value: \"a/b/c\": a qualified name must consist of")
    );
    assert!(found[1].starts_with("metadata.labels: Invalid value: \"bad value\": a valid label must be"));
}

#[test]
fn a_good_pod_passes() {
    let spec = json!({"containers": [{"name": "c", "image": "busybox", "command": ["sleep", "1"],
        "ports": [{"containerPort": 80, "name": "http"}], "env": [{"name": "A", "value": "b"},
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}},
        "livenessProbe": {"exec": {"command": ["true"]}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "configMap": {"name": "c"}}], "tolerations": [{"operator": "Exists"}]});
    assert_eq!(created("", "pods", pod(spec)), Vec::<String>::new());
}

#[test]
fn what_users_get_wrong_in_pods_is_named() {
    let check = |spec: Value, expected: &[&str]| {
        assert_eq!(created("", "pods", pod(spec.clone())), expected, "{spec}");
    };
    check(json!({}), &["spec.containers: Required value"]);
    check(
        json!({"containers": [{}]}),
        &["spec.containers[0].name: Required value", "spec.containers[0].image: Required value"],
    );
    check(
        json!({"containers": [container(), container()]}),
        &["spec.containers[1].name: Duplicate value: \"c\""],
    );
    check(
        json!({"containers": [container()], "restartPolicy": "Sometimes"}),
        &[
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ],
    );
    check(
        json!({"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
        &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
    );
    check(
        json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 70000}]}]}),
        &[
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ],
    );
    check(
        json!({"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}]}),
        &[
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ],
    );
    check(
        json!({"containers": [container()], "volumes": [{"name": "v", "hostPath": {}}, {"name": "v", "emptyDir": {}}]}),
        &["spec.volumes[0].hostPath.path: Required value", "spec.volumes[1].name: Duplicate value: \"v\""],
    );
    check(
        json!({"containers": [{"name": "c", "image": "i", "livenessProbe": {}}]}),
        &["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
    );
}

#[test]
fn a_running_pod_changes_little() {
    let old = pod(json!({"containers": [container()], "nodeName": "n"}));
    let mut image = old.clone();
    image["spec"]["containers"][0]["image"] = json!("j");
    image["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    image["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    image["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(updated("", "pods", &old, &image), Vec::<String>::new());
    let mut env = old.clone();
    env["spec"]["containers"][0]["env"] = json!([{"name": "A"}]);
    let found = updated("", "pods", &old, &env);
    assert!(
        found[0].starts_with("spec: Forbidden: pod updates may not change fields other than"),
        "{found:?}"
    );
    let mut node = old.clone();
    node["spec"]["nodeName"] = json!("m");
    assert_eq!(updated("", "pods", &old, &node).len(), 1);
}

fn deployment() -> Value {
    json!({"metadata": {"name": "d", "namespace": "n"}, "spec": {"selector": {"matchLabels": {"app": "d"}},
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container()]}}}})
}

#[test]
fn a_selector_matches_its_template_and_stays() {
    assert_eq!(created("apps", "deployments", deployment()), Vec::<String>::new());
    let mut other = deployment();
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "x"});
    assert_eq!(
        created("apps", "deployments", other),
        [
            "spec.template.metadata.labels: Invalid value: map[string]string{\"app\":\"x\"}: `selector` does not match template `labels`"
        ]
    );
    let mut missing = deployment();
    missing["spec"].as_object_mut().unwrap().remove("selector");
    assert_eq!(created("apps", "deployments", missing), ["spec.selector: Required value"]);
    let mut changed = deployment();
    changed["spec"]["selector"]["matchLabels"]["more"] = json!("y");
    changed["spec"]["template"]["metadata"]["labels"]["more"] = json!("y");
    assert_eq!(
        updated("apps", "deployments", &deployment(), &changed),
        [
            "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"app\":\"d\", \"more\":\"y\"}, \
          MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable"
        ]
    );
    let mut once = deployment();
    once["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    assert_eq!(
        created("apps", "deployments", once),
        ["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""]
    );
}

#[test]
fn a_job_may_not_restart_for_ever() {
    let job = json!({"metadata": {"name": "j", "namespace": "n", "uid": "u"},
        "spec": {"template": {"spec": {"containers": [container()]}}}});
    assert_eq!(
        created("batch", "jobs", job),
        [
            "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"OnFailure\", \"Never\""
        ]
    );
}

#[test]
fn what_is_immutable_stays() {
    let secret =
        json!({"metadata": {"name": "s", "namespace": "n"}, "type": "Opaque", "data": {"a": "YQ=="}});
    let mut changed = secret.clone();
    changed["type"] = json!("other/kind");
    assert_eq!(
        updated("", "secrets", &secret, &changed),
        ["type: Invalid value: \"other/kind\": field is immutable"]
    );
    let map = json!({"metadata": {"name": "c", "namespace": "n"}, "immutable": true, "data": {"a": "1"}});
    let mut changed = map.clone();
    changed["data"]["a"] = json!("2");
    assert_eq!(
        updated("", "configmaps", &map, &changed),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
}

#[test]
fn services_need_ports_and_keep_their_address() {
    let service = |spec: Value| json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec});
    assert_eq!(created("", "services", service(json!({}))), ["spec.ports: Required value"]);
    assert_eq!(created("", "services", service(json!({"clusterIP": "None"}))), Vec::<String>::new());
    assert_eq!(
        created("", "services", service(json!({"ports": [{"port": 80}, {"port": 81}]}))),
        ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"]
    );
    let old = service(json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}));
    let new = service(json!({"clusterIP": "10.0.0.2", "ports": [{"port": 80}]}));
    assert_eq!(
        updated("", "services", &old, &new),
        ["spec.clusterIPs[0]: Invalid value: []string{\"10.0.0.2\"}: may not change once set"]
    );
}

#[test]
fn the_status_of_an_invalid_object_is_that_of_a_real_server() {
    let registry = Registry::builtin();
    let resource = registry.find("apps", "v1", "deployments").unwrap();
    let mut errors = FieldErrors::default();
    errors.push(FieldError::required("spec.selector", ""));
    assert_eq!(
        errors.status(resource, "d"),
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Deployment.apps \"d\" is invalid: spec.selector: Required value", "reason": "Invalid",
            "details": {"name": "d", "group": "apps", "kind": "Deployment", "causes": [
                {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector"}]}, "code": 422})
    );
}

fn definition(schema: Value) -> Value {
    json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

#[test]
fn definitions_are_checked() {
    let check = |crd: Value, expected: &str| {
        let found = created("apiextensions.k8s.io", "customresourcedefinitions", crd);
        assert!(found.iter().any(|message| message.contains(expected)), "{expected}: {found:?}");
    };
    let good = definition(json!({"type": "object", "properties": {"spec": {"type": "object"}}}));
    assert_eq!(
        created("apiextensions.k8s.io", "customresourcedefinitions", good.clone()),
        Vec::<String>::new()
    );
    let mut renamed = good.clone();
    renamed["metadata"]["name"] = json!("x.example.com");
    check(
        renamed,
        "metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group",
    );
    check(definition(json!({})), "schema.openAPIV3Schema.type: Required value: must be object at the root");
    check(
        definition(json!({"type": "object", "properties": {"a": {}}})),
        "properties[a].type: Required value",
    );
    check(
        definition(json!({"type": "object", "properties": {"a": {"type": "array"}}})),
        "properties[a].items: Required value",
    );
    check(
        definition(json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}})),
        "must be a valid regular expression",
    );
    let mut two = good;
    two["spec"]["versions"][0]["storage"] = json!(false);
    check(two, "must have exactly one version marked as storage version");
}

fn custom(schema: Value, object: Value) -> Vec<String> {
    let mut registry = Registry::builtin();
    registry.upsert_crd(&definition(schema)).unwrap();
    let resource = registry.find("example.com", "v1", "things").unwrap();
    let mut object = object;
    object["metadata"] = json!({"name": "t", "namespace": "n"});
    validate(&registry, resource, None, &object, "").0.iter().map(ToString::to_string).collect()
}

fn check_property(property: Value, value: Value, expected: &[&str]) {
    let schema = json!({"type": "object", "properties": {"x": property}});
    assert_eq!(custom(schema, json!({ "x": value })), expected, "{property} {value}");
}

#[test]
fn values_of_custom_resources_fit_their_schemas() {
    check_property(json!({"type": "integer"}), json!(1), &[]);
    check_property(
        json!({"type": "integer"}),
        json!("one"),
        &["x: Invalid value: \"one\": x in body must be of type integer: \"string\""],
    );
    check_property(
        json!({"type": "integer"}),
        json!(1.5),
        &["x: Invalid value: 1.5: x in body must be of type integer: \"number\""],
    );
    check_property(
        json!({"type": "string", "enum": ["a", "b"]}),
        json!("c"),
        &["x: Unsupported value: \"c\": supported values: \"a\", \"b\""],
    );
    check_property(
        json!({"type": "string", "pattern": "^a+$"}),
        json!("b"),
        &["x: Invalid value: \"b\": x in body should match '^a+$'"],
    );
    check_property(
        json!({"type": "integer", "minimum": 2}),
        json!(1),
        &["x: Invalid value: 1: x in body should be greater than or equal to 2"],
    );
    check_property(
        json!({"type": "integer", "maximum": 2, "exclusiveMaximum": true}),
        json!(2),
        &["x: Invalid value: 2: x in body should be less than 2"],
    );
    check_property(
        json!({"type": "string", "maxLength": 1}),
        json!("ab"),
        &["x: Too long: may not be more than 1 bytes"],
    );
    check_property(
        json!({"type": "string", "format": "ipv4"}),
        json!("x"),
        &["x: Invalid value: \"x\": x in body must be of type ipv4: \"x\""],
    );
    check_property(json!({"x-kubernetes-int-or-string": true}), json!("50%"), &[]);
    check_property(
        json!({"x-kubernetes-int-or-string": true}),
        json!(true),
        &["x: Invalid value: true: x in body must be of type integer,string: \"boolean\""],
    );
    check_property(json!({"type": "string", "nullable": true}), json!(null), &[]);
    check_property(
        json!({"type": "string"}),
        json!(null),
        &["x: Invalid value: \"null\": x in body must be of type string: \"null\""],
    );
}

#[test]
fn the_parts_of_custom_resources_fit_too() {
    check_property(json!({"type": "object", "required": ["y"]}), json!({}), &["x.y: Required value"]);
    check_property(
        json!({"type": "object", "additionalProperties": {"type": "integer"}}),
        json!({"k": "v"}),
        &["x.k: Invalid value: \"v\": x.k in body must be of type integer: \"string\""],
    );
    check_property(
        json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
        json!(["a", "a"]),
        &["x[1]: Duplicate value: \"a\""],
    );
    check_property(
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
        json!([{"k": "a"}, {"k": "a"}]),
        &["x[1]: Duplicate value: {\"k\":\"a\"}"],
    );
    check_property(
        json!({"type": "array", "maxItems": 1, "items": {"type": "integer"}}),
        json!([1, 2]),
        &["x: Too many: 2: must have at most 1 items"],
    );
    let one = json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
    check_property(one.clone(), json!({"a": 1}), &[]);
    check_property(
        one.clone(),
        json!({"a": 1, "b": 1}),
        &["x: Invalid value: \"\": x in body must validate one and only one schema (oneOf)"],
    );
    check_property(
        one,
        json!({}),
        &[
            "x: Invalid value: \"\": x in body must validate one and only one schema (oneOf). Found none valid",
        ],
    );
    check_property(
        json!({"type": "integer", "not": {"minimum": 5}}),
        json!(6),
        &["x: Invalid value: \"\": x in body must not validate the schema (not)"],
    );
    check_property(
        json!({"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 1}]}),
        json!(3),
        &["x: Invalid value: \"\": x in body must validate at least one schema (anyOf)"],
    );
    check_property(
        json!({"type": "integer", "allOf": [{"minimum": 5}]}),
        json!(3),
        &["x: Invalid value: 3: x in body should be greater than or equal to 5"],
    );
    check_property(
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
        json!({"kind": "Pod"}),
        &["x.apiVersion: Required value: must not be empty"],
    );
}

use k8s_pb::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_pb::api::core::v1 as core;
use k8s_pb::apimachinery::pkg::api::resource::Quantity;
use k8s_pb::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions, Time};
use k8s_pb::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use super::*;

fn body(api_version: &str, kind: &str, message: &impl Message) -> Vec<u8> {
    use k8s_pb::apimachinery::pkg::runtime::{TypeMeta, Unknown};
    let unknown = Unknown {
        type_meta: Some(TypeMeta { api_version: Some(api_version.into()), kind: Some(kind.into()) }),
        raw: Some(message.encode_to_vec()),
        content_encoding: None,
        content_type: None,
    };
    let mut body = MAGIC.to_vec();
    body.extend(unknown.encode_to_vec());
    body
}

fn check(api_version: &str, kind: &str, message: &impl Message, expected: &Value) {
    let decoded = decode(&Registry::builtin(), &body(api_version, kind, message)).unwrap();
    let mut expected = expected.clone();
    expected["apiVersion"] = json!(api_version);
    expected["kind"] = json!(kind);
    assert_eq!(decoded, expected);
}

fn metadata(name: &str) -> Option<ObjectMeta> {
    Some(ObjectMeta {
        name: Some(name.into()),
        generate_name: Some(String::new()),
        namespace: Some("n".into()),
        creation_timestamp: Some(Time::default()),
        generation: Some(0),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        ..ObjectMeta::default()
    })
}

#[test]
fn a_pod_is_what_its_json_would_be() {
    let container = core::Container {
        name: Some("c".into()),
        image: Some("busybox".into()),
        working_dir: Some(String::new()),
        command: vec!["sh".into(), String::new()],
        stdin: Some(false),
        tty: Some(true),
        resources: Some(core::ResourceRequirements {
            limits: [("cpu".to_owned(), Quantity { string: Some("100m".into()) })].into(),
            ..Default::default()
        }),
        liveness_probe: Some(core::Probe {
            handler: Some(core::ProbeHandler {
                http_get: Some(core::HttpGetAction {
                    path: Some("/".into()),
                    port: Some(IntOrString {
                        r#type: Some(1),
                        int_val: Some(0),
                        str_val: Some("web".into()),
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            period_seconds: Some(5),
            ..Default::default()
        }),
        security_context: Some(core::SecurityContext { run_as_user: Some(0), ..Default::default() }),
        ..Default::default()
    };
    let volume = core::Volume {
        name: Some("v".into()),
        volume_source: Some(core::VolumeSource {
            empty_dir: Some(core::EmptyDirVolumeSource { medium: Some(String::new()), size_limit: None }),
            ..Default::default()
        }),
    };
    let pod = core::Pod {
        metadata: metadata("p"),
        spec: Some(core::PodSpec {
            containers: vec![container],
            volumes: vec![volume],
            termination_grace_period_seconds: Some(0),
            host_network: Some(false),
            automount_service_account_token: Some(false),
            ..Default::default()
        }),
        status: Some(core::PodStatus {
            start_time: Some(Time { seconds: Some(1), nanos: Some(0) }),
            ..Default::default()
        }),
    };
    check(
        "v1",
        "Pod",
        &pod,
        &json!({"metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}}, "spec": {
            "containers": [{"name": "c", "image": "busybox", "command": ["sh", ""], "tty": true,
                "resources": {"limits": {"cpu": "100m"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 5},
                "securityContext": {"runAsUser": 0}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false},
            "status": {"startTime": "1970-01-01T00:00:01Z"}}),
    );
}

#[test]
fn replicas_of_zero_are_kept() {
    let spec = DeploymentSpec { replicas: Some(0), paused: Some(false), ..Default::default() };
    let deployment = Deployment { metadata: metadata("d"), spec: Some(spec), status: None };
    check(
        "apps/v1",
        "Deployment",
        &deployment,
        &json!({"metadata": {"name": "d", "namespace": "n", "labels": {"a": "b"}}, "spec": {"replicas": 0}}),
    );
}

#[test]
fn bytes_become_base64() {
    let secret = core::Secret {
        metadata: metadata("s"),
        data: [("k".to_owned(), vec![0xff, 0x00])].into(),
        immutable: Some(false),
        ..Default::default()
    };
    check(
        "v1",
        "Secret",
        &secret,
        &json!({"metadata": {"name": "s", "namespace": "n", "labels": {"a": "b"}}, "data": {"k": "/wA="},
            "immutable": false}),
    );
}

#[test]
fn options_are_known_in_every_group() {
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some("u".into()), resource_version: None }),
        ..Default::default()
    };
    let expected = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u"}});
    check("v1", "DeleteOptions", &options, &expected);
    check("apps/v1", "DeleteOptions", &options, &expected);
}

#[test]
fn lists_are_decoded() {
    let list = core::ConfigMapList {
        items: vec![core::ConfigMap { metadata: metadata("c"), ..Default::default() }],
        metadata: None,
    };
    check(
        "v1",
        "ConfigMapList",
        &list,
        &json!({"items": [{"metadata": {"name": "c", "namespace": "n", "labels": {"a": "b"}}}]}),
    );
}

#[test]
fn schemas_of_definitions_are_decoded() {
    use k8s_pb::apiextensions_apiserver::pkg::apis::apiextensions::v1 as crd;
    let property = crd::JsonSchemaProps { r#type: Some("string".into()), ..Default::default() };
    let schema = crd::JsonSchemaProps {
        r#type: Some("object".into()),
        additional_properties: Some(Box::new(crd::JsonSchemaPropsOrBool {
            allows: Some(true),
            schema: Some(Box::new(property.clone())),
        })),
        properties: [("a".to_owned(), property)].into(),
        default: Some(crd::Json { raw: Some(b"{\"x\":1}".to_vec()) }),
        x_kubernetes_preserve_unknown_fields: Some(true),
        maximum: Some(2.5),
        ..Default::default()
    };
    let registry = Registry::builtin();
    let decoder = Decoder { types: registry.types() };
    let decoded = decoder.named(JSON_SCHEMA, &schema.encode_to_vec(), DEPTH_MAX).unwrap();
    assert_eq!(
        Value::Object(decoded),
        json!({"type": "object", "additionalProperties": {"type": "string"},
            "properties": {"a": {"type": "string"}}, "default": {"x": 1},
            "x-kubernetes-preserve-unknown-fields": true, "maximum": 2.5})
    );
}

#[test]
fn garbage_is_refused() {
    let registry = Registry::builtin();
    assert_eq!(decode(&registry, b"{}"), Err(DecodeError::Magic));
    assert_eq!(decode(&registry, b""), Err(DecodeError::Magic));
    let unknown = body("example.com/v1", "Thing", &core::Pod::default());
    assert!(matches!(decode(&registry, &unknown), Err(DecodeError::UnknownKind { .. })));
    let pod = core::Pod { metadata: metadata("p"), ..Default::default() };
    let whole = body("v1", "Pod", &pod);
    for length in MAGIC.len() + 1..whole.len() {
        assert!(decode(&registry, &whole[..length]).is_err(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn deep_nesting_ends() {
    let mut bytes = Vec::new();
    for _ in 0..DEPTH_MAX * 2 {
        let mut outer = vec![(28 << 3) | 2 | 0x80, 0x01];
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        outer.extend(&bytes);
        bytes = outer;
    }
    let registry = Registry::builtin();
    let decoder = Decoder { types: registry.types() };
    assert!(decoder.named(JSON_SCHEMA, &bytes, DEPTH_MAX).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let registry = Registry::builtin();
        let decoder = Decoder { types: registry.types() };
        for name in ["io.k8s.api.core.v1.Pod", JSON_SCHEMA, "io.k8s.api.core.v1.Secret"] {
            drop(decoder.named(name, &bytes, DEPTH_MAX));
        }
        let mut body = MAGIC.to_vec();
        body.extend(&bytes);
        drop(decode(&registry, &body));
    }
}

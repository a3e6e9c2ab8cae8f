use serde_json::json;

use super::*;

fn check(group: &str, plural: &str, object: Value, expected: &Value) {
    let registry = Registry::builtin();
    let version = if group == "autoscaling" { "v2" } else { "v1" };
    let resource = registry.find(group, version, plural).unwrap();
    let mut filled = object.clone();
    default(&registry, resource, &mut filled);
    assert_eq!(filled, *expected, "{object}");
    default(&registry, resource, &mut filled);
    assert_eq!(filled, *expected, "a second time");
}

fn filled_container(more: Value) -> Value {
    let mut container = json!({"name": "c", "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File", "resources": {}});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

fn filled_template(labels: Value, container: Value) -> Value {
    json!({"metadata": labels, "spec": {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30, "securityContext": {}, "schedulerName": "default-scheduler",
        "containers": [container]}})
}

#[test]
fn a_pod_gets_what_a_real_server_fills_in() {
    check(
        "",
        "pods",
        json!({"spec": {"serviceAccountName": "s", "containers": [{"name": "c", "image": "busybox:1.36",
            "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}},
            "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5},
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]}],
            "volumes": [{"name": "e"}, {"name": "s", "secret": {"secretName": "x"}},
                {"name": "h", "hostPath": {"path": "/"}}]}}),
        &json!({"spec": {"serviceAccountName": "s", "serviceAccount": "s", "enableServiceLinks": true,
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "securityContext": {}, "schedulerName": "default-scheduler",
            "containers": [filled_container(json!({"image": "busybox:1.36", "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "periodSeconds": 5,
                    "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
                "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName", "apiVersion": "v1"}}}]}))],
            "volumes": [{"name": "e", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
                {"name": "h", "hostPath": {"path": "/", "type": ""}}]}}),
    );
}

#[test]
fn what_is_empty_is_left_out_unless_it_says_something() {
    let registry = Registry::builtin();
    let mut policy = json!({"metadata": {"labels": {}, "ownerReferences": []},
        "spec": {"podSelector": {}, "ingress": [{"from": []}], "egress": []}});
    default(&registry, registry.find("networking.k8s.io", "v1", "networkpolicies").unwrap(), &mut policy);
    assert_eq!(policy["metadata"], json!({}));
    assert_eq!(policy["spec"]["ingress"], json!([{}]));
    assert_eq!((&policy["spec"]["podSelector"], policy["spec"].get("egress")), (&json!({}), None));
}

#[test]
fn images_without_a_fixed_tag_are_always_pulled() {
    let registry = Registry::builtin();
    let pods = registry.find("", "v1", "pods").unwrap();
    let policy = |image: &str| {
        let mut pod = json!({"spec": {"containers": [{"name": "c", "image": image}]}});
        default(&registry, pods, &mut pod);
        pod["spec"]["containers"][0]["imagePullPolicy"].as_str().unwrap().to_owned()
    };
    assert_eq!(policy("busybox"), "Always");
    assert_eq!(policy("busybox:latest"), "Always");
    assert_eq!(policy("registry:5000/busybox"), "Always");
    assert_eq!(policy("registry:5000/busybox:1"), "IfNotPresent");
    assert_eq!(policy("busybox@sha256:abc"), "IfNotPresent");
}

#[test]
fn a_deployment_rolls_by_a_quarter() {
    let image = json!({"image": "i:1", "imagePullPolicy": "IfNotPresent"});
    check(
        "apps",
        "deployments",
        json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}}),
        &json!({"spec": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": filled_template(json!({"labels": {"a": "b"}}), filled_container(image))}}),
    );
}

#[test]
fn a_replica_count_of_zero_stays() {
    let registry = Registry::builtin();
    for plural in ["deployments", "replicasets", "statefulsets"] {
        let resource = registry.find("apps", "v1", plural).unwrap();
        let mut object = json!({"spec": {"replicas": 0}});
        default(&registry, resource, &mut object);
        assert_eq!(object["spec"]["replicas"], 0);
    }
}

#[test]
fn jobs_run_once() {
    let registry = Registry::builtin();
    let jobs = registry.find("batch", "v1", "jobs").unwrap();
    let mut job = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": []}}}});
    default(&registry, jobs, &mut job);
    let spec = &job["spec"];
    assert_eq!(
        (&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]),
        (&json!(1), &json!(1), &json!(6))
    );
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never");
    let mut parallel = json!({"spec": {"parallelism": 2}});
    default(&registry, jobs, &mut parallel);
    assert!(parallel["spec"].get("completions").is_none());
}

#[test]
fn services_target_their_own_port() {
    check(
        "",
        "services",
        json!({"spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "web"}]}}),
        &json!({"spec": {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}, {"port": 81, "targetPort": "web", "protocol": "TCP"}]}}),
    );
    check(
        "",
        "services",
        json!({"spec": {"clusterIP": "None", "ports": []}}),
        &json!({"spec": {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}}),
    );
}

#[test]
fn small_kinds_are_filled_in() {
    check(
        "",
        "secrets",
        json!({"stringData": {"a": "b"}, "data": {"a": "eA==", "c": "ZA=="}}),
        &json!({"type": "Opaque", "data": {"a": "Yg==", "c": "ZA=="}}),
    );
    check(
        "",
        "namespaces",
        json!({"metadata": {"name": "n"}}),
        &json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}}}),
    );
    check(
        "rbac.authorization.k8s.io",
        "rolebindings",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
        &json!({"roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}, "subjects": [
            {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}, {"kind": "ServiceAccount", "name": "s"}]}),
    );
    check(
        "coordination.k8s.io",
        "leases",
        json!({"spec": {"renewTime": "2026-01-02T03:04:05.5+01:00"}}),
        &json!({"spec": {"renewTime": "2026-01-02T02:04:05.500000Z"}}),
    );
    check(
        "",
        "nodes",
        json!({"status": {"capacity": {"cpu": 4}}}),
        &json!({"status": {"capacity": {"cpu": "4"}, "allocatable": {"cpu": "4"}}}),
    );
}

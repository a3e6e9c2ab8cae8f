//! Who may do what, and how the server knows who asks.

use crate::cluster::{Cluster, MAPS, PODS, config_map, pod, read, request};
use apiserver::Identity;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

async fn as_user(cluster: &Cluster, user: &str, method: &str, path: &str) -> (u16, Value) {
    let identity = Identity::new(user, Vec::<String>::new());
    cluster.send_as(identity, method, path, "application/json", Value::Null).await
}

async fn with_token(cluster: &Cluster, token: &str, path: &str) -> (u16, Value) {
    let mut request = request("GET", path, "", String::new());
    let header = format!("Bearer {token}").parse().expect("it is a header value");
    request.headers_mut().insert("authorization", header);
    read(cluster.raw(request).await).await
}

#[tokio::test]
async fn an_anonymous_request_is_refused_but_for_health() {
    let cluster = Cluster::new().await;
    let anonymous = |path: &str| request("GET", path, "", String::new());
    let (code, status) = read(cluster.raw(anonymous("/api/v1/nodes")).await).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "nodes is forbidden: User \"system:anonymous\" cannot list resource \"nodes\" in API group \"\" at the cluster scope"
    );
    assert_eq!(status["details"], json!({"kind": "nodes"}));
    assert_eq!(read(cluster.raw(anonymous("/apis")).await).await.0, 403);
    for path in ["/healthz", "/livez", "/readyz?verbose", "/version"] {
        assert_eq!(read(cluster.raw(anonymous(path)).await).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn a_token_is_known_or_unauthorized() {
    let cluster = Cluster::new().await;
    assert_eq!(with_token(&cluster, "plain", "/version").await.0, 200);
    let (code, refused) = with_token(&cluster, "plain", MAPS).await;
    assert_eq!(code, 403, "{refused}");
    let (code, status) = with_token(&cluster, "guess", "/version").await;
    assert_eq!((code, status["reason"].as_str()), (401, Some("Unauthorized")));
}

#[tokio::test]
async fn a_role_binding_grants_what_its_role_says() {
    let cluster = Cluster::new().await;
    assert_eq!(as_user(&cluster, "ann", "GET", MAPS).await.0, 403);
    let role = json!({"metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]});
    cluster.create(&format!("{RBAC}/namespaces/default/roles"), role).await;
    let binding = json!({"metadata": {"name": "ann"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}]});
    cluster.create(&format!("{RBAC}/namespaces/default/rolebindings"), binding).await;
    assert_eq!(as_user(&cluster, "ann", "GET", MAPS).await.0, 200);
    assert_eq!(as_user(&cluster, "ann", "GET", &format!("{MAPS}?watch=1")).await.0, 403);
    assert_eq!(as_user(&cluster, "ann", "GET", "/api/v1/configmaps").await.0, 403);
    assert_eq!(as_user(&cluster, "ann", "DELETE", &format!("{MAPS}/x")).await.0, 403);
    assert_eq!(as_user(&cluster, "bob", "GET", MAPS).await.0, 403);
}

#[tokio::test]
async fn the_built_in_roles_aggregate() {
    let cluster = Cluster::new().await;
    let binding = |user: &str, role: &str| {
        json!({"metadata": {"name": format!("{user}-{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})
    };
    for (user, role) in [("vic", "view"), ("ed", "edit"), ("adam", "admin")] {
        cluster.create(&format!("{RBAC}/namespaces/default/rolebindings"), binding(user, role)).await;
    }
    let secrets = "/api/v1/namespaces/default/secrets";
    let roles = format!("{RBAC}/namespaces/default/roles");
    for (user, path, code) in [
        ("vic", MAPS, 200),
        ("vic", secrets, 403),
        ("ed", MAPS, 200),
        ("ed", secrets, 200),
        ("ed", &roles, 403),
        ("adam", &roles, 200),
        ("adam", "/api/v1/nodes", 403),
    ] {
        assert_eq!(as_user(&cluster, user, "GET", path).await.0, code, "{user} {path}");
    }
    assert_eq!(as_user(&cluster, "vic", "DELETE", &format!("{MAPS}/x")).await.0, 403);
    assert_eq!(as_user(&cluster, "ed", "DELETE", &format!("{MAPS}/x")).await.0, 404);
}

#[tokio::test]
async fn a_service_accounts_token_works_until_it_ends_or_its_account_does() {
    let cluster = Cluster::new().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let token =
        |reply: &Value| reply["status"]["token"].as_str().map(str::to_owned).expect("a token is made");
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600}});
    let made = cluster.create(&format!("{accounts}/default/token"), request.clone()).await;
    assert_eq!(made["status"]["expirationTimestamp"], "2023-11-14T22:23:20Z");
    let first = token(&made);
    let (code, refused) = with_token(&cluster, &first, MAPS).await;
    assert_eq!(code, 403);
    let message = refused["message"].as_str().expect("a refusal says why");
    assert!(message.contains("User \"system:serviceaccount:default:default\" cannot list"), "{message}");
    cluster.clock.advance(601);
    assert_eq!(with_token(&cluster, &first, MAPS).await.0, 401);

    cluster.create(accounts, json!({"metadata": {"name": "robot"}})).await;
    let second = token(&cluster.create(&format!("{accounts}/robot/token"), request).await);
    assert_eq!(with_token(&cluster, &second, "/version").await.0, 200);
    cluster.send("DELETE", &format!("{accounts}/robot"), Value::Null).await;
    assert_eq!(with_token(&cluster, &second, "/version").await.0, 401);
}

#[tokio::test]
async fn a_token_bound_to_a_pod_ends_with_it() {
    let cluster = Cluster::new().await;
    let made = cluster.create(PODS, pod("a")).await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let bound = |uid: &Value| json!({"spec": {"boundObjectRef": {"kind": "Pod", "name": "a", "uid": uid}}});
    assert_eq!(cluster.send("POST", path, bound(&json!("other"))).await.0, 409);
    let reply = cluster.create(path, bound(&made["metadata"]["uid"])).await;
    let token = reply["status"]["token"].as_str().expect("a token is made");
    assert_eq!(with_token(&cluster, token, "/version").await.0, 200);
    let review = json!({"spec": {"token": token}});
    let reviewed = cluster.create("/apis/authentication.k8s.io/v1/tokenreviews", review).await;
    assert_eq!(reviewed["status"]["authenticated"], true);
    let extra = &reviewed["status"]["user"]["extra"];
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["a"]), "{extra}");
    cluster.send("DELETE", &format!("{PODS}/a"), Value::Null).await;
    assert_eq!(with_token(&cluster, token, "/version").await.0, 401);
}

#[tokio::test]
async fn a_token_request_that_makes_no_sense_is_refused() {
    let cluster = Cluster::new().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    for (body, code) in [
        (json!({"spec": {"expirationSeconds": 5}}), 422),
        (json!({"spec": {"boundObjectRef": {"kind": "Node", "name": "n"}}}), 400),
        (json!({"spec": {"boundObjectRef": {"kind": "Pod", "name": "none"}}}), 404),
        (json!({"spec": "text", "status": 3, "metadata": []}), 201),
    ] {
        let (answered, reply) = cluster.send("POST", path, body.clone()).await;
        assert_eq!(answered, code, "{body}: {reply}");
    }
}

#[tokio::test]
async fn acting_as_another_takes_the_right_to_and_gives_no_more_than_the_other_has() {
    let cluster = Cluster::new().await;
    let acting = async |sender: Identity, headers: &[(&'static str, &str)], path: &str| {
        let mut request = request("GET", path, "", String::new());
        request.extensions_mut().insert(sender);
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("it is a header value"));
        }
        read(cluster.raw(request).await).await
    };
    let ann = || Identity::new("ann", Vec::<String>::new());
    let (code, refused) = acting(Identity::admin(), &[("impersonate-user", "bob")], MAPS).await;
    assert_eq!(code, 403);
    assert!(
        refused["message"].as_str().is_some_and(|text| text.contains("User \"bob\" cannot list")),
        "{refused}"
    );
    let masters = [("impersonate-user", "bob"), ("impersonate-group", "system:masters")];
    assert_eq!(acting(Identity::admin(), &masters, MAPS).await.0, 200);
    let (code, refused) = acting(ann(), &masters, "/version").await;
    assert_eq!(code, 403);
    assert_eq!(
        refused["message"],
        "users \"bob\" is forbidden: User \"ann\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    assert_eq!(acting(Identity::admin(), &[("impersonate-group", "x")], MAPS).await.0, 400);
}

#[tokio::test]
async fn access_can_be_asked_about() {
    let cluster = Cluster::new().await;
    let review = |resource: &str| json!({"spec": {"resourceAttributes": {"verb": "list", "resource": resource, "namespace": "default"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = cluster.create(path, review("pods")).await;
    assert_eq!(answer["status"]["allowed"], true);
    let ann = Identity::new("ann", Vec::<String>::new());
    let (code, answer) = cluster.send_as(ann.clone(), "POST", path, "application/json", review("pods")).await;
    assert_eq!((code, &answer["status"]["allowed"]), (201, &json!(false)));
    let mut other = review("pods");
    other["spec"]["user"] = "ann".into();
    other["spec"]["groups"] = json!(["system:masters"]);
    let answer = cluster.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", other).await;
    assert_eq!(answer["status"]["allowed"], true);
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (_, answer) = cluster.send_as(ann, "POST", who, "application/json", json!({})).await;
    assert_eq!(answer["status"]["userInfo"], json!({"username": "ann", "groups": ["system:authenticated"]}));
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let answer = cluster.create(rules, json!({"spec": {"namespace": "default"}})).await;
    assert_eq!(answer["status"]["resourceRules"][0]["verbs"], json!(["*"]));
}

#[tokio::test]
async fn a_refused_request_tells_nothing_about_what_exists() {
    let cluster = Cluster::new().await;
    cluster.create(MAPS, config_map("a")).await;
    let there = as_user(&cluster, "ann", "GET", &format!("{MAPS}/a")).await;
    let missing = as_user(&cluster, "ann", "GET", &format!("{MAPS}/b")).await;
    assert_eq!((there.0, missing.0), (403, 403));
    assert_eq!(as_user(&cluster, "ann", "GET", "/apis/none.io/v1/things").await.0, 403);
}

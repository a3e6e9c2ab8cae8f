//! Addresses and ports of services.

use crate::cluster::Cluster;
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    let mut object = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

#[tokio::test]
async fn a_service_gets_an_address_and_keeps_it() {
    let cluster = Cluster::new().await;
    let made = cluster.create(SERVICES, service("a", json!({}))).await;
    let address = made["spec"]["clusterIP"].as_str().expect("it has one");
    assert!(address.starts_with("10.96.") && address != "10.96.0.1", "{address}");
    assert_eq!(made["spec"]["clusterIPs"], json!([address]));
    let (code, changed) =
        cluster.send("PUT", &format!("{SERVICES}/a"), service("a", json!({"ports": [{"port": 81}]}))).await;
    assert_eq!((code, changed["spec"]["clusterIP"].as_str()), (200, Some(address)), "{changed}");
    let taken = service("b", json!({"clusterIP": address}));
    assert_eq!(cluster.send("POST", SERVICES, taken).await.0, 422);
    let outside = service("b", json!({"clusterIP": "192.168.0.1"}));
    assert_eq!(cluster.send("POST", SERVICES, outside).await.0, 422);
    let headless = cluster.create(SERVICES, service("c", json!({"clusterIP": "None"}))).await;
    assert_eq!(headless["spec"]["clusterIP"], "None");
}

#[tokio::test]
async fn node_ports_are_given_once() {
    let cluster = Cluster::new().await;
    let made = cluster.create(SERVICES, service("a", json!({"type": "NodePort"}))).await;
    let port = made["spec"]["ports"][0]["nodePort"].as_u64().expect("it has one");
    assert!((30_000..32_768).contains(&port), "{port}");
    let same = service("b", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}));
    assert_eq!(cluster.send("POST", SERVICES, same).await.0, 422);
    let wild = service("b", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}));
    assert_eq!(cluster.send("POST", SERVICES, wild).await.0, 422);
}

#[tokio::test]
async fn the_range_of_addresses_can_run_out() {
    let small = apiserver::ServiceRange { network: [10, 9, 0, 0].into(), prefix: 29 };
    let cluster = Cluster::with(|options| options.service_range = small).await;
    for name in ["a", "b", "c", "d", "e"] {
        cluster.create(SERVICES, service(name, json!({}))).await;
    }
    let (code, status) = cluster.send("POST", SERVICES, service("f", json!({}))).await;
    assert_eq!(code, 500);
    assert!(status["message"].as_str().is_some_and(|text| text.contains("range is full")), "{status}");
}

//! The module beside the server: what it does in time.

use std::time::Duration;

use apiserver::{ApiServerConfig, ApiServerModule};
use beehive::Probe;
use serde_json::{Value, json};

use crate::cluster::{Cluster, MAPS, config_map};

#[test]
fn a_deleted_namespace_ends_without_further_requests() {
    beehive::probe::run(async {
        let cluster = Cluster::new().await;
        let probe =
            Probe::<ApiServerModule>::new(ApiServerConfig::default(), cluster.server.clone()).start().await;
        cluster.create("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
        cluster.create("/api/v1/namespaces/n/configmaps", config_map("a")).await;
        assert_eq!(cluster.send("DELETE", "/api/v1/namespaces/n", Value::Null).await.0, 200);
        assert_eq!(cluster.send("GET", "/api/v1/namespaces/n", Value::Null).await.0, 200);
        probe.advance(Duration::from_secs(1)).await;
        assert_eq!(cluster.send("GET", "/api/v1/namespaces/n", Value::Null).await.0, 404);
        probe.stop().await;
    });
}

#[test]
fn a_store_that_refuses_does_not_end_the_module() {
    beehive::probe::run(async {
        let cluster = Cluster::new().await;
        let probe =
            Probe::<ApiServerModule>::new(ApiServerConfig::default(), cluster.server.clone()).start().await;
        cluster.create("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
        cluster.send("DELETE", "/api/v1/namespaces/n", Value::Null).await;
        cluster.store.fail_commits(0..1, store::Fault::Refused);
        probe.advance(Duration::from_millis(600)).await;
        assert_eq!(cluster.send("GET", "/api/v1/namespaces/n", Value::Null).await.0, 200);
        probe.advance(Duration::from_secs(2)).await;
        assert_eq!(cluster.send("GET", "/api/v1/namespaces/n", Value::Null).await.0, 404);
        cluster.create(MAPS, config_map("still-works")).await;
        probe.stop().await;
    });
}

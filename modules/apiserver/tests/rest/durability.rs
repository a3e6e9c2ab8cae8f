//! What a crash and a full disk do.

use std::time::Duration;

use crate::cluster::{Cluster, MAPS, config_map};
use serde_json::{Value, json};
use store::Fault;

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("it has a version")
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_and_versions_go_on() {
    let cluster = Cluster::new().await;
    let made = cluster.create(MAPS, config_map("a")).await;
    cluster.create(MAPS, config_map("b")).await;
    cluster.send("DELETE", &format!("{MAPS}/b"), Value::Null).await;
    let before = version(&cluster.get(MAPS).await);
    let cluster = cluster.crash().await;
    assert_eq!(cluster.get(&format!("{MAPS}/a")).await, made);
    assert_eq!(cluster.send("GET", &format!("{MAPS}/b"), Value::Null).await.0, 404);
    assert!(version(&cluster.get(MAPS).await) >= before);
    assert!(version(&cluster.create(MAPS, config_map("c")).await) > before);
}

#[tokio::test]
async fn a_write_that_the_store_refuses_is_an_error_and_never_shown() {
    for fault in [Fault::Refused, Fault::NotDurable, Fault::Unsaid] {
        let cluster = Cluster::new().await;
        let made = cluster.create(MAPS, config_map("a")).await;
        let start = cluster.get(MAPS).await["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let start = start.expect("a list has a version");
        cluster.store.fail_commits(0..2, fault);
        let (code, status) =
            cluster.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": "lost"}})).await;
        assert_eq!((code, status["reason"].as_str()), (500, Some("InternalError")), "{status}");
        assert_eq!(cluster.send("POST", MAPS, config_map("b")).await.0, 500);
        assert_eq!(cluster.get(&format!("{MAPS}/a")).await, made);
        assert_eq!(cluster.send("GET", &format!("{MAPS}/b"), Value::Null).await.0, 404);

        // The store works again: nothing of the failed writes comes back, neither here nor after a crash.
        cluster.create(MAPS, config_map("c")).await;
        let mut watch = cluster.watch(&format!("{MAPS}?watch=1&resourceVersion={start}")).await;
        assert_eq!(watch.step().await, "ADDED c");
        let cluster = cluster.crash().await;
        assert_eq!(cluster.get(&format!("{MAPS}/a")).await, made);
        assert_eq!(cluster.send("GET", &format!("{MAPS}/b"), Value::Null).await.0, 404);
        assert_eq!(cluster.get(&format!("{MAPS}/c")).await["metadata"]["name"], "c");
    }
}

#[tokio::test]
async fn a_store_that_is_full_for_a_while_is_repaired_when_it_is_open_anew() {
    for fault in [Fault::Refused, Fault::NotDurable, Fault::Unsaid] {
        let cluster = Cluster::new().await;
        let made = cluster.create(MAPS, config_map("a")).await;
        cluster.store.break_down(fault);
        for name in ["b", "c", "d"] {
            assert_eq!(cluster.send("POST", MAPS, config_map(name)).await.0, 500, "{fault:?}");
        }
        assert_eq!(cluster.send("DELETE", &format!("{MAPS}/a"), Value::Null).await.0, 500, "{fault:?}");
        assert_eq!(cluster.get(&format!("{MAPS}/a")).await, made, "{fault:?}: reads go on");
        cluster.store.mend();
        cluster.create(MAPS, config_map("e")).await;
        let cluster = cluster.crash().await;
        let names = cluster.get(MAPS).await["items"].as_array().cloned().unwrap_or_default();
        let names: Vec<_> = names.iter().map(|map| map["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["a", "e", "kube-root-ca.crt"], "{fault:?}: what failed is undone");
    }
}

#[tokio::test]
async fn what_a_store_lost_while_it_was_open_is_written_again() {
    let cluster = Cluster::new().await;
    let made = cluster.create(MAPS, config_map("a")).await;
    cluster.store.lose_all();
    cluster.create(MAPS, config_map("b")).await;
    let cluster = cluster.crash().await;
    assert_eq!(cluster.get(&format!("{MAPS}/a")).await, made);
}

#[tokio::test]
async fn a_write_whose_client_went_away_is_carried_out() {
    let cluster = Cluster::new().await;
    {
        let create = cluster.send("POST", MAPS, config_map("a"));
        let mut create = std::pin::pin!(create);
        // Polled once, it is submitted; then the client goes away.
        let polled = futures::poll!(create.as_mut());
        drop(polled);
    }
    let settled = async {
        while cluster.send("GET", &format!("{MAPS}/a"), Value::Null).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = cluster.server.settle_abandoned() => unreachable!("it never returns"),
        done = tokio::time::timeout(Duration::from_secs(30), settled) => done.expect("the write is carried out"),
    }
}

#[tokio::test]
async fn a_corrupt_record_is_a_clear_error_at_the_start() {
    let cluster = Cluster::new().await;
    cluster.create(MAPS, config_map("a")).await;
    let store = cluster.store.crash();
    store.corrupt("apiserver-objects", b"core/configmaps\0default\0a");
    let options = crate::cluster::options(&cluster.clock, 3);
    let refused = apiserver::ApiServer::open(std::sync::Arc::new(store), options).await;
    let error = refused.map(drop).expect_err("the record is corrupt");
    assert_eq!(error.to_string(), "the API server's objects could not be read");
}

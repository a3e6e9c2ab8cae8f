//! Watches, and the rules of resource versions.

use crate::cluster::{Cluster, MAPS, config_map};
use serde_json::{Value, json};

async fn list_version(cluster: &Cluster) -> String {
    cluster.get(MAPS).await["metadata"]["resourceVersion"]
        .as_str()
        .map(str::to_owned)
        .expect("a list has a version")
}

#[tokio::test]
async fn a_watch_shows_changes_after_its_version_in_order() {
    let cluster = Cluster::new().await;
    let version = list_version(&cluster).await;
    cluster.create(MAPS, config_map("a")).await;
    let mut watch = cluster.watch(&format!("{MAPS}?watch=true&resourceVersion={version}")).await;
    assert_eq!(watch.step().await, "ADDED a");
    cluster.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": "2"}})).await;
    cluster.create("/api/v1/namespaces/kube-system/configmaps", config_map("elsewhere")).await;
    cluster.send("DELETE", &format!("{MAPS}/a"), Value::Null).await;
    assert_eq!(watch.step().await, "MODIFIED a");
    let deleted = watch.next().await.expect("the deletion is shown");
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(deleted["object"]["data"]["k"], "2");
    assert_eq!(deleted["object"]["metadata"]["resourceVersion"], list_version(&cluster).await);
}

#[tokio::test]
async fn a_watch_from_nowhere_begins_with_what_there_is() {
    let cluster = Cluster::new().await;
    cluster.create(MAPS, config_map("a")).await;
    for start in ["", "&resourceVersion=0"] {
        let mut watch = cluster.watch(&format!("{MAPS}?watch=1{start}")).await;
        assert_eq!(
            (watch.step().await, watch.step().await),
            ("ADDED a".into(), "ADDED kube-root-ca.crt".into())
        );
    }
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_marked_bookmark() {
    let cluster = Cluster::new().await;
    cluster.create(MAPS, config_map("a")).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = cluster.watch(&format!("{MAPS}?{query}&fieldSelector=metadata.name%3Da")).await;
    assert_eq!(watch.step().await, "ADDED a");
    let mark = watch.next().await.expect("the mark follows");
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(mark["object"]["metadata"]["resourceVersion"], list_version(&cluster).await);
    let (code, _) = cluster.send("GET", &format!("{MAPS}?watch=1&sendInitialEvents=true"), Value::Null).await;
    assert_eq!(code, 422);
}

#[tokio::test]
async fn selectors_turn_changes_into_comings_and_goings() {
    let cluster = Cluster::new().await;
    let version = list_version(&cluster).await;
    let mut watch =
        cluster.watch(&format!("{MAPS}?watch=1&resourceVersion={version}&labelSelector=on%3Dyes")).await;
    cluster.create(MAPS, config_map("a")).await;
    let path = format!("{MAPS}/a");
    let label = |value: Value| json!({"metadata": {"labels": {"on": value}}});
    cluster.patch(&path, "merge", label("yes".into())).await;
    cluster.patch(&path, "merge", json!({"data": {"k": "2"}})).await;
    let (_, out) = cluster.patch(&path, "merge", label(Value::Null)).await;
    cluster.patch(&path, "merge", json!({"data": {"k": "3"}})).await;
    cluster.patch(&path, "merge", label("yes".into())).await;
    cluster.send("DELETE", &path, Value::Null).await;
    assert_eq!(watch.step().await, "ADDED a");
    assert_eq!(watch.step().await, "MODIFIED a");
    let gone = watch.next().await.expect("it left the selection");
    assert_eq!((gone["type"].as_str(), &gone["object"]["data"]["k"]), (Some("DELETED"), &json!("2")));
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], out["metadata"]["resourceVersion"]);
    assert_eq!(watch.step().await, "ADDED a");
    assert_eq!(watch.step().await, "DELETED a");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_keep_an_idle_watch_fresh_and_its_time_ends_it() {
    let cluster = Cluster::new().await;
    let version = list_version(&cluster).await;
    let query = format!("watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=90");
    let mut watch = cluster.watch(&format!("{MAPS}?{query}")).await;
    cluster.create("/api/v1/namespaces/kube-system/secrets", json!({"metadata": {"name": "s"}})).await;
    let bookmark = watch.next().await.expect("a bookmark comes");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], list_version(&cluster).await);
    assert_eq!(watch.step().await, "BOOKMARK ");
    assert_eq!(watch.step().await, "end");
}

#[tokio::test]
async fn a_version_that_is_forgotten_is_expired() {
    let cluster = Cluster::with(|options| options.history.events_max = 3).await;
    let old = list_version(&cluster).await;
    let mut slow = cluster.watch(&format!("{MAPS}?watch=1&resourceVersion={old}")).await;
    for name in ["a", "b", "c", "d"] {
        cluster.create(MAPS, config_map(name)).await;
    }
    // A watcher that did not keep up is told the same as one that comes too late.
    for watch in [&mut slow, &mut cluster.watch(&format!("{MAPS}?watch=1&resourceVersion={old}")).await] {
        let event = watch.next().await.expect("an error is an event");
        assert_eq!((event["type"].as_str(), &event["object"]["code"]), (Some("ERROR"), &json!(410)));
        assert_eq!(event["object"]["reason"], "Expired");
        assert_eq!(watch.step().await, "end");
    }
    let exact = format!("{MAPS}?resourceVersion={old}&resourceVersionMatch=Exact");
    assert_eq!(cluster.send("GET", &exact, Value::Null).await.0, 410);
}

#[tokio::test]
async fn a_version_from_the_future_is_refused() {
    let cluster = Cluster::new().await;
    for query in
        ["resourceVersion=999999", "resourceVersion=999999&watch=1", "resourceVersion=999999&limit=1"]
    {
        let (code, status) = cluster.send("GET", &format!("{MAPS}?{query}"), Value::Null).await;
        assert_eq!(code, 504, "{query}: {status}");
        assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    }
}

#[tokio::test]
async fn an_exact_version_is_rebuilt() {
    let cluster = Cluster::new().await;
    cluster.create(MAPS, config_map("a")).await;
    cluster.create(MAPS, config_map("b")).await;
    let then = list_version(&cluster).await;
    cluster.send("DELETE", &format!("{MAPS}/a"), Value::Null).await;
    cluster.patch(&format!("{MAPS}/b"), "merge", json!({"data": {"k": "2"}})).await;
    cluster.create(MAPS, config_map("c")).await;
    let list = cluster.get(&format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")).await;
    let items = list["items"].as_array().expect("a list has items");
    let shown: Vec<_> = items.iter().map(|item| (&item["metadata"]["name"], &item["data"]["k"])).collect();
    assert_eq!(shown.len(), 3);
    assert_eq!((shown[0], shown[1]), ((&json!("a"), &json!("v")), (&json!("b"), &json!("v"))));
    assert_eq!(list["metadata"]["resourceVersion"], then);
}

#[tokio::test]
async fn pages_show_one_state_whatever_happens_between_them() {
    let cluster = Cluster::new().await;
    for name in ["a", "b", "c", "d"] {
        cluster.create(MAPS, config_map(name)).await;
    }
    let first = cluster.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    cluster.send("DELETE", &format!("{MAPS}/c"), Value::Null).await;
    cluster.create(MAPS, config_map("bb")).await;
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    let second = cluster.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().expect("there is more");
    let last = cluster.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(
        (names(&last), &last["metadata"]["continue"]),
        (vec!["kube-root-ca.crt".to_owned()], &Value::Null)
    );
}

#[tokio::test]
async fn an_expired_page_offers_a_way_on() {
    let cluster = Cluster::with(|options| options.history.events_max = 2).await;
    for name in ["a", "b", "c"] {
        cluster.create(MAPS, config_map(name)).await;
    }
    let first = cluster.get(&format!("{MAPS}?limit=1")).await;
    for name in ["x", "y", "z"] {
        cluster.create(MAPS, config_map(name)).await;
    }
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    let (code, status) = cluster.send("GET", &format!("{MAPS}?limit=1&continue={token}"), Value::Null).await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
    let token = status["metadata"]["continue"].as_str().expect("the status says how to go on");
    let rest = cluster.get(&format!("{MAPS}?continue={token}")).await;
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(6));
}

#[tokio::test]
async fn watches_are_bounded_in_number() {
    let cluster = Cluster::with(|options| options.watches_max = 2).await;
    let one = cluster.watch(&format!("{MAPS}?watch=1")).await;
    let _two = cluster.watch(&format!("{MAPS}?watch=1")).await;
    let (code, _) = cluster.send("GET", &format!("{MAPS}?watch=1"), Value::Null).await;
    assert_eq!(code, 429);
    drop(one);
    cluster.watch(&format!("{MAPS}?watch=1")).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_in_time_however_much_there_is_to_show() {
    let cluster = Cluster::new().await;
    let version = list_version(&cluster).await;
    let mut watch =
        cluster.watch(&format!("{MAPS}?watch=1&resourceVersion={version}&timeoutSeconds=5")).await;
    cluster.create(MAPS, config_map("a")).await;
    assert_eq!(watch.step().await, "ADDED a");
    cluster.create(MAPS, config_map("b")).await;
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    assert_eq!(watch.step().await, "end");
}

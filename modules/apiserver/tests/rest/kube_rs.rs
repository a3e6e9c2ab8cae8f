//! The server as kube-rs sees it, in-process.

use std::time::Duration;

use crate::cluster::Cluster;
use apiserver::Identity;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Event, ObjectReference, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::reflector::store;
use kube::runtime::{WatchStreamExt, predicates, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

fn client(cluster: &Cluster) -> Client {
    Client::new(cluster.server.client_service(Identity::admin()), "default")
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(crate::cluster::config_map(name)).expect("it is a config map")
}

#[tokio::test]
async fn a_typed_client_creates_reads_patches_and_deletes() {
    let cluster = Cluster::new().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster));
    maps.create(&PostParams::default(), &config_map("a")).await.expect("it is created");
    let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"applied": "yes"}});
    let params = PatchParams::apply("test").force();
    let applied = maps.patch("a", &params, &Patch::Apply(patch)).await.expect("it is applied");
    assert_eq!(applied.data.as_ref().and_then(|data| data.get("applied")).map(String::as_str), Some("yes"));
    let listed = maps.list(&ListParams::default().fields("metadata.name=a")).await.expect("it is listed");
    assert_eq!(listed.items.len(), 1);
    assert!(maps.get_opt("none").await.expect("absence is no error").is_none());
    maps.delete("a", &DeleteParams::default()).await.expect("it is deleted");
    let missing = maps.get("a").await.expect_err("it is gone");
    assert!(matches!(missing, kube::Error::Api(status) if status.code == 404));
}

#[tokio::test]
async fn a_reflector_follows_every_change() {
    let cluster = Cluster::new().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster));
    for streaming in [false, true] {
        let config =
            if streaming { watcher::Config::default().streaming_lists() } else { watcher::Config::default() };
        let (reader, writer) = store();
        let events = reflector(writer, watcher(maps.clone(), config)).applied_objects();
        let mut events = Box::pin(events);
        let ready = async {
            tokio::select! {
                biased;
                ready = reader.wait_until_ready() => ready.expect("the writer lives"),
                () = events.by_ref().for_each(|_| async {}) => unreachable!("a watcher never ends"),
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the first list comes");
        let name = format!("m-{streaming}");
        maps.create(&PostParams::default(), &config_map(&name)).await.expect("it is created");
        let seen = async {
            while let Some(object) = events.try_next().await.expect("the watch works") {
                if object.name_any() == name {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("the object is seen");
        assert!(reader.state().iter().any(|object| object.name_any() == name));
    }
}

#[tokio::test]
async fn a_watcher_recovers_when_its_version_is_forgotten() {
    let cluster = Cluster::with(|options| options.history.events_max = 4).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster));
    let mut events = Box::pin(watcher(maps.clone(), watcher::Config::default()).default_backoff());
    while !matches!(events.try_next().await.expect("the list works"), Some(watcher::Event::InitDone)) {}
    for index in 0..20 {
        maps.create(&PostParams::default(), &config_map(&format!("m-{index:02}")))
            .await
            .expect("it is created");
    }
    let all = async {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 20 {
            let event = events.next().await.expect("a watcher never ends");
            if let Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) = event
                && object.name_any().starts_with("m-")
            {
                seen.insert(object.name_any());
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("it lists again and misses nothing");
}

#[tokio::test]
async fn a_plain_watch_shows_additions_changes_and_deletions() {
    let cluster = Cluster::new().await;
    let pods: Api<Pod> = Api::default_namespaced(client(&cluster));
    let version = pods.list(&ListParams::default()).await.expect("it lists").metadata.resource_version;
    let version = version.expect("a list has a version");
    let pod: Pod = serde_json::from_value(crate::cluster::pod("a")).expect("it is a pod");
    pods.create(&PostParams::default(), &pod).await.expect("it is created");
    let status = json!({"status": {"phase": "Running"}});
    pods.patch_status("a", &PatchParams::default(), &Patch::Strategic(status)).await.expect("it is patched");
    pods.delete("a", &DeleteParams::default().grace_period(0)).await.expect("it is deleted");
    let mut watch = pods.watch(&WatchParams::default(), &version).await.expect("it opens").boxed();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let event =
            tokio::time::timeout(PATIENCE, watch.try_next()).await.expect("events come").expect("it works");
        match event.expect("it goes on") {
            WatchEvent::Added(pod) => seen.push(format!("added {}", pod.name_any())),
            WatchEvent::Modified(pod) => {
                let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
                seen.push(format!("modified {phase}"));
            }
            WatchEvent::Deleted(pod) => seen.push(format!("deleted {}", pod.name_any())),
            _ => {}
        }
    }
    assert_eq!(seen, ["added a", "modified Running", "deleted a"]);
}

#[tokio::test]
async fn an_event_of_the_grouped_interface_is_seen_in_the_core_one() {
    let cluster = Cluster::new().await;
    let recorder = kube::runtime::events::Recorder::new(client(&cluster), "tester".into());
    let reference = ObjectReference {
        kind: Some("Pod".to_owned()),
        name: Some("a".to_owned()),
        namespace: Some("default".to_owned()),
        ..ObjectReference::default()
    };
    let event = kube::runtime::events::Event {
        type_: kube::runtime::events::EventType::Normal,
        reason: "Tested".to_owned(),
        note: Some("a note".to_owned()),
        action: "Testing".to_owned(),
        secondary: None,
    };
    recorder.publish(&event, &reference).await.expect("it is recorded");
    let events: Api<Event> = Api::default_namespaced(client(&cluster));
    let found = events.list(&ListParams::default().fields("involvedObject.name=a")).await.expect("it lists");
    let found = found.items.first().expect("it is there");
    assert_eq!((found.reason.as_deref(), found.message.as_deref()), (Some("Tested"), Some("a note")));
}

#[tokio::test]
async fn only_what_a_predicate_asks_for_wakes_its_reader() {
    let cluster = Cluster::new().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster));
    let events = watcher(maps.clone(), watcher::Config::default()).applied_objects();
    let mut events = Box::pin(events.predicate_filter(predicates::labels, Default::default()));
    maps.create(&PostParams::default(), &config_map("a")).await.expect("it is created");
    let params = PatchParams::default();
    let data = Patch::Merge(json!({"data": {"k": "2"}}));
    maps.patch("a", &params, &data).await.expect("it is patched");
    let label = Patch::Merge(json!({"metadata": {"labels": {"done": "yes"}}}));
    maps.patch("a", &params, &label).await.expect("it is patched");
    let labelled = async {
        while let Some(object) = events.try_next().await.expect("the watch works") {
            if object.labels().contains_key("done") {
                return object.data.unwrap_or_default();
            }
        }
        unreachable!("a watcher never ends")
    };
    let data = tokio::time::timeout(PATIENCE, labelled).await.expect("the label is seen");
    assert_eq!(data.get("k").map(String::as_str), Some("2"));
}

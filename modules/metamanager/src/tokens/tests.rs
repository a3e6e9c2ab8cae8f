//! Tokens through reboots and without the cloud.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use beehive::{Clock, NodeOptions, Probe};
use protocol::edge::{AskCloud, KeepChange};
use protocol::{ApiStatus, ChangeKind, Namespace, ObjectChange, ObjectKey, ObjectName, group};
use serde_json::json;
use store::{MemoryStore, SharedMedium};

use super::*;
use crate::MetaManagerConfig;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// A cloud that gives numbered tokens of an hour, or none; and the time.
#[derive(Debug, Default)]
struct Outside {
    seconds: AtomicU64,
    given: AtomicU64,
    trouble: Mutex<Option<Result<NodeReply, CloudError>>>,
}

impl Clock for Outside {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }
}

impl Outside {
    fn answer(&self, request: &Object) -> Result<NodeReply, CloudError> {
        if let Some(trouble) = self.trouble.lock().expect("no test panics with it").clone() {
            return trouble;
        }
        let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        let mut filled = request.value().expect("JSON");
        let ends =
            Timestamp::from_second(i64::try_from(self.seconds.load(Ordering::Relaxed) + HOUR).expect("soon"));
        filled["status"] = json!({
            "token": format!("token-{number}"),
            "expirationTimestamp": ends.expect("a time").to_string(),
        });
        Ok(NodeReply::Object(Object::from_value(&filled).expect("an object")))
    }

    fn is_away(&self) {
        *self.trouble.lock().expect("no test panics with it") = Some(Err(CloudError::Disconnected));
    }

    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }
}

async fn start(store: &MemoryStore, outside: &Arc<Outside>) -> Probe<MetaManager> {
    let shared: SharedMedium = Arc::new(store.clone());
    let cloud = Arc::clone(outside);
    let clock: Arc<dyn Clock> = outside.clone();
    Probe::<MetaManager>::new(MetaManagerConfig::default(), shared)
        .options(NodeOptions { clock, ..NodeOptions::default() })
        .serve::<AskCloud>(group::HUB, move |AskCloud(request)| match request {
            NodeRequest::Token { request, .. } => cloud.answer(&request),
            other => panic!("{other:?} asks for no token"),
        })
        .start()
        .await
}

fn wanted(uid: &str) -> GetToken {
    let request = json!({
        "metadata": {},
        "spec": { "expirationSeconds": HOUR, "boundObjectRef": { "kind": "Pod", "name": "a", "uid": uid } },
    });
    GetToken {
        namespace: Namespace::parse("ns").expect("a valid namespace"),
        account: ObjectName::parse("default").expect("a valid name"),
        request: Object::from_value(&request).expect("an object"),
    }
}

async fn token(probe: &Probe<MetaManager>, uid: &str) -> Result<String, String> {
    let answer = probe.ask(wanted(uid)).await.expect("an answer");
    let filled = answer.map_err(|error| error.to_string())?;
    Ok(filled.value().expect("JSON")["status"]["token"].as_str().expect("a token").to_owned())
}

fn pod(kind: ChangeKind, uid: &str) -> KeepChange {
    let object =
        json!({ "metadata": { "name": "a", "namespace": "ns", "uid": uid, "resourceVersion": "1" } });
    let key = ObjectKey {
        resource: ResourceType::POD,
        namespace: Some(Namespace::parse("ns").expect("a valid namespace")),
        name: ObjectName::parse("a").expect("a valid name"),
    };
    KeepChange(ObjectChange { kind, key, object: Object::from_value(&object).expect("an object") })
}

fn is_kept(store: &MemoryStore) -> bool {
    !store.survey(TOKENS, b"", None, 10).expect("memory").entries.is_empty()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_token_is_given_again_until_it_is_to_be_renewed() {
    let (store, outside) = (MemoryStore::new(), Arc::new(Outside::default()));
    outside.pass(DAY);
    let probe = start(&store, &outside).await;
    assert_eq!(token(&probe, "u1").await, Ok("token-1".to_owned()));
    assert_eq!(token(&probe, "u1").await, Ok("token-1".to_owned()));
    assert_eq!(token(&probe, "u2").await, Ok("token-2".to_owned()), "each pod has its own");
    outside.pass(HOUR * 4 / 5);
    assert_eq!(token(&probe, "u1").await, Ok("token-3".to_owned()));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn after_a_power_cut_without_the_cloud_an_old_token_is_given_within_the_grace() {
    let (store, outside) = (MemoryStore::new(), Arc::new(Outside::default()));
    outside.pass(DAY);
    let probe = start(&store, &outside).await;
    probe.ask(pod(ChangeKind::Insert, "u1")).await.expect("an answer").expect("it is kept");
    assert_eq!(token(&probe, "u1").await, Ok("token-1".to_owned()));
    probe.stop().await;

    let store = store.crash();
    outside.is_away();
    outside.pass(29 * DAY);
    let probe = start(&store, &outside).await;
    assert_eq!(token(&probe, "u1").await, Ok("token-1".to_owned()));
    assert_eq!(token(&probe, "u2").await, Err("the cloud is not connected".to_owned()));
    outside.pass(2 * DAY);
    assert_eq!(token(&probe, "u1").await, Err("the cloud is not connected".to_owned()));
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_pods_tokens_go_with_the_pod() {
    let (store, outside) = (MemoryStore::new(), Arc::new(Outside::default()));
    let probe = start(&store, &outside).await;
    probe.ask(pod(ChangeKind::Insert, "u1")).await.expect("an answer").expect("it is kept");
    assert_eq!(token(&probe, "u1").await, Ok("token-1".to_owned()));
    assert!(is_kept(&store));
    probe.ask(pod(ChangeKind::Delete, "u1")).await.expect("an answer").expect("it is kept");
    assert!(!is_kept(&store));

    assert_eq!(token(&probe, "u9").await, Ok("token-2".to_owned()));
    probe.stop().await;
    let probe = start(&store, &outside).await;
    assert!(!is_kept(&store), "no pod of this uid is held");
    probe.stop().await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_token_that_the_api_refuses_is_forgotten() {
    let (store, outside) = (MemoryStore::new(), Arc::new(Outside::default()));
    let probe = start(&store, &outside).await;
    assert_eq!(token(&probe, "u1").await, Ok("token-1".to_owned()));
    outside.pass(HOUR);
    let refusal = ApiStatus::new(404, "NotFound", "serviceaccounts \"default\" not found");
    *outside.trouble.lock().expect("no test panics with it") = Some(Ok(NodeReply::Refused(refusal)));
    assert!(token(&probe, "u1").await.expect_err("refused").contains("not found"));
    probe.settle().await;
    outside.is_away();
    assert_eq!(token(&probe, "u1").await, Err("the cloud is not connected".to_owned()));
    *outside.trouble.lock().expect("no test panics with it") = Some(Ok(NodeReply::Done));
    assert_eq!(token(&probe, "u1").await, Err("the cloud's answer is no token".to_owned()));
    probe.stop().await;
}

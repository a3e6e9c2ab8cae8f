//! A server over a store in memory, called in-process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use apiserver::{ApiServer, Identity, Options, ResponseBody, SigningKey, StaticToken};
use beehive::Clock;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use store::MemoryStore;

/// A clock that stands until it is moved.
#[derive(Debug, Clone)]
pub(crate) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000)))
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) store: MemoryStore,
    pub(crate) clock: TestClock,
}

pub(crate) fn options(clock: &TestClock, seed: u64) -> Options {
    let mut options = Options::new(Arc::new(clock.clone()), seed, SigningKey::new([7; 32]));
    options.ca_certificate = "-----BEGIN CERTIFICATE-----\n".to_owned();
    options.tokens = vec![StaticToken {
        token: "plain".to_owned(),
        identity: Identity::new("plain", Vec::<String>::new()),
    }];
    options
}

impl Cluster {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let (store, clock) = (MemoryStore::new(), TestClock::new());
        let mut options = options(&clock, 1);
        change(&mut options);
        let server = ApiServer::open(Arc::new(store.clone()), options).await.expect("an empty store opens");
        Self { server, store, clock }
    }

    /// Ends the process and starts it again over what was durable.
    pub(crate) async fn crash(self) -> Self {
        let store = self.store.crash();
        let options = options(&self.clock, 2);
        let server = ApiServer::open(Arc::new(store.clone()), options).await.expect("the store opens again");
        Self { server, store, clock: self.clock }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.send_as(Identity::admin(), method, path, "application/json", body).await
    }

    pub(crate) async fn patch(&self, path: &str, kind: &str, body: Value) -> (u16, Value) {
        let kind = match kind {
            "apply" => "application/apply-patch+yaml".to_owned(),
            "json" => "application/json-patch+json".to_owned(),
            other => format!("application/{other}-patch+json"),
        };
        self.send_as(Identity::admin(), "PATCH", path, &kind, body).await
    }

    pub(crate) async fn send_as(
        &self,
        identity: Identity,
        method: &str,
        path: &str,
        kind: &str,
        body: Value,
    ) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = request(method, path, kind, body);
        request.extensions_mut().insert(identity);
        read(self.server.answer(request).await).await
    }

    pub(crate) async fn raw(&self, request: Request<Full<Bytes>>) -> Response<ResponseBody> {
        self.server.answer(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (code, value) = self.send("GET", path, Value::Null).await;
        assert_eq!(code, 200, "GET {path}: {value}");
        value
    }

    pub(crate) async fn create(&self, path: &str, body: Value) -> Value {
        let (code, value) = self.send("POST", path, body).await;
        assert_eq!(code, 201, "POST {path}: {value}");
        value
    }

    pub(crate) async fn watch(&self, path: &str) -> Watch {
        let mut request = request("GET", path, "", String::new());
        request.extensions_mut().insert(Identity::admin());
        let response = self.server.answer(request).await;
        assert_eq!(response.status(), 200, "GET {path}");
        Watch { body: response.into_body(), lines: Vec::new() }
    }
}

pub(crate) fn request(method: &str, path: &str, kind: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    request.body(Full::new(body.into())).expect("the request is well formed")
}

pub(crate) async fn read(response: Response<ResponseBody>) -> (u16, Value) {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body cannot fail").to_bytes();
    let value = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body).as_ref()));
    (code, value)
}

/// An open watch.
pub(crate) struct Watch {
    body: ResponseBody,
    lines: Vec<Value>,
}

impl Watch {
    /// Returns the next event, or `None` when the watch ends.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        while self.lines.is_empty() {
            let frame = self.body.frame().await?.expect("a body cannot fail");
            let data = frame.into_data().expect("a watch has no trailers");
            let lines = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            self.lines
                .extend(lines.map(|line| serde_json::from_slice::<Value>(line).expect("an event is JSON")));
        }
        Some(self.lines.remove(0))
    }

    /// Returns the next event as `TYPE name`.
    pub(crate) async fn step(&mut self) -> String {
        match self.next().await {
            Some(event) => format!(
                "{} {}",
                event["type"].as_str().unwrap_or_default(),
                event["object"]["metadata"]["name"].as_str().unwrap_or_default()
            ),
            None => "end".to_owned(),
        }
    }
}

pub(crate) fn config_map(name: &str) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

pub(crate) fn pod(name: &str) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "busybox"}]}})
}

pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

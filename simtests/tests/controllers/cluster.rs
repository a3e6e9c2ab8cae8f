//! An API server over a store in memory, and a way to it that can be cut.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use apiserver::{ApiServer, ClientService, Identity, Options, ResponseBody, SigningKey, Upkeep};
use beehive::SystemClock;
use http::{Request, Response};
use kube::client::Body;
use serde_json::Value;
use store::MemoryStore;
use tower::Service;

/// How often a condition is looked at, and how often at most.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 20_000;

/// A cluster without nodes.
pub(crate) struct Cluster {
    /// How tests reach it: always.
    pub(crate) admin: kube::Client,
    server: ApiServer,
    cut: Arc<AtomicBool>,
    writes: Arc<AtomicU32>,
}

impl Cluster {
    pub(crate) async fn new() -> Self {
        let options = Options::new(Arc::new(SystemClock), 1, SigningKey::new([7; 32]));
        let options = Options { pod_tokens: false, ..options };
        let server =
            ApiServer::open(Arc::new(MemoryStore::new()), options).await.expect("an empty store opens");
        let admin = kube::Client::new(server.client_service(Identity::admin()), "default");
        Self { admin, server, cut: Arc::default(), writes: Arc::default() }
    }

    /// Returns a client for a module under test, whose way is cut by [`Cluster::cut`].
    pub(crate) fn client(&self) -> kube::Client {
        let service = self.server.client_service(Identity::admin());
        let (cut, writes) = (self.cut.clone(), self.writes.clone());
        kube::Client::new(Way { service, cut, writes }, "default")
    }

    /// Returns how many writes the modules under test have asked for.
    pub(crate) fn writes(&self) -> u32 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Lets the API server do what objects need without a request.
    pub(crate) async fn maintain(&self) {
        self.server.maintain(&mut Upkeep::default()).await.expect("a store in memory");
    }

    /// Cuts the way, or mends it. Calls that are under way are not touched.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, u16> {
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        match self.admin.request::<Value>(request.body(body).expect("a valid request")).await {
            Ok(value) => Ok(value),
            Err(kube::Error::Api(status)) => Err(status.code),
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    pub(crate) async fn create(&self, path: &str, body: Value) -> Value {
        self.send("POST", path, "application/json", &body).await.expect("it is created")
    }

    pub(crate) async fn merge(&self, path: &str, body: Value) -> Value {
        self.send("PATCH", path, "application/merge-patch+json", &body).await.expect("it is patched")
    }

    pub(crate) async fn delete(&self, path: &str) {
        let options = serde_json::json!({ "gracePeriodSeconds": 0 });
        self.send("DELETE", path, "application/json", &options).await.expect("it is deleted");
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.send("GET", path, "application/json", &Value::Null).await.expect("it is there")
    }
}

/// Waits, in paused time, until a condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..LOOKS_MAX {
        if holds().await {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("never: {what}");
}

/// The way to the API server.
#[derive(Clone)]
struct Way {
    service: ClientService,
    cut: Arc<AtomicBool>,
    writes: Arc<AtomicU32>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, std::io::Error>> + Send>>;

impl Service<Request<Body>> for Way {
    type Response = Response<ResponseBody>;
    type Error = std::io::Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        if request.method() != http::Method::GET {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        if self.cut.load(Ordering::Relaxed) {
            return Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) });
        }
        let answer = self.service.call(request);
        Box::pin(async move { answer.await.map_err(std::io::Error::other) })
    }
}

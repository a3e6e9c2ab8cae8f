//! Calls of the Kubernetes API.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kube_watch::Pace;
use protocol::{ApiStatus, Object, ObjectKey};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::kinds::{Kind, segment};
use crate::raw;
use crate::sessions::Epoch;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);
/// The shortest and the longest pause before a call that failed is made again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn get(path: String) -> Self {
        Self { method: Method::GET, path, content_type: JSON, body: Bytes::new() }
    }

    pub(crate) fn post(path: String, object: &Object) -> Self {
        Self { method: Method::POST, path, content_type: JSON, body: object.raw().clone() }
    }

    pub(crate) fn put(path: String, body: Bytes) -> Self {
        Self { method: Method::PUT, path, content_type: JSON, body }
    }

    pub(crate) fn patch(path: String, content_type: &'static str, body: Bytes) -> Self {
        Self { method: Method::PATCH, path, content_type, body }
    }

    pub(crate) fn delete(path: String, options: Bytes) -> Self {
        Self { method: Method::DELETE, path, content_type: JSON, body: options }
    }

    fn request(&self) -> Result<Request<Vec<u8>>, ApiStatus> {
        let mut request = Request::builder().method(&self.method).uri(&self.path);
        if !self.body.is_empty() {
            request = request.header(CONTENT_TYPE, self.content_type);
        }
        request
            .body(self.body.to_vec())
            .map_err(|invalid| ApiStatus::new(400, "BadRequest", format!("{}: {invalid}", self.path)))
    }
}

/// The Kubernetes API, as requests of nodes reach it.
#[derive(Clone)]
pub(crate) struct Api {
    client: kube::Client,
    turns: Arc<Semaphore>,
}

/// One request's way to the API: its deadline and its pace.
pub(crate) struct Caller {
    api: Api,
    deadline: Instant,
    pace: Pace,
    waits: bool,
    epoch: Option<Epoch>,
}

impl Api {
    pub(crate) fn new(client: kube::Client, at_once: u32) -> Self {
        let at_once = usize::try_from(at_once).unwrap_or(Semaphore::MAX_PERMITS);
        Self { client, turns: Arc::new(Semaphore::new(at_once)) }
    }

    pub(crate) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Makes a caller that takes its turn among all others.
    pub(crate) fn caller(&self, deadline: Instant, random: [u8; 16]) -> Caller {
        let pace = Pace::new(PAUSE.0, PAUSE.1, random);
        Caller { api: self.clone(), deadline, pace, waits: true, epoch: None }
    }

    /// Makes a caller that need not wait for its turn.
    pub(crate) fn urgent_caller(&self, deadline: Instant, random: [u8; 16]) -> Caller {
        Caller { waits: false, ..self.caller(deadline, random) }
    }
}

impl Caller {
    /// Makes no call once the session is over that it is made for. One that is under way by then
    /// ends before the newer session is served for the same object: see [`crate::lanes`].
    pub(crate) fn within(self, epoch: Epoch) -> Self {
        Self { epoch: Some(epoch), ..self }
    }

    /// Makes a call, and makes it again while the API server cannot be reached or cannot serve it,
    /// up to the deadline. A creation that is tried again may find its own work: `AlreadyExists`.
    pub(crate) async fn call(&mut self, call: &Call) -> Result<Bytes, ApiStatus> {
        loop {
            let status = match timeout_at(self.deadline, self.try_once(call)).await {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(status)) if !status.is_temporary() => return Err(status),
                Ok(Err(status)) => status,
                Err(_elapsed) => return Err(timed_out()),
            };
            let again = Instant::now() + self.pace.delay();
            if again >= self.deadline {
                return Err(status);
            }
            tracing::debug!(path = %call.path, %status, "the Kubernetes API is tried again");
            tokio::time::sleep_until(again).await;
        }
    }

    async fn try_once(&self, call: &Call) -> Result<Bytes, ApiStatus> {
        let _turn = match self.waits.then(|| self.api.turns.acquire()) {
            Some(turn) => Some(turn.await.map_err(|_closed| timed_out())?),
            None => None,
        };
        if self.epoch.as_ref().is_some_and(Epoch::is_over) {
            return Err(ApiStatus::new(410, "Expired", "a newer session of the node began"));
        }
        let answer = self.api.client.request_text(call.request()?);
        match tokio::time::timeout(TRY, answer).await {
            Ok(Ok(body)) => Ok(Bytes::from(body)),
            Ok(Err(error)) => Err(status_of(&error)),
            Err(_elapsed) => Err(timed_out()),
        }
    }

    /// Makes a call that is answered with an object of the kind.
    pub(crate) async fn object(&mut self, call: &Call, kind: &Kind) -> Result<Object, ApiStatus> {
        let body = self.call(call).await?;
        raw::with_type(body, kind).map_err(|error| unreadable(&call.path, &error))
    }

    /// Reads one object.
    pub(crate) async fn get(&mut self, key: &ObjectKey) -> Result<Object, ApiStatus> {
        let Some(kind) = Kind::of(&key.resource) else {
            return Err(ApiStatus::new(404, "NotFound", format!("{} is no known resource", key.resource)));
        };
        self.object(&Call::get(kind.path(key)), kind).await
    }

    /// Reads the pods that are bound to a node.
    pub(crate) async fn pods_of(&mut self, node: &str) -> Result<Vec<Object>, ApiStatus> {
        #[derive(serde::Deserialize)]
        struct List {
            items: Vec<Box<serde_json::value::RawValue>>,
        }
        let kind = Kind::of(&protocol::ResourceType::POD).expect("pods are known");
        let path = format!("{}?fieldSelector=spec.nodeName%3D{}", kind.collection(None), segment(node));
        let body = self.call(&Call::get(path.clone())).await?;
        let list: List = serde_json::from_slice(&body).map_err(|error| unreadable(&path, &error))?;
        let pods = list
            .items
            .into_iter()
            .map(|item| raw::with_type(Bytes::from(String::from(Box::<str>::from(item))), kind));
        pods.collect::<Result<_, _>>().map_err(|error| unreadable(&path, &error))
    }
}

fn timed_out() -> ApiStatus {
    ApiStatus::new(504, "Timeout", "the Kubernetes API did not answer in time")
}

fn unreadable(path: &str, error: &dyn std::fmt::Display) -> ApiStatus {
    ApiStatus::new(
        422,
        "Invalid",
        format!("the answer of the Kubernetes API to {path} is not readable: {error}"),
    )
}

/// Returns what the API server said, or that it could not be reached.
pub(crate) fn status_of(error: &kube::Error) -> ApiStatus {
    let kube::Error::Api(status) = error else {
        return ApiStatus::new(
            503,
            "ServiceUnavailable",
            format!("the Kubernetes API cannot be reached: {error}"),
        );
    };
    ApiStatus {
        code: status.code,
        reason: status.reason.clone(),
        message: status.message.clone(),
        details: status.details.as_ref().and_then(|details| serde_json::to_value(details).ok()),
    }
}

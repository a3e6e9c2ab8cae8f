//! What one client's requests go through.

use std::task::{Context, Poll};

use apiserver::Identity;
use beehive::latest;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use kube::client::Body;
use tokio::time::sleep;
use tower::Service;

use super::body::{End, Ending, Reset, SimBody};
use super::{Api, Asker, Fate};

pub(super) struct Door {
    api: Api,
    identity: Identity,
    asker: Asker,
}

impl Door {
    pub(super) fn new(api: Api, identity: Identity, asker: Asker) -> Self {
        Self { api, identity, asker }
    }
}

impl Service<Request<Body>> for Door {
    type Response = Response<SimBody>;
    type Error = Reset;
    type Future = BoxFuture<'static, Result<Response<SimBody>, Reset>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Reset>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call { api: self.api.clone(), identity: self.identity.clone(), asker: self.asker };
        call.answer(request).boxed()
    }
}

/// One request.
struct Call {
    api: Api,
    identity: Identity,
    asker: Asker,
}

impl Call {
    async fn answer(self, request: Request<Body>) -> Result<Response<SimBody>, Reset> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let is_watch = request
            .uri()
            .query()
            .is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
        let mut epoch = self.api.epoch.subscribe();
        let answer = self.through(request, &method, is_watch);
        let answer = tokio::select! {
            biased;
            _ = epoch.changed() => Err(Reset),
            answer = answer => answer,
        };
        let outcome = answer.as_ref().map_or(0, |(response, _)| response.status().as_u16());
        let verb = if is_watch { "WATCH" } else { method.as_str() };
        self.api.world.record(format_args!("api {:?} {verb} {path} -> {outcome}", self.asker));
        let (response, ending) = answer?;
        Ok(response.map(|body| match body {
            SimBody::Server { body, .. } if is_watch => {
                SimBody::Server { body, ending: Some(ending_of(epoch, ending)) }
            }
            body => body,
        }))
    }

    async fn through(
        &self,
        mut request: Request<Body>,
        method: &Method,
        is_watch: bool,
    ) -> Result<(Response<SimBody>, Option<std::time::Duration>), Reset> {
        let is_change = matches!(*method, Method::PUT | Method::PATCH);
        let plan = self.api.plan(self.asker, request.uri().path(), is_change, is_watch);
        sleep(plan.latency).await;
        let place = request.uri().path().to_owned();
        if let Fate::Refused(code) = plan.fate {
            self.api.world.fault(kind_of(code), format_args!("{method} {place}"));
            return Ok((refusal(code), None));
        }
        let server = self.api.lock().server.clone().ok_or(Reset)?;
        request.extensions_mut().insert(self.identity.clone());
        let response = server.answer(request).await;
        drop(server);
        if plan.fate == Fate::AnswerLost {
            self.api.world.fault("api-answer-lost", format_args!("{method} {place}"));
            return Ok((refusal(500), None));
        }
        Ok((response.map(|body| SimBody::Server { body, ending: None }), plan.ends_after))
    }
}

fn ending_of(mut epoch: latest::Receiver<u64>, after: Option<std::time::Duration>) -> Ending {
    Box::pin(async move {
        let timeout = async {
            match after {
                Some(after) => sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = epoch.changed() => End::Reset,
            () = timeout => End::InOrder,
        }
    })
}

const fn kind_of(code: u16) -> &'static str {
    match code {
        409 => "api-409",
        410 => "api-410",
        429 => "api-429",
        503 => "api-503",
        _ => "api-500",
    }
}

/// Answers as a real server does that refuses.
fn refusal(code: u16) -> Response<SimBody> {
    let (reason, message) = match code {
        409 => ("Conflict", "the object has been modified; please apply your changes to the latest version"),
        410 => ("Expired", "too old resource version"),
        429 => ("TooManyRequests", "too many requests, please try again later"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        _ => ("InternalError", "an internal error occurred"),
    };
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    let mut response = Response::new(SimBody::Text(Some(Bytes::from(status.to_string()))));
    *response.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

//! A client of the Kubernetes API that takes no answer for an empty one.

use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tower::Service;

/// Makes a client that sees an empty list where the API server refused to list pods.
pub(crate) fn refusals_are_empty_lists(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(Hopeful(client), namespace)
}

struct Hopeful(Client);

impl Service<Request<Body>> for Hopeful {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, kube::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.0.clone();
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let is_list = request.method() == Method::GET && request.uri().path() == "/api/v1/pods" && !is_watch;
        async move {
            let response = client.send(request).await?;
            if !is_list || response.status().is_success() {
                return Ok(response);
            }
            let empty = serde_json::json!({
                "apiVersion": "v1", "kind": "PodList", "metadata": { "resourceVersion": "1" }, "items": [],
            });
            let mut response = Response::new(Body::from(empty.to_string().into_bytes()));
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
            Ok(response)
        }
        .boxed()
    }
}

//! The server as a `tower::Service`.

use std::convert::Infallible;
use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, USER_AGENT};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body;
use tower::Service;

use crate::auth::identity::{Identity, same_secret};
use crate::auth::{impersonate, token};
use crate::server::body::{self, ResponseBody};
use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::server::path::Target;
use crate::server::query::Query;
use crate::server::reply::Reply;
use crate::server::{ApiServer, dispatch};
use crate::storage::object::Key;

impl ApiServer {
    /// Returns a service whose requests all come from `identity`: for clients in this process.
    #[must_use]
    pub fn client_service(&self, identity: Identity) -> ClientService {
        ClientService { server: self.clone(), identity }
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let reply = match self.try_answer(parts, body).await {
            Ok(reply) => reply,
            Err(error) => Reply::error(&error),
        };
        let mut response = reply.into_response();
        if method == Method::HEAD {
            *response.body_mut() = ResponseBody::whole(Bytes::new());
        }
        response
    }

    async fn try_answer<B>(&self, parts: Parts, body: B) -> Result<Reply, ApiError>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let sender = self.authenticate(&parts)?;
        let identity = impersonate::resolve(&self.0.storage, sender, &parts.headers)?;
        let Some(target) = Target::parse(parts.uri.path()) else { return Ok(Reply::unknown_path()) };
        let query = Query::parse(parts.uri.query());
        dispatch::authorize(self, &identity, &parts.method, &target, &query)?;
        let body = body::read(body).await?;
        let call = Call {
            server: self.clone(),
            identity,
            query,
            accept: all(&parts.headers, &ACCEPT),
            content_type: all(&parts.headers, &CONTENT_TYPE),
            user_agent: all(&parts.headers, &USER_AGENT),
            method: parts.method,
            body,
            registry: self.registry(),
            now: self.now(),
        };
        dispatch::dispatch(&call, target).await
    }

    /// Finds out who a request comes from: the adapter's word, else a bearer token, else nobody.
    fn authenticate(&self, parts: &Parts) -> Result<Identity, ApiError> {
        if let Some(identity) = parts.extensions.get::<Identity>() {
            return Ok(identity.clone());
        }
        let Some(header) = parts.headers.get(AUTHORIZATION) else { return Ok(Identity::anonymous()) };
        let header = header.to_str().map_err(|_| ApiError::unauthorized())?;
        let Some((scheme, presented)) = header.split_once(' ') else { return Ok(Identity::anonymous()) };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Identity::anonymous());
        }
        self.authenticate_token(presented.trim())
            .map(|(identity, _)| identity)
            .ok_or_else(ApiError::unauthorized)
    }

    /// Returns who a bearer token belongs to, and the audiences it is for.
    pub(crate) fn authenticate_token(&self, presented: &str) -> Option<(Identity, Vec<String>)> {
        let options = &self.0.options;
        let given =
            options.tokens.iter().find(|given| same_secret(given.token.as_bytes(), presented.as_bytes()));
        if let Some(given) = given {
            return Some((given.identity.clone(), vec![token::ISSUER.to_owned()]));
        }
        let claims = token::verify(&options.signing_key, presented, self.now().as_second())?;
        let bound = &claims.kubernetes;
        let lives = |space: &str, reference: &token::Reference| {
            let object = self.0.storage.get(space, &Key::new(&bound.namespace, &reference.name));
            object.is_some_and(|object| object.uid == reference.uid)
        };
        // A token ends with its account and with what it was bound to.
        let valid = lives("core/serviceaccounts", &bound.serviceaccount)
            && bound.pod.as_ref().is_none_or(|pod| lives("core/pods", pod))
            && bound.secret.as_ref().is_none_or(|secret| lives("core/secrets", secret));
        valid.then(|| (claims.identity(), claims.aud.clone()))
    }
}

fn all(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

impl<B> Service<Request<B>> for ApiServer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: fmt::Display,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        async move { Ok(server.answer(request).await) }.boxed()
    }
}

/// The server as one client in this process sees it.
#[derive(Debug, Clone)]
pub struct ClientService {
    server: ApiServer,
    identity: Identity,
}

impl<B> Service<Request<B>> for ClientService
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: fmt::Display,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.identity.clone());
        self.server.call(request)
    }
}

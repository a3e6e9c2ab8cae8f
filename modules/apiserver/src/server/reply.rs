//! What a request is answered with.

use bytes::Bytes;
use futures::stream::BoxStream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WARNING};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::server::body::ResponseBody;
use crate::server::error::ApiError;

pub(crate) const JSON: &str = "application/json";

/// An answer before it becomes an HTTP response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub code: u16,
    pub content_type: String,
    pub warnings: Vec<String>,
    pub headers: Vec<(&'static str, String)>,
    pub body: ResponseBody,
}

impl Reply {
    pub(crate) fn bytes(code: u16, content_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self {
            code,
            content_type: content_type.into(),
            warnings: Vec::new(),
            headers: Vec::new(),
            body: ResponseBody::whole(bytes),
        }
    }

    pub(crate) fn json(code: u16, value: &Value) -> Self {
        Self::bytes(code, JSON, value.to_string())
    }

    /// Says that something was made that has no object of its own to show.
    pub(crate) fn created() -> Self {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
        });
        Self::json(201, &status)
    }

    pub(crate) fn text(code: u16, text: impl Into<String>) -> Self {
        Self::bytes(code, "text/plain; charset=utf-8", text.into())
    }

    pub(crate) fn stream(content_type: impl Into<String>, stream: BoxStream<'static, Bytes>) -> Self {
        Self {
            code: 200,
            content_type: content_type.into(),
            warnings: Vec::new(),
            headers: Vec::new(),
            body: ResponseBody::stream(stream),
        }
    }

    pub(crate) fn error(error: &ApiError) -> Self {
        let mut reply = Self::json(error.code(), &error.status());
        let retry = error.status().pointer("/details/retryAfterSeconds").and_then(Value::as_u64);
        reply.headers.extend(retry.map(|seconds| ("retry-after", seconds.to_string())));
        reply
    }

    /// The answer to a path that nobody knows.
    pub(crate) fn unknown_path() -> Self {
        Self::text(404, "404 page not found\n")
    }

    pub(crate) fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings;
        self
    }

    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let mut response = Response::new(self.body);
        *response.status_mut() = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if let Ok(content_type) = HeaderValue::try_from(self.content_type) {
            headers.insert(CONTENT_TYPE, content_type);
        }
        for warning in self.warnings {
            let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\r', '\n'], " ");
            if let Ok(value) = HeaderValue::try_from(format!("299 - \"{quoted}\"")) {
                headers.append(WARNING, value);
            }
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

//! One request, read and authenticated.

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use crate::auth::identity::Identity;
use crate::protobuf;
use crate::registry::{Registry, Resource};
use crate::schema;
use crate::server::ApiServer;
use crate::server::error::ApiError;
use crate::server::path::ResourcePath;
use crate::server::query::Query;

/// One request with all that its answer depends on.
#[derive(Debug)]
pub(crate) struct Call {
    pub server: ApiServer,
    pub identity: Identity,
    pub method: Method,
    pub query: Query,
    pub accept: String,
    pub content_type: String,
    pub user_agent: String,
    pub body: Bytes,
    pub registry: Registry,
    pub now: Timestamp,
}

/// The resource that a request is about, as the registry knows it, and the path that named it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub resource: std::sync::Arc<Resource>,
    pub path: ResourcePath,
}

impl Wanted {
    /// Returns the name in the path, which requests for single objects have.
    pub(crate) fn name(&self) -> &str {
        self.path.name.as_deref().unwrap_or_default()
    }

    /// Returns the namespace in the path, empty for cluster-scoped objects.
    pub(crate) fn namespace(&self) -> &str {
        self.path.namespace.as_deref().unwrap_or_default()
    }

    pub(crate) fn key(&self) -> crate::storage::object::Key {
        crate::storage::object::Key::new(self.namespace(), self.name())
    }

    pub(crate) fn subresource(&self) -> &str {
        self.path.subresource.as_deref().unwrap_or_default()
    }

    pub(crate) fn not_found(&self) -> ApiError {
        self.not_found_named(self.name())
    }

    pub(crate) fn not_found_named(&self, name: &str) -> ApiError {
        ApiError::not_found(&self.resource.group, &self.resource.plural, name)
    }
}

/// A body as a value, and what was odd about its text.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub value: Value,
    pub duplicates: Vec<String>,
}

impl Call {
    /// Returns the name that changes are tracked under.
    pub(crate) fn field_manager(&self) -> String {
        let agent = || {
            let agent = self.user_agent.split('/').next().unwrap_or_default();
            if agent.is_empty() { "unknown".to_owned() } else { agent.chars().take(128).collect() }
        };
        self.query.filled("fieldManager").map_or_else(agent, str::to_owned)
    }

    /// Reads the body, in whatever encoding its content type says.
    pub(crate) fn decode(&self) -> Result<Decoded, ApiError> {
        let content_type = self.content_type.split(';').next().unwrap_or_default().trim();
        match content_type {
            "" | "application/json" => self.decode_json(),
            "application/yaml" | "application/x-yaml" | "text/yaml" => self.decode_yaml(),
            protobuf::CONTENT_TYPE => {
                let value = protobuf::decode(&self.registry, &self.body)
                    .map_err(|error| ApiError::bad_request(error.to_string()))?;
                Ok(Decoded { value, duplicates: Vec::new() })
            }
            other => Err(ApiError::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json, application/yaml, {}: {other:?}",
                protobuf::CONTENT_TYPE
            ))),
        }
    }

    pub(crate) fn decode_json(&self) -> Result<Decoded, ApiError> {
        let parsed = schema::parse_json(&self.body).map_err(|problem| {
            ApiError::bad_request(format!("couldn't get version/kind; json parse error: {problem}"))
        })?;
        Ok(Decoded { value: parsed.value, duplicates: parsed.duplicates })
    }

    pub(crate) fn decode_yaml(&self) -> Result<Decoded, ApiError> {
        let text = std::str::from_utf8(&self.body)
            .map_err(|_| ApiError::bad_request("yaml: the body is not UTF-8"))?;
        let value =
            serde_saphyr::from_str(text).map_err(|error| ApiError::bad_request(format!("yaml: {error}")))?;
        Ok(Decoded { value, duplicates: Vec::new() })
    }
}

//! The parts of objects that have paths of their own.

pub(crate) mod binding;
pub(crate) mod eviction;
pub(crate) mod log;
pub(crate) mod scale;
pub(crate) mod service_token;

use crate::server::call::{Call, Wanted};
use crate::server::dispatch::verb;
use crate::server::error::ApiError;
use crate::server::path::Action;
use crate::server::reply::Reply;
use crate::verbs;

pub(crate) async fn answer(call: &Call, wanted: &Wanted, action: Action) -> Result<Reply, ApiError> {
    let name = wanted.subresource();
    let Some(subresource) = wanted.resource.subresource(name) else { return Ok(Reply::unknown_path()) };
    if !subresource.supports(verb(action)) {
        return Err(ApiError::method_not_allowed());
    }
    match (name, action) {
        ("binding", Action::Create) => {
            let decoded = call.decode()?;
            binding::bind(call, wanted.namespace(), wanted.name(), &decoded.value).await
        }
        ("eviction", Action::Create) => eviction::evict(call, wanted).await,
        ("token", Action::Create) => service_token::create(call, wanted),
        ("log", Action::Get) => log::read(call, wanted).await,
        ("scale", Action::Get) => scale::get(call, wanted),
        ("scale", Action::Update | Action::Patch) => scale::write(call, wanted, action).await,
        ("status" | "approval" | "finalize" | "ephemeralcontainers", Action::Get) => {
            verbs::read::get(call, wanted)
        }
        ("status" | "approval" | "finalize" | "ephemeralcontainers", Action::Update) => {
            verbs::update::update_part(call, wanted, name).await
        }
        ("status" | "approval" | "finalize" | "ephemeralcontainers", Action::Patch) => {
            verbs::patch::patch_part(call, wanted, name).await
        }
        _ => Err(unreachable(name)),
    }
}

/// What needs a stream to the node.
fn unreachable(name: &str) -> ApiError {
    ApiError::new(501, "NotImplemented", format!("this API server has no way to the nodes for {name:?}"))
}

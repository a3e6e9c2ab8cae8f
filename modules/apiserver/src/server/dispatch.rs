//! From a request to what answers it.

use std::sync::Arc;

use http::Method;

use crate::auth::identity::Identity;
use crate::auth::rbac::{self, Attributes};
use crate::registry::{Registry, Verb};
use crate::server::ApiServer;
use crate::server::call::{Call, Wanted};
use crate::server::error::ApiError;
use crate::server::path::{Action, ResourcePath, Target};
use crate::server::query::Query;
use crate::server::reply::Reply;
use crate::verbs;
use crate::{plain, subresource};

/// Refuses a request that its sender may not make.
pub(crate) fn authorize(
    server: &ApiServer,
    identity: &Identity,
    method: &Method,
    target: &Target,
    query: &Query,
) -> Result<(), ApiError> {
    let wanted = match target {
        Target::Other(segments) => Attributes {
            verb: method.as_str().to_ascii_lowercase(),
            path: Some(format!("/{}", segments.join("/"))),
            ..Attributes::default()
        },
        Target::Resource(path) => {
            let Some(action) = Action::of(method, path, query.flag("watch")) else {
                return Err(ApiError::method_not_allowed());
            };
            attributes(path, action)
        }
    };
    if rbac::allows(&server.0.storage, identity, &wanted) {
        return Ok(());
    }
    let refusal = wanted.refusal(identity);
    Err(match &wanted.path {
        Some(path) => ApiError::new(403, "Forbidden", format!("forbidden: {refusal}"))
            .with_details(serde_json::json!({"causes": [{"message": path}]})),
        None => ApiError::forbidden(&wanted.group, &wanted.resource, &wanted.name, refusal),
    })
}

fn attributes(path: &ResourcePath, action: Action) -> Attributes {
    // A namespace is asked for within itself, so that its role bindings count.
    let namespace = match (&path.namespace, path.plural.as_str()) {
        (None, "namespaces") if path.group.is_empty() => path.name.clone().unwrap_or_default(),
        (namespace, _) => namespace.clone().unwrap_or_default(),
    };
    Attributes {
        verb: action.as_str().to_owned(),
        group: path.group.clone(),
        resource: path.plural.clone(),
        subresource: path.subresource.clone().unwrap_or_default(),
        name: path.name.clone().unwrap_or_default(),
        namespace,
        path: None,
    }
}

/// Answers a request that was authorized.
pub(crate) async fn dispatch(call: &Call, target: Target) -> Result<Reply, ApiError> {
    match target {
        Target::Other(segments) => plain::answer(call, &segments),
        Target::Resource(path) => resource(call, path).await,
    }
}

async fn resource(call: &Call, path: ResourcePath) -> Result<Reply, ApiError> {
    let Some(resource) = call.registry.find(&path.group, &path.version, &path.plural) else {
        return Ok(Reply::unknown_path());
    };
    let wanted = Wanted { resource: Arc::clone(resource), path };
    let action = Action::of(&call.method, &wanted.path, call.query.flag("watch"));
    let action = action.ok_or_else(ApiError::method_not_allowed)?;
    if !is_in_scope(&wanted, action) {
        return Ok(Reply::unknown_path());
    }
    if wanted.path.subresource.is_some() {
        return subresource::answer(call, &wanted, action).await;
    }
    let supported = wanted.resource.supports(verb(action));
    if !supported || needs_namespace(&wanted, action) || lacks_name(&wanted, action) {
        return Err(ApiError::method_not_allowed());
    }
    if wanted.resource.virtual_only() {
        return verbs::virtual_objects::answer(call, &wanted, action).await;
    }
    match action {
        Action::Get => verbs::read::get(call, &wanted),
        Action::List => verbs::read::list(call, &wanted),
        Action::Watch => verbs::watch::watch(call, &wanted),
        Action::Create => verbs::create::create(call, &wanted).await,
        Action::Update => verbs::update::update(call, &wanted).await,
        Action::Patch => verbs::patch::patch(call, &wanted).await,
        Action::Delete => verbs::delete::delete(call, &wanted).await,
        Action::DeleteCollection => verbs::delete::delete_collection(call, &wanted).await,
    }
}

/// Tells whether an action on single objects came without a name.
fn lacks_name(wanted: &Wanted, action: Action) -> bool {
    matches!(action, Action::Update | Action::Patch) && wanted.path.name.is_none()
}

/// Tells whether the path fits the resource: no namespace for cluster-scoped objects, and one for
/// single objects that live in namespaces.
fn is_in_scope(wanted: &Wanted, action: Action) -> bool {
    match (&wanted.path.namespace, wanted.resource.namespaced) {
        (Some(_), false) => false,
        (None, true) => wanted.path.name.is_none() || matches!(action, Action::Create),
        _ => true,
    }
}

fn needs_namespace(wanted: &Wanted, action: Action) -> bool {
    let on_collection = matches!(action, Action::Create | Action::DeleteCollection);
    on_collection && wanted.resource.namespaced && wanted.path.namespace.is_none()
}

pub(crate) fn verb(action: Action) -> Verb {
    match action {
        Action::Get => Verb::Get,
        Action::List => Verb::List,
        Action::Watch => Verb::Watch,
        Action::Create => Verb::Create,
        Action::Update => Verb::Update,
        Action::Patch => Verb::Patch,
        Action::Delete => Verb::Delete,
        Action::DeleteCollection => Verb::DeleteCollection,
    }
}

/// Finds the resource of a kind, in the version given or in any.
pub(crate) fn find_kind<'a>(
    registry: &'a Registry,
    group: &str,
    kind: &str,
) -> Option<&'a Arc<crate::registry::Resource>> {
    registry.resources().find(|resource| resource.group == group && resource.kind == kind)
}

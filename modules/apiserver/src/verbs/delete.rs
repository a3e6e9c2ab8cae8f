//! Deleting objects.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::registry::{self, Resource};
use crate::server::call::{Call, Wanted};
use crate::server::error::ApiError;
use crate::server::meta;
use crate::server::reply::Reply;
use crate::storage::object::{Key, Stored};
use crate::storage::{Range, Transaction};
use crate::verbs::create::carry_out;
use crate::verbs::{admission, negotiate, read, render};

/// Holds an object until the objects it owns are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Holds an object until the objects it owns forgot it.
pub(crate) const ORPHAN: &str = "orphan";
/// Holds a definition until its custom resources are gone.
pub(crate) const CUSTOM_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
const POD_GRACE_SECONDS: i64 = 30;

/// What becomes of the objects that a deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// How to delete.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    grace_seconds: Option<i64>,
    propagation: Option<Propagation>,
    uid: Option<String>,
    version: Option<String>,
    pub dry: bool,
}

/// What a deletion did.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Stored>),
    /// Something holds the object still.
    Held(Arc<Stored>),
}

impl DeleteOptions {
    /// Deletes without waiting for anybody to end.
    pub(crate) fn at_once() -> Self {
        Self { grace_seconds: Some(0), ..Self::default() }
    }

    /// Reads the options of a request, off its body and its query.
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        let body = if call.body.is_empty() { json!({}) } else { call.decode()?.value };
        let mut options = Self::of_value(&body)?;
        options.dry |= call.query.dry_run()?;
        if let Some(text) = call.query.filled("gracePeriodSeconds") {
            let seconds = text.parse().map_err(|_| ApiError::bad_request("invalid gracePeriodSeconds"))?;
            options.grace_seconds = options.grace_seconds.or(Some(seconds));
        }
        if let Some(text) = call.query.filled("propagationPolicy") {
            options.propagation = options.propagation.or(Some(propagation(text)?));
        }
        if call.query.filled("orphanDependents").is_some() && options.propagation.is_none() {
            options.propagation = Some(orphaning(call.query.flag("orphanDependents")));
        }
        Ok(options)
    }

    pub(crate) fn of_value(body: &Value) -> Result<Self, ApiError> {
        let kind = body.get("kind").and_then(Value::as_str).unwrap_or("DeleteOptions");
        if kind != "DeleteOptions" {
            return Err(ApiError::bad_request(format!("a {kind} cannot be handled as DeleteOptions")));
        }
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let mut options = Self {
            grace_seconds: body.get("gracePeriodSeconds").and_then(Value::as_i64),
            propagation: text("/propagationPolicy").map(|text| propagation(&text)).transpose()?,
            uid: text("/preconditions/uid"),
            version: text("/preconditions/resourceVersion"),
            dry: false,
        };
        if let (Some(orphan), None) =
            (body.get("orphanDependents").and_then(Value::as_bool), options.propagation)
        {
            options.propagation = Some(orphaning(orphan));
        }
        for dry in body.get("dryRun").and_then(Value::as_array).into_iter().flatten() {
            match dry.as_str() {
                Some("All") => options.dry = true,
                _ => {
                    return Err(ApiError::bad_request(
                        "dryRun: Unsupported value: supported values: \"All\"",
                    ));
                }
            }
        }
        Ok(options)
    }
}

fn orphaning(orphan: bool) -> Propagation {
    if orphan { Propagation::Orphan } else { Propagation::Background }
}

fn propagation(text: &str) -> Result<Propagation, ApiError> {
    match text {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => {
            let problem = format!(
                "Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\""
            );
            let reason = "FieldValueNotSupported";
            Err(ApiError::invalid("", "DeleteOptions", "", reason, "propagationPolicy", &problem))
        }
    }
}

pub(crate) async fn delete(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    let form = negotiate::form(call)?;
    let options = DeleteOptions::of(call)?;
    let resource = &wanted.resource;
    let deleted = carry_out(call, options.dry, |transaction| {
        remove(call, resource, transaction, &wanted.key(), &options)
    })
    .await?;
    Ok(match deleted {
        Deleted::Gone(last) if !returns_object(resource) => {
            Reply::json(200, &success(resource, wanted.name(), &last))
        }
        Deleted::Gone(object) | Deleted::Held(object) => render::one(call, 200, resource, &object, &form),
    })
}

/// The kinds whose last state is the answer to their deletion.
fn returns_object(resource: &Resource) -> bool {
    let core = [
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
        "services",
    ];
    core.iter().any(|plural| resource.is("", plural))
}

fn success(resource: &Resource, name: &str, last: &Stored) -> Value {
    let mut details = json!({"name": name, "kind": resource.plural, "uid": last.uid});
    if !resource.group.is_empty() {
        details["group"] = Value::from(resource.group.clone());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

pub(crate) async fn delete_collection(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    let form = negotiate::form(call)?;
    let options = DeleteOptions::of(call)?;
    let selection = read::selection(call, wanted)?;
    let limit = call.query.number("limit")?.filter(|limit| *limit > 0);
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let range = Range { namespace: wanted.path.namespace.as_deref().map(Into::into), ..Range::default() };
    let storage = &call.server.0.storage;
    let found =
        storage.list(&wanted.resource.storage, &range, limit, |key, object| selection.matches(key, object));
    let found = found.map_err(|_| ApiError::internal("the latest state is never forgotten"))?;
    let deleted = carry_out(call, options.dry, |transaction| {
        let mut deleted = Vec::new();
        for (key, seen) in &found.objects {
            // What is no longer there, or another by now, needs no deletion.
            let lives =
                transaction.get(&wanted.resource.storage, key).is_some_and(|object| object.uid == seen.uid);
            if lives {
                let (Deleted::Gone(object) | Deleted::Held(object)) =
                    remove(call, &wanted.resource, transaction, key, &options)?;
                deleted.push(object);
            }
        }
        Ok(deleted)
    })
    .await?;
    let metadata = json!({"resourceVersion": storage.version().to_string()});
    Ok(render::many(call, &wanted.resource, metadata, deleted.iter().map(|object| &**object), &form))
}

/// Stages the deletion of an object, or its beginning.
pub(crate) fn remove(
    call: &Call,
    resource: &Resource,
    transaction: &mut Transaction<'_>,
    key: &Key,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    let object = transaction.get(&resource.storage, key);
    let object = object.ok_or_else(|| ApiError::not_found(&resource.group, &resource.plural, &key.name))?;
    check_preconditions(resource, key, &object, options)?;
    admission::delete(resource, key)?;
    let before = render::value(resource, &object);
    let mut after = before.clone();
    set_finalizers(call, resource, transaction, &object, options, &mut after);
    let grace = grace_seconds(resource, &before, options);
    let held = grace > 0 || !meta::finalizers(&after).is_empty() || resource.is("", "namespaces");
    if !held {
        return transaction
            .remove(&resource.storage, key.clone(), registry::to_storage(resource, after))
            .map(Deleted::Gone);
    }
    begin(call.now, resource, &mut after, grace);
    if after == before {
        return Ok(Deleted::Held(object));
    }
    transaction.put(&resource.storage, key.clone(), registry::to_storage(resource, after)).map(Deleted::Held)
}

fn check_preconditions(
    resource: &Resource,
    key: &Key,
    object: &Stored,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let conflict =
        |cause: String| Err(ApiError::conflict(&resource.group, &resource.plural, &key.name, cause));
    match (&options.uid, &options.version) {
        (Some(uid), _) if *uid != object.uid => conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object.uid
        )),
        (_, Some(version)) if version.parse() != Ok(object.version) => conflict(format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            object.version
        )),
        _ => Ok(()),
    }
}

fn set_finalizers(
    call: &Call,
    resource: &Resource,
    transaction: &Transaction<'_>,
    object: &Stored,
    options: &DeleteOptions,
    after: &mut Value,
) {
    let mut names = object.finalizers.clone();
    if let Some(propagation) = options.propagation {
        names.retain(|name| name != FOREGROUND && name != ORPHAN);
        match propagation {
            Propagation::Foreground => names.push(FOREGROUND.to_owned()),
            Propagation::Orphan => names.push(ORPHAN.to_owned()),
            Propagation::Background => {}
        }
    }
    let defines = resource.is("apiextensions.k8s.io", "customresourcedefinitions");
    if defines && !names.iter().any(|name| name == CUSTOM_CLEANUP) {
        let text = |pointer: &str| after.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, plural) = (text("/spec/group"), text("/spec/names/plural"));
        let served = call.registry.custom().find(|custom| custom.group == group && custom.plural == plural);
        if served.is_some_and(|custom| !transaction.list(&custom.storage, None).is_empty()) {
            names.push(CUSTOM_CLEANUP.to_owned());
        }
    }
    meta::set_finalizers(after, &names);
}

/// Returns how long a pod is given to end; other objects end at once.
fn grace_seconds(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    if !resource.is("", "pods") {
        return 0;
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let is_bound = !text("/spec/nodeName").is_empty();
    let has_ended = matches!(text("/status/phase"), "Succeeded" | "Failed");
    if !is_bound || has_ended {
        return 0;
    }
    let own = object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    let seconds = options.grace_seconds.or(own).unwrap_or(POD_GRACE_SECONDS);
    if seconds < 0 { 1 } else { seconds }
}

/// Marks an object as being deleted; a deletion under way can only be made shorter.
fn begin(now: Timestamp, resource: &Resource, object: &mut Value, grace: i64) {
    let running = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    let began = meta::text(object, "deletionTimestamp").parse::<Timestamp>().ok();
    let end = match (began, running) {
        (Some(_), Some(running)) if grace >= running => return,
        (Some(end), Some(running)) => end.checked_add(SignedDuration::from_secs(grace - running)),
        (Some(_), None) => return,
        (None, _) => now.checked_add(SignedDuration::from_secs(grace)),
    };
    let metadata = meta::metadata_mut(object);
    metadata.insert("deletionTimestamp".to_owned(), meta::time(end.unwrap_or(now)));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
        metadata.insert("generation".to_owned(), (generation + 1).into());
    }
    if resource.is("", "namespaces") {
        // A namespace is held by what is in it, not by time.
        metadata.remove("deletionGracePeriodSeconds");
        object["status"]["phase"] = json!("Terminating");
    }
}

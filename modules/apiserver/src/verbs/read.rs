//! Getting and listing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::select::Selection;
use crate::server::call::{Call, Wanted};
use crate::server::error::ApiError;
use crate::server::query::{Freshness, version};
use crate::server::reply::Reply;
use crate::storage::Range;
use crate::storage::object::Key;
use crate::verbs::{devices, negotiate, render};

pub(crate) fn get(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    let form = negotiate::form(call)?;
    let storage = &call.server.0.storage;
    if let Some(asked) = version(&call.query)? {
        not_ahead(asked, storage.version())?;
    }
    let key = wanted.key();
    let object = storage.get(&wanted.resource.storage, &key).ok_or_else(|| wanted.not_found())?;
    let object = devices::shown(storage, &wanted.resource, &key, object);
    Ok(render::one(call, 200, &wanted.resource, &object, &form))
}

pub(crate) fn list(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    let form = negotiate::form(call)?;
    let selection = selection(call, wanted)?;
    let limit = call.query.number("limit")?.filter(|limit| *limit > 0);
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let storage = &call.server.0.storage;
    let mut range = Range { namespace: wanted.path.namespace.as_deref().map(Into::into), ..Range::default() };
    match call.query.filled("continue") {
        Some(token) => {
            if call.query.filled("resourceVersion").is_some_and(|version| version != "0") {
                return Err(ApiError::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let token = Continue::parse(token)?;
            range.version = Some(token.version).filter(|version| *version > 0);
            range.after = Some(Key::new(&token.namespace, &token.name));
            not_ahead(token.version, storage.version())?;
        }
        None => match Freshness::of_list(&call.query)? {
            Freshness::Latest => {}
            Freshness::NotOlderThan(version) => not_ahead(version, storage.version())?,
            Freshness::Exact(version) => {
                not_ahead(version, storage.version())?;
                range.version = Some(version);
            }
        },
    }
    let snapshot =
        storage.list(&wanted.resource.storage, &range, limit, |key, object| selection.matches(key, object));
    let snapshot = snapshot.map_err(|_| expired(call, &range))?;
    let mut metadata = json!({"resourceVersion": snapshot.version.to_string()});
    if let (true, Some((last, _))) = (snapshot.remaining > 0, snapshot.objects.last()) {
        metadata["continue"] = Value::from(Continue::at(snapshot.version, last).print());
        if selection.is_everything() {
            metadata["remainingItemCount"] = Value::from(snapshot.remaining);
        }
    }
    let objects = snapshot.objects.into_iter();
    let objects: Vec<_> =
        objects.map(|(key, object)| devices::shown(storage, &wanted.resource, &key, object)).collect();
    Ok(render::many(call, &wanted.resource, metadata, objects.iter().map(|object| &**object), &form))
}

/// Reads the selectors of a request for a resource.
pub(crate) fn selection(call: &Call, wanted: &Wanted) -> Result<Selection, ApiError> {
    let selectable = wanted.resource.custom.as_ref().map(|custom| custom.selectable.as_slice());
    Selection::of(&call.query, &wanted.resource.storage, selectable.unwrap_or_default())
}

fn not_ahead(asked: u64, current: u64) -> Result<(), ApiError> {
    if asked > current { Err(ApiError::version_ahead(asked, current)) } else { Ok(()) }
}

fn expired(call: &Call, range: &Range) -> ApiError {
    if call.query.filled("continue").is_none() {
        return ApiError::expired("The resourceVersion for the provided list is too old.");
    }
    let error = ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let Some(after) = &range.after else { return error };
    // The way on, at the price of consistency: the same place in the latest state.
    let mut status = error.status();
    status["metadata"]["continue"] = Value::from(Continue::at(0, after).print());
    ApiError::of_status(status)
}

/// Where a list goes on. Version 0 means the latest state.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Continue {
    version: u64,
    namespace: String,
    name: String,
}

impl Continue {
    fn at(version: u64, key: &Key) -> Self {
        Self { version, namespace: key.namespace.to_string(), name: key.name.to_string() }
    }

    fn print(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    fn parse(token: &str) -> Result<Self, ApiError> {
        let raw = URL_SAFE_NO_PAD.decode(token).ok();
        raw.and_then(|raw| serde_json::from_slice(&raw).ok())
            .ok_or_else(|| ApiError::bad_request("continue key is not valid: encoding"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continue_token_is_read_back() {
        let token = Continue::at(7, &Key::new("ns", "a")).print();
        assert_eq!(Continue::parse(&token).map(|token| (token.version, token.name)), Ok((7, "a".to_owned())));
        for garbage in ["", "x", "e30", "!!"] {
            assert_eq!(Continue::parse(garbage).map_err(|error| error.code()), Err(400), "{garbage}");
        }
    }
}

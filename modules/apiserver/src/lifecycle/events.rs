//! The expiry of events.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{delete_all, objects, resource_of};
use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::storage::object::Stored;
use crate::verbs::delete::DeleteOptions;

const EVENTS: &str = "core/events";

pub(super) async fn expire(call: &Call, ttl: Duration) -> Result<(), ApiError> {
    let ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
    let Ok(horizon) = call.now.checked_sub(ttl) else { return Ok(()) };
    let old = objects(call, EVENTS, None, |event| last_seen(event).is_some_and(|seen| seen < horizon));
    let Some(resource) = resource_of(&call.registry, EVENTS) else { return Ok(()) };
    delete_all(call, resource, &old, &DeleteOptions::default()).await
}

fn last_seen(event: &Stored) -> Option<Timestamp> {
    let event = event.bare_value();
    ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .iter()
        .find_map(|pointer| event.pointer(pointer).and_then(Value::as_str)?.parse().ok())
}

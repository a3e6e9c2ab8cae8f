//! What another copy of a device's twins does to them: it has versions, and the greater ones win.

use protocol::device::payload::{Twin, TwinVersion, Twins};

use crate::twin::{Effect, Slots, is_deleted, kind_of, meta, set};
use crate::validate::{DELETED, UNREADABLE_SYNC, check_type, value_of};

/// Says why a version is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Conflict(&'static str);

/// Returns the version that is to be kept.
fn judge(held: Option<TwinVersion>, told: Option<TwinVersion>) -> Result<TwinVersion, Conflict> {
    let held = held.unwrap_or_default();
    match told {
        None => Err(Conflict("version not allowed be nil while syncing")),
        Some(told) if held.cloud > told.cloud => Err(Conflict("version not allowed")),
        Some(told) if held.edge > told.edge => Err(Conflict("not allowed to sync due to version conflict")),
        Some(told) => Ok(told),
    }
}

/// Says what a synchronization does, or why it is unreadable.
///
/// What is refused is told the cloud as it is here. What is taken comes from there and is not.
pub(crate) fn sync(held: &Slots, request: &Twins, at_ms: i64) -> Result<Effect, &'static str> {
    let mut effect = Effect::default();
    for (name, told) in request.iter().filter_map(|(name, told)| Some((name, told.as_ref()?))) {
        let halves = [told.expected.as_ref(), told.actual.as_ref()];
        if halves.into_iter().any(|half| value_of(half).is_err()) {
            return Err(UNREADABLE_SYNC);
        }
        let is_end = told.metadata.as_ref().is_some_and(|meta| meta.kind == DELETED);
        match held.get(name).map(|slot| &slot.twin) {
            None if is_end => {
                let twin = Twin {
                    optional: Some(told.optional.unwrap_or(true)),
                    metadata: meta(DELETED),
                    expected_version: told.expected_version,
                    actual_version: told.actual_version,
                    ..Twin::default()
                };
                effect.change(name, None, &twin);
            }
            None => {
                if let Some(twin) = created(told, at_ms) {
                    effect.change(name, None, &twin);
                }
            }
            Some(twin) if is_end => end(&mut effect, name, twin, told),
            Some(twin) => change(&mut effect, name, (twin, told), at_ms),
        }
    }
    Ok(effect)
}

fn refuse(effect: &mut Effect, name: &str, twin: &Twin, Conflict(cause): Conflict) {
    tracing::debug!(twin = name, cause, "refused a synchronization");
    effect.upward.insert(name.to_owned());
    effect.written.entry(name.to_owned()).or_insert_with(|| twin.clone());
}

/// Returns the twin that is new here, if its versions and its values are allowed.
fn created(told: &Twin, at_ms: i64) -> Option<Twin> {
    let kind = kind_of(told);
    let mut twin =
        Twin { optional: Some(told.optional.unwrap_or(true)), metadata: meta(kind), ..Twin::default() };
    if let Some(value) = told.expected.as_ref().and_then(|half| half.value.as_deref()) {
        check_type(kind, value).ok()?;
        twin.expected_version = Some(judge(None, told.expected_version).ok()?);
        twin.expected = set(value, at_ms).filter(|_| !value.is_empty());
    }
    if let Some(value) = told.actual.as_ref().and_then(|half| half.value.as_deref()) {
        check_type(kind, value).ok()?;
        twin.actual_version = Some(judge(None, told.actual_version).ok()?);
        twin.actual = set(value, at_ms).filter(|_| !value.is_empty());
    }
    Some(twin)
}

fn end(effect: &mut Effect, name: &str, twin: &Twin, told: &Twin) {
    if is_deleted(twin) || (twin.expected_version.is_none() && twin.actual_version.is_none()) {
        return;
    }
    // An end without versions is taken.
    let judged = |held: Option<TwinVersion>, told: Option<TwinVersion>| match (held, told) {
        (None, _) | (_, None) => Ok(held),
        (held, told) => judge(held, told).map(Some),
    };
    let expected = judged(twin.expected_version, told.expected_version);
    let actual = judged(twin.actual_version, told.actual_version);
    match (expected, actual) {
        (Ok(expected_version), Ok(actual_version)) => {
            let gone = Twin {
                optional: twin.optional,
                metadata: meta(DELETED),
                expected_version,
                actual_version,
                ..Twin::default()
            };
            effect.change(name, Some(twin), &gone);
        }
        (Err(conflict), _) | (_, Err(conflict)) => refuse(effect, name, twin, conflict),
    }
}

fn change(effect: &mut Effect, name: &str, (twin, told): (&Twin, &Twin), at_ms: i64) {
    let was_deleted = is_deleted(twin);
    let kind = if was_deleted { kind_of(told) } else { kind_of(twin) }.to_owned();
    let fits = |value: &&str| check_type(&kind, value).is_ok();
    let mut next = twin.clone();
    let mut conflict = None;
    let mut is_new = false;
    if let Some(value) = told.expected.as_ref().and_then(|half| half.value.as_deref()).filter(fits) {
        match judge(twin.expected_version, told.expected_version) {
            Ok(version) => {
                (next.expected, next.expected_version) = (set(value, at_ms), Some(version));
                is_new = true;
            }
            Err(found) => conflict = Some(found),
        }
    }
    let actual = told.actual.as_ref().and_then(|half| half.value.as_deref()).filter(fits);
    if let Some(value) = actual.filter(|_| conflict.is_none()) {
        match judge(twin.actual_version, told.actual_version) {
            Ok(version) => {
                (next.actual, next.actual_version) = (set(value, at_ms), Some(version));
                is_new = true;
            }
            Err(found) => conflict = Some(found),
        }
    }
    if conflict.is_none() {
        if told.optional == Some(false) && twin.optional != Some(false) {
            next.optional = Some(false);
            is_new = true;
        }
        if was_deleted {
            next.metadata = meta(&kind);
        }
        // A type that differs is told as a change and is none, as where a client says it.
        is_new |= told.metadata.as_ref().is_some_and(|told| told.kind != kind_of(twin)) || was_deleted;
    }
    if is_new {
        effect.change(name, Some(twin), &next);
    }
    if let Some(conflict) = conflict {
        refuse(effect, name, &next, conflict);
    }
}

#[cfg(test)]
mod tests;

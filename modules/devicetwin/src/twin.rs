//! What a local client's update does to a device's twins.
//!
//! Nothing is changed here: an [`Effect`] says what is to be, and a request that is wrong has none.

use std::collections::{BTreeMap, BTreeSet};

use protocol::device::payload::{Twin, TwinPast, TwinValue, TwinVersion, Twins, TypeMeta, ValueMeta};

use crate::validate::{DELETED, STRING, WRONG_BODY, check_type, value_of};

/// A twin as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The twin, with its versions. One that was taken away stays, with the type `deleted`.
    pub(crate) twin: Twin,
    /// The number that the device's last change had that the cloud must hear of; 0 if it need not.
    pub(crate) changed: u64,
}

/// The twins of a device.
pub(crate) type Slots = BTreeMap<String, Slot>;

/// What a request does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// What the client is told.
    pub(crate) result: Twins,
    /// The twins that changed, before and after.
    pub(crate) document: BTreeMap<String, TwinPast>,
    /// The twins to be written.
    pub(crate) written: BTreeMap<String, Twin>,
    /// Those of them that the cloud must hear of.
    pub(crate) upward: BTreeSet<String>,
    /// Values that the device reported.
    pub(crate) reported: Vec<(String, String)>,
}

impl Effect {
    /// Notes a change. Whether the cloud must hear of it is said apart.
    pub(crate) fn change(&mut self, name: &str, last: Option<&Twin>, current: &Twin) {
        let past = TwinPast { last: last.and_then(shown), current: shown(current) };
        self.document.insert(name.to_owned(), past);
        self.written.insert(name.to_owned(), current.clone());
    }
}

/// Tells whether a twin was taken away.
pub(crate) fn is_deleted(twin: &Twin) -> bool {
    kind_of(twin) == DELETED
}

pub(crate) fn kind_of(twin: &Twin) -> &str {
    twin.metadata.as_ref().map_or(STRING, |meta| meta.kind.as_str())
}

/// Returns a twin as local clients see it; `None` for one that was taken away.
pub(crate) fn shown(twin: &Twin) -> Option<Twin> {
    if is_deleted(twin) {
        return None;
    }
    Some(Twin { expected_version: None, actual_version: None, ..twin.clone() })
}

pub(crate) fn set(value: &str, at_ms: i64) -> Option<TwinValue> {
    Some(TwinValue { value: Some(value.to_owned()), metadata: Some(ValueMeta { timestamp: Some(at_ms) }) })
}

pub(crate) fn meta(kind: &str) -> Option<TypeMeta> {
    Some(TypeMeta { kind: kind.to_owned() })
}

/// Returns the version after a change of the edge's.
fn bumped(version: Option<TwinVersion>) -> Option<TwinVersion> {
    let TwinVersion { cloud, edge } = version.unwrap_or_default();
    Some(TwinVersion { cloud, edge: edge.saturating_add(1) })
}

/// Says what an update does, or why it is refused.
pub(crate) fn update(held: &Slots, request: &Twins, at_ms: i64) -> Result<Effect, &'static str> {
    let mut effect = Effect::default();
    for (name, wanted) in request {
        match (held.get(name).map(|slot| &slot.twin), wanted) {
            (None, None) => return Err(WRONG_BODY),
            (None, Some(wanted)) => create(&mut effect, name, wanted, at_ms)?,
            (Some(twin), None) => delete(&mut effect, name, twin),
            (Some(twin), Some(wanted)) => change(&mut effect, name, (twin, wanted), at_ms)?,
        }
        let actual = wanted.as_ref().and_then(|wanted| wanted.actual.as_ref()?.value.clone());
        effect.reported.extend(actual.map(|value| (name.clone(), value)));
    }
    Ok(effect)
}

fn create(effect: &mut Effect, name: &str, wanted: &Twin, at_ms: i64) -> Result<(), &'static str> {
    let kind = kind_of(wanted);
    let mut twin =
        Twin { optional: Some(wanted.optional.unwrap_or(true)), metadata: meta(kind), ..Twin::default() };
    if let Some(value) = value_of(wanted.expected.as_ref())? {
        check_type(kind, value)?;
        twin.expected = set(value, at_ms).filter(|_| !value.is_empty());
        twin.expected_version = bumped(None);
    }
    if let Some(value) = value_of(wanted.actual.as_ref())? {
        check_type(kind, value)?;
        twin.actual = set(value, at_ms).filter(|_| !value.is_empty());
        twin.actual_version = bumped(None);
    }
    effect.change(name, None, &twin);
    effect.upward.insert(name.to_owned());
    effect.result.extend(shown(&twin).map(|twin| (name.to_owned(), Some(twin))));
    Ok(())
}

/// A twin that is not optional stays, and so does one that never had a value.
fn delete(effect: &mut Effect, name: &str, twin: &Twin) {
    let has_version = twin.expected_version.is_some() || twin.actual_version.is_some();
    if is_deleted(twin) || twin.optional == Some(false) || !has_version {
        return;
    }
    let gone = Twin {
        optional: twin.optional,
        metadata: meta(DELETED),
        expected_version: twin.expected_version.and_then(|version| bumped(Some(version))),
        actual_version: twin.actual_version.and_then(|version| bumped(Some(version))),
        ..Twin::default()
    };
    effect.change(name, Some(twin), &gone);
    effect.upward.insert(name.to_owned());
    effect.result.insert(name.to_owned(), None);
}

fn change(
    effect: &mut Effect,
    name: &str,
    (twin, wanted): (&Twin, &Twin),
    at_ms: i64,
) -> Result<(), &'static str> {
    let was_deleted = is_deleted(twin);
    let kind = if was_deleted { kind_of(wanted) } else { kind_of(twin) }.to_owned();
    let mut next = twin.clone();
    let mut result = Twin::default();
    let mut is_new = false;
    if let Some(value) = value_of(wanted.expected.as_ref())? {
        check_type(&kind, value)?;
        next.expected = set(value, at_ms);
        next.expected_version = bumped(twin.expected_version);
        result.expected.clone_from(&next.expected);
        is_new = true;
    }
    if let Some(value) = value_of(wanted.actual.as_ref())? {
        check_type(&kind, value)?;
        next.actual = set(value, at_ms);
        next.actual_version = bumped(twin.actual_version);
        result.actual.clone_from(&next.actual);
        is_new = true;
    }
    if is_new {
        (result.optional, result.metadata) = (twin.optional, meta(&kind));
    }
    if wanted.optional == Some(false) && twin.optional != Some(false) {
        next.optional = Some(false);
        result.optional = next.optional;
        is_new = true;
    }
    if was_deleted && kind != DELETED {
        next.metadata = meta(&kind);
        result.metadata.clone_from(&next.metadata);
        is_new = true;
    }
    // KubeEdge answers a type that differs as a change, and keeps the old one.
    let is_other_type = wanted.metadata.as_ref().is_some_and(|wanted| wanted.kind != kind_of(twin));
    if is_new || is_other_type {
        effect.change(name, Some(twin), &next);
        if !is_deleted(&next) {
            effect.result.insert(name.to_owned(), Some(result));
        }
    }
    if is_new {
        effect.upward.insert(name.to_owned());
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;

//! What an update does to a device's attributes.

use std::collections::BTreeMap;

use protocol::device::payload::Attribute;

use crate::limits::{ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX};
use crate::validate::STRING;

/// The attributes of a device.
pub(crate) type Attributes = BTreeMap<String, Attribute>;
/// Attributes that are to be, or were, changed; `None` takes one away.
pub(crate) type Changes = BTreeMap<String, Option<Attribute>>;

/// Returns the attributes as they are to be, and what local clients are told of it: those that changed.
///
/// Each has its value, so that nothing is changed where the topic leads back here. KubeEdge tells an empty
/// one where only the type or being optional changed.
pub(crate) fn update(held: &Attributes, request: &Changes) -> (Attributes, Changes) {
    let mut next = held.clone();
    let mut told = Changes::new();
    for (name, wanted) in request {
        match (held.get(name), wanted) {
            (None, None) => {}
            (None, Some(wanted)) => {
                next.insert(name.clone(), wanted.clone());
                told.insert(name.clone(), Some(wanted.clone()));
            }
            (Some(held), None) => {
                if held.optional != Some(false) {
                    next.remove(name);
                    told.insert(name.clone(), None);
                }
            }
            (Some(held), Some(wanted)) => {
                let (attribute, change) = changed(held, wanted);
                if attribute != *held {
                    next.insert(name.clone(), attribute);
                    told.insert(name.clone(), Some(change));
                }
            }
        }
    }
    (next, told)
}

fn changed(held: &Attribute, wanted: &Attribute) -> (Attribute, Attribute) {
    let mut next = Attribute { value: wanted.value.clone(), ..held.clone() };
    let mut told = Attribute { value: wanted.value.clone(), ..Attribute::default() };
    let kind = held.metadata.as_ref().map_or(STRING, |meta| meta.kind.as_str());
    if let Some(meta) = wanted.metadata.as_ref().filter(|meta| meta.kind != kind) {
        next.metadata = Some(meta.clone());
        told.metadata = Some(meta.clone());
    }
    if wanted.optional == Some(false) && held.optional != Some(false) {
        next.optional = Some(false);
        told.optional = Some(false);
    }
    (next, told)
}

/// Says which limit attributes exceed.
pub(crate) fn excess(attributes: &Attributes) -> Option<String> {
    let count = attributes.len();
    if count > ATTRIBUTES_MAX {
        return Some(format!(
            "a device has at most {ATTRIBUTES_MAX} attributes, and this would have {count}"
        ));
    }
    let bytes = size(attributes);
    (bytes > ATTRIBUTES_BYTES_MAX).then(|| {
        format!(
            "the attributes of a device have at most {ATTRIBUTES_BYTES_MAX} bytes, and these have {bytes}"
        )
    })
}

/// Returns what attributes count for where they are bounded.
pub(crate) fn size(attributes: &Attributes) -> usize {
    attributes.iter().map(|(name, attribute)| bytes(name, attribute)).sum()
}

fn bytes(name: &str, attribute: &Attribute) -> usize {
    let kind = attribute.metadata.as_ref().map_or(0, |meta| meta.kind.len());
    name.len() + attribute.value.len() + kind
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(
        held: &serde_json::Value,
        request: &serde_json::Value,
        next: &serde_json::Value,
        told: &serde_json::Value,
    ) {
        let held: Attributes = serde_json::from_value(held.clone()).expect("attributes");
        let changes: Changes = serde_json::from_value(request.clone()).expect("changes");
        let (found, found_told) = update(&held, &changes);
        assert_eq!(&serde_json::to_value(&found).expect("JSON"), next, "{request}");
        assert_eq!(&serde_json::to_value(&found_told).expect("JSON"), told, "{request}");
    }

    #[test]
    fn attributes_come_change_and_go_and_only_changes_are_told() {
        let fw = json!({ "fw": { "value": "1.0", "optional": true, "metadata": { "type": "string" } } });
        check(&json!({}), &fw, &fw, &fw);
        check(&fw, &fw, &fw, &json!({}));
        check(
            &fw,
            &json!({ "fw": { "value": "1.1" } }),
            &json!({ "fw": { "value": "1.1", "optional": true, "metadata": { "type": "string" } } }),
            &json!({ "fw": { "value": "1.1" } }),
        );
        check(
            &fw,
            &json!({ "fw": { "value": "1.0", "optional": false, "metadata": { "type": "int" } } }),
            &json!({ "fw": { "value": "1.0", "optional": false, "metadata": { "type": "int" } } }),
            &json!({ "fw": { "value": "1.0", "optional": false, "metadata": { "type": "int" } } }),
        );
        check(&fw, &json!({ "fw": null, "other": null }), &json!({}), &json!({ "fw": null }));
        let fixed = json!({ "fw": { "value": "1", "optional": false } });
        check(&fixed, &json!({ "fw": null }), &fixed, &json!({}));
        check(&fixed, &json!({ "fw": { "value": "1", "optional": true } }), &fixed, &json!({}));
        let bare = json!({ "fw": { "value": "1" } });
        check(&bare, &json!({ "fw": { "value": "1", "metadata": { "type": "string" } } }), &bare, &json!({}));
        check(&bare, &json!({ "fw": null }), &json!({}), &json!({ "fw": null }));
    }

    #[test]
    fn attributes_have_limits() {
        let attribute = |bytes| Attribute { value: "x".repeat(bytes), ..Attribute::default() };
        let many = |count: usize| (0..count).map(|n| (n.to_string(), attribute(1))).collect::<Attributes>();
        assert_eq!(excess(&many(ATTRIBUTES_MAX)), None);
        assert!(excess(&many(ATTRIBUTES_MAX + 1)).is_some());
        assert_eq!(excess(&Attributes::from([("a".to_owned(), attribute(ATTRIBUTES_BYTES_MAX - 1))])), None);
        assert!(excess(&Attributes::from([("a".to_owned(), attribute(ATTRIBUTES_BYTES_MAX))])).is_some());
    }
}

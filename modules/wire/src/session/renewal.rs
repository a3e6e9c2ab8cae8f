//! Leases in shorthand: of a lease that is renewed only its time is new.

use jiff::Timestamp;
use protocol::Object;
use serde_json::Value;

/// The longest step of a renewal that is said in shorthand.
const STEP_MAX_MS: u32 = 600_000;

/// The lease that the cloud last answered with, as both ends know it.
///
/// The edge says by how many milliseconds a renewal is later than it, and the cloud makes the whole lease
/// of that; where the answer is that lease again, the cloud says only that it is renewed. Versions and
/// managed fields are the API's and not compared: the edge's own stay those of the last whole answer.
#[derive(Debug, Default)]
pub struct Renewals {
    base: Option<Base>,
}

#[derive(Debug)]
struct Base {
    lease: Value,
    renewed: Timestamp,
}

impl Base {
    fn of(lease: Value) -> Option<Self> {
        let renewed = lease.pointer("/spec/renewTime")?.as_str()?.parse().ok()?;
        Some(Self { lease, renewed })
    }

    fn after(&self, step_ms: u32) -> Option<Value> {
        let at = self.renewed.checked_add(jiff::SignedDuration::from_millis(step_ms.into())).ok()?;
        let mut lease = self.lease.clone();
        *lease.pointer_mut("/spec/renewTime")? = format!("{at:.6}").into();
        Some(lease)
    }
}

impl Renewals {
    /// Takes an answer of the cloud, whichever: a lease is the one to go on from.
    pub fn answered(&mut self, object: &Object) {
        if object.kind() == Some("Lease") {
            self.base = object.value().ok().and_then(Base::of);
        }
    }

    /// Returns how many milliseconds later than the last lease this one is, if it is the same otherwise.
    #[must_use]
    pub fn shorten(&self, lease: &Object) -> Option<u32> {
        let base = self.base.as_ref()?;
        let lease = lease.value().ok()?;
        let renewed = Base::of(lease.clone())?.renewed;
        let step = u32::try_from(renewed.duration_since(base.renewed).as_millis()).ok()?;
        (step <= STEP_MAX_MS && is_same(&lease, &base.lease)).then_some(step)
    }

    /// Returns the lease that is so many milliseconds later; `None` if none is known.
    #[must_use]
    pub fn lengthen(&self, step_ms: u32) -> Option<Object> {
        if step_ms > STEP_MAX_MS {
            return None;
        }
        Object::from_value(&self.base.as_ref()?.after(step_ms)?).ok()
    }

    /// Tells whether an answer is the lease as it was asked for.
    #[must_use]
    pub fn is_as_asked(asked: &Object, answer: &Object) -> bool {
        let (Ok(asked), Ok(answer)) = (asked.value(), answer.value()) else { return false };
        asked.pointer("/spec/renewTime") == answer.pointer("/spec/renewTime") && is_same(&asked, &answer)
    }
}

/// Tells whether two leases differ at most in when they were renewed and in what the API writes.
fn is_same(one: &Value, other: &Value) -> bool {
    let stripped = |lease: &Value| {
        let mut lease = lease.clone();
        if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("renewTime");
        }
        if let Some(metadata) = lease.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
        }
        lease
    };
    stripped(one) == stripped(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(version: u32, renewed: &str) -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": "n", "namespace": "kube-node-lease", "resourceVersion": version.to_string() },
            "spec": { "holderIdentity": "n", "leaseDurationSeconds": 40, "renewTime": renewed },
        })
    }

    fn object(value: &Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn a_renewal_is_a_number_and_becomes_the_whole_lease_again() {
        let (mut edge, mut cloud) = (Renewals::default(), Renewals::default());
        let first = object(&lease(7, "2026-11-28T10:00:00.123456Z"));
        assert_eq!(edge.shorten(&first), None, "nothing is known yet");
        assert_eq!(cloud.lengthen(1), None);
        for end in [&mut edge, &mut cloud] {
            end.answered(&first);
        }
        let next = object(&lease(7, "2026-11-28T10:00:10.125999Z"));
        assert_eq!(edge.shorten(&next), Some(10_002));
        let whole = cloud.lengthen(10_002).expect("it is known");
        assert_eq!(whole.value().expect("JSON"), lease(7, "2026-11-28T10:00:10.125456Z"));
        let stored = object(&lease(8, "2026-11-28T10:00:10.125456Z"));
        assert!(Renewals::is_as_asked(&whole, &stored));
        cloud.answered(&stored);
        edge.answered(&edge.lengthen(10_002).expect("it is known"));
        let third = object(&lease(7, "2026-11-28T10:00:20.125999Z"));
        assert_eq!(edge.shorten(&third), Some(10_000));
        let whole = cloud.lengthen(10_000).expect("it is known");
        assert_eq!(whole.value().expect("JSON"), lease(8, "2026-11-28T10:00:20.125456Z"));
    }

    #[test]
    fn a_lease_that_is_another_is_said_whole() {
        let mut edge = Renewals::default();
        edge.answered(&object(&lease(7, "2026-11-28T10:00:00.000000Z")));
        let mut other = lease(7, "2026-11-28T10:00:10.000000Z");
        other["spec"]["leaseDurationSeconds"] = 50.into();
        assert_eq!(edge.shorten(&object(&other)), None);
        for far in ["2026-11-28T09:59:59.999000Z", "2026-11-28T11:00:00.000000Z", "x"] {
            assert_eq!(edge.shorten(&object(&lease(7, far))), None, "{far}");
        }
        assert_eq!(edge.lengthen(u32::MAX), None);
        let asked = object(&lease(7, "2026-11-28T10:00:10.000000Z"));
        assert!(!Renewals::is_as_asked(&asked, &object(&lease(8, "2026-11-28T10:00:11.000000Z"))));
        assert!(!Renewals::is_as_asked(&asked, &object(&other)));
        edge.answered(&object(&json!({ "kind": "Node", "metadata": { "name": "n" } })));
        assert!(edge.lengthen(0).is_some(), "only leases are taken");
    }
}

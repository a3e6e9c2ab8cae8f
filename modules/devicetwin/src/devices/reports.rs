//! What mappers report.

use protocol::DeviceId;
use protocol::device::payload::{Twin, TwinValue, Twins};
use protocol::device::{LocalTopic, ReportError, ReportedProperty};
use store::Batch;

use super::{Devices, Outcome};
use crate::answers::{self, Moment};
use crate::layout::{self, DEVICES};
use crate::limits::TWINS_MAX;
use crate::twin::{self, Slots};
use crate::{state, validate};

/// How many wrong properties of a report are named.
const NAMED_MAX: usize = 8;
/// The bytes of a wrong name that are repeated.
const REPEATED_CHARS_MAX: usize = 128;

impl Devices {
    /// Takes what a mapper reports. What is not allowed is left out and named.
    pub(crate) fn report_properties(
        &mut self,
        id: &DeviceId,
        properties: Vec<ReportedProperty>,
        moment: &Moment,
    ) -> Result<(Outcome, Option<ReportError>), ReportError> {
        let device = self.devices.get(id).ok_or_else(|| ReportError::NoDevice(id.clone()))?;
        if properties.len() > TWINS_MAX {
            let number = properties.len();
            let text = format!("a report has {number} properties, and a device has at most {TWINS_MAX}");
            return Err(ReportError::Invalid(text));
        }
        let mut request = Twins::new();
        let mut wrong = Vec::new();
        for property in properties {
            match checked(&device.twins, &property, moment.at_ms) {
                Ok(twin) => drop(request.insert(property.name, Some(twin))),
                Err(reason) => wrong.push((property.name, reason)),
            }
        }
        let wrong = (!wrong.is_empty()).then(|| ReportError::Invalid(listed(&wrong)));
        if request.is_empty() {
            return Ok((Outcome::default(), wrong));
        }
        // As KubeEdge's edgecore, which passes reports on as if they came by MQTT, with an empty event id.
        let outcome = self.change_twins(id, "", &request, moment);
        Ok((outcome.map_err(|(_, reason)| ReportError::Invalid(reason))?, wrong))
    }

    /// Takes the state of a device.
    pub(crate) fn report_state(
        &mut self,
        id: &DeviceId,
        state: &str,
        moment: &Moment,
    ) -> Result<Outcome, ReportError> {
        let device = self.devices.get_mut(id).ok_or_else(|| ReportError::NoDevice(id.clone()))?;
        let Some(last_online) = state::last_online(state, moment.at_ms) else {
            let shown: String = state.chars().take(REPEATED_CHARS_MAX).collect();
            let known = state::KNOWN.join(", ");
            return Err(ReportError::Invalid(format!(
                "{shown:?} is no state of a device: it is one of {known}"
            )));
        };
        device.head.state = state.to_owned();
        device.head.last_online = last_online;
        device.changes += 1;
        device.head.state_changed = device.changes;
        let told = device.told_locally(id, moment);
        let topic = LocalTopic::StateResult(id.clone());
        Ok(Outcome {
            batch: Batch::new().put(DEVICES, layout::device_key(id), layout::head(&device.head)),
            news: Some(id.clone()),
            ..Outcome::told(answers::publish(topic, &told))
        })
    }
}

/// Returns what one property asks to be changed, if that is allowed.
fn checked(held: &Slots, property: &ReportedProperty, at_ms: i64) -> Result<Twin, &'static str> {
    let value = |value: &String| TwinValue { value: Some(value.clone()), metadata: None };
    let is_wanted = |name: &str| held.get(name).is_some_and(|slot| slot.twin.expected.is_some());
    // A mapper that knows of no value that is wanted says an empty one. That takes away the one that was
    // wanted before, and otherwise says nothing.
    let desired =
        property.observed_desired.as_ref().filter(|desired| !desired.is_empty() || is_wanted(&property.name));
    let twin = Twin {
        expected: desired.map(value),
        actual: property.reported.as_ref().map(value),
        ..Twin::default()
    };
    if property.reported.is_none() && property.observed_desired.is_none() {
        return Err("it has neither a reported nor a desired value");
    }
    let request = Twins::from([(property.name.clone(), Some(twin.clone()))]);
    validate::check(&request)?;
    twin::update(held, &request, at_ms)?;
    Ok(twin)
}

fn listed(wrong: &[(String, &'static str)]) -> String {
    let shown = wrong.iter().take(NAMED_MAX).map(|(name, reason)| {
        let name: String = name.chars().take(REPEATED_CHARS_MAX).collect();
        format!("property {name:?}: {reason}")
    });
    let mut text = shown.collect::<Vec<_>>().join("; ");
    if let Some(more) = wrong.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use protocol::device::DeviceCall;

    use super::*;
    use crate::devices::tests::{id, moment, with};

    fn property(name: &str, reported: Option<&str>, desired: Option<&str>) -> ReportedProperty {
        let text = |value: Option<&str>| value.map(ToOwned::to_owned);
        ReportedProperty { name: name.to_owned(), reported: text(reported), observed_desired: text(desired) }
    }

    fn report(devices: &mut Devices, properties: Vec<ReportedProperty>) -> (Outcome, Option<String>) {
        let (outcome, wrong) =
            devices.report_properties(&id("t1"), properties, &moment()).expect("the device is there");
        (outcome, wrong.map(|wrong| wrong.to_string()))
    }

    fn halves(devices: &Devices, name: &str) -> (Option<String>, Option<String>) {
        let twin = &devices.devices[&id("t1")].twins[name].twin;
        let value = |half: &Option<TwinValue>| half.as_ref().and_then(|half| half.value.clone());
        (value(&twin.expected), value(&twin.actual))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn both_halves_of_a_report_are_kept_and_a_missing_half_is_left_as_it_is() {
        let mut devices = with("t1");
        let (outcome, wrong) = report(&mut devices, vec![property("x", Some("1"), Some("2"))]);
        assert_eq!((wrong, outcome.local.is_empty(), outcome.batch.writes().len()), (None, false, 1));
        assert_eq!(halves(&devices, "x"), (some("2"), some("1")));
        report(&mut devices, vec![property("x", Some("3"), None)]);
        assert_eq!(halves(&devices, "x"), (some("2"), some("3")));
        report(&mut devices, vec![property("x", None, Some("4"))]);
        assert_eq!(halves(&devices, "x"), (some("4"), some("3")));
    }

    #[test]
    fn an_empty_desired_value_takes_one_away_and_makes_none() {
        let mut devices = with("t1");
        report(&mut devices, vec![property("x", Some("1"), Some(""))]);
        assert_eq!(halves(&devices, "x"), (None, some("1")));
        report(&mut devices, vec![property("x", Some("1"), Some("2"))]);
        report(&mut devices, vec![property("x", Some("1"), Some(""))]);
        assert_eq!(halves(&devices, "x"), (some(""), some("1")));
    }

    #[test]
    fn what_is_wrong_is_named_and_the_rest_is_kept() {
        let mut devices = with("t1");
        let (outcome, wrong) = report(
            &mut devices,
            vec![property("a b", Some("1"), None), property("x", Some("1"), None), property("y", None, None)],
        );
        let wrong = wrong.expect("two are wrong");
        assert!(wrong.starts_with("property \"a b\": The key of twin must only include"), "{wrong}");
        assert!(
            wrong.ends_with("; property \"y\": it has neither a reported nor a desired value"),
            "{wrong}"
        );
        assert_eq!((outcome.batch.writes().len(), halves(&devices, "x")), (1, (None, some("1"))));
        let many = (0..10).map(|number| property(&format!(" {number}"), Some("1"), None)).collect();
        let (outcome, wrong) = report(&mut devices, many);
        assert!(wrong.is_some_and(|wrong| wrong.ends_with("; and 2 more")));
        assert!(outcome.batch.writes().is_empty() && outcome.local.is_empty());
    }

    #[test]
    fn what_is_not_allowed_is_named_and_changes_nothing() {
        let mut devices = with("t1");
        let update = br#"{"twin":{"x":{"actual":{"value":"1"},"metadata":{"type":"int"}}}}"#;
        devices.call(&DeviceCall::UpdateTwins(id("t1")), update, &moment());
        let before = format!("{:?}", devices.devices);
        let (key, value) = ("The key of twin must only include", "The value of twin must only include");
        let (long_key, long_value) = ("k".repeat(129), "v".repeat(513));
        for (wrong, reason) in [
            (property("", Some("1"), None), key),
            (property("a b", Some("1"), None), key),
            (property(&long_key, Some("1"), None), key),
            (property("y", Some("a b"), None), value),
            (property("y", Some(&long_value), None), value),
            (property("y", Some("1"), Some("{}")), value),
            (property("x", Some("warm"), None), "the value is not int or integer"),
            (property("x", Some("2"), Some("warm")), "the value is not int or integer"),
            (property("y", None, None), "it has neither a reported nor a desired value"),
        ] {
            let (outcome, refused) = report(&mut devices, vec![wrong.clone()]);
            let refused = refused.expect("it is refused");
            assert!(refused.contains(reason) && refused.len() < 512, "{wrong:?}: {refused}");
            assert!(outcome.batch.writes().is_empty() && outcome.local.is_empty() && outcome.news.is_none());
            assert_eq!(format!("{:?}", devices.devices), before, "{wrong:?}");
        }
        let many = (0..=TWINS_MAX).map(|number| property(&number.to_string(), Some("1"), None)).collect();
        let refused = devices.report_properties(&id("t1"), many, &moment()).map(|_| ());
        assert!(matches!(refused, Err(ReportError::Invalid(_))), "{refused:?}");
        for state in ["", "disconnected", "online ", &"o".repeat(1000)] {
            let refused = devices.report_state(&id("t1"), state, &moment()).map(|_| ());
            assert!(matches!(&refused, Err(ReportError::Invalid(text)) if text.len() < 512), "{refused:?}");
        }
        assert_eq!(format!("{:?}", devices.devices), before);
    }

    #[test]
    fn a_device_that_is_not_there_and_a_state_that_is_none_are_refused() {
        let mut devices = with("t1");
        let other = id("t2");
        let refused = devices.report_properties(&other, Vec::new(), &moment()).map(|_| ());
        assert_eq!(refused, Err(ReportError::NoDevice(other.clone())));
        let refused = devices.report_state(&other, "ok", &moment()).map(|_| ());
        assert_eq!(refused, Err(ReportError::NoDevice(other)));
        let refused = devices.report_state(&id("t1"), "disconnected", &moment()).map(|_| ());
        let text = refused.expect_err("it is none").to_string();
        assert_eq!(
            text,
            "\"disconnected\" is no state of a device: it is one of online, ok, offline, unknown, unhealthy"
        );
        assert!(devices.report_state(&id("t1"), "Online", &moment()).is_ok());
        assert_eq!(devices.devices[&id("t1")].head.state, "Online");
    }
}

//! What mappers report.

use std::time::Duration;

use beehive::{AskError, Bus, Context};
use dmi_proto::v1beta1::{ReportDeviceStatesRequest, ReportDeviceStatusRequest, Twin};
use protocol::device::{ReportError, ReportProperties, ReportState, ReportedProperty};
use protocol::{DeviceId, group};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::Dmi;
use crate::bucket::Bucket;
use crate::ports::{Answer, Cause, Refusal};

/// How long the device twins may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Dmi {
    /// Passes values of a device on.
    pub(crate) fn report_status(
        &mut self,
        request: ReportDeviceStatusRequest,
        answer: Answer<()>,
        place: OwnedSemaphorePermit,
        cx: &mut Context<Self>,
    ) {
        let ReportDeviceStatusRequest { device_name, reported_device, device_namespace } = request;
        let twins = reported_device.map(|status| status.twins).unwrap_or_default();
        let device = match self.check(&device_namespace, &device_name, cx.now()) {
            Ok(_) if twins.is_empty() => {
                Err(Refusal::new(Cause::Invalid, "the report has no twins (reportedDevice.twins)"))
            }
            checked => checked,
        };
        let device = match device {
            Ok(device) => device,
            Err(refusal) => return answer.reply(Err(refusal)),
        };
        let properties = twins.into_iter().map(property).collect();
        let (bus, report) = (cx.bus().clone(), ReportProperties { device, properties });
        cx.spawn(async move {
            let done = bus.to(group::TWIN).ask(report).within(ANSWER_WITHIN).await;
            answer.reply(in_words(done));
            drop(place);
        });
    }

    /// Passes the state of a device on.
    pub(crate) fn report_state(
        &mut self,
        request: ReportDeviceStatesRequest,
        answer: Answer<()>,
        place: OwnedSemaphorePermit,
        cx: &mut Context<Self>,
    ) {
        let ReportDeviceStatesRequest { device_name, device_namespace, state } = request;
        let device = match self.check(&device_namespace, &device_name, cx.now()) {
            Ok(device) => device,
            Err(refusal) => return answer.reply(Err(refusal)),
        };
        let bus: Bus = cx.bus().clone();
        cx.spawn(async move {
            let done = bus.to(group::TWIN).ask(ReportState { device, state }).within(ANSWER_WITHIN).await;
            answer.reply(in_words(done));
            drop(place);
        });
    }

    /// Returns the device that a report is about, if its mapper may report now.
    fn check(&mut self, namespace: &str, name: &str, now: Instant) -> Result<DeviceId, Refusal> {
        let device = DeviceId::parse(namespace, name);
        let protocol =
            device.as_ref().ok().and_then(|id| self.inventory.protocol(&id.key()).map(str::to_owned));
        self.check_rate(protocol.as_deref(), now)?;
        device.map_err(|error| Refusal::new(Cause::Invalid, format!("the report names no device: {error}")))
    }

    /// Refuses what comes more often than a mapper may report.
    pub(crate) fn check_rate(&mut self, protocol: Option<&str>, now: Instant) -> Result<(), Refusal> {
        let (rate, burst) = (self.config.reports_per_second, self.config.report_burst);
        let full = || Bucket::new(rate, burst, now);
        let protocol = protocol.filter(|protocol| self.lines.contains_key(*protocol));
        let bucket = match protocol {
            Some(protocol) => self.buckets.entry(protocol.to_owned()).or_insert_with(full),
            None => self.others.get_or_insert_with(full),
        };
        if bucket.take(now) {
            return Ok(());
        }
        let text = format!(
            "a mapper may report {rate} times a second and this one did more often: report less, \
             or raise modules.dmi.reportsPerSecond"
        );
        Err(Refusal::new(Cause::TooMany, text))
    }
}

/// A half that is missing says nothing.
fn property(twin: Twin) -> ReportedProperty {
    ReportedProperty {
        name: twin.property_name,
        reported: twin.reported.map(|value| value.value),
        observed_desired: twin.observed_desired.map(|value| value.value),
    }
}

fn in_words(done: Result<Result<(), ReportError>, AskError>) -> Result<(), Refusal> {
    match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let cause = match error {
                ReportError::NoDevice(_) => Cause::NotFound,
                ReportError::Invalid(_) => Cause::Invalid,
                ReportError::Store(_) => Cause::Unavailable,
            };
            Err(Refusal::new(cause, error.to_string()))
        }
        Err(error) => Err(Refusal::new(Cause::Unavailable, error.to_string())),
    }
}

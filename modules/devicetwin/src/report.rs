//! Reports to the cloud.

use std::time::Duration;

use beehive::{AskError, Bus, Context, Failure, Handler, Message};
use protocol::edge::{AskCloud, CloudError, LinkUp};
use protocol::{ApiStatus, DeviceId, NodeReply, NodeRequest, group};
use tokio::time::Instant;

use crate::DeviceTwin;
use crate::device::Confirmed;
use crate::reporter::Verdict;

/// How long it may take until it is on disk that the cloud knows all of a device. By then others have
/// come to be written with it, or there is news of it and it need not be written.
const NOTE_AFTER: Duration = Duration::from_secs(1);
/// How long the cloud may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A report may begin.
#[derive(Debug, Clone, Message)]
pub(crate) struct Due;

/// It is time to write what the cloud knows.
#[derive(Debug, Clone, Message)]
pub(crate) struct Note;

/// A report ended.
#[derive(Debug, Message)]
pub(crate) struct Reported {
    device: DeviceId,
    incarnation: u64,
    /// How often devices had been read from the store when it began.
    reading: u64,
    knows: Confirmed,
    end: End,
}

/// How a report ended.
#[derive(Debug)]
enum End {
    Told,
    /// What was to be told is not on disk.
    NotKept,
    NoAnswer(String),
    Offline,
    /// The cloud knows no such device, or no such report.
    Unknown(String),
    Refused(ApiStatus),
}

impl Handler<Due> for DeviceTwin {
    async fn handle(&mut self, _: Due, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.wake = None;
        self.report_due(cx);
        Ok(())
    }
}

impl Handler<LinkUp> for DeviceTwin {
    async fn handle(&mut self, _: LinkUp, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.reporter.link_up(cx.now());
        self.report_due(cx);
        Ok(())
    }
}

impl Handler<Reported> for DeviceTwin {
    async fn handle(&mut self, reported: Reported, cx: &mut Context<Self>) -> Result<(), Failure> {
        if reported.reading == self.reading {
            let verdict = self.take_end(&reported, cx);
            let roll = rand::Rng::random(cx.rng());
            self.reporter.finished(&reported.device, verdict, cx.now(), roll);
        }
        self.report_due(cx);
        Ok(())
    }
}

impl Handler<Note> for DeviceTwin {
    async fn handle(&mut self, _: Note, _: &mut Context<Self>) -> Result<(), Failure> {
        self.note_known();
        Ok(())
    }
}

impl DeviceTwin {
    /// Writes what the cloud knows.
    pub(crate) fn note_known(&mut self) {
        let batch = self.devices.confirmations(&std::mem::take(&mut self.known));
        self.keeper.note(batch);
    }

    /// Begins the reports that may begin.
    pub(crate) fn report_due(&mut self, cx: &mut Context<Self>) {
        let now = cx.now();
        while let Some(id) = self.reporter.take(now) {
            let moment = Self::moment(cx);
            match self.devices.report(&id, &moment) {
                Some(report) => self.begin_report(id, report, cx),
                None => self.reporter.finished(&id, Verdict::Told { more: false }, now, 0),
            }
        }
        self.wake_at(self.reporter.wake(), cx);
    }

    fn begin_report(&mut self, device: DeviceId, report: crate::device::Report, cx: &mut Context<Self>) {
        let crate::device::Report { request, knows, incarnation } = report;
        let (kept, reading) = (self.keeper.pass(), self.reading);
        let (bus, me) = (cx.bus().clone(), cx.me());
        cx.spawn(async move {
            // The cloud never knows what a crash could take from the edge.
            let mut end = if kept.await.is_ok() { ask(&bus, request).await } else { End::NotKept };
            if bus.buggify("devicetwin.report-repeated") {
                end = End::NoAnswer("a simulation keeps the answer back".to_owned());
            }
            if me.send(Reported { device, incarnation, reading, knows, end }).await.is_err() {
                tracing::debug!("the device twins stopped before they could take the cloud's answer");
            }
        });
    }

    /// Has itself told when there is something to report, unless that is set for an earlier time.
    fn wake_at(&mut self, at: Option<Instant>, cx: &mut Context<Self>) {
        let Some(at) = at else { return };
        if let Some((set, timer)) = self.wake {
            if set <= at {
                return;
            }
            cx.cancel(timer);
        }
        self.wake = Some((at, cx.after(at.saturating_duration_since(cx.now()), Due)));
    }

    fn take_end(&mut self, reported: &Reported, cx: &mut Context<Self>) -> Verdict {
        let Reported { device: id, incarnation, knows, end, .. } = reported;
        let verdict = match end {
            End::Told => {
                let knows_all = self.devices.confirm(id, *incarnation, *knows);
                if knows_all {
                    if self.known.is_empty() {
                        cx.after(NOTE_AFTER, Note);
                    }
                    self.known.insert(id.clone());
                }
                if let Some(device) = self.devices.same(id, *incarnation) {
                    device.is_refused = false;
                }
                return Verdict::Told { more: !knows_all };
            }
            End::NotKept => return Verdict::Failed,
            End::Offline => return Verdict::Offline,
            End::NoAnswer(cause) => {
                tracing::debug!(device = %id, cause, "the cloud did not take a report");
                return Verdict::Failed;
            }
            End::Unknown(_) => Verdict::Unwanted,
            End::Refused(status) if status.is_temporary() => {
                tracing::debug!(device = %id, %status, "the cloud does not take a report yet");
                return Verdict::Failed;
            }
            End::Refused(status) if status.is_not_found() => Verdict::Unwanted,
            End::Refused(_) => Verdict::Failed,
        };
        let Some(device) = self.devices.same(id, *incarnation) else { return verdict };
        if !std::mem::replace(&mut device.is_refused, true) {
            let cause = match end {
                End::Refused(status) => status.to_string(),
                End::Unknown(cause) => cause.clone(),
                _ => String::new(),
            };
            tracing::warn!(device = %id, cause, "the cloud refuses reports of a device");
        }
        verdict
    }
}

async fn ask(bus: &Bus, request: NodeRequest) -> End {
    match bus.to(group::HUB).ask(AskCloud(request)).within(ANSWER_WITHIN).await {
        Ok(Ok(NodeReply::Refused(status))) => End::Refused(status),
        Ok(Ok(_)) => End::Told,
        Ok(Err(CloudError::Disconnected)) | Err(AskError::NobodyServes { .. }) => End::Offline,
        Ok(Err(CloudError::Unsupported(cause))) => End::Unknown(cause),
        Ok(Err(error)) => End::NoAnswer(error.to_string()),
        Err(error) => End::NoAnswer(error.to_string()),
    }
}

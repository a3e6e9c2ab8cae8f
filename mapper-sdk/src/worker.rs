//! The task of one device.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dmi_proto::v1beta1 as dmi;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::device::{Device, Property};
use crate::driver::{Driver, DriverError};
use crate::edge::Edge;
use crate::host::Host;
use crate::push::{Pushers, Sample};
use crate::schedule::{Job, Schedule};
use crate::value::Value;

/// How long a device may take for one thing.
const DRIVER_WITHIN: Duration = Duration::from_secs(10);
/// The pauses before a device is opened again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The last values of a device's properties.
pub(crate) type Latest = Arc<Mutex<BTreeMap<String, String>>>;

/// The task of one device.
pub(crate) struct Worker<D: Driver> {
    pub(crate) driver: Arc<D>,
    pub(crate) device: Device,
    pub(crate) edge: Edge,
    pub(crate) host: Host,
    pub(crate) latest: Latest,
}

/// What the task knows while its device is open.
struct Session<H> {
    handle: H,
    /// Properties whose wanted value is still to be written.
    unwritten: BTreeSet<usize>,
    /// What failed last time, so that the log says it once.
    failing: BTreeSet<String>,
    pushers: Pushers,
}

impl<D: Driver> Worker<D> {
    /// Works until it is told to stop.
    pub(crate) async fn run(&self, stop: &mut oneshot::Receiver<()>) {
        let id = self.device.id();
        let mut failures: u32 = 0;
        loop {
            let opened = tokio::select! {
                biased;
                _ = &mut *stop => return,
                opened = limited(self.driver.open(&self.device)) => opened,
            };
            match opened {
                Ok(handle) => {
                    tracing::info!(device = id, "a device is open");
                    let since = Instant::now();
                    match self.serve(handle, stop).await {
                        None => return,
                        Some(cause) => tracing::warn!(device = id, cause, "a device was lost"),
                    }
                    failures = if since.elapsed() > PAUSES.1 { 1 } else { failures.saturating_add(1) };
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures.is_power_of_two() {
                        tracing::warn!(device = id, %error, failures, "a device cannot be opened");
                    }
                }
            }
            let said = self.say_offline();
            tokio::select! {
                biased;
                _ = &mut *stop => return,
                () = async { tokio::join!(said, sleep(pause(failures))); } => {}
            }
        }
    }

    async fn say_offline(&self) {
        if self.device.state_cycle.is_some() {
            drop(self.edge.report_state(self.state_of("offline")).await);
        }
    }

    /// Works with an open device. Returns why it was lost; nothing if that is the end.
    async fn serve(&self, handle: D::Handle, stop: &mut oneshot::Receiver<()>) -> Option<String> {
        let wanted = self.device.properties.iter().enumerate();
        let wanted = wanted.filter(|(_, property)| property.is_writable && !property.desired.is_empty());
        let unwritten = wanted.map(|(number, _)| number).collect();
        let pushers = Pushers::start(&self.device, &self.host);
        let mut session = Session { handle, unwritten, failing: BTreeSet::new(), pushers };
        let mut schedule = Schedule::of(&self.device, Instant::now());
        loop {
            let next = schedule.next_at().unwrap_or_else(|| Instant::now() + PAUSES.1);
            let working = async {
                sleep_until(next).await;
                for job in schedule.take(Instant::now()) {
                    self.work(job, &mut session).await?;
                }
                Ok::<(), String>(())
            };
            let lost = tokio::select! {
                biased;
                _ = &mut *stop => None,
                worked = working => match worked {
                    Ok(()) => continue,
                    Err(cause) => Some(cause),
                },
            };
            if timeout(DRIVER_WITHIN, self.driver.close(session.handle)).await.is_err() {
                tracing::warn!(device = self.device.id(), "a device could not be closed in time");
            }
            return lost;
        }
    }

    /// Does one thing. Fails if the device is lost.
    async fn work(&self, job: Job, session: &mut Session<D::Handle>) -> Result<(), String> {
        match job {
            Job::Write => self.write_wanted(session).await,
            Job::State => {
                let state = limited(self.driver.state(&mut session.handle)).await;
                if let Some(state) = self.noted("state", state, session)? {
                    let said = self.edge.report_state(self.state_of(&state)).await;
                    self.note_report("report of the state", said, session);
                }
                Ok(())
            }
            Job::Report(number) => {
                let Some((property, value)) = self.read(number, session).await? else { return Ok(()) };
                let said = self.edge.report_status(self.report_of(property, &value)).await;
                self.note_report(&format!("report of {}", property.name), said, session);
                Ok(())
            }
            Job::Push(number) => {
                let Some((property, value)) = self.read(number, session).await? else { return Ok(()) };
                session.pushers.push(
                    number,
                    Sample {
                        namespace: self.device.namespace.clone(),
                        device: self.device.name.clone(),
                        property: property.name.clone(),
                        value,
                        at_ms: self.host.now_ms(),
                    },
                );
                Ok(())
            }
        }
    }

    async fn read(
        &self,
        number: usize,
        session: &mut Session<D::Handle>,
    ) -> Result<Option<(&Property, Value)>, String> {
        let Some(property) = self.device.properties.get(number) else { return Ok(None) };
        let read = limited(self.driver.read(&mut session.handle, property)).await;
        let value = self.noted(&property.name, read, session)?;
        if let Some(value) = &value {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.insert(property.name.clone(), value.to_string());
        }
        Ok(value.map(|value| (property, value)))
    }

    /// Writes what is wanted and was not taken yet.
    async fn write_wanted(&self, session: &mut Session<D::Handle>) -> Result<(), String> {
        for number in session.unwritten.clone() {
            let Some(property) = self.device.properties.get(number) else { continue };
            let done = match Value::parse(property.kind, &property.desired) {
                Ok(value) => limited(self.driver.write(&mut session.handle, property, &value)).await,
                // It stays wrong until the device is told anew.
                Err(error) => Err(DriverError::Failed(error.to_string())),
            };
            if self.noted(&format!("desired value of {}", property.name), done, session)?.is_some() {
                session.unwritten.remove(&number);
            }
        }
        Ok(())
    }

    /// Says what failed, once, and fails itself if the device is lost.
    fn noted<T>(
        &self,
        what: &str,
        done: Result<T, DriverError>,
        session: &mut Session<D::Handle>,
    ) -> Result<Option<T>, String> {
        match done {
            Ok(done) => {
                session.failing.remove(what);
                Ok(Some(done))
            }
            Err(DriverError::Failed(cause)) => {
                if session.failing.insert(what.to_owned()) {
                    tracing::warn!(device = self.device.id(), what, cause, "a device failed");
                }
                Ok(None)
            }
            Err(DriverError::Disconnected(cause)) => Err(cause),
        }
    }

    fn note_report(&self, what: &str, said: Result<(), tonic::Status>, session: &mut Session<D::Handle>) {
        match said {
            Ok(()) => drop(session.failing.remove(what)),
            Err(status) => {
                if session.failing.insert(what.to_owned()) {
                    let (code, cause) = (status.code(), status.message().to_owned());
                    tracing::warn!(
                        device = self.device.id(),
                        what,
                        ?code,
                        cause,
                        "edgecore did not take a report"
                    );
                }
            }
        }
    }

    fn state_of(&self, state: &str) -> dmi::ReportDeviceStatesRequest {
        dmi::ReportDeviceStatesRequest {
            device_name: self.device.name.clone(),
            device_namespace: self.device.namespace.clone(),
            state: state.to_owned(),
        }
    }

    fn report_of(&self, property: &Property, value: &Value) -> dmi::ReportDeviceStatusRequest {
        let at = self.host.now_ms().to_string();
        let metadata: BTreeMap<String, String> =
            [("timestamp".to_owned(), at), ("type".to_owned(), property.type_name.clone())].into();
        let twin = |value: String| Some(dmi::TwinProperty { value, metadata: metadata.clone() });
        let twins = vec![dmi::Twin {
            property_name: property.name.clone(),
            reported: twin(value.to_string()),
            observed_desired: twin(property.desired.clone()),
        }];
        dmi::ReportDeviceStatusRequest {
            device_name: self.device.name.clone(),
            device_namespace: self.device.namespace.clone(),
            reported_device: Some(dmi::DeviceStatus { twins, ..dmi::DeviceStatus::default() }),
        }
    }
}

/// A device that does not answer is lost.
async fn limited<T>(doing: impl Future<Output = Result<T, DriverError>>) -> Result<T, DriverError> {
    match timeout(DRIVER_WITHIN, doing).await {
        Ok(done) => done,
        Err(_) => Err(DriverError::Disconnected(format!("no answer within {DRIVER_WITHIN:?}"))),
    }
}

fn pause(failures: u32) -> Duration {
    PAUSES.0.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSES.1)
}

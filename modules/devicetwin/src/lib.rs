//! The twins of an edge's devices.
//!
//! The device twins keep what devices reported and what is wanted of them, and answer local clients at
//! once, with the cloud or without it. What changed is told the cloud as it is by then: one report of a
//! device at a time, at a bounded rate, and again until the cloud has it.

mod answers;
mod attributes;
mod config;
mod desired;
mod device;
mod devices;
mod keeper;
mod layout;
mod limits;
mod load;
mod membership;
mod report;
mod reporter;
mod requests;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod twin;
mod validate;

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use beehive::{
    BuildError, Context, Defer, Failure, Group, Handler, Message, Module, ModuleName, Responder, TimerKey,
    Wiring,
};
use protocol::device::{
    CallDevice, DesireTwin, DeviceCall, PublishLocal, ReportProperties, ReportState, TwinReported,
};
use protocol::edge::{AskCloud, LinkUp, ListHeld, ListObjects, MetaError, ObjectChanged};
use protocol::{DeviceId, group};
use store::{SharedMedium, SharedStore};
use tokio::time::{Instant, timeout};

use crate::answers::Moment;
pub use crate::config::DeviceTwinConfig;
use crate::devices::{Devices, Outcome};
use crate::keeper::{Asker, Keeper};
use crate::membership::{Absent, Compare, Listed};
use crate::report::{Due, Note, Reported};
use crate::reporter::Reporter;

/// How long a stop waits for the disk.
const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// The module.
#[derive(Debug)]
pub struct DeviceTwin {
    config: DeviceTwinConfig,
    medium: SharedMedium,
    /// The opening that the devices were read from.
    store: SharedStore,
    /// How often they were read.
    reading: u64,
    /// Whether they were read after a write had failed.
    is_read_back: bool,
    devices: Devices,
    keeper: Keeper,
    reporter: Reporter,
    /// Devices of which the cloud knows all, and that is not written yet.
    known: BTreeSet<DeviceId>,
    /// When the next report may begin, if that is set.
    wake: Option<(Instant, TimerKey)>,
}

/// The store was opened anew after a write failed.
#[derive(Debug, Message)]
struct Reopened;

impl Module for DeviceTwin {
    const NAME: ModuleName = ModuleName::new("devicetwin");
    const GROUP: Group = group::TWIN;
    const SECTION: &'static str = "deviceTwin";
    type Config = DeviceTwinConfig;
    type Ports = SharedMedium;

    fn build(config: DeviceTwinConfig, medium: SharedMedium) -> Result<Self, BuildError> {
        let store = medium.store();
        let keeper = Keeper::new(store.clone());
        let reporter = Reporter::new(config.report_interval);
        let (devices, reading, is_read_back) = (Devices::default(), 0, false);
        Ok(Self {
            config,
            medium,
            store,
            reading,
            is_read_back,
            devices,
            keeper,
            reporter,
            known: BTreeSet::new(),
            wake: None,
        })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.defers::<CallDevice>().defers::<DesireTwin>();
        wiring.defers::<ReportProperties>().defers::<ReportState>();
        wiring.handles::<ObjectChanged>().handles::<LinkUp>();
        wiring.handles::<Compare>().handles::<Listed>().handles::<Absent>();
        wiring.handles::<Due>().handles::<Reported>().handles::<Note>().handles::<Reopened>();
        wiring.asks::<ListObjects>(group::META).asks::<ListHeld>(group::META);
        wiring.may_ask::<AskCloud>(group::HUB).may_ask::<PublishLocal>(group::BUS);
        wiring.publishes::<TwinReported>();
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.keeper.start(cx);
        self.open(cx).await
    }

    async fn stopping(&mut self, _: &mut Context<Self>) {
        self.note_known();
        if timeout(STOP_TIMEOUT, self.keeper.pass()).await.is_err() {
            tracing::debug!("the disk did not take all changes of devices in time");
        }
    }
}

impl DeviceTwin {
    /// Reads the newest opening of the store, and has itself told when there is another.
    async fn open(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.store = self.medium.store();
        self.keeper.use_store(self.store.clone());
        self.is_read_back = false;
        self.read(cx).await?;
        tracing::info!(devices = self.devices.len(), "read the devices of the edge store");
        let (over, me) = (self.store.over(), cx.me());
        cx.spawn(async move {
            over.await;
            if me.send(Reopened).await.is_err() {
                tracing::debug!(
                    "the device twins stopped before they could hear that their store is open anew"
                );
            }
        });
        self.compare(cx);
        Ok(())
    }

    async fn read(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.reading += 1;
        self.known.clear();
        self.devices = load::load(&*self.store).await.map_err(Failure::because)?;
        self.reporter = Reporter::new(self.config.report_interval);
        for id in self.devices.news() {
            self.reporter.changed(id, cx.now());
        }
        self.report_due(cx);
        Ok(())
    }

    /// Begins anew with what the store holds if it was opened anew, or if a write to it failed.
    async fn read_anew(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        if self.store.is_over() {
            return self.open(cx).await;
        }
        if self.keeper.has_failed() && !self.is_read_back {
            self.is_read_back = true;
            return self.read(cx).await;
        }
        Ok(())
    }

    fn moment(cx: &mut Context<Self>) -> Moment {
        let at = cx.wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        Moment { at_ms, fresh: uuid::Uuid::from_bytes(cx.uuid()).to_string() }
    }

    /// Keeps what a call does, and has the cloud told of it.
    fn keep(
        &mut self,
        place: keeper::Place,
        outcome: Outcome,
        asker: Asker,
        at_ms: i64,
        cx: &mut Context<Self>,
    ) {
        let news = outcome.news.clone();
        self.keeper.keep(place, outcome, asker, at_ms);
        if let Some(news) = news {
            self.reporter.changed(&news, cx.now());
            self.report_due(cx);
        }
    }
}

impl Handler<Reopened> for DeviceTwin {
    async fn handle(&mut self, _: Reopened, cx: &mut Context<Self>) -> Result<(), Failure> {
        self.read_anew(cx).await
    }
}

impl Defer<CallDevice> for DeviceTwin {
    async fn handle(
        &mut self,
        CallDevice { call, payload }: CallDevice,
        responder: Responder<Result<(), MetaError>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        self.read_anew(cx).await?;
        let asker = Asker::Call(responder);
        let place = self.keeper.place().filter(|_| !cx.buggify("devicetwin.queue-full"));
        let Some(place) = place else {
            asker.reply(Err(keeper::overfull()));
            return Ok(());
        };
        let moment = Self::moment(cx);
        let reads = matches!(call, DeviceCall::GetTwins(_) | DeviceCall::GetMembership);
        if self.keeper.has_failed() && !reads {
            let outcome = Outcome { asker: devices::asker(&call, &payload), ..Outcome::default() };
            self.keeper.refuse(place, outcome, asker, moment.at_ms);
            return Ok(());
        }
        let outcome = self.devices.call(&call, &payload, &moment);
        self.keep(place, outcome, asker, moment.at_ms, cx);
        Ok(())
    }
}

//! A node's device mappers.
//!
//! A mapper is a program beside the node that speaks the protocol of some devices. It registers itself, is
//! told the devices of its protocol and every change of them, and reports what they measure. The module
//! remembers on disk who registered and what each was told, so that after a restart of either side only
//! differences are told; what a mapper misses while it is away is told when it is back. Reports go to the
//! device twins and are answered when they are on disk. See docs/dmi.md.

mod bucket;
mod config;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod fingerprint;
mod intake;
mod inventory;
mod line;
mod listing;
mod load;
mod mapper;
pub mod memory;
mod message;
pub mod ports;
mod register;
mod report;
mod tell;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use beehive::{BuildError, Context, Failure, Group, Handler, Message, Module, ModuleName, TimerKey, Wiring};
use protocol::device::{ReportProperties, ReportState};
use protocol::edge::{ListHeld, ListObjects, ObjectChanged};
use protocol::{ChangeKind, ObjectKey, ResourceType, group};
use store::Batch;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::bucket::Bucket;
pub use crate::config::DmiConfig;
use crate::intake::{Arrived, Intake};
use crate::inventory::{Inventory, Touched};
use crate::line::Line;
use crate::listing::{Compare, Listed};
pub use crate::ports::Ports;
use crate::tell::{Due, Ended};

/// Calls of mappers that are taken at a time.
const CALLS_MAX: usize = 256;

/// The module.
///
/// It belongs to the group of the device twins: in KubeEdge it is a worker of theirs.
#[derive(Debug)]
pub struct Dmi {
    config: DmiConfig,
    ports: Ports,
    inventory: Inventory,
    /// The mapper of each protocol.
    lines: BTreeMap<String, Line>,
    /// How many mappers were known so far.
    generations: u64,
    /// How often each protocol's mapper may report.
    buckets: BTreeMap<String, Bucket>,
    /// How often mappers may register, and report what is no device.
    others: Option<Bucket>,
    places: Arc<Semaphore>,
    /// What changed since the objects that are being listed were asked for.
    changed: Option<BTreeSet<ObjectKey>>,
    /// When the next call may begin, if that is set.
    wake: Option<(Instant, TimerKey)>,
    /// Begins to listen: a mapper that registers before the devices are known would be told that it has none.
    known: Option<oneshot::Sender<()>>,
}

/// The store was opened anew after a write failed.
#[derive(Debug, Message)]
struct Reopened;

impl Module for Dmi {
    const NAME: ModuleName = ModuleName::new("dmi");
    const GROUP: Group = group::TWIN;
    type Config = DmiConfig;
    type Ports = Ports;

    fn build(config: DmiConfig, ports: Ports) -> Result<Self, BuildError> {
        Ok(Self {
            config,
            ports,
            inventory: Inventory::default(),
            lines: BTreeMap::new(),
            generations: 0,
            buckets: BTreeMap::new(),
            others: None,
            places: Arc::new(Semaphore::new(CALLS_MAX)),
            changed: None,
            wake: None,
            known: None,
        })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<ObjectChanged>();
        wiring.handles::<Compare>().handles::<Listed>().handles::<Reopened>();
        wiring.handles::<Arrived>().handles::<Due>().handles::<Ended>();
        // Where these modules are off, mappers hear nothing and are told why; the node runs.
        wiring.may_ask::<ListObjects>(group::META).may_ask::<ListHeld>(group::META);
        wiring.may_ask::<ReportProperties>(group::TWIN).may_ask::<ReportState>(group::TWIN);
    }

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), Failure> {
        let Some(mappers) = self.ports.mappers.clone() else { return Ok(()) };
        let store = self.ports.store.store();
        let found = load::load(&*store).await.map_err(Failure::because)?;
        for (mapper, told) in found {
            self.generations += 1;
            self.lines.insert(mapper.protocol.clone(), Line::new(mapper, self.generations, told));
        }
        tracing::debug!(mappers = self.lines.len(), "read the mappers of the edge store");
        Self::watch(store.over(), cx);
        self.compare(cx);
        let (known, is_known) = oneshot::channel();
        self.known = Some(known);
        let roll = rand::Rng::random(cx.rng());
        cx.spawn(Intake::new(mappers, cx.me(), Arc::clone(&self.places), roll).run(is_known));
        Ok(())
    }
}

impl Dmi {
    /// Has the module told when its store was opened anew.
    fn watch(over: impl Future<Output = ()> + 'static, cx: &mut Context<Self>) {
        let me = cx.me();
        cx.spawn(async move {
            over.await;
            if me.send(Reopened).await.is_err() {
                tracing::debug!("the module stopped before it could hear that its store is open anew");
            }
        });
    }

    /// Writes what nobody waits for. Should it be lost, mappers are told once more.
    fn note(&self, batch: Batch, cx: &mut Context<Self>) {
        if batch.writes().is_empty() {
            return;
        }
        let commit = self.ports.store.store().commit(batch);
        cx.spawn(async move {
            if let Err(error) = commit.await {
                tracing::warn!(%error, "what mappers were told could not be made durable");
            }
        });
    }

    /// Notes what may have to be told.
    fn touch(&mut self, touched: &Touched) {
        for (protocol, key) in touched {
            if let Some(line) = self.lines.get_mut(protocol) {
                line.touch(key);
            }
        }
    }
}

impl Handler<ObjectChanged> for Dmi {
    async fn handle(
        &mut self,
        ObjectChanged(change): ObjectChanged,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        let key = &change.key;
        let is_ours = key.resource == ResourceType::DEVICE || key.resource == ResourceType::DEVICE_MODEL;
        if !is_ours || self.ports.mappers.is_none() {
            return Ok(());
        }
        if let Some(changed) = &mut self.changed {
            changed.insert(key.clone());
        }
        let touched = match change.kind {
            ChangeKind::Insert | ChangeKind::Update => self.inventory.put(key, &change.object),
            ChangeKind::Delete => self.inventory.remove(key),
        };
        self.touch(&touched);
        self.tell_due(cx);
        Ok(())
    }
}

impl Handler<Reopened> for Dmi {
    /// What this module knows is newer than what the store has: nothing is read again, all is written.
    async fn handle(&mut self, _: Reopened, cx: &mut Context<Self>) -> Result<(), Failure> {
        let store = self.ports.store.store();
        Self::watch(store.over(), cx);
        let mut batch = load::clearing(&*store).map_err(Failure::because)?;
        for line in self.lines.values() {
            batch = register::put_line(batch, line);
        }
        self.note(batch, cx);
        self.compare(cx);
        Ok(())
    }
}

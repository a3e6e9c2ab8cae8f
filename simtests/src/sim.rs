//! A simulated cluster: one cloud, its edges, and all that lies between and below them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use beehive::{Bus, Catalog};
use bytes::Bytes;
use cloudcore::CloudPorts;
use dmi::memory::MemoryMappers;
use edgecore::EdgePorts;
use edged::ports::Sandbox;
use eventbus::memory::MemoryBroker;
use kube::Client;
use router::memory::MemoryRest;
use servicebus::memory::MemoryServices;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};
use tracing::Dispatch;

use crate::api::{Api, ApiTrouble, Asker};
use crate::disk::{Disk, DiskFault};
use crate::failure::Failure;
use crate::link::{Direction, Network, Shape};
use crate::log::LogSink;
use crate::report::Summary;
use crate::runtime::RuntimeTrouble;
use crate::site::{CLOUD, CloudSite, EdgeSite};
use crate::trace::Trace;
use crate::world::World;

/// How often a scenario looks at the world while it waits.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// A simulation. Time stands still but for [`run_for`](Self::run_for), [`until`](Self::until) and
/// what is awaited in [`block_on`](Self::block_on).
///
/// The cloud's name is `cloud`; edges have the names that they were given.
pub struct Sim {
    // Fields are dropped in this order: processes before what they run on.
    cloud: Option<CloudSite>,
    edges: BTreeMap<String, EdgeSite>,
    tasks: LocalSet,
    network: Network,
    api: Api,
    rest: MemoryRest,
    world: Arc<World>,
    dispatch: Dispatch,
    runtime: Runtime,
}

impl Sim {
    /// Makes an empty world whose every decision follows from the seed.
    ///
    /// # Panics
    ///
    /// When the system gives no runtime.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without sockets needs nothing of the system");
        let world = runtime.block_on(async { World::new(seed) });
        Self {
            cloud: None,
            edges: BTreeMap::new(),
            tasks: LocalSet::new(),
            network: Network::new(&world),
            api: Api::new(&world),
            rest: MemoryRest::new(),
            dispatch: Dispatch::new(LogSink::new(world.clone())),
            world,
            runtime,
        }
    }

    /// Starts the cloud with a `cloudcore.yaml`, which may be empty.
    ///
    /// # Errors
    ///
    /// When the configuration is wrong.
    pub fn cloud(&mut self, yaml: &str) -> Result<(), Failure> {
        self.cloud_with(yaml, cloudcore::catalog)
    }

    /// Starts the cloud with modules of the caller's: `catalog` is what its `main` calls.
    ///
    /// # Errors
    ///
    /// When the configuration is wrong.
    pub fn cloud_with(
        &mut self,
        yaml: &str,
        catalog: impl Fn(CloudPorts) -> Catalog + 'static,
    ) -> Result<(), Failure> {
        let site = CloudSite::new(&self.world, &self.network, &self.api, &self.rest, catalog);
        self.cloud = Some(self.block_on(site.configured(yaml))?);
        self.restart(CLOUD)
    }

    /// Starts an edge with an `edgecore.yaml`, which may be empty.
    ///
    /// # Errors
    ///
    /// When the configuration is wrong.
    pub fn edge(&mut self, name: &str, yaml: &str) -> Result<(), Failure> {
        self.edge_with(name, yaml, edgecore::catalog)
    }

    /// Starts an edge with modules of the caller's: `catalog` is what its `main` calls.
    ///
    /// # Errors
    ///
    /// When the configuration is wrong.
    pub fn edge_with(
        &mut self,
        name: &str,
        yaml: &str,
        catalog: impl Fn(EdgePorts) -> Catalog + 'static,
    ) -> Result<(), Failure> {
        let site = EdgeSite::new(name, &self.world, &self.network, catalog);
        let site = self.inside(|| site.configured(yaml))?;
        self.edges.insert(name.to_owned(), site);
        self.restart(name)
    }

    /// Returns the names of the edges.
    pub fn edges(&self) -> impl Iterator<Item = &str> {
        self.edges.keys().map(String::as_str)
    }

    /// Crashes a process: it is dropped as it stands. What it has not synced is lost or not, by
    /// chance; containers go on.
    pub fn crash(&mut self, name: &str) {
        self.fault("crash", format_args!("{name}"));
        self.end_process(name);
    }

    /// Takes an edge's power away: a crash of which nobody is told, the end of its containers, and the
    /// loss of what its volumes had.
    pub fn power_off(&mut self, edge: &str) {
        self.fault("power-off", format_args!("{edge}"));
        self.network.stick(edge);
        self.end_process(edge);
        if let Some(machine) = self.edges.get(edge).map(|site| site.machine.clone()) {
            self.block_on(machine.runtime.power_off());
            machine.files.lose_volumes();
        }
    }

    fn end_process(&mut self, name: &str) {
        let Self { cloud, edges, .. } = self;
        let (mut cloud, edge) = (cloud.take(), edges.remove(name));
        self.inside(|| match edge {
            Some(_) => {}
            None if name == CLOUD => cloud.iter_mut().for_each(CloudSite::crash),
            None => {}
        });
        self.cloud = cloud;
        if let Some(mut site) = edge {
            self.inside(|| site.crash());
            self.edges.insert(name.to_owned(), site);
        }
    }

    /// Starts a process that does not run.
    ///
    /// # Errors
    ///
    /// When nothing has that name.
    pub fn restart(&mut self, name: &str) -> Result<(), Failure> {
        let (mut cloud, mut edges) = (self.cloud.take(), std::mem::take(&mut self.edges));
        let is_known = self.block_on(async {
            match edges.get_mut(name) {
                Some(site) => site.start(),
                None if name == CLOUD => cloud.iter_mut().for_each(CloudSite::start),
                None => return false,
            }
            true
        });
        (self.cloud, self.edges) = (cloud, edges);
        if is_known { Ok(()) } else { Err(Failure::Setup(format!("nothing is named {name:?}"))) }
    }

    /// Runs a future of the scenario together with everything that is simulated.
    pub fn block_on<T>(&mut self, future: impl Future<Output = T>) -> T {
        let Self { tasks, runtime, dispatch, .. } = self;
        tracing::dispatcher::with_default(dispatch, || tasks.block_on(runtime, future))
    }

    /// Runs code within the simulation, without letting time or tasks go on.
    fn inside<T>(&self, run: impl FnOnce() -> T) -> T {
        let _context = self.runtime.enter();
        tracing::dispatcher::with_default(&self.dispatch, run)
    }

    /// Outside the runtime the clock is the machine's: whatever is recorded is recorded inside.
    fn record(&self, line: fmt::Arguments<'_>) {
        self.inside(|| self.world.record(line));
    }

    fn fault(&self, kind: &'static str, what: fmt::Arguments<'_>) {
        self.inside(|| self.world.fault(kind, what));
    }

    /// Lets some time pass.
    ///
    /// # Errors
    ///
    /// When an invariant is broken meanwhile.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Failure> {
        let end = self.elapsed() + duration;
        while self.elapsed() < end {
            let step = LOOK_PERIOD.min(end - self.elapsed());
            self.block_on(async move { sleep(step).await });
            self.violation()?;
        }
        Ok(())
    }

    /// Lets time pass until something holds.
    ///
    /// # Errors
    ///
    /// When it does not within `patience`, or an invariant is broken meanwhile.
    pub fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut holds: impl AsyncFnMut() -> bool,
    ) -> Result<(), Failure> {
        let begun = self.elapsed();
        loop {
            let is_so = self.block_on(holds());
            self.violation()?;
            if is_so {
                return Ok(());
            }
            if self.elapsed() - begun > patience {
                return Err(Failure::Liveness { what: what.to_owned(), waited: patience });
            }
            self.run_for(LOOK_PERIOD)?;
        }
    }

    fn violation(&self) -> Result<(), Failure> {
        self.world.ledger.violation().map_or(Ok(()), |violation| Err(Failure::Correctness(violation)))
    }

    /// Returns a client of the API server, which no simulated trouble concerns.
    #[must_use]
    pub fn kube(&self) -> Client {
        self.inside(|| self.api.client(Asker::Scenario))
    }

    /// Returns the bus of a process whose modules have started.
    #[must_use]
    pub fn bus(&self, name: &str) -> Option<Bus> {
        match self.edges.get(name) {
            Some(site) => site.bus(),
            None => self.cloud.as_ref().filter(|_| name == CLOUD).and_then(CloudSite::bus),
        }
    }

    /// Returns what an edge's container runtime has.
    pub fn containers(&mut self, edge: &str) -> Vec<Sandbox> {
        let Some(runtime) = self.edges.get(edge).map(|site| site.machine.runtime.clone()) else {
            return Vec::new();
        };
        self.block_on(runtime.inventory())
    }

    /// Returns the files of a pod's volume on an edge, by their paths.
    #[must_use]
    pub fn volume(&self, edge: &str, pod_uid: &str, volume: &str) -> Option<BTreeMap<String, Bytes>> {
        let files = self.edges.get(edge)?.machine.files.volume(pod_uid, volume)?;
        Some(files.into_iter().map(|file| (file.path, file.content)).collect())
    }

    pub(crate) fn site(&self, edge: &str) -> Option<&EdgeSite> {
        self.edges.get(edge)
    }

    pub(crate) const fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Lets nothing through between an edge and the cloud in one direction. Nobody is told.
    pub fn cut(&mut self, edge: &str, direction: Direction) {
        self.fault("cut", format_args!("{edge} {direction:?}"));
        self.network.cut(edge, direction);
    }

    /// Breaks the connections of an edge: both ends are told.
    pub fn reset_links(&mut self, edge: &str) {
        self.fault("link-reset", format_args!("{edge}"));
        self.network.reset(edge);
    }

    /// Lets the connections of an edge stick, so that both ends believe in what is dead.
    pub fn stick_links(&mut self, edge: &str) {
        self.fault("link-stuck", format_args!("{edge}"));
        self.network.stick(edge);
    }

    /// Makes the way between an edge and the cloud slow, narrow or lossy.
    pub fn shape_link(&mut self, edge: &str, shape: Shape) {
        self.fault("link-shaped", format_args!("{edge} {shape:?}"));
        self.network.shape(edge, shape);
    }

    /// Ends all faults of the way between an edge and the cloud.
    pub fn heal_link(&mut self, edge: &str) {
        self.record(format_args!("heal link {edge}"));
        self.inside(|| self.network.heal(edge));
    }

    /// Returns how many bytes an edge has sent to the cloud, and was sent.
    #[must_use]
    pub fn link_bytes(&self, edge: &str) -> [u64; 2] {
        self.network.bytes(edge)
    }

    /// Returns how many frames an edge has sent to the cloud, and was sent.
    #[must_use]
    pub fn link_frames(&self, edge: &str) -> [u64; 2] {
        self.network.frames(edge)
    }

    /// Puts a record onto a disk behind the back of the process, or takes one away.
    pub fn tamper_disk(&mut self, name: &str, tree: &'static str, key: &[u8], value: Option<&[u8]>) {
        let what = if value.is_some() { "puts" } else { "takes" };
        self.fault("disk-tampered", format_args!("{name} {what} {}", key.escape_ascii()));
        self.on_disk(name, |disk| disk.tamper(tree, key, value));
    }

    /// Returns how many batches a disk has taken, and the bytes of their keys and values.
    #[must_use]
    pub fn disk_writes(&self, name: &str) -> [u64; 2] {
        let mut taken = [0, 0];
        self.on_disk(name, |disk| taken = disk.taken());
        taken
    }

    /// Makes one write to a disk fail: the `after`-th from here.
    pub fn fail_write(&mut self, name: &str, after: u64, fault: DiskFault) {
        self.fault("disk-write-fails", format_args!("{name} {fault:?}"));
        self.on_disk(name, |disk| disk.fail_write(after, fault));
    }

    /// Returns the device mappers of an edge's machine, which outlive the edge's process.
    #[must_use]
    pub fn mappers(&self, edge: &str) -> Option<MemoryMappers> {
        self.edges.get(edge).map(|site| site.machine.mappers.clone())
    }

    /// Returns the MQTT broker of an edge, which outlives the edge's process.
    #[must_use]
    pub fn broker(&self, edge: &str) -> Option<MemoryBroker> {
        self.edges.get(edge).map(|site| site.machine.broker.clone())
    }

    /// Returns what an edge's services and applications are, which outlive the edge's process.
    #[must_use]
    pub fn services(&self, edge: &str) -> Option<MemoryServices> {
        self.edges.get(edge).map(|site| site.machine.services.clone())
    }

    /// Returns the network of REST clients and endpoints, which outlives the cloud's process.
    #[must_use]
    pub fn rest(&self) -> MemoryRest {
        self.rest.clone()
    }

    /// Fills a disk: every write is refused.
    pub fn fill_disk(&mut self, name: &str) {
        self.fault("disk-full", format_args!("{name}"));
        self.on_disk(name, |disk| disk.set_full(true));
    }

    /// Makes a disk take so many times as long to sync.
    pub fn slow_disk(&mut self, name: &str, times: u32) {
        self.fault("disk-slow", format_args!("{name} {times}"));
        self.on_disk(name, |disk| disk.set_slowness(times));
    }

    /// Ends all faults of a disk.
    pub fn heal_disk(&mut self, name: &str) {
        self.record(format_args!("heal disk {name}"));
        self.on_disk(name, Disk::heal);
    }

    /// Damages one synced record of a tree of a store, by chance: it can be read no longer. Returns
    /// whether there was any.
    pub fn damage_disk(&mut self, name: &str, tree: &'static str) -> bool {
        let mut is_damaged = false;
        self.on_disk(name, |disk| is_damaged = disk.damage(tree));
        if is_damaged {
            self.fault("disk-damage", format_args!("{name} {tree}"));
        }
        is_damaged
    }

    fn on_disk(&self, name: &str, act: impl FnOnce(&Disk)) {
        match self.edges.get(name) {
            Some(site) => act(&site.machine.disk),
            None => {
                if let Some(site) = self.cloud.as_ref().filter(|_| name == CLOUD) {
                    act(&site.disk);
                }
            }
        }
    }

    /// Lets the API fail the cloud's modules from here on; the default is no trouble.
    pub fn trouble_api(&mut self, trouble: ApiTrouble) {
        if trouble == ApiTrouble::default() {
            self.record(format_args!("heal api"));
        } else {
            self.fault("api-trouble", format_args!("{trouble:?}"));
        }
        self.api.set_trouble(trouble);
    }

    /// Ends all watches of the API, as a server that is replaced by another does.
    pub fn end_watches(&mut self) {
        self.fault("api-watches-end", format_args!(""));
        self.inside(|| self.api.end_watches());
    }

    /// Lets an edge's container runtime fail from here on; the default is no trouble.
    pub fn trouble_runtime(&mut self, edge: &str, trouble: RuntimeTrouble) {
        if trouble == RuntimeTrouble::default() {
            self.record(format_args!("heal runtime {edge}"));
        } else {
            self.fault("runtime-trouble", format_args!("{edge} {trouble:?}"));
        }
        if let Some(site) = self.edges.get(edge) {
            site.machine.runtime.set_trouble(trouble);
        }
    }

    /// Ends one running container of an edge from outside, if there is one.
    pub fn crash_container(&mut self, edge: &str) {
        let Some(runtime) = self.edges.get(edge).map(|site| site.machine.runtime.clone()) else { return };
        if self.block_on(runtime.crash_container()) {
            self.fault("container-crash", format_args!("{edge}"));
        }
    }

    /// Moves a wall clock forward by so many milliseconds, or backward by a negative number.
    pub fn jump_clock(&mut self, name: &str, by_ms: i64) {
        self.fault("clock-jump", format_args!("{name} {by_ms} ms"));
        if let Some(clock) = self.clock(name) {
            clock.jump(by_ms);
        }
    }

    /// Sets a wall clock right.
    pub fn set_clock_right(&mut self, name: &str) {
        self.record(format_args!("heal clock {name}"));
        if let Some(clock) = self.clock(name) {
            clock.set_right();
        }
    }

    fn clock(&self, name: &str) -> Option<Arc<crate::clock::SimClock>> {
        match self.edges.get(name) {
            Some(site) => Some(site.machine.clock.clone()),
            None => self.cloud.as_ref().filter(|_| name == CLOUD).map(|site| site.clock.clone()),
        }
    }

    /// Lets things go wrong on purpose at the points that the seed chooses, or ends that.
    pub fn buggify(&mut self, is_on: bool) {
        self.record(format_args!("{}", if is_on { "fault buggify" } else { "heal buggify" }));
        self.world.mischief.turn(is_on);
    }

    /// Lets warnings and errors pass that contain `text`; others break an invariant.
    pub fn allow_log(&mut self, text: &str) {
        self.world.ledger.allow(text);
    }

    /// Adds a line of the scenario's own to the trace.
    pub fn note(&mut self, line: &str) {
        self.record(format_args!("note {line}"));
    }

    /// Returns how much time has passed since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.inside(|| Instant::now() - self.world.start)
    }

    /// Returns what has happened so far.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.inside(|| self.world.recorder.snapshot())
    }

    /// Returns the figures of the run so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            simulated: self.elapsed(),
            events: self.world.recorder.events(),
            faults: self.world.faults(),
            points: self.world.mischief.struck(),
            checked: self.world.ledger.checked(),
        }
    }
}

/// Processes are dropped within the simulation that they ran in.
impl Drop for Sim {
    fn drop(&mut self) {
        let (cloud, edges) = (self.cloud.take(), std::mem::take(&mut self.edges));
        self.inside(|| drop((cloud, edges)));
    }
}

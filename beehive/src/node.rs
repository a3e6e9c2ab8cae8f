//! A node: a set of modules that run together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::buggify::Buggify;
use crate::bus::Bus;
use crate::catalog::Catalog;
use crate::clock::{Clock, SystemClock};
use crate::core::Core;
use crate::error::{LaunchError, NodeFailure};
use crate::host::Handle;
use crate::launch::{Built, Settings, check_modules, facts};
use crate::metrics::{Health, ModuleMetrics, ModuleState};
use crate::name::ModuleName;
use crate::problem::Problems;
use crate::route::{ModuleId, RoutesBuilder};
use crate::supervise::RestartPolicy;
use crate::trace::TraceSink;

/// The sections of all modules, by their keys.
pub type Sections = BTreeMap<String, Section>;

/// A module's section.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Section {
    /// Whether the module runs; it does if nothing is said.
    pub enable: Option<bool>,
    /// How it is supervised.
    pub restart: Option<RestartPolicy>,
    /// How many messages its mailbox holds.
    pub mailbox: Option<usize>,
    /// The module's own keys.
    pub body: serde_json::Value,
}

/// What a node is given besides its modules.
#[derive(Clone)]
pub struct NodeOptions {
    /// The node's name, in logs and traces.
    pub name: String,
    /// What decides all randomness of its modules.
    pub seed: u64,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// How long launch waits for all modules to have started.
    pub start_deadline: Duration,
    /// How long a graceful stop may take in all.
    pub stop_deadline: Duration,
    /// How many messages a mailbox holds, where its section does not say.
    pub mailbox: usize,
    /// After how long a handler without progress is reported.
    pub stuck_after: Duration,
    /// Who watches the bus.
    pub trace: Option<Arc<dyn TraceSink>>,
    /// Where things go wrong on purpose; only simulations set it.
    pub buggify: Option<Arc<dyn Buggify>>,
}

impl Default for NodeOptions {
    /// Returns options for a node named `node`, with the machine's clock and a fixed seed.
    fn default() -> Self {
        Self {
            name: "node".to_owned(),
            seed: 0,
            clock: Arc::new(SystemClock),
            start_deadline: Duration::from_secs(10),
            stop_deadline: Duration::from_secs(10),
            mailbox: 1024,
            stuck_after: Duration::from_secs(30),
            trace: None,
            buggify: None,
        }
    }
}

impl fmt::Debug for NodeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeOptions")
            .field("name", &self.name)
            .field("seed", &self.seed)
            .field("mailbox", &self.mailbox)
            .finish_non_exhaustive()
    }
}

/// What all modules of a node share of its options.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) trace: Option<Arc<dyn TraceSink>>,
    pub(crate) buggify: Option<Arc<dyn Buggify>>,
}

/// How a node's modules ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stopped {
    /// Modules that did not end in time and were dropped.
    pub overran: Vec<ModuleName>,
}

/// A running node. Dropping it drops its modules at once; [`stop`](Self::stop) lets them end.
pub struct Node {
    core: Arc<Core>,
    handles: Vec<Handle>,
    stop_deadline: Duration,
}

impl Node {
    /// Checks everything, then starts the enabled modules of `catalog` in order.
    ///
    /// It must be called on a tokio `LocalSet` or `LocalRuntime`, on whose thread the modules run; see
    /// [`block_on`](crate::block_on). It returns when each module's `started` has returned once, or
    /// after the start deadline; a module whose `started` fails is restarted as after any failure.
    ///
    /// # Errors
    ///
    /// When a section, the wiring or a module's `build` is wrong. All problems are reported at once.
    pub async fn launch(
        catalog: Catalog,
        sections: Sections,
        options: NodeOptions,
    ) -> Result<Self, LaunchError> {
        let deadline = Instant::now() + options.start_deadline;
        let built =
            prepare(catalog, &sections, options.mailbox).map_err(|problems| LaunchError { problems })?;
        let node = Self::start(built, &options, |_, _, _| {});
        node.all_started(deadline).await;
        Ok(node)
    }

    /// Starts modules, with routes of the caller's besides theirs.
    pub(crate) fn start(
        built: Vec<Box<dyn Built>>,
        options: &NodeOptions,
        more: impl FnOnce(&[Box<dyn Built>], &mut RoutesBuilder, &mut Vec<crate::metrics::Cell>),
    ) -> Self {
        let mut cells: Vec<_> = built.iter().map(|module| module.cell()).collect();
        let permits = built.iter().map(|module| module.permits()).collect();
        let mut routes = RoutesBuilder::default();
        let mut by_name: Vec<_> = built.iter().enumerate().collect();
        by_name.sort_by_key(|(_, module)| module.name());
        for (at, module) in by_name {
            module.add_routes(&mut routes, ModuleId::at(at));
        }
        more(&built, &mut routes, &mut cells);
        let shared = Shared {
            name: options.name.as_str().into(),
            clock: options.clock.clone(),
            trace: options.trace.clone(),
            buggify: options.buggify.clone(),
        };
        let core = Arc::new(Core::new(shared, routes.build(), cells, permits));
        let settings = Settings { seed: options.seed, stuck_after: options.stuck_after };
        let handles = built
            .into_iter()
            .enumerate()
            .map(|(at, module)| module.start(core.clone(), ModuleId::at(at), settings))
            .collect();
        Self { core, handles, stop_deadline: options.stop_deadline }
    }

    /// Waits until each module has started, or failed to for the first time.
    pub(crate) async fn all_started(&self, deadline: Instant) {
        let starting = |core: &Core| {
            let cells = core.cells.iter().take(self.handles.len());
            cells
                .filter(|cell| cell.state() == ModuleState::Starting)
                .map(|cell| cell.name)
                .collect::<Vec<_>>()
        };
        if !self.until(deadline, |core| starting(core).is_empty()).await {
            let modules = starting(&self.core);
            tracing::warn!(?modules, "modules have not started in time and go on starting");
        }
    }

    /// Waits until something holds. Returns whether it does.
    async fn until(&self, deadline: Instant, mut holds: impl FnMut(&Core) -> bool) -> bool {
        let mut changed = self.core.changed.subscribe();
        while !holds(&self.core) {
            match timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return holds(&self.core),
            }
        }
        true
    }

    /// Returns the node's own door to the bus: for mains, adapters and tests, which may ask and
    /// publish everything.
    #[must_use]
    pub fn bus(&self) -> Bus {
        Bus::new(self.core.clone(), ModuleId::OUTSIDE)
    }

    /// Returns how each module is.
    #[must_use]
    pub fn health(&self) -> Health {
        let cells = self.core.cells.iter().take(self.handles.len());
        Health { modules: cells.map(crate::metrics::Cell::health).collect() }
    }

    /// Returns each module's figures, in start order.
    #[must_use]
    pub fn metrics(&self) -> Vec<ModuleMetrics> {
        let cells = self.core.cells.iter().take(self.handles.len());
        cells.map(crate::metrics::Cell::metrics).collect()
    }

    /// Returns when a module was given up: the node is then to be stopped. Otherwise never returns.
    pub async fn failed(&self) -> NodeFailure {
        let mut failure = self.core.failure.subscribe();
        loop {
            if let Some(failure) = failure.borrow_and_update().clone() {
                return failure;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the modules gracefully, the last started first: each handles what lies in its mailbox,
    /// says goodbye, and is dropped with its tasks. A module that does not end within its share of
    /// the deadline is dropped as it is.
    pub async fn stop(self) -> Stopped {
        let deadline = Instant::now() + self.stop_deadline;
        let mut stopped = Stopped::default();
        for (at, handle) in self.handles.iter().enumerate().rev() {
            let id = ModuleId::at(at);
            let is_over =
                |core: &Core| matches!(core.cell(id).state(), ModuleState::Stopped | ModuleState::Failed);
            handle.stop();
            let now = Instant::now();
            let modules = u32::try_from(at + 1).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(now) / modules;
            if !self.until(now + share, is_over).await {
                let module = self.core.name(id);
                tracing::warn!(%module, "the module did not end in time and is dropped");
                handle.kill();
                stopped.overran.push(module);
            }
        }
        stopped
    }

    #[cfg(feature = "test-util")]
    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for handle in &self.handles {
            handle.kill();
        }
    }
}

/// Checks everything and builds the enabled modules' first values.
fn prepare(catalog: Catalog, sections: &Sections, mailbox: usize) -> Result<Vec<Box<dyn Built>>, Problems> {
    let mut problems = Problems::new();
    let facts = facts(&catalog.blueprints, sections);
    check_modules(&facts, sections, &mut problems);
    if mailbox == 0 {
        problems.push("", "the node's mailboxes have room for at least one message");
    }
    let mut built = Vec::new();
    for (blueprint, facts) in catalog.blueprints.into_iter().zip(&facts) {
        if !facts.is_enabled {
            continue;
        }
        let section = sections.get(facts.section);
        let wrong = blueprint.check(section);
        if !wrong.is_empty() {
            problems.extend(wrong);
            continue;
        }
        match blueprint.build(section, mailbox) {
            Ok(module) => built.push(module),
            Err(found) => problems.extend(found),
        }
    }
    problems.or_ok(built)
}

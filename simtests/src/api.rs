//! The Kubernetes API as clients reach it: the embedded API server behind a way that can fail.

mod body;
mod door;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apiserver::{ApiServer, Identity, Options, SigningKey};
use beehive::latest;
use kube::Client;
use rand::Rng as _;
use rand::rngs::SmallRng;
use store::{MemoryStore, SharedMedium};

use crate::clock::SimClock;
use crate::world::World;
use door::Door;

/// How long a request takes where nothing is wrong.
const LATENCY: Range<Duration> = Duration::from_micros(500)..Duration::from_millis(4);

/// How the API fails the cloud's modules. Each share is between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ApiTrouble {
    /// Which share of the changes is refused as a conflict (409).
    pub conflicts: f64,
    /// Which share of the watches is told that its version is gone (410).
    pub gone: f64,
    /// Which share of the requests is turned away as too many (429).
    pub throttled: f64,
    /// Which share of the requests fails (500): half of them before they have an effect, half after.
    pub broken: f64,
    /// Which share of the requests finds no server (503).
    pub unavailable: f64,
    /// How much longer each request takes, at most.
    pub slowness: Duration,
    /// After how long a watch ends, at most.
    pub watches_end: Option<Duration>,
    /// Only requests whose path contains this have trouble; by default all have.
    pub only: &'static str,
}

#[derive(Debug)]
struct State {
    server: Option<ApiServer>,
    trouble: ApiTrouble,
    rng: SmallRng,
}

/// The API. Clones are the same.
#[derive(Clone)]
pub(crate) struct Api {
    world: Arc<World>,
    state: Arc<Mutex<State>>,
    /// Counts the servers: who waits for one of the past waits in vain.
    epoch: Arc<latest::Sender<u64>>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The cloud's modules, whom trouble is for.
    Cloud,
    /// The scenario and its checks, who find the API as it is.
    Scenario,
}

impl Api {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        let state = State { server: None, trouble: ApiTrouble::default(), rng: world.rng("api") };
        Self {
            world: world.clone(),
            state: Arc::new(Mutex::new(state)),
            epoch: Arc::new(latest::Sender::new(0)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the API server over what the disk holds.
    pub(crate) async fn open(
        &self,
        store: SharedMedium,
        clock: Arc<SimClock>,
        run: u64,
    ) -> Result<ApiServer, apiserver::OpenError> {
        let seed = self.world.derived_seed("api server").wrapping_add(run);
        let server = ApiServer::open(store, options(clock, seed)).await?;
        self.lock().server = Some(server.clone());
        self.epoch.modify(|epoch| *epoch += 1);
        Ok(server)
    }

    /// Makes a server of which nothing is kept and that nobody reaches.
    pub(crate) async fn rehearse(&self, clock: Arc<SimClock>) -> Result<ApiServer, apiserver::OpenError> {
        ApiServer::open(Arc::new(MemoryStore::new()), options(clock, 0)).await
    }

    /// The server is gone, and with it what was asked of it.
    pub(crate) fn close(&self) {
        self.lock().server = None;
        self.epoch.modify(|epoch| *epoch += 1);
    }

    /// Ends all watches, as a server that is replaced by another does.
    pub(crate) fn end_watches(&self) {
        self.epoch.modify(|epoch| *epoch += 1);
    }

    pub(crate) fn set_trouble(&self, trouble: ApiTrouble) {
        self.lock().trouble = trouble;
    }

    /// Returns a client. It must be called where tasks run.
    pub(crate) fn client(&self, asker: Asker) -> Client {
        let name = match asker {
            Asker::Cloud => "system:kubeedge:cloudcore",
            Asker::Scenario => "kubernetes-admin",
        };
        let identity = Identity::new(name, ["system:masters"]);
        Client::new(Door::new(self.clone(), identity, asker), "default")
    }

    /// Decides what becomes of a request.
    fn plan(&self, asker: Asker, path: &str, is_change: bool, is_watch: bool) -> Plan {
        let mut state = self.lock();
        let mut plan = Plan { latency: state.rng.random_range(LATENCY), ..Plan::default() };
        let trouble = state.trouble;
        if asker == Asker::Scenario || trouble == ApiTrouble::default() || !path.contains(trouble.only) {
            return plan;
        }
        plan.latency += trouble.slowness.mul_f64(state.rng.random());
        let mut strikes = |share: f64| share > 0.0 && state.rng.random_bool(share.clamp(0.0, 1.0));
        plan.fate = if strikes(trouble.unavailable) {
            Fate::Refused(503)
        } else if strikes(trouble.throttled) {
            Fate::Refused(429)
        } else if strikes(trouble.broken) {
            if strikes(0.5) { Fate::Refused(500) } else { Fate::AnswerLost }
        } else if is_change && strikes(trouble.conflicts) {
            Fate::Refused(409)
        } else if is_watch && strikes(trouble.gone) {
            Fate::Refused(410)
        } else {
            Fate::Answered
        };
        if let (true, Some(longest)) = (is_watch, trouble.watches_end) {
            plan.ends_after = Some(longest.mul_f64(state.rng.random()));
        }
        plan
    }
}

fn options(clock: Arc<SimClock>, seed: u64) -> Options {
    Options {
        ca_certificate: "the authority of this simulation".to_owned(),
        // No module here acts on the other kinds, and a cloud starts many times.
        definitions: ::api::acted_on_definitions,
        ..Options::new(clock, seed, SigningKey::new([7; 32]))
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Plan {
    latency: Duration,
    fate: Fate,
    ends_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fate {
    #[default]
    Answered,
    /// It is answered with this code and has no effect.
    Refused(u16),
    /// It has its effect, and is answered with 500.
    AnswerLost,
}

//! The API server as a value: open it over a store, clone it, call it.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use beehive::Clock;
use jiff::Timestamp;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use store::{SharedMedium, StoreError};

pub(crate) mod body;
pub(crate) mod call;
pub(crate) mod dispatch;
pub(crate) mod error;
pub(crate) mod meta;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod reply;
pub(crate) mod service;

use crate::auth::StaticToken;
use crate::auth::token::SigningKey;
use crate::openapi::OpenApi;
use crate::ports::{NoNodeLogs, NodeLogs};
use crate::registry::Registry;
use crate::storage::object::Stored;
use crate::storage::{HistoryLimits, Range, Storage};
use error::ApiError;

/// What an API server is given.
#[derive(Clone)]
pub struct Options {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Decides uids and generated names. Has to differ between runs over the same store.
    pub seed: u64,
    /// Signs service account tokens.
    pub signing_key: SigningKey,
    /// Tokens that are accepted besides those of service accounts.
    pub tokens: Vec<StaticToken>,
    /// The CA that clients in pods trust, as PEM; empty when the server has no TLS.
    pub ca_certificate: String,
    /// Where the server is reached, `host:port`.
    pub address: String,
    /// Cluster IPs of services are taken from here.
    pub service_range: ServiceRange,
    /// How much of the past each resource keeps for watchers.
    pub history: HistoryLimits,
    /// How many watches may be open at once.
    pub watches_max: usize,
    /// Reads container logs.
    pub logs: Arc<dyn NodeLogs>,
    /// Gives pods a volume with the token of their service account, as a real server does.
    pub pod_tokens: bool,
    /// The custom resources that the server comes with.
    pub definitions: fn() -> Vec<serde_json::Value>,
}

impl Options {
    /// Returns options with everything else at its default.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, seed: u64, signing_key: SigningKey) -> Self {
        Self {
            clock,
            seed,
            signing_key,
            tokens: Vec::new(),
            ca_certificate: String::new(),
            address: "127.0.0.1:6443".to_owned(),
            service_range: ServiceRange::default(),
            history: HistoryLimits::default(),
            watches_max: 4096,
            logs: Arc::new(NoNodeLogs),
            pod_tokens: true,
            definitions: api::definitions,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}

/// A range of addresses for services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRange {
    /// The first address.
    pub network: Ipv4Addr,
    /// How many leading bits are fixed, from 8 to 30.
    pub prefix: u8,
}

impl Default for ServiceRange {
    fn default() -> Self {
        Self { network: Ipv4Addr::new(10, 96, 0, 0), prefix: 16 }
    }
}

impl ServiceRange {
    /// Returns how many addresses there are.
    pub(crate) fn size(self) -> u32 {
        1 << (32 - u32::from(self.prefix.clamp(8, 30)))
    }

    /// Returns the `index`-th address.
    pub(crate) fn at(self, index: u32) -> Ipv4Addr {
        let network = u32::from(self.network) & !(self.size() - 1);
        Ipv4Addr::from(network | (index & (self.size() - 1)))
    }

    pub(crate) fn holds(self, address: Ipv4Addr) -> bool {
        u32::from(address) & !(self.size() - 1) == u32::from(self.network) & !(self.size() - 1)
    }
}

/// Says why an API server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store could not be read.
    #[error("the API server's objects could not be read")]
    Store(#[from] StoreError),
    /// What a cluster begins with could not be written.
    #[error("the objects that a cluster begins with could not be written")]
    Bootstrap(#[source] ApiError),
}

/// A Kubernetes API server. Cheap to clone; all clones are one server.
///
/// It is called as a `tower::Service` of HTTP requests. A request is authenticated by an
/// [`Identity`](crate::Identity) among its extensions or by a bearer token.
#[derive(Debug, Clone)]
pub struct ApiServer(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub storage: Arc<Storage>,
    pub options: Options,
    pub openapi: OpenApi,
    pub watches: Arc<AtomicUsize>,
    registry: Mutex<Served>,
    rng: Mutex<SmallRng>,
}

/// The registry, and the version of the definitions that it was built from.
#[derive(Debug)]
struct Served {
    registry: Registry,
    version: u64,
}

pub(crate) const CRDS: &str = "apiextensions.k8s.io/customresourcedefinitions";

impl ApiServer {
    /// Opens the server over a medium and writes what a cluster begins with where it is missing.
    ///
    /// # Errors
    ///
    /// When the store fails or holds something else than the objects of an API server.
    pub async fn open(medium: SharedMedium, options: Options) -> Result<Self, OpenError> {
        let storage = Storage::open(medium, options.history)?;
        let rng = SmallRng::seed_from_u64(options.seed);
        let server = Self(Arc::new(Inner {
            storage: Arc::new(storage),
            options,
            openapi: OpenApi::new(),
            watches: Arc::default(),
            registry: Mutex::new(Served { registry: Registry::builtin(), version: 0 }),
            rng: Mutex::new(rng),
        }));
        crate::lifecycle::bootstrap::run(&server).await.map_err(OpenError::Bootstrap)?;
        Ok(server)
    }

    /// Returns what is served at present: the built-in resources and those of the durable
    /// definitions.
    pub(crate) fn registry(&self) -> Registry {
        let newest = self.0.storage.latest_change(CRDS);
        let mut served = self.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if served.version != newest {
            let definitions = self.0.storage.list(CRDS, &Range::default(), None, |_, _| true);
            let definitions = definitions.map(|snapshot| snapshot.objects).unwrap_or_default();
            let definitions: Vec<_> = definitions
                .iter()
                .map(|(_, crd): &(_, Arc<Stored>)| {
                    crd.value("apiextensions.k8s.io/v1", "CustomResourceDefinition")
                })
                .collect();
            served.registry = served.registry.with_crds(definitions.iter());
            served.version = newest;
        }
        served.registry.clone()
    }

    /// Carries out writes whose callers went away. Never returns; to be run beside the requests.
    pub async fn settle_abandoned(&self) {
        self.0.storage.settle_abandoned().await;
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::try_from(self.0.options.clock.now()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn rng(&self) -> MutexGuard<'_, SmallRng> {
        self.0.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a random uid (RFC 9562, version 4).
    pub(crate) fn new_uid(&self) -> String {
        let mut bytes = [0; 16];
        self.rng().fill_bytes(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
        [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
    }

    /// Makes the end of a generated name.
    pub(crate) fn new_suffix(&self) -> String {
        // No vowels, so that no words come out; the letters are those of a real server.
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut rng = self.rng();
        (0..5).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect()
    }

    /// Picks a number below `end`.
    pub(crate) fn random_below(&self, end: u32) -> u32 {
        self.rng().random_range(0..end.max(1))
    }
}

//! Of several clouds of one cluster, one serves it: the holder of a Lease, as Kubernetes' own controllers do it.
//!
//! The holder renews the lease every two seconds; others take it over once it did not change for fifteen seconds
//! by their own clock. A holder that sees another one ends. One that does not reach the API serves on for five
//! minutes: mostly nobody reaches it, and all nodes would lose their links for nothing. So for a while there may
//! be two. That harms nobody, since a node has one link, and a cloud acts only for nodes that are linked to it.

mod race;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::{Instant, sleep, timeout};

use self::race::{Race, Step};

/// The namespace and the name of the lease.
pub const LEASE: (&str, &str) = ("kubeedge", "cloudcore");

/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;

/// How long a lease lasts and how often it is renewed.
#[derive(Debug, Clone, Copy)]
pub struct LeaderTimes {
    /// Others take a lease over that did not change for so long.
    pub lasts: Duration,
    /// The holder gives up when it could not reach the API for so long.
    pub gives_up_after: Duration,
    /// How often it is looked at.
    pub every: Duration,
}

impl Default for LeaderTimes {
    /// Those of Kubernetes, but for a holder's patience.
    fn default() -> Self {
        Self {
            lasts: Duration::from_secs(15),
            gives_up_after: Duration::from_secs(300),
            every: Duration::from_secs(2),
        }
    }
}

/// Says that another cloud leads, or may.
#[derive(Debug, thiserror::Error)]
pub enum LeaseLost {
    /// Another one holds the lease.
    #[error("another cloudcore, {0}, holds the lease kubeedge/cloudcore")]
    Taken(String),
    /// The API was not reached.
    #[error(
        "the lease kubeedge/cloudcore could not be renewed for {0:?}: another cloudcore may serve the cluster"
    )]
    Unreached(Duration),
}

/// Takes part in the race for the lease.
#[derive(Debug)]
pub struct Leader {
    api: Api<Lease>,
    race: Race,
    times: LeaderTimes,
    me: String,
}

impl Leader {
    /// Takes part as `me`, which no other cloud is called.
    #[must_use]
    pub fn new(client: kube::Client, me: String, times: LeaderTimes) -> Self {
        let api = Api::namespaced(client, LEASE.0);
        Self { api, race: Race::new(me.clone(), times.lasts), times, me }
    }

    /// Goes on with another way to the API.
    #[must_use]
    pub fn with_client(self, client: kube::Client) -> Self {
        Self { api: Api::namespaced(client, LEASE.0), ..self }
    }

    /// Returns once this cloud holds the lease.
    pub async fn win(&mut self) {
        tracing::info!(me = self.me, "waiting for the lease kubeedge/cloudcore");
        let mut told = String::new();
        loop {
            let tell = match self.try_once().await {
                Ok(Outcome::Held) => break,
                Ok(Outcome::Contended) => String::new(),
                Ok(Outcome::Others) => {
                    format!(
                        "{} serves the cluster: standing by",
                        self.race.holder().unwrap_or("another cloudcore")
                    )
                }
                Err(error) => format!("it cannot be taken yet: {error}"),
            };
            if !tell.is_empty() && tell != told {
                tracing::info!(reason = tell, "waiting for the lease kubeedge/cloudcore");
            }
            told = tell;
            sleep(self.times.every).await;
        }
        tracing::info!(me = self.me, "this cloudcore serves the cluster");
    }

    /// Holds the lease for as long as it is polled; ends when another holds it, or the API was not reached for
    /// too long.
    pub async fn keep(&mut self) -> LeaseLost {
        let mut renewed = Instant::now();
        let mut is_told = false;
        loop {
            sleep(self.times.every).await;
            let asked = Instant::now();
            let problem = match timeout(TRY.min(self.times.gives_up_after), self.try_once()).await {
                Ok(Ok(Outcome::Held)) => {
                    (renewed, is_told) = (asked, false);
                    continue;
                }
                Ok(Ok(Outcome::Others)) => {
                    return LeaseLost::Taken(self.race.holder().unwrap_or_default().to_owned());
                }
                Ok(Ok(Outcome::Contended)) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the Kubernetes API did not answer".to_owned(),
            };
            if !is_told {
                tracing::warn!(problem, "the lease kubeedge/cloudcore is not renewed; serving on meanwhile");
                is_told = true;
            }
            if renewed.elapsed() >= self.times.gives_up_after {
                return LeaseLost::Unreached(renewed.elapsed());
            }
        }
    }

    /// Lets others take over at once.
    pub async fn release(&mut self) {
        let Some(lease) = self.race.released(jiff::Timestamp::now()) else { return };
        let params = PostParams::default();
        let replaced = self.api.replace(LEASE.1, &params, &lease);
        if let Ok(Err(error)) = timeout(self.times.every, replaced).await {
            tracing::debug!(%error, "the lease was not released, and ends by itself");
        }
    }

    /// Looks at the lease and takes or renews it.
    async fn try_once(&mut self) -> Result<Outcome, kube::Error> {
        let found = self.api.get_opt(LEASE.1).await?;
        let step = self.race.step(found, Instant::now(), jiff::Timestamp::now());
        let written = match step {
            Step::Wait => return Ok(Outcome::Others),
            Step::Create(lease) => self.create(&lease).await,
            Step::Replace(lease) => self.api.replace(LEASE.1, &PostParams::default(), &lease).await,
        };
        match written {
            Ok(lease) => {
                self.race.saw(&lease, Instant::now());
                Ok(Outcome::Held)
            }
            // Another was faster, or somebody wrote to the lease: the next look tells.
            Err(kube::Error::Api(status)) if status.code == CONFLICT => Ok(Outcome::Contended),
            Err(error) => Err(error),
        }
    }

    /// Makes the lease, and its namespace where that is missing.
    async fn create(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        match self.api.create(&PostParams::default(), lease).await {
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => {
                let namespaces: Api<Namespace> = Api::all(self.api.clone().into_client());
                let metadata = ObjectMeta { name: Some(LEASE.0.to_owned()), ..ObjectMeta::default() };
                let namespace = Namespace { metadata, ..Namespace::default() };
                namespaces.create(&PostParams::default(), &namespace).await?;
                self.api.create(&PostParams::default(), lease).await
            }
            outcome => outcome,
        }
    }
}

/// What came of a look at the lease.
enum Outcome {
    Held,
    Others,
    /// Somebody else wrote to it meanwhile.
    Contended,
}

fn lease(spec: LeaseSpec, metadata: ObjectMeta) -> Lease {
    Lease { metadata, spec: Some(spec) }
}

fn micro(now: jiff::Timestamp) -> MicroTime {
    MicroTime(now)
}

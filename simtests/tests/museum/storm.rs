//! Read in the original's code: edges that lost their cloud dial every thirty seconds, and all of them at the
//! same time, since they lost it at the same time.
//!
//! Ours dials after pauses that differ from edge to edge.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgecore::EdgePorts;
use simtests::{Failure, Invariant, Sim};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use wire::link::{DialTo, Dialed, Dialer, LinkError};

use crate::exhibit::{self, Cast, MINUTE, breaks, demand, is_ready};
use crate::things::most_within;

const EDGES: usize = 24;
/// Edges that dial so soon after each other do it in step; some do by chance.
const STEP: Duration = Duration::from_millis(200);
const DIALS_MAX: usize = EDGES / 3;
/// The original's pause between two dials.
const PAUSE: Duration = Duration::from_secs(30);

/// A dialer that lets pass a fixed time after each dial that failed.
struct FixedPause {
    dialer: Arc<dyn Dialer>,
    next: Mutex<Option<Instant>>,
}

#[async_trait]
impl Dialer for FixedPause {
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError> {
        let mut next = self.next.lock().await;
        if let Some(next) = *next {
            sleep_until(next).await;
        }
        let begun = next.unwrap_or_else(Instant::now);
        let dialed = self.dialer.dial(to).await;
        *next = dialed.is_err().then(|| begun + PAUSE);
        dialed
    }
}

/// Edges whose cloud is away for a minute and a half do not dial in step.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    let names: Vec<String> = (0..EDGES).map(|number| format!("edge-{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let kube = cast.start(sim, &names)?;
    sim.allow_log("the cloud was not reached");
    sim.allow_log("the node is silent");
    sim.crash("cloud");
    // The first dials after a loss are those that find out that it is one.
    sim.run_for(MINUTE / 2)?;
    let since = sim.elapsed();
    sim.run_for(MINUTE)?;
    sim.restart("cloud")?;
    for name in &names {
        is_ready(sim, &kube, name, 2 * MINUTE)?;
    }
    let most = most_within(sim, STEP, since, " dials");
    demand(most <= DIALS_MAX, format!("{most} of {EDGES} edges dialed in step"))
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    let fixed = |mut ports: EdgePorts| {
        ports.hub.dialer = Arc::new(FixedPause { dialer: ports.hub.dialer, next: Mutex::new(None) });
        edgecore::catalog(ports)
    };
    let patient = "modules: { edgeHub: { websocket: { handshakeTimeout: 60 } } }";
    let cast = Cast::ours().edge(fixed).edge_yaml(patient);
    breaks(scenario, &cast, Invariant::DemandsAreMet, "edges dialed in step");
}

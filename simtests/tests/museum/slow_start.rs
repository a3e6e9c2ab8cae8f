//! Seen while the original ran (6): cloudcore sleeps for a random time of up to nine seconds at each start.
//!
//! Ours negotiates nothing at its start and serves at once.

use std::time::Duration;

use beehive::{BuildError, Context, Group, Module, ModuleName, Wiring};
use rand::Rng as _;
use simtests::{Failure, Sim};

use crate::exhibit::{self, Cast, SECOND, is_late};
use crate::faulty::cloud::cloud_with;

/// A module that sleeps at its start.
struct Sleepy;

impl Module for Sleepy {
    const NAME: ModuleName = ModuleName::new("sleepy");
    const GROUP: Group = Group::new("sleepy");
    type Config = ();
    type Ports = kube::Client;

    fn build((): (), _: kube::Client) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(_: &mut Wiring<Self>) {}

    async fn started(&mut self, cx: &mut Context<Self>) -> Result<(), beehive::Failure> {
        let seconds = cx.rng().random_range(0..10);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    }
}

/// A cloud serves within a second of each of five starts.
fn scenario(sim: &mut Sim, cast: &Cast) -> Result<(), Failure> {
    cast.start_cloud(sim)?;
    for _ in 0..5 {
        sim.crash("cloud");
        sim.restart("cloud")?;
        sim.run_for(SECOND)?;
        if sim.bus("cloud").is_none() {
            return Err(Failure::Liveness { what: "the cloud serves".to_owned(), waited: SECOND });
        }
    }
    Ok(())
}

#[test]
fn holds() {
    exhibit::holds(scenario, &Cast::ours());
}

#[test]
fn fails_as_reported() {
    is_late(scenario, &cloud_with::<Sleepy>(), "the cloud serves");
}

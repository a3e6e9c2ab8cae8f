//! A whole fleet loses its links at once, and gets them back at once.

use std::time::Duration;

use crate::check::Invariant;
use crate::check::cluster::Picture;
use crate::explore::compare;
use crate::failure::Failure;
use crate::link::Direction;
use crate::schedule::edge_name;
use crate::sim::Sim;
use crate::workload::{Work, Workload};

/// How many config maps, and as many secrets, the pods of a fleet share.
const CONFIGS: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);
/// Within which time the fleet is ready and its pods run.
const START_PATIENCE: Duration = Duration::from_secs(300);
/// For how long the links are cut: all those nodes are `NotReady` by then.
const CUT: Duration = Duration::from_secs(180);

/// Warnings about links that are cut, and about a thousand that come at once.
const EXPLAINED: [&str; 4] =
    ["the cloud was not reached", "the node is silent", "was not served", "a connection was refused"];

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return {
    /// How long it took until every node was ready and every volume current.
    pub converged: Duration,
    /// Bytes of frames in both directions since the links were healed, for all nodes.
    pub bytes: u64,
}

/// Cuts `cut` nodes off for three minutes in which every config map changes, while `calm` others
/// keep their links; each node has a pod. Returns what their return took.
///
/// # Errors
///
/// When a node that was not cut is `NotReady`, an invariant is broken, or not everything is right
/// within `patience` after the links were healed.
pub fn cut_and_heal(sim: &mut Sim, cut: u32, calm: u32, patience: Duration) -> Result<Return, Failure> {
    for text in EXPLAINED {
        sim.allow_log(text);
    }
    sim.cloud(&format!("modules: {{ cloudHub: {{ nodeLimit: {} }} }}", cut + calm))?;
    let mut fleet = Fleet { names: (0..cut + calm).map(edge_name).collect(), workload: Workload::default() };
    for name in &fleet.names {
        sim.edge(name, "")?;
    }
    fleet.work(sim)?;
    let all = fleet.names.len();
    fleet.wait(sim, "the fleet runs", START_PATIENCE, all)?;
    let (away, calm) = fleet.names.split_at(usize::try_from(cut).unwrap_or(all));
    for name in away {
        Direction::BOTH.into_iter().for_each(|direction| sim.cut(name, direction));
    }
    let end = sim.elapsed() + CUT;
    while sim.elapsed() < end {
        sim.run_for(SECOND)?;
        watch(sim, calm)?;
    }
    let kube = sim.kube();
    for number in 0..CONFIGS {
        sim.block_on(fleet.workload.act(&kube, &Work::ChangeConfigMap { number }));
        sim.block_on(fleet.workload.act(&kube, &Work::ChangeSecret { number }));
    }
    let picture = sim.block_on(Picture::take(&kube));
    let is_noticed = picture.is_some_and(|picture| away.iter().all(|name| !picture.is_ready(name)));
    if !is_noticed {
        return Err(Failure::Liveness { what: "the nodes that are cut are not ready".into(), waited: CUT });
    }
    let bytes_before = bytes(sim, &fleet.names);
    let healed = sim.elapsed();
    for name in away {
        sim.heal_link(name);
    }
    fleet.wait(sim, "the fleet has come back", patience, away.len())?;
    let found = Return { converged: sim.elapsed() - healed, bytes: bytes(sim, &fleet.names) - bytes_before };
    sim.note(&format!("all nodes came back within {:?}, with {} bytes", found.converged, found.bytes));
    Ok(found)
}

fn bytes(sim: &Sim, names: &[String]) -> u64 {
    names.iter().flat_map(|name| sim.link_bytes(name)).sum()
}

/// Nodes that nothing happens to are ready.
fn watch(sim: &mut Sim, calm: &[String]) -> Result<(), Failure> {
    let kube = sim.kube();
    let Some(picture) = sim.block_on(Picture::take(&kube)) else { return Ok(()) };
    for name in calm {
        let outcome = if picture.is_ready(name) { Ok(()) } else { Err(format!("{name} is not ready")) };
        sim.world().ledger.check(Invariant::UndisturbedNodesStayReady, outcome);
    }
    sim.run_for(Duration::ZERO)
}

struct Fleet {
    names: Vec<String>,
    workload: Workload,
}

impl Fleet {
    /// Makes a pod for each node.
    fn work(&mut self, sim: &mut Sim) -> Result<(), Failure> {
        let kube = sim.kube();
        sim.run_for(SECOND)?;
        let prepared = sim.block_on(self.workload.prepare(&kube, CONFIGS));
        prepared.map_err(|error| Failure::Setup(format!("the objects of users: {error}")))?;
        for (number, edge) in (0..).zip(self.names.clone()) {
            let work = Work::CreatePod { number, edge, config: number % CONFIGS };
            sim.block_on(self.workload.act(&kube, &work));
        }
        Ok(())
    }

    /// Waits until the first `count` nodes are ready, their pods run and their volumes are current;
    /// all others have to be ready at each moment.
    fn wait(&self, sim: &mut Sim, what: &str, patience: Duration, count: usize) -> Result<(), Failure> {
        let (waited_for, others) = self.names.split_at(count);
        let end = sim.elapsed() + patience;
        loop {
            let Some(wrong) = wrong(sim, waited_for) else { return Ok(()) };
            if sim.elapsed() >= end {
                return Err(Failure::Liveness { what: format!("{what} ({wrong})"), waited: patience });
            }
            sim.run_for(SECOND)?;
            watch(sim, others)?;
        }
    }
}

/// Returns what is not right yet on any of some nodes.
fn wrong(sim: &mut Sim, names: &[String]) -> Option<String> {
    let kube = sim.kube();
    let Some(picture) = sim.block_on(Picture::take(&kube)) else {
        return Some("the API server does not answer".to_owned());
    };
    names.iter().find_map(|name| compare(sim, &picture, name).err()).map(|(_, wrong)| wrong)
}

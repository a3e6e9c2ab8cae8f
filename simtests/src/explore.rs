//! Carrying out a schedule: faults and work, then peace, in which everything must come right.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Client;

use crate::check::Invariant;
use crate::check::acknowledged::HELD;
use crate::check::cluster::Picture;
use crate::cluster;
use crate::failure::Failure;
use crate::report::Outcome;
use crate::run;
use crate::schedule::{Action, Fault, Schedule, edge_name};
use crate::sim::Sim;
use crate::site::CLOUD;
use crate::workload::{MARK, Workload};

/// How often the cluster is compared with what it should be.
const CHECK_PERIOD: Duration = Duration::from_secs(5);
/// Within which time nodes are ready at first.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How long a node may be heard of by nobody after the last thing that happened to it.
const GRACE: Duration = Duration::from_secs(120);
/// For how long what began to go wrong before may still come to light.
const LINGER: Duration = Duration::from_secs(60);
/// For how long everything must stay right.
const STABLE: Duration = Duration::from_secs(60);

/// Carries out a schedule twice and compares the runs.
#[must_use]
pub fn explore(schedule: &Schedule) -> Outcome {
    run::verify(schedule.seed, |sim| carry_out(sim, schedule))
}

/// Carries out a schedule once.
///
/// # Errors
///
/// When an invariant is broken, or not everything comes right in the end.
pub fn carry_out(sim: &mut Sim, schedule: &Schedule) -> Result<(), Failure> {
    let profile = &schedule.profile;
    let mut run = Run { kube: sim.kube(), workload: Workload::default(), disturbed: BTreeMap::new() };
    sim.cloud("")?;
    for number in 0..profile.edges {
        sim.edge(&edge_name(number), "")?;
    }
    for number in 0..profile.edges {
        let (name, kube) = (edge_name(number), run.kube.clone());
        let ready = async || cluster::node_is_ready(&kube, &name).await;
        sim.until(&format!("{name} is ready"), START_PATIENCE, ready)?;
    }
    let prepared = sim.block_on(run.workload.prepare(&run.kube, profile.configs));
    prepared.map_err(|error| Failure::Setup(format!("the objects of users: {error}")))?;
    for text in &profile.allowed_logs {
        sim.allow_log(text);
    }
    sim.buggify(!profile.classes.is_empty());
    let begun = sim.elapsed();
    for step in &schedule.steps {
        run.wait(sim, begun + step.at)?;
        match &step.action {
            Action::Fault(fault) => run.inject(sim, fault)?,
            Action::Work(work) => {
                let outcome = sim.block_on(run.workload.act(&run.kube, work));
                sim.note(&format!("{work:?}: {outcome}"));
            }
        }
    }
    run.wait(sim, begun + profile.duration)?;
    run.heal(sim, profile.edges)?;
    // Calls that began before may still fail or go unanswered.
    run.wait(sim, sim.elapsed() + LINGER)?;
    run.come_right(sim, profile.patience)?;
    run.stay_right(sim)
}

/// A schedule that is being carried out.
struct Run {
    kube: Client,
    workload: Workload,
    disturbed: BTreeMap<String, Disturbance>,
}

/// What happens to a node, and when something happened to it last.
#[derive(Debug, Clone, Copy, Default)]
struct Disturbance {
    going_on: u32,
    last: Duration,
}

/// What a fault is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Begins,
    Ends,
    Moment,
}

/// Tells whom a fault disturbs and for how long; `None` for what no node may notice.
fn effect(fault: &Fault) -> Option<(&str, Effect)> {
    use Effect::{Begins, Ends, Moment};
    Some(match fault {
        Fault::Crash(name) | Fault::PowerOff(name) | Fault::Cut(name, _) | Fault::ShapeLink(name, _) => {
            (name, Begins)
        }
        Fault::FillDisk(name) | Fault::SlowDisk(name, _) | Fault::JumpClock(name, _) => (name, Begins),
        Fault::TroubleRuntime(name, _) => (name, Begins),
        Fault::TroubleApi(_) => (CLOUD, Begins),
        Fault::Restart(name) | Fault::HealLink(name) | Fault::HealDisk(name) => (name, Ends),
        Fault::HealRuntime(name) | Fault::SetClockRight(name) => (name, Ends),
        Fault::HealApi => (CLOUD, Ends),
        Fault::ResetLinks(name) | Fault::StickLinks(name) | Fault::FailWrite(name, ..) => (name, Moment),
        Fault::DamageDisk(_) | Fault::CrashContainer(_) | Fault::EndWatches => return None,
    })
}

impl Run {
    /// Lets time pass, and looks at the cluster meanwhile.
    fn wait(&mut self, sim: &mut Sim, until: Duration) -> Result<(), Failure> {
        while sim.elapsed() < until {
            let step = CHECK_PERIOD.min(until - sim.elapsed());
            sim.run_for(step)?;
            self.look(sim)?;
        }
        Ok(())
    }

    /// Checks what must hold at every moment.
    fn look(&self, sim: &mut Sim) -> Result<(), Failure> {
        let Some(picture) = sim.block_on(Picture::take(&self.kube)) else { return Ok(()) };
        let now = sim.elapsed();
        let ledger = &sim.world().ledger;
        ledger.check(Invariant::AcknowledgedWritesAreKept, picture.keeps(&self.workload));
        for edge in sim.edges() {
            let is_over = |past: &Disturbance| past.going_on == 0 && past.last + GRACE < now;
            let is_calm = self.disturbed.get(edge).is_none_or(is_over);
            if is_calm {
                let outcome =
                    if picture.is_ready(edge) { Ok(()) } else { Err(format!("{edge} is not ready")) };
                ledger.check(Invariant::UndisturbedNodesStayReady, outcome);
            }
        }
        sim.run_for(Duration::ZERO)
    }

    /// A node that something lasting happens to is disturbed until a while after its end.
    fn disturb(&mut self, sim: &Sim, fault: &Fault) {
        let Some((name, effect)) = effect(fault) else { return };
        let now = sim.elapsed();
        for edge in sim.edges().filter(|edge| name == CLOUD || *edge == name) {
            let disturbance = self.disturbed.entry(edge.to_owned()).or_default();
            disturbance.last = now;
            match effect {
                Effect::Begins => disturbance.going_on += 1,
                Effect::Ends => disturbance.going_on = disturbance.going_on.saturating_sub(1),
                Effect::Moment => {}
            }
        }
    }

    fn inject(&mut self, sim: &mut Sim, fault: &Fault) -> Result<(), Failure> {
        self.disturb(sim, fault);
        match fault {
            Fault::Crash(name) => sim.crash(name),
            Fault::PowerOff(edge) => sim.power_off(edge),
            Fault::Restart(name) => sim.restart(name)?,
            Fault::Cut(edge, direction) => sim.cut(edge, *direction),
            Fault::ResetLinks(edge) => sim.reset_links(edge),
            Fault::StickLinks(edge) => sim.stick_links(edge),
            Fault::ShapeLink(edge, shape) => sim.shape_link(edge, *shape),
            Fault::HealLink(edge) => sim.heal_link(edge),
            Fault::FailWrite(name, after, kind) => sim.fail_write(name, *after, *kind),
            Fault::FillDisk(name) => sim.fill_disk(name),
            Fault::SlowDisk(name, times) => sim.slow_disk(name, *times),
            Fault::DamageDisk(edge) => {
                sim.damage_disk(edge, HELD);
            }
            Fault::HealDisk(name) => sim.heal_disk(name),
            Fault::TroubleApi(trouble) => sim.trouble_api(*trouble),
            Fault::HealApi => sim.trouble_api(Default::default()),
            Fault::EndWatches => sim.end_watches(),
            Fault::TroubleRuntime(edge, trouble) => sim.trouble_runtime(edge, *trouble),
            Fault::HealRuntime(edge) => sim.trouble_runtime(edge, Default::default()),
            Fault::CrashContainer(edge) => sim.crash_container(edge),
            Fault::JumpClock(name, by_ms) => sim.jump_clock(name, *by_ms),
            Fault::SetClockRight(name) => sim.set_clock_right(name),
        }
        Ok(())
    }

    /// Ends every fault that goes on.
    fn heal(&mut self, sim: &mut Sim, edges: u32) -> Result<(), Failure> {
        sim.note("from here on nothing goes wrong");
        sim.buggify(false);
        sim.trouble_api(Default::default());
        for name in (0..edges).map(edge_name).chain([CLOUD.to_owned()]) {
            sim.heal_disk(&name);
            sim.set_clock_right(&name);
            if name != CLOUD {
                sim.heal_link(&name);
                sim.trouble_runtime(&name, Default::default());
            }
            sim.restart(&name)?;
        }
        let now = sim.elapsed();
        self.disturbed.values_mut().for_each(|past| *past = Disturbance { going_on: 0, last: now });
        Ok(())
    }

    /// Waits until everything is as it should be.
    fn come_right(&mut self, sim: &mut Sim, patience: Duration) -> Result<(), Failure> {
        let begun = sim.elapsed();
        loop {
            let Err((_, wrong)) = self.compare(sim) else { return Ok(()) };
            if sim.elapsed() - begun > patience {
                return Err(Failure::Liveness { what: format!("convergence ({wrong})"), waited: patience });
            }
            let next = sim.elapsed() + CHECK_PERIOD;
            self.wait(sim, next)?;
        }
    }

    /// Checks for a while that everything stays as it should be.
    fn stay_right(&mut self, sim: &mut Sim) -> Result<(), Failure> {
        let end = sim.elapsed() + STABLE;
        while sim.elapsed() < end {
            let outcome = self.compare(sim);
            for invariant in
                [Invariant::NothingIsLeftBehind, Invariant::StatusesAreTrue, Invariant::VolumesAreCurrent]
            {
                let found = outcome.as_ref().err().filter(|(broken, _)| *broken == invariant);
                let found = found.map_or(Ok(()), |(_, wrong)| Err(wrong.clone()));
                sim.world().ledger.check(invariant, found);
            }
            let next = sim.elapsed() + CHECK_PERIOD;
            self.wait(sim, next)?;
        }
        Ok(())
    }

    /// Compares the API server with every edge.
    fn compare(&self, sim: &mut Sim) -> Result<(), (Invariant, String)> {
        let silent = (Invariant::StatusesAreTrue, "the API server does not answer".to_owned());
        let picture = sim.block_on(Picture::take(&self.kube)).ok_or(silent)?;
        let edges: Vec<String> = sim.edges().map(str::to_owned).collect();
        edges.iter().try_for_each(|edge| compare(sim, &picture, edge))
    }
}

/// Compares the API server with an edge.
pub(crate) fn compare(sim: &mut Sim, picture: &Picture, edge: &str) -> Result<(), (Invariant, String)> {
    let sandboxes = sim.containers(edge);
    if !picture.is_ready(edge) {
        return Err((Invariant::StatusesAreTrue, format!("{edge} is not ready")));
    }
    let left = picture.nothing_is_left(edge, &sandboxes);
    left.map_err(|wrong| (Invariant::NothingIsLeftBehind, wrong))?;
    let statuses = picture.statuses_are_true(edge, &sandboxes);
    statuses.map_err(|wrong| (Invariant::StatusesAreTrue, wrong))?;
    let read = |uid: &str, volume: &str| read_mark(sim, edge, uid, volume);
    let volumes = picture.volumes_are_current(edge, read);
    volumes.map_err(|wrong| (Invariant::VolumesAreCurrent, wrong))
}

/// Reads the number of the content of a pod's volume.
fn read_mark(sim: &Sim, edge: &str, uid: &str, volume: &str) -> Option<u64> {
    let files = sim.site(edge)?.machine.files.volume(uid, volume)?;
    let file = files.iter().find(|file| file.path == MARK)?;
    std::str::from_utf8(&file.content).ok()?.parse().ok()
}

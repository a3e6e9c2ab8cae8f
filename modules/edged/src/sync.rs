//! The decision of what to do next for one pod: a function of what is wanted, what the runtime has,
//! what is remembered and the time. It does nothing itself.

use std::time::SystemTime;

use crate::backoff::{Backoff, CRASH, SETUP, is_ahead};
use crate::observed::{Memory, Observed, Run, Waiting};
use crate::pod::{ContainerView, Pod, RestartPolicy};
use crate::ports::{ContainerId, ContainerState, SandboxId, SandboxState};
use crate::probe::{ProbeKind, has_started};
use crate::spec::mark;
use crate::time::go_duration;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// End the pod for good, by this reason.
    Fail {
        /// One word.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// End all containers and stop all sandboxes; their records stay.
    StopPod,
    /// Stop a sandbox that is not the newest, or not ready, with all that runs in it.
    StopSandbox(SandboxId),
    /// Make a sandbox.
    RunSandbox {
        /// How many came before it.
        attempt: u32,
    },
    /// Make and start a container in the ready sandbox.
    Start {
        /// Its name.
        container: String,
        /// How many came before it.
        attempt: u32,
    },
    /// End a running container, so that it is started again.
    Kill {
        /// Its id.
        id: ContainerId,
        /// Its name.
        container: String,
        /// For people.
        message: String,
        /// The probe that asks for it, if one does.
        probe: Option<ProbeKind>,
    },
    /// Remove an ended container and its log.
    Remove {
        /// Its id.
        id: ContainerId,
        /// Its name.
        container: String,
        /// Which run it was.
        attempt: u32,
        /// Whether its log and files stay for the run that replaces it.
        keep_files: bool,
    },
    /// Remove an ended sandbox.
    RemoveSandbox(SandboxId),
}

/// What to do, and when to decide again at the latest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub actions: Vec<Action>,
    /// When something becomes due that nobody reports.
    pub wake_at: Option<SystemTime>,
    /// Containers that wait, and why.
    pub waiting: Vec<(String, Waiting)>,
    /// Whether the pod has nothing left to run.
    pub ended: bool,
}

impl Plan {
    fn wake(&mut self, at: SystemTime) {
        self.wake_at = Some(self.wake_at.map_or(at, |held| held.min(at)));
    }
}

/// Decides for a pod that is wanted.
#[must_use]
pub fn plan(pod: &Pod, observed: Observed<'_>, memory: &Memory, now: SystemTime) -> Plan {
    let mut plan = Plan::default();
    let decision = Decision { pod, observed, memory, now };
    if memory.verdict.is_some() || pod.is_known_ended() {
        decision.end(&mut plan);
    } else if !decision.fails_by_deadline(&mut plan) {
        decision.run(&mut plan);
    }
    decision.collect(&mut plan);
    plan
}

struct Decision<'a> {
    pod: &'a Pod,
    observed: Observed<'a>,
    memory: &'a Memory,
    now: SystemTime,
}

/// What is to become of a container that does not run.
enum Next {
    Start(u32),
    Wait,
    Done,
}

impl Decision<'_> {
    fn end(&self, plan: &mut Plan) {
        plan.ended = true;
        let ready = self.observed.sandboxes().iter().any(|sandbox| sandbox.state == SandboxState::Ready);
        if ready || self.observed.any_running() {
            plan.actions.push(Action::StopPod);
        }
    }

    fn fails_by_deadline(&self, plan: &mut Plan) -> bool {
        let (Some(seconds), Some(started_at)) =
            (self.pod.spec.active_deadline_seconds, self.memory.started_at)
        else {
            return false;
        };
        let deadline = started_at + std::time::Duration::from_secs(seconds);
        if deadline > self.now {
            plan.wake(deadline);
            return false;
        }
        let message = "Pod was active on the node longer than the specified deadline".to_owned();
        plan.actions.push(Action::Fail { reason: "DeadlineExceeded", message });
        self.end(plan);
        true
    }

    fn run(&self, plan: &mut Plan) {
        for sandbox in self.observed.sandboxes().iter().skip(1) {
            let runs = sandbox.containers.iter().any(|c| matches!(c.state, ContainerState::Running { .. }));
            if sandbox.state == SandboxState::Ready || runs {
                plan.actions.push(Action::StopSandbox(sandbox.id.clone()));
            }
        }
        if self.observed.ready().is_none() {
            self.renew_sandbox(plan);
        } else if self.init(plan) {
            self.containers(plan);
        }
    }

    /// Decides for a pod without a ready sandbox.
    fn renew_sandbox(&self, plan: &mut Plan) {
        let newest = self.observed.newest();
        if let Some(sandbox) = newest
            && sandbox.containers.iter().any(|c| !matches!(c.state, ContainerState::Exited(_)))
        {
            plan.actions.push(Action::StopSandbox(sandbox.id.clone()));
        }
        if !self.anything_to_run() {
            self.end(plan);
            return;
        }
        if let Some((_, until)) = self.memory.setups.get("").filter(|(_, until)| is_ahead(*until, self.now)) {
            plan.wake(*until);
            return;
        }
        let attempt = newest.map_or(0, |sandbox| sandbox.pod.attempt + 1);
        plan.actions.push(Action::RunSandbox { attempt });
    }

    fn anything_to_run(&self) -> bool {
        if self.init_failed_for_good() {
            return false;
        }
        self.pod.spec.containers.iter().any(|container| {
            match self.observed.latest(&container.name, self.memory) {
                None => true,
                Some(run) => match run.exit() {
                    // It ran in a sandbox that is gone: it ended with it.
                    None => self.pod.spec.restart_policy != RestartPolicy::Never,
                    Some(exit) => self.restarts(exit.code),
                },
            }
        })
    }

    fn init_failed_for_good(&self) -> bool {
        self.pod.spec.restart_policy == RestartPolicy::Never
            && self.pod.spec.init_containers.iter().filter(|c| !c.is_sidecar()).any(|container| {
                let latest = self.observed.latest(&container.name, self.memory);
                latest.is_some_and(|run| run.exit().is_some_and(|exit| exit.code != 0))
            })
    }

    fn restarts(&self, code: i32) -> bool {
        match self.pod.spec.restart_policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Never => false,
        }
    }

    /// Decides for init containers. Returns whether the others may run.
    fn init(&self, plan: &mut Plan) -> bool {
        let others_began =
            self.pod.spec.containers.iter().any(|container| self.run_here(&container.name).is_some());
        let all_over = others_began && !self.main_goes_on();
        for container in &self.pod.spec.init_containers {
            if container.is_sidecar() {
                if !all_over && !self.sidecar(container, plan) && !others_began {
                    return false;
                }
            } else if !others_began && !self.init_step(container, plan) {
                return false;
            }
        }
        true
    }

    /// Decides for a sidecar. Returns whether it has started.
    fn sidecar(&self, container: &ContainerView, plan: &mut Plan) -> bool {
        match self.run_here(&container.name) {
            Some(run) if run.is_running() => {
                self.keep_or_kill(container, &run, plan);
                let results = run.held.and_then(|(_, held)| self.memory.probes.get(&held.id));
                has_started(container, results)
            }
            _ => {
                self.start_or_wait(container, plan, true);
                false
            }
        }
    }

    /// Decides for an init container. Returns whether it has succeeded.
    fn init_step(&self, container: &ContainerView, plan: &mut Plan) -> bool {
        match self.run_here(&container.name) {
            Some(run) if run.exit().is_some_and(|exit| exit.code == 0) => return true,
            Some(run) if run.is_running() => {}
            Some(run) if run.exit().is_some() && self.pod.spec.restart_policy == RestartPolicy::Never => {
                self.end(plan);
            }
            _ => {
                self.start_or_wait(container, plan, true);
            }
        }
        false
    }

    /// Returns the newest run of a container in the ready sandbox.
    fn run_here(&self, name: &str) -> Option<Run<'_>> {
        let ready = self.observed.ready()?;
        let runs = self.observed.runs(name);
        runs.into_iter().find(|run| run.held.is_some_and(|(sandbox, _)| sandbox.id == ready.id))
    }

    fn containers(&self, plan: &mut Plan) {
        let mut over = true;
        for container in &self.pod.spec.containers {
            match self.run_here(&container.name) {
                Some(run) if run.is_running() => {
                    self.keep_or_kill(container, &run, plan);
                    over = false;
                }
                _ => over &= !self.start_or_wait(container, plan, false),
            }
        }
        if over {
            self.end(plan);
        }
    }

    /// Tells whether a container of the pod runs or will.
    fn main_goes_on(&self) -> bool {
        self.pod.spec.containers.iter().any(|container| {
            let latest = self.observed.latest(&container.name, self.memory);
            latest.is_none_or(|run| run.exit().is_none_or(|exit| self.restarts(exit.code)))
        })
    }

    fn keep_or_kill(&self, container: &ContainerView, run: &Run<'_>, plan: &mut Plan) {
        let Some((_, held)) = run.held else { return };
        let hash = format!("{:x}", container.restart_relevant());
        let differs = held.annotations.get(mark::CONTAINER_HASH).is_some_and(|made_of| *made_of != hash);
        // Older agents hash in other ways; the name is the same, and only the image counts beside it.
        let changed = differs && !is_same_image(&held.image, &container.image);
        let fatal = self.memory.probes.get(&held.id).and_then(|results| results.fatal);
        let name = &container.name;
        let message = match fatal {
            Some(ProbeKind::Startup) => format!("Container {name} failed startup probe, will be restarted"),
            Some(_) => format!("Container {name} failed liveness probe, will be restarted"),
            None if changed => format!("Container {name} definition changed, will be restarted"),
            None => return,
        };
        plan.actions.push(Action::Kill {
            id: held.id.clone(),
            container: name.clone(),
            message,
            probe: fatal,
        });
    }

    /// Decides for a container that does not run. Returns whether it will.
    fn start_or_wait(&self, container: &ContainerView, plan: &mut Plan, always: bool) -> bool {
        match self.next(container, plan, always) {
            Next::Start(attempt) => {
                plan.actions.push(Action::Start { container: container.name.clone(), attempt });
                true
            }
            Next::Wait => true,
            Next::Done => false,
        }
    }

    fn next(&self, container: &ContainerView, plan: &mut Plan, always: bool) -> Next {
        let name = &container.name;
        if let Some((_, until)) = self.memory.setups.get(name).filter(|(_, until)| is_ahead(*until, self.now))
        {
            plan.wake(*until);
            return Next::Wait;
        }
        let Some(run) = self.observed.latest(name, self.memory) else { return Next::Start(0) };
        match &run.state {
            ContainerState::Running { .. } => Next::Wait,
            ContainerState::Created | ContainerState::Unknown => {
                self.clear(container, &run, plan);
                Next::Start(run.attempt)
            }
            ContainerState::Exited(exit) => {
                if !always && !self.restarts(exit.code) {
                    return Next::Done;
                }
                let last = self.memory.crashes.get(name).copied();
                match Backoff::until(last, CRASH, exit.finished_at, self.now) {
                    None => Next::Start(run.attempt.saturating_add(1)),
                    Some(until) => {
                        plan.wake(until);
                        let delay = last.map_or(CRASH.initial, |backoff| backoff.delay);
                        let message = format!(
                            "back-off {} restarting failed container={name} pod={}_{}({})",
                            go_duration(delay),
                            self.pod.name,
                            self.pod.namespace,
                            self.pod.uid
                        );
                        plan.waiting.push((name.clone(), Waiting::new("CrashLoopBackOff", message)));
                        Next::Wait
                    }
                }
            }
        }
    }

    /// Removes a container that was made and never ran, or of which nothing is known.
    fn clear(&self, container: &ContainerView, run: &Run<'_>, plan: &mut Plan) {
        if let Some((_, held)) = run.held {
            plan.actions.push(Action::Remove {
                id: held.id.clone(),
                container: container.name.clone(),
                attempt: run.attempt,
                keep_files: true,
            });
        }
    }

    /// Removes what is left of earlier runs: each container keeps its newest ended one.
    fn collect(&self, plan: &mut Plan) {
        let mut kept = Vec::new();
        let mut names: Vec<&str> = self.observed.containers().map(|(_, c)| c.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let ended = self.observed.runs(name).into_iter().filter(|run| run.exit().is_some());
            for (place, run) in ended.enumerate() {
                let Some((sandbox, held)) = run.held else { continue };
                if place == 0 {
                    kept.push(sandbox.id.clone());
                    continue;
                }
                plan.actions.push(Action::Remove {
                    id: held.id.clone(),
                    container: name.to_owned(),
                    attempt: run.attempt,
                    keep_files: false,
                });
            }
        }
        for sandbox in self.observed.sandboxes().iter().skip(1) {
            let idle = sandbox.containers.iter().all(|c| matches!(c.state, ContainerState::Exited(_)));
            if sandbox.state == SandboxState::NotReady && idle && !kept.contains(&sandbox.id) {
                plan.actions.push(Action::RemoveSandbox(sandbox.id.clone()));
            }
        }
    }
}

/// Returns when an attempt to set up (`key` empty for the sandbox) may be made again.
#[must_use]
pub fn setup_failed(memory: &Memory, key: &str, now: SystemTime) -> (Backoff, SystemTime) {
    let last = memory.setups.get(key).map(|(backoff, _)| *backoff);
    let next = Backoff::next(last, SETUP, now, now);
    (next, now + next.delay)
}

/// Compares an image as a runtime names it, with its registry and its tag, and as it was asked for.
fn is_same_image(held: &str, asked: &str) -> bool {
    let short = ["", "docker.io/", "docker.io/library/"].into_iter().filter_map(|hub| held.strip_prefix(hub));
    short.into_iter().any(|held| held == asked || held.strip_suffix(":latest") == Some(asked))
}

#[cfg(test)]
mod tests;

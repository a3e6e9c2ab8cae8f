//! Runs the probes of a pod's containers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::events::Severity;
use crate::observed::Observed;
use crate::pod::{ContainerView, Pod, ProbeView};
use crate::ports::{ContainerId, ContainerState};
use crate::probe::{ProbeKind, Row, Schedule, apply, has_started};
use crate::shell::Shared;
use crate::shell::hooks::{Outcome, Target, attempt};
use crate::shell::slot::Slot;
use crate::time::since;

type Key = (ContainerId, ProbeKind);

/// Runs probes for ever: one row of attempts for each probe of each running container.
pub(crate) async fn run(shared: &Shared, slot: &Slot) {
    let mut rows = FuturesUnordered::new();
    let mut known: BTreeSet<Key> = BTreeSet::new();
    loop {
        let pod = slot.pod();
        let sandboxes = shared.view.pod(&pod.uid);
        for (_, held) in Observed::new(&sandboxes).containers() {
            let ContainerState::Running { started_at } = held.state else { continue };
            let Some(view) = pod.container(&held.name) else { continue };
            for kind in ProbeKind::ALL {
                let Some(probe) = kind.of(view) else { continue };
                let key = (held.id.clone(), kind);
                if known.insert(key.clone()) {
                    let probe = Probe {
                        view: view.clone(),
                        probe: probe.clone(),
                        kind,
                        id: held.id.clone(),
                        started_at,
                    };
                    rows.push(async move {
                        probe.run(shared, slot).await;
                        key
                    });
                }
            }
        }
        tokio::select! { biased;
            Some(ended) = rows.next(), if !rows.is_empty() => {
                known.remove(&ended);
            }
            () = slot.probe.notified() => {}
        }
    }
}

struct Probe {
    view: ContainerView,
    probe: ProbeView,
    kind: ProbeKind,
    id: ContainerId,
    started_at: SystemTime,
}

impl Probe {
    /// Attempts until the container does not run any more.
    async fn run(&self, shared: &Shared, slot: &Slot) {
        let schedule = Schedule::of(&self.probe);
        let mut row = Row::default();
        let running_for = since(shared.now(), self.started_at);
        tokio::time::sleep(schedule.delay.saturating_sub(running_for)).await;
        while let Some(ip) = self.runs_at(shared, slot) {
            if self.kind == ProbeKind::Startup && self.started(slot) {
                break;
            }
            if self.kind != ProbeKind::Startup && !self.started(slot) {
                tokio::time::sleep(Duration::from_secs(1).min(schedule.period)).await;
                continue;
            }
            self.once(shared, slot, ip, &schedule, &mut row).await;
            tokio::time::sleep(schedule.period).await;
        }
        // Stay known, so that no second row begins, until the container is gone.
        while self.runs_at(shared, slot).is_some() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Returns the address of the pod while the container runs.
    #[expect(clippy::option_option, reason = "a running container may have no address")]
    fn runs_at(&self, shared: &Shared, slot: &Slot) -> Option<Option<IpAddr>> {
        let pod = slot.pod();
        let sandboxes = shared.view.pod(&pod.uid);
        let observed = Observed::new(&sandboxes);
        let (sandbox, _) = observed
            .containers()
            .find(|(_, held)| held.id == self.id && matches!(held.state, ContainerState::Running { .. }))?;
        let own = sandbox.ips.first().copied();
        Some(if pod.spec.host_network { shared.node.borrow().host_ips.first().copied() } else { own })
    }

    fn started(&self, slot: &Slot) -> bool {
        has_started(&self.view, slot.memory.borrow().probes.get(&self.id))
    }

    async fn once(
        &self,
        shared: &Shared,
        slot: &Slot,
        ip: Option<IpAddr>,
        schedule: &Schedule,
        row: &mut Row,
    ) {
        let target = Target { id: &self.id, view: &self.view, ip };
        let success = match attempt(shared, &self.probe.handler, target, schedule.timeout).await {
            Outcome::Success => true,
            Outcome::Failure(why) => {
                self.tell(shared, &slot.pod(), &why);
                false
            }
            Outcome::Unknown(why) => {
                tracing::debug!(container = %self.view.name, kind = self.kind.word(), %why, "a probe could not be made");
                return;
            }
        };
        if self.runs_at(shared, slot).is_none() {
            return;
        }
        if let Some(meaning) = row.add(success, schedule) {
            let mut memory = slot.memory.borrow_mut();
            let results = memory.probes.entry(self.id.clone()).or_default();
            if apply(results, self.kind, meaning) {
                slot.wake.notify_one();
            }
        }
    }

    fn tell(&self, shared: &Shared, pod: &Pod, why: &str) {
        let message = format!("{} probe failed: {why}", self.kind.word());
        shared.event(pod, Some(&self.view.name), Severity::Warning, "Unhealthy", message);
    }
}

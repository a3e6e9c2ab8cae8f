//! One pod's worker: looks, decides, acts, shows, and again.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::events::Severity;
use crate::observed::{self, Observed};
use crate::pod::Pod;
use crate::ports::{ContainerState, Sandbox};
use crate::shell::slot::{Slot, Wanted};
use crate::shell::{Shared, effects, mounts, probes, report, terminate};
use crate::status::{self, StatusInput};
use crate::sync::{self, Action, Plan};
use crate::time::{parse_rfc3339, since};

/// Works for a pod until it is gone.
pub(crate) async fn run(shared: Rc<Shared>, slot: Rc<Slot>) {
    tokio::select! { biased;
        () = work(&shared, &slot) => {}
        () = probes::run(&shared, &slot) => {}
        () = report::run(&shared, &slot) => {}
    }
    slot.release_followers(|_| false);
    let uid = slot.pod().uid.clone();
    let mut pods = shared.pods.borrow_mut();
    if pods.get(&uid).is_some_and(|held| Rc::ptr_eq(held, &slot)) {
        pods.remove(&uid);
    }
}

async fn work(shared: &Shared, slot: &Slot) {
    if slot.wanted() == Wanted::Run {
        tokio::select! { biased;
            () = slot.urgent.notified() => {}
            () = shared.view.first() => adopt(shared, slot),
        }
    }
    let mut last = Vec::new();
    while slot.wanted() == Wanted::Run {
        let round = round(shared, slot, &mut last);
        let wake_at = tokio::select! { biased;
            () = slot.urgent.notified() => continue,
            wake_at = round => wake_at,
        };
        let longest = shared.config.tailored_kubelet_config.sync_frequency;
        let pause = wake_at.map_or(longest, |at| since(at, shared.now()).min(longest));
        tokio::select! { biased;
            () = slot.urgent.notified() => {}
            () = slot.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    terminate::run(shared, slot).await;
}

/// Takes up a pod: finds what is there of it already.
fn adopt(shared: &Shared, slot: &Slot) {
    let pod = slot.pod();
    let now = shared.now();
    let sandboxes = shared.view.pod(&pod.uid);
    let known = pod.status.get("startTime").and_then(serde_json::Value::as_str).and_then(parse_rfc3339);
    let mut memory = slot.memory.borrow_mut();
    memory.started_at = Some(known.unwrap_or(now));
    memory.lost = observed::lost(&pod, Observed::new(&sandboxes), now);
    memory.probes = observed::known_probes(&pod, Observed::new(&sandboxes), &shared.node.borrow().runtime);
    if !sandboxes.is_empty() {
        tracing::info!(pod = %pod.name, namespace = %pod.namespace, uid = %pod.uid, "a pod was found running");
    }
}

/// Looks, decides, shows and acts once. Returns when to look again.
async fn round(shared: &Shared, slot: &Slot, last: &mut Vec<Action>) -> Option<SystemTime> {
    let pod = slot.pod();
    refresh_volumes(shared, slot, &pod).await;
    let sandboxes = shared.view.pod(&pod.uid);
    last_words(shared, slot, &pod, &sandboxes).await;
    if slot.retry.replace(false) {
        retry_config_errors(slot);
    }
    let plan = decide(shared, slot, &pod, &sandboxes);
    show(shared, slot, &sandboxes, plan.ended);
    if plan.actions.is_empty() {
        last.clear();
        effects::pulls_wait(shared, slot);
        show(shared, slot, &sandboxes, plan.ended);
        return plan.wake_at;
    }
    if *last == plan.actions {
        // What was just done had no effect: give it a moment.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    last.clone_from(&plan.actions);
    let mut kept = Vec::new();
    for action in &plan.actions {
        effects::act(shared, slot, action, &mut kept).await;
    }
    shared.view.fresh().await;
    slot.wake.notify_one();
    plan.wake_at
}

fn decide(shared: &Shared, slot: &Slot, pod: &Pod, sandboxes: &[Sandbox]) -> Plan {
    let observed = Observed::new(sandboxes);
    let mut memory = slot.memory.borrow_mut();
    let plan = sync::plan(pod, observed, &memory, shared.now());
    let crashing = |name: &str| plan.waiting.iter().any(|(waits, _)| waits == name);
    memory.waiting.retain(|name, waiting| waiting.reason != "CrashLoopBackOff" || crashing(name));
    for (name, waiting) in &plan.waiting {
        let before = memory.waiting.insert(name.clone(), waiting.clone());
        if before.as_ref() != Some(waiting) {
            let message = format!(
                "Back-off restarting failed container {name} in pod {}_{}({})",
                pod.name, pod.namespace, pod.uid
            );
            shared.event(pod, Some(name), Severity::Warning, "BackOff", message);
        }
    }
    let held = |id: &_| observed.containers().any(|(_, container)| container.id == *id);
    memory.probes.retain(|id, _| held(id));
    memory.messages.retain(|id, _| held(id));
    slot.release_followers(|id| {
        observed.containers().any(|(_, c)| c.id == *id && matches!(c.state, ContainerState::Running { .. }))
    });
    plan
}

/// Lets containers that wait for an object try at once, since an object changed.
fn retry_config_errors(slot: &Slot) {
    let mut memory = slot.memory.borrow_mut();
    let waiting: Vec<String> = memory
        .waiting
        .iter()
        .filter(|(_, waiting)| waiting.reason == "CreateContainerConfigError")
        .map(|(name, _)| name.clone())
        .collect();
    for name in waiting {
        memory.setups.remove(&name);
    }
    memory.setups.remove("");
}

/// Brings the content of volumes up to date once they are made.
async fn refresh_volumes(shared: &Shared, slot: &Slot, pod: &Pod) {
    let made = slot.mounted.borrow().is_some();
    let runs = !shared.view.pod(&pod.uid).is_empty();
    let due = slot.stale.get() || mounts::token_is_due(slot);
    if !(due && (made || runs)) || pod.is_known_ended() {
        return;
    }
    if let Err(trouble) = mounts::prepare(shared, slot, pod).await {
        // The containers go on with what they have; the next change or period tries again.
        tracing::info!(pod = %pod.name, namespace = %pod.namespace, volume = %trouble.volume, why = %trouble.why,
            "a volume keeps its old content");
        slot.stale.set(false);
    }
}

/// The longest last words, and the longest that are taken from a log.
const MESSAGE_BYTES_MAX: usize = 4096;
const LOG_BYTES_MAX: usize = 2048;
const LOG_LINES_MAX: usize = 80;

/// Reads the last words of containers that ended.
pub(crate) async fn last_words(shared: &Shared, slot: &Slot, pod: &Pod, sandboxes: &[Sandbox]) {
    let files = &shared.ports.files;
    for (_, held) in Observed::new(sandboxes).containers() {
        let ContainerState::Exited(exit) = &held.state else { continue };
        if slot.memory.borrow().messages.contains_key(&held.id) {
            continue;
        }
        let dir = pod.dir();
        let read = files.termination_message(&dir, &held.name, held.attempt, MESSAGE_BYTES_MAX).await;
        let mut text = read.unwrap_or_default();
        let view = pod.container(&held.name);
        let fall_back = view.is_some_and(|v| v.termination_message_policy == "FallbackToLogsOnError");
        if text.is_empty() && fall_back && exit.code != 0 {
            let tail = files.log_tail(&dir, &held.name, held.attempt, LOG_LINES_MAX, LOG_BYTES_MAX).await;
            text = tail.unwrap_or_default();
        }
        slot.memory.borrow_mut().messages.insert(held.id.clone(), text);
    }
}

/// Makes the pod's status and has it reported if it changed.
pub(crate) fn show(shared: &Shared, slot: &Slot, sandboxes: &[Sandbox], ended: bool) {
    let pod = slot.pod();
    let mut desk = slot.desk.borrow_mut();
    let before = if desk.wanted.is_null() { desk.known.clone() } else { desk.wanted.clone() };
    let node = shared.node.borrow();
    let wanted = status::status(&StatusInput {
        pod: &pod,
        observed: Observed::new(sandboxes),
        memory: &slot.memory.borrow(),
        before: &before,
        host_ips: &node.host_ips,
        runtime: &node.runtime,
        ended,
        now: shared.now(),
    });
    if desk.wanted != wanted {
        desk.wanted = wanted;
        slot.reported.send_replace(false);
        slot.report.notify_one();
    }
}

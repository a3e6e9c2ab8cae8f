//! The status of one container.

use serde_json::{Value, json};

use super::StatusInput;
use crate::observed::{Run, Waiting};
use crate::pod::{ContainerView, RestartPolicy};
use crate::ports::{ContainerState, Exit};
use crate::probe;
use crate::time::rfc3339;

/// A container's status, and what the pod's status is decided by.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    value: Value,
    pub(super) running: bool,
    pub(super) ready: bool,
    started: bool,
    /// The exit code of its newest run, if that has ended.
    pub(super) exit_code: Option<i32>,
    restarts: bool,
}

impl Shown {
    pub(super) fn into_value(self) -> Value {
        self.value
    }

    /// Tells whether it failed and is not tried again.
    pub(super) fn failed(&self) -> bool {
        !self.running && !self.restarts && self.exit_code.is_some_and(|code| code != 0)
    }

    /// Tells whether, as an init container, it does not hold the others back.
    pub(super) fn initialised(&self, view: &ContainerView) -> bool {
        if view.is_sidecar() { self.started } else { !self.running && self.exit_code == Some(0) }
    }
}

/// Shows a container.
pub(super) fn show(input: &StatusInput<'_>, view: &ContainerView, init_done: bool) -> Shown {
    let memory = input.memory;
    let latest = input.observed.latest(&view.name, memory);
    let waiting = memory.waiting.get(&view.name);
    let running = latest.as_ref().is_some_and(Run::is_running);
    let exit = latest.as_ref().and_then(Run::exit).cloned();
    let results = latest.as_ref().and_then(|run| run.held).and_then(|(_, held)| memory.probes.get(&held.id));
    let started = running && probe::has_started(view, results);
    let init = input.pod.spec.init_containers.iter().any(|c| c.name == view.name);
    let ready = if init && !view.is_sidecar() {
        exit.as_ref().is_some_and(|exit| exit.code == 0)
    } else {
        running && probe::is_ready(view, results) && !input.ended
    };
    let restarts = exit.as_ref().is_some_and(|exit| {
        !input.ended
            && (view.is_sidecar()
                || match input.pod.spec.restart_policy {
                    RestartPolicy::Always => !init || exit.code != 0,
                    RestartPolicy::OnFailure => exit.code != 0,
                    RestartPolicy::Never => false,
                })
    });
    let (state, last_state) =
        states(input, view, latest.as_ref(), waiting.filter(|_| !input.ended), init_done);
    let value = json!({
        "name": view.name,
        "state": state,
        "lastState": last_state,
        "ready": ready,
        "restartCount": latest.as_ref().map_or(0, |run| run.attempt),
        "image": image(view, latest.as_ref()),
        "imageID": held_text(latest.as_ref(), |held| held.image_id.clone()),
        "started": started,
    });
    let mut value = value;
    if let Some((_, held)) = latest.as_ref().and_then(|run| run.held) {
        value["containerID"] = json!(format!("{}://{}", input.runtime, held.id));
    }
    Shown { value, running, ready, started, exit_code: exit.map(|exit| exit.code), restarts }
}

fn held_text(run: Option<&Run<'_>>, text: impl Fn(&crate::ports::Container) -> String) -> String {
    run.and_then(|run| run.held).map(|(_, held)| text(held)).unwrap_or_default()
}

fn image(view: &ContainerView, run: Option<&Run<'_>>) -> String {
    let held = held_text(run, |held| held.image.clone());
    // A runtime that only remembers the image's id tells people less than the pod does.
    if held.is_empty() || held.starts_with("sha256:") { view.image.clone() } else { held }
}

fn states(
    input: &StatusInput<'_>,
    view: &ContainerView,
    latest: Option<&Run<'_>>,
    waiting: Option<&Waiting>,
    init_done: bool,
) -> (Value, Value) {
    let runs = input.observed.runs(&view.name);
    let earlier = runs.iter().filter(|run| run.exit().is_some()).find(|run| {
        latest.is_none_or(|latest| run.held.map(|(_, h)| &h.id) != latest.held.map(|(_, h)| &h.id))
    });
    let lost = input.memory.lost.get(&view.name);
    let previous = match (earlier, lost) {
        (Some(run), _) => terminated(input, run),
        (None, Some((attempt, exit))) if latest.is_some_and(|run| run.held.is_some()) => {
            let run = Run { attempt: *attempt, state: ContainerState::Exited(exit.clone()), held: None };
            terminated(input, &run)
        }
        (None, _) => json!({}),
    };
    let wait = |default: &Waiting| {
        let waiting = waiting.unwrap_or(default);
        let mut value = json!({ "reason": waiting.reason });
        if !waiting.message.is_empty() {
            value["message"] = json!(waiting.message);
        }
        json!({ "waiting": value })
    };
    let default = Waiting::new(if init_done { "ContainerCreating" } else { "PodInitializing" }, "");
    match latest.map(|run| (run, &run.state)) {
        Some((_, ContainerState::Running { started_at })) => {
            (json!({ "running": { "startedAt": rfc3339(*started_at) } }), previous)
        }
        Some((run, ContainerState::Exited(_))) if waiting.is_none() => (terminated(input, run), previous),
        Some((run, ContainerState::Exited(_))) => (wait(&default), terminated(input, run)),
        _ => (wait(&default), previous),
    }
}

fn terminated(input: &StatusInput<'_>, run: &Run<'_>) -> Value {
    let Some(exit) = run.exit() else { return json!({}) };
    let mut value = json!({
        "exitCode": exit.code,
        "reason": reason(exit),
        "startedAt": exit.started_at.map_or_else(|| "1970-01-01T00:00:00Z".to_owned(), rfc3339),
        "finishedAt": rfc3339(exit.finished_at),
    });
    if exit.code > 128 && exit.code < 160 && exit.reason == "Signal" {
        value["signal"] = json!(exit.code - 128);
    }
    let words = run.held.and_then(|(_, held)| input.memory.messages.get(&held.id));
    let message = words.filter(|text| !text.is_empty()).unwrap_or(&exit.message);
    if !message.is_empty() {
        value["message"] = json!(message);
    }
    if let Some((_, held)) = run.held {
        value["containerID"] = json!(format!("{}://{}", input.runtime, held.id));
    }
    json!({ "terminated": value })
}

fn reason(exit: &Exit) -> &str {
    match (exit.reason.as_str(), exit.code) {
        ("", 0) => "Completed",
        ("", _) => "Error",
        (reason, _) => reason,
    }
}

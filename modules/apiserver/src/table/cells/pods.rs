//! Pods: how many containers are ready, what state it is in, how often it restarted.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{NONE, Row, text};
use crate::table::age::{human, parse};

/// Returns the cells of a pod.
pub(super) fn pod(row: &Row<'_>) -> Vec<Value> {
    let state = state(row);
    let mut restarts = state.restarts.to_string();
    if state.restarts != 0
        && let Some(last) = state.last_restart
    {
        restarts.push_str(&format!(" ({} ago)", human(row.now.as_second() - last.as_second())));
    }
    let ip = row
        .items("/status/podIPs")
        .first()
        .map(|ip| text(ip, "ip"))
        .filter(|ip| !ip.is_empty())
        .unwrap_or_else(|| row.text("/status/podIP"));
    vec![
        row.name(),
        Value::from(format!("{}/{}", state.ready, state.total)),
        Value::from(state.reason),
        Value::from(restarts),
        row.age(),
        Value::from(if ip.is_empty() { NONE } else { ip }),
        row.value("/spec/nodeName", NONE),
        row.value("/status/nominatedNodeName", NONE),
        Value::from(readiness_gates(row)),
    ]
}

#[derive(Default)]
struct State {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn state(row: &Row<'_>) -> State {
    let init_containers = row.items("/spec/initContainers");
    let sidecars: Vec<&str> = init_containers
        .iter()
        .filter(|container| text(container, "restartPolicy") == "Always")
        .map(|container| text(container, "name"))
        .collect();
    let phase = row.text("/status/phase");
    let mut reason = match row.text("/status/reason") {
        "" => phase.to_owned(),
        reason => reason.to_owned(),
    };
    if condition(row, "PodScheduled").is_some_and(|found| text(found, "reason") == "SchedulingGated") {
        "SchedulingGated".clone_into(&mut reason);
    }
    let mut state =
        State { total: row.items("/spec/containers").len() + sidecars.len(), reason, ..State::default() };
    let init = init_state(row, &sidecars, init_containers.len());
    state.ready = init.ready;
    state.restarts = init.restarts;
    state.last_restart = init.last_restart;
    if let Some(reason) = &init.reason {
        state.reason.clone_from(reason);
    }
    let initialized = condition(row, "Initialized").is_some_and(|found| text(found, "status") == "True");
    if init.reason.is_none() || initialized {
        state.restarts = init.sidecar_restarts;
        state.last_restart = init.last_sidecar_restart;
        containers_state(row, &mut state);
    }
    if row.is_deleting() && row.text("/status/reason") == "NodeLost" {
        "Unknown".clone_into(&mut state.reason);
    } else if row.is_deleting() && !matches!(phase, "Succeeded" | "Failed") {
        "Terminating".clone_into(&mut state.reason);
    }
    state
}

/// What the init containers say.
#[derive(Default)]
struct InitState {
    /// What keeps the pod from starting its containers.
    reason: Option<String>,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    sidecar_restarts: i64,
    last_sidecar_restart: Option<Timestamp>,
}

fn init_state(row: &Row<'_>, sidecars: &[&str], total: usize) -> InitState {
    let mut init = InitState::default();
    for (at, status) in row.items("/status/initContainerStatuses").iter().enumerate() {
        let restarts = status.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
        let last = last_restart(status);
        init.restarts += restarts;
        init.last_restart = init.last_restart.max(last);
        let is_sidecar = sidecars.contains(&text(status, "name"));
        if is_sidecar {
            init.sidecar_restarts += restarts;
            init.last_sidecar_restart = init.last_sidecar_restart.max(last);
        }
        let terminated = state_of(status, "terminated");
        let flag = |key: &str| status.get(key).and_then(Value::as_bool).unwrap_or(false);
        if terminated.is_some_and(|state| exit_code(state) == 0) {
            continue;
        }
        if is_sidecar && flag("started") {
            init.ready += usize::from(flag("ready"));
            continue;
        }
        let waiting = state_of(status, "waiting").map(|state| text(state, "reason")).unwrap_or_default();
        init.reason = Some(if let Some(state) = terminated {
            format!("Init:{}", end_reason(state))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{at}/{total}")
        });
        break;
    }
    init
}

fn containers_state(row: &Row<'_>, state: &mut State) {
    let mut running = false;
    for status in row.items("/status/containerStatuses").iter().rev() {
        state.restarts += status.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
        state.last_restart = state.last_restart.max(last_restart(status));
        let waiting = state_of(status, "waiting").map(|state| text(state, "reason")).unwrap_or_default();
        if !waiting.is_empty() {
            waiting.clone_into(&mut state.reason);
        } else if let Some(terminated) = state_of(status, "terminated") {
            state.reason = end_reason(terminated);
        } else if status.get("ready").and_then(Value::as_bool) == Some(true)
            && state_of(status, "running").is_some()
        {
            running = true;
            state.ready += 1;
        }
    }
    if state.reason == "Completed" && running {
        let ready = condition(row, "Ready").is_some_and(|found| text(found, "status") == "True");
        if ready { "Running" } else { "NotReady" }.clone_into(&mut state.reason);
    }
}

fn condition<'a>(row: &Row<'a>, kind: &str) -> Option<&'a Value> {
    row.items("/status/conditions").iter().find(|condition| text(condition, "type") == kind)
}

fn state_of<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status.get("state")?.get(kind).filter(|state| state.is_object())
}

fn exit_code(terminated: &Value) -> i64 {
    terminated.get("exitCode").and_then(Value::as_i64).unwrap_or(0)
}

fn end_reason(terminated: &Value) -> String {
    let reason = text(terminated, "reason");
    let signal = terminated.get("signal").and_then(Value::as_i64).unwrap_or(0);
    if !reason.is_empty() {
        reason.to_owned()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", exit_code(terminated))
    }
}

fn last_restart(status: &Value) -> Option<Timestamp> {
    parse(status.pointer("/lastState/terminated/finishedAt"))
}

fn readiness_gates(row: &Row<'_>) -> String {
    let gates = row.items("/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let empty = Map::new();
    let met = gates
        .iter()
        .filter(|gate| {
            let kind = gate.as_object().unwrap_or(&empty).get("conditionType").and_then(Value::as_str);
            kind.and_then(|kind| condition(row, kind)).is_some_and(|found| text(found, "status") == "True")
        })
        .count();
    format!("{met}/{}", gates.len())
}

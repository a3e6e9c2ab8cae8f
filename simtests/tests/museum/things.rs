//! What users make and look at in exhibits.

use std::collections::BTreeMap;
use std::time::Duration;

use beehive::Bus;
use edged::ports::{ContainerId, ContainerState};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use protocol::edge::{AskCloud, CloudError, ListObjects};
use protocol::{NodeReply, NodeRequest, Object, ResourceType, group};
use serde_json::{Value, json};
use simtests::{Failure, Sim, cluster};

use crate::exhibit::{MINUTE, SECOND};

fn wrong(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::Setup(format!("{what}: {error}"))
}

/// Makes a pod with one container on an edge, which mounts these config maps.
pub(crate) fn make_pod(
    sim: &mut Sim,
    kube: &Client,
    name: &str,
    edge: &str,
    maps: &[&str],
) -> Result<(), Failure> {
    let volumes: Vec<Value> =
        maps.iter().map(|map| json!({ "name": map, "configMap": { "name": map } })).collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": edge, "terminationGracePeriodSeconds": 1,
            "containers": [{ "name": "c", "image": "example.com/app:1" }], "volumes": volumes,
        },
    });
    let pod: Pod = serde_json::from_value(pod).map_err(|error| wrong(name, &error))?;
    let pods = Api::<Pod>::default_namespaced(kube.clone());
    let made = sim.block_on(async { pods.create(&PostParams::default(), &pod).await });
    made.map(drop).map_err(|error| wrong(name, &error))
}

/// Waits until a pod is `Running` as the API has it.
pub(crate) fn runs(sim: &mut Sim, kube: &Client, pod: &str, patience: Duration) -> Result<(), Failure> {
    let runs = async || cluster::pod_is(kube, pod, "Running").await;
    sim.until(&format!("pod {pod} runs"), patience, runs)
}

/// Makes pods without volumes on an edge and waits until they run.
pub(crate) fn make_running(sim: &mut Sim, kube: &Client, edge: &str, pods: &[&str]) -> Result<(), Failure> {
    for pod in pods {
        make_pod(sim, kube, pod, edge, &[])?;
    }
    pods.iter().try_for_each(|pod| runs(sim, kube, pod, MINUTE))
}

/// Deletes a pod as `kubectl delete` does.
pub(crate) fn delete_pod(sim: &mut Sim, kube: &Client, name: &str) -> Result<(), Failure> {
    let pods = Api::<Pod>::default_namespaced(kube.clone());
    let deleted = sim.block_on(async { pods.delete(name, &Default::default()).await });
    deleted.map(drop).map_err(|error| wrong(name, &error))
}

/// Makes a config map whose only entry is `text`.
pub(crate) fn make_map(sim: &mut Sim, kube: &Client, name: &str, text: &str) -> Result<(), Failure> {
    let data = BTreeMap::from([("text".to_owned(), text.to_owned())]);
    let mut map = ConfigMap { data: Some(data), ..ConfigMap::default() };
    map.metadata.name = Some(name.to_owned());
    let maps = Api::<ConfigMap>::default_namespaced(kube.clone());
    let made = sim.block_on(async { maps.create(&PostParams::default(), &map).await });
    made.map(drop).map_err(|error| wrong(name, &error))
}

/// Gives a config map another text.
pub(crate) fn change_map(sim: &mut Sim, kube: &Client, name: &str, text: &str) -> Result<(), Failure> {
    let maps = Api::<ConfigMap>::default_namespaced(kube.clone());
    let patch = Patch::Merge(json!({ "data": { "text": text } }));
    let changed = sim.block_on(async { maps.patch(name, &PatchParams::default(), &patch).await });
    changed.map(drop).map_err(|error| wrong(name, &error))
}

/// Returns the text of a config map as a node holds it.
async fn held_text(bus: &Bus, name: &str) -> Option<String> {
    let held = bus.to(group::META).ask(ListObjects(ResourceType::CONFIG_MAP)).within(SECOND).await;
    let held = held.ok()?.ok()?;
    let map = held.iter().find(|map| map.meta().name == name)?.value().ok()?;
    map["data"]["text"].as_str().map(str::to_owned)
}

/// Waits until a node holds a config map with this text.
pub(crate) fn holds_text(
    sim: &mut Sim,
    edge: &str,
    map: &str,
    text: &str,
    patience: Duration,
) -> Result<(), Failure> {
    let end = sim.elapsed() + patience;
    loop {
        // The process may have been replaced since the last look.
        let bus = sim.bus(edge);
        let found = sim.block_on(async {
            match &bus {
                Some(bus) => held_text(bus, map).await,
                None => None,
            }
        });
        if found.as_deref() == Some(text) {
            return Ok(());
        }
        if sim.elapsed() > end {
            let what = format!("{edge} holds config map {map} with its newest text");
            return Err(Failure::Liveness { what, waited: patience });
        }
        sim.run_for(SECOND / 10)?;
    }
}

/// Returns the ids of the containers that run on an edge, in order.
pub(crate) fn running(sim: &mut Sim, edge: &str) -> Vec<ContainerId> {
    let containers = sim.containers(edge).into_iter().flat_map(|sandbox| sandbox.containers);
    let is_running = |state: &ContainerState| matches!(state, ContainerState::Running { .. });
    let mut ids: Vec<ContainerId> =
        containers.filter(|container| is_running(&container.state)).map(|container| container.id).collect();
    ids.sort();
    ids
}

/// Asks the cloud something in an edge's name, as its modules do.
pub(crate) fn ask_cloud(
    sim: &mut Sim,
    edge: &str,
    request: NodeRequest,
) -> Result<Result<NodeReply, CloudError>, Failure> {
    let bus = sim.bus(edge).ok_or_else(|| Failure::Setup(format!("{edge} does not run")))?;
    let asked = sim.block_on(bus.to(group::HUB).ask(AskCloud(request)).within(MINUTE));
    asked.map_err(|error| wrong(edge, &error))
}

/// Makes an event of an edge, as edged does, that was seen `count` times.
pub(crate) fn event(edge: &str, name: &str, count: u32) -> Object {
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": name, "namespace": "default" },
        "involvedObject": { "kind": "Node", "name": edge }, "source": { "component": "kubelet", "host": edge },
        "type": "Normal", "reason": "Exhibited", "message": "something happened", "count": count,
    });
    Object::from_value(&event).expect("an object")
}

/// Counts the lines of the trace that contain all of `texts`.
pub(crate) fn lines(sim: &Sim, texts: &[&str]) -> usize {
    sim.trace().lines().filter(|line| texts.iter().all(|text| line.contains(text))).count()
}

/// Returns how many lines of the trace end with `text` within some time, at most, after `since`.
pub(crate) fn most_within(sim: &Sim, span: Duration, since: Duration, text: &str) -> usize {
    let trace = sim.trace();
    let time = |line: &str| {
        let (at, _) = line.trim_start().strip_suffix(text)?.split_once(' ')?;
        Some(Duration::from_secs_f64(at.parse().ok()?))
    };
    let times: Vec<Duration> = trace.lines().filter_map(time).filter(|at| *at > since).collect();
    let within = |from: Duration| times.iter().filter(|at| (from..from + span).contains(*at)).count();
    times.iter().map(|from| within(*from)).max().unwrap_or_default()
}

//! Every node has to be told thousands of objects at once, over a slow link, while its leases go on.
//!
//! Reported as kubeedge/kubeedge#7278: 40 nodes and 2000 services are enough to let nodes flap
//! between ready and not ready.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::clock::EPOCH;
use crate::cluster;
use crate::failure::Failure;
use crate::link::Shape;
use crate::schedule::edge_name;
use crate::sim::Sim;

/// How often leases are looked at: so much later than it came may a lease be seen.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// How often it is looked whether all pods run: the API server reads all of them for that.
const PODS_PERIOD: Duration = Duration::from_secs(1);
/// How often a node renews its lease.
const LEASE_PERIOD: Duration = Duration::from_secs(10);
/// The content of an object, in bytes.
const CONTENT: usize = 1000;
/// What each node's link carries: 512 kbit/s.
const BYTES_PER_SECOND: u64 = 64_000;
const START_PATIENCE: Duration = Duration::from_secs(300);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resync {
    /// The longest time between a node's renewing its lease and the API server's having it.
    pub latest_lease: Duration,
    /// How long it took until the pods that need the objects ran on all nodes.
    pub converged: Duration,
}

/// Gives each of some nodes a pod that needs all of some config maps of 1000 bytes, and watches the
/// leases until all those pods run.
///
/// # Errors
///
/// When a lease is later than `lease_patience`, an invariant is broken, or not all pods run within
/// `patience`.
pub fn resync(
    sim: &mut Sim,
    nodes: u32,
    objects: u32,
    lease_patience: Duration,
    patience: Duration,
) -> Result<Resync, Failure> {
    sim.allow_log("a connection was refused");
    sim.cloud(&format!("modules: {{ cloudHub: {{ nodeLimit: {nodes} }} }}"))?;
    let names: Vec<String> = (0..nodes).map(edge_name).collect();
    for name in &names {
        sim.edge(name, "")?;
        let (latency, bytes_per_second) = (Duration::from_millis(30), Some(BYTES_PER_SECOND));
        sim.shape_link(name, Shape { latency, bytes_per_second, ..Shape::default() });
    }
    let kube = sim.kube();
    let all_ready = async || cluster::ready_nodes(&kube).await == Some(names.len());
    sim.until("the fleet is ready", START_PATIENCE, all_ready)?;
    let setup = |error: kube::Error| Failure::Setup(format!("the objects of users: {error}"));
    sim.block_on(make_config_maps(&kube, objects)).map_err(setup)?;
    let begun = sim.elapsed();
    sim.block_on(make_pods(&kube, &names, objects)).map_err(setup)?;
    let mut leases = Leases::default();
    let mut pods_seen = begun;
    loop {
        sim.run_for(LOOK_PERIOD)?;
        let now = sim.elapsed();
        let listed = sim.block_on(Api::<Lease>::namespaced(kube.clone(), "kube-node-lease").list(&all()));
        let listed = listed.map_err(setup)?;
        leases.look(now, &listed.items);
        let late = leases.latest.max(leases.overdue(now, begun));
        if late > lease_patience {
            return Err(Failure::Liveness { what: "a lease's renewal".into(), waited: late });
        }
        if now - pods_seen >= PODS_PERIOD {
            pods_seen = now;
            if sim.block_on(all_run(&kube, names.len())) {
                break;
            }
        }
        if now - begun > patience {
            return Err(Failure::Liveness { what: "that all pods run".into(), waited: patience });
        }
    }
    let found = Resync { latest_lease: leases.latest, converged: sim.elapsed() - begun };
    sim.note(&format!("the latest lease {:?}, all pods ran after {:?}", found.latest_lease, found.converged));
    Ok(found)
}

fn all() -> ListParams {
    ListParams::default()
}

async fn make_config_maps(kube: &Client, count: u32) -> Result<(), kube::Error> {
    let api = Api::<ConfigMap>::default_namespaced(kube.clone());
    let mut noise = 1_u64;
    for number in 0..count {
        let text = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'a' + u8::try_from((noise >> 33) % 26).unwrap_or_default())
        });
        let data = BTreeMap::from([("content".to_owned(), text.take(CONTENT).collect())]);
        let mut map = ConfigMap { data: Some(data), ..ConfigMap::default() };
        map.metadata.name = Some(format!("service-{number}"));
        api.create(&PostParams::default(), &map).await?;
    }
    Ok(())
}

async fn make_pods(kube: &Client, names: &[String], objects: u32) -> Result<(), kube::Error> {
    let sources: Vec<_> = (0..objects)
        .map(|number| {
            json!({ "configMap": { "name": format!("service-{number}"), "items": [
            { "key": "content", "path": format!("{number}") },
        ] } })
        })
        .collect();
    for name in names {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("on-{name}") },
            "spec": {
                "nodeName": name,
                "automountServiceAccountToken": false,
                "containers": [{ "name": "proxy", "image": "example.com/proxy:1", "volumeMounts": [
                    { "name": "services", "mountPath": "/services" },
                ] }],
                "volumes": [{ "name": "services", "projected": { "sources": sources } }],
            },
        });
        let pod: Pod = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
        Api::<Pod>::default_namespaced(kube.clone()).create(&PostParams::default(), &pod).await?;
    }
    Ok(())
}

/// Tells whether so many pods run.
async fn all_run(kube: &Client, count: usize) -> bool {
    let running = all().fields("status.phase=Running");
    let found = Api::<Pod>::default_namespaced(kube.clone()).list_metadata(&running).await;
    found.is_ok_and(|found| found.items.len() == count)
}

/// When leases were renewed, and how long it took until the API server had that.
#[derive(Debug, Default)]
struct Leases {
    renewed: BTreeMap<String, Duration>,
    latest: Duration,
}

impl Leases {
    /// Takes in what the API server has at a time since the beginning.
    fn look(&mut self, now: Duration, leases: &[Lease]) {
        for lease in leases {
            let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
            let (Some(name), Some(renewed)) = (&lease.metadata.name, renewed) else { continue };
            let renewed = since_begin(renewed.0);
            let before = self.renewed.insert(name.clone(), renewed);
            if before.is_some_and(|before| before != renewed) {
                self.latest = self.latest.max(now.saturating_sub(renewed));
            }
        }
    }

    /// Returns how long the next renewal of some node is overdue.
    fn overdue(&self, now: Duration, begun: Duration) -> Duration {
        let oldest = self.renewed.values().min().copied().unwrap_or(begun);
        now.saturating_sub(oldest + LEASE_PERIOD)
    }
}

fn since_begin(time: Timestamp) -> Duration {
    let micros = u64::try_from(time.as_microsecond()).unwrap_or_default();
    Duration::from_micros(micros).saturating_sub(EPOCH)
}

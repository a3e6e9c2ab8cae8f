//! Thousands of devices report while links are cut and processes crash; every twin comes right.

use std::collections::BTreeMap;
use std::time::Duration;

use devicecontroller::DeviceControllerConfig;
use eventbus::BrokerUrl;
use eventbus::memory::message;
use eventbus::ports::{ConnectTo, Connection, Mqtt as _};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, ObjectList};
use kube::{Api, Client};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::check::Invariant;
use crate::cluster;
use crate::failure::Failure;
use crate::link::Direction;
use crate::profile::Profile;
use crate::schedule::edge_name;
use crate::sim::Sim;
use crate::site::CLOUD;

const SECOND: Duration = Duration::from_secs(1);
const START_PATIENCE: Duration = Duration::from_secs(300);
/// For how long devices report while things go wrong.
const FAULTY: u64 = 120;
/// How often what the API shows is looked at, in seconds.
const LOOK_PERIOD: u64 = 5;
/// How likely something goes wrong in a second.
const FAULT: f64 = 0.15;
/// For how long at most a process is down, or a link cut, in seconds. A broker keeps a thousand messages
/// for a node that is away: what comes in this time is fewer.
const DOWN_MAX: u64 = 12;
/// One device in so many reports in a second.
const SHARE: u32 = 10;
/// How often the first device of each node reports in a second.
const FAST: u32 = 10;

/// A broker keeps what it took for a node that is away only if it is asked to.
const EDGE: &str = "modules: { eventBus: { mqttSessionResume: true } }";

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telemetry {
    /// How many reports the brokers took.
    pub reports: u64,
    /// How often statuses of devices were written to the API.
    pub writes: usize,
    /// How long it took, after all faults had ended, until all was right.
    pub converged: Duration,
}

/// Lets the devices of some nodes report for two minutes in which links are cut and nodes and the cloud
/// crash, and what is wanted of devices changes; then waits until the API shows of each device what it
/// reported last, and that its node knows what is wanted.
///
/// # Errors
///
/// When a value that the API shows is replaced by an older one, a status is written more often than once
/// a second, all statuses together more often than the device controller's rate allows, an invariant is
/// broken, or not all is right within `patience`.
pub fn telemetry(
    sim: &mut Sim,
    seed: u64,
    (nodes, devices): (u32, u32),
    patience: Duration,
) -> Result<Telemetry, Failure> {
    for text in Profile::named("all").map(|all| all.allowed_logs).unwrap_or_default() {
        sim.allow_log(text);
    }
    sim.cloud(&format!("modules: {{ cloudHub: {{ nodeLimit: {nodes} }} }}"))?;
    let names: Vec<String> = (0..nodes).map(edge_name).collect();
    for name in &names {
        sim.edge(name, EDGE)?;
    }
    let kube = sim.kube();
    let all_ready = async || cluster::ready_nodes(&kube).await == Some(names.len());
    sim.until("the fleet is ready", START_PATIENCE, all_ready)?;
    let setup = |error: kube::Error| Failure::Setup(format!("the devices: {error}"));
    sim.block_on(make_devices(&kube, &names, devices)).map_err(setup)?;
    let mut fleet = Fleet {
        kube,
        rng: SmallRng::seed_from_u64(seed),
        devices,
        apps: names.iter().map(|name| connect(sim, name)).collect(),
        down: BTreeMap::new(),
        cloud_crashes: 0,
        names,
        told: BTreeMap::new(),
        wanted: BTreeMap::new(),
        shown: BTreeMap::new(),
        reports: 0,
    };
    fleet.wait_for_devices(sim)?;
    let begun = sim.elapsed();
    for second in 0..FAULTY {
        fleet.break_something(sim, second)?;
        fleet.want(sim).map_err(setup)?;
        fleet.report(sim)?;
        if second % LOOK_PERIOD == 0 && !fleet.is_api_down() {
            fleet.look(sim)?;
        }
    }
    fleet.mend(sim, u64::MAX)?;
    let mended = sim.elapsed();
    while let Some(wrong) = fleet.wrong(sim)? {
        let waited = sim.elapsed() - mended;
        if waited >= patience {
            return Err(Failure::Liveness { what: format!("the twins of all devices ({wrong})"), waited });
        }
        sim.run_for(SECOND)?;
    }
    let converged = sim.elapsed() - mended;
    let writes = check_writes(sim, begun, fleet.cloud_crashes);
    sim.run_for(Duration::ZERO)?;
    let found = Telemetry { reports: fleet.reports, writes, converged };
    sim.note(&format!("{} reports, {writes} writes, all was right after {converged:?}", found.reports));
    Ok(found)
}

fn api(kube: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("devices.kubeedge.io", "v1beta1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    Api::default_namespaced_with(kube.clone(), &resource)
}

fn device_name(node: usize, number: u32) -> String {
    format!("device-{node}-{number}")
}

async fn make_devices(kube: &Client, names: &[String], devices: u32) -> Result<(), kube::Error> {
    let api_version = "devices.kubeedge.io/v1beta1";
    let create = async |kind: &str, plural: &str, name: &str, spec: Value| {
        let metadata = json!({ "name": name });
        let object = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec });
        let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        api(kube, kind, plural).create(&PostParams::default(), &object).await.map(drop)
    };
    let property = json!({ "name": "level", "type": "INT", "accessMode": "ReadWrite" });
    create("DeviceModel", "devicemodels", "sensor", json!({ "properties": [property] })).await?;
    for (node, name) in names.iter().enumerate() {
        for number in 0..devices {
            let spec = json!({ "nodeName": name, "deviceModelRef": { "name": "sensor" },
                "properties": [{ "name": "level" }] });
            create("Device", "devices", &device_name(node, number), spec).await?;
        }
    }
    Ok(())
}

/// Connects an application to a node's broker, which outlives the node's process.
fn connect(sim: &mut Sim, node: &str) -> Connection {
    let broker = sim.broker(node).expect("the edge");
    let to = ConnectTo {
        server: BrokerUrl::parse("tcp://127.0.0.1:1883").expect("an address"),
        tls: None,
        client_id: "application".to_owned(),
        credentials: None,
        is_clean: true,
        keep_alive: 30 * SECOND,
        timeout: SECOND,
        packet_bytes_max: 8 << 20,
    };
    sim.block_on(broker.connect(to)).expect("the broker")
}

/// What the API shows of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shown {
    reported: u64,
    wanted: u64,
}

struct Fleet {
    kube: Client,
    rng: SmallRng,
    devices: u32,
    names: Vec<String>,
    apps: Vec<Connection>,
    /// What is wrong with a process or a link, and in which second it ends.
    down: BTreeMap<(Wrong, usize), u64>,
    cloud_crashes: usize,
    /// The last value that the broker took of a device; values only grow.
    told: BTreeMap<String, u64>,
    /// The value that is wanted of a device.
    wanted: BTreeMap<String, u64>,
    shown: BTreeMap<String, Shown>,
    reports: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Cut,
    Crashed,
    CloudCrashed,
}

impl Fleet {
    /// Waits until every node knows its devices: a report of one that it does not know is refused.
    fn wait_for_devices(&mut self, sim: &mut Sim) -> Result<(), Failure> {
        let end = sim.elapsed() + START_PATIENCE;
        for (node, name) in self.names.iter().enumerate() {
            let prefix = format!("$hw/events/node/{name}/membership/get");
            sim.block_on(self.apps[node].client.subscribe(&format!("{prefix}/result"))).expect("the broker");
        }
        for (node, name) in self.names.clone().iter().enumerate() {
            let topic = format!("$hw/events/node/{name}/membership/get");
            while self.count_devices(sim, node, &topic)? != self.devices as usize {
                if sim.elapsed() >= end {
                    let what = format!("{name} knows its devices");
                    return Err(Failure::Liveness { what, waited: START_PATIENCE });
                }
                sim.run_for(SECOND)?;
            }
        }
        Ok(())
    }

    fn count_devices(&mut self, sim: &mut Sim, node: usize, topic: &str) -> Result<usize, Failure> {
        let app = &mut self.apps[node];
        let question = message(topic, json!({ "event_id": "m", "timestamp": 0 }).to_string());
        sim.block_on(app.client.publish(question)).expect("the broker");
        sim.run_for(SECOND)?;
        let arrived = sim.block_on(app.arrivals.next()).expect("an answer");
        app.client.acknowledge(arrived.receipt).expect("the broker");
        let answer: Value = serde_json::from_slice(&arrived.payload).expect("JSON");
        Ok(answer["devices"].as_array().map_or(0, Vec::len))
    }

    /// Ends what is wrong for long enough, and begins something else now and then.
    fn break_something(&mut self, sim: &mut Sim, second: u64) -> Result<(), Failure> {
        self.mend(sim, second)?;
        if !self.rng.random_bool(FAULT) {
            return Ok(());
        }
        let node = self.rng.random_range(0..self.names.len());
        let wrong = match self.rng.random_range(0..5) {
            0 | 1 => (Wrong::Cut, node),
            2 | 3 => (Wrong::Crashed, node),
            _ => (Wrong::CloudCrashed, 0),
        };
        let end = second + self.rng.random_range(1..=DOWN_MAX);
        if self.down.contains_key(&wrong) {
            return Ok(());
        }
        match wrong.0 {
            Wrong::Cut => Direction::BOTH.into_iter().for_each(|way| sim.cut(&self.names[node], way)),
            Wrong::Crashed => sim.crash(&self.names[node]),
            Wrong::CloudCrashed => {
                sim.crash(CLOUD);
                self.cloud_crashes += 1;
            }
        }
        self.down.insert(wrong, end);
        Ok(())
    }

    fn mend(&mut self, sim: &mut Sim, second: u64) -> Result<(), Failure> {
        let over: Vec<(Wrong, usize)> =
            self.down.iter().filter(|(_, end)| **end <= second).map(|(it, _)| *it).collect();
        for wrong in over {
            self.down.remove(&wrong);
            match wrong {
                (Wrong::Cut, node) => sim.heal_link(&self.names[node]),
                (Wrong::Crashed, node) => sim.restart(&self.names[node])?,
                (Wrong::CloudCrashed, _) => sim.restart(CLOUD)?,
            }
        }
        Ok(())
    }

    /// The API server is in the cloud's process.
    fn is_api_down(&self) -> bool {
        self.down.contains_key(&(Wrong::CloudCrashed, 0))
    }

    /// Wants another value of some device.
    fn want(&mut self, sim: &mut Sim) -> Result<(), kube::Error> {
        if self.is_api_down() {
            return Ok(());
        }
        let node = self.rng.random_range(0..self.names.len());
        let name = device_name(node, self.rng.random_range(0..self.devices));
        let value = self.wanted.get(&name).copied().unwrap_or_default() + 1;
        let desired = json!({ "value": value.to_string(), "metadata": { "type": "int" } });
        let patch = json!({ "spec": { "properties": [{ "name": "level", "desired": desired }] } });
        let api = api(&self.kube, "Device", "devices");
        sim.block_on(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)))?;
        self.wanted.insert(name, value);
        Ok(())
    }

    /// Lets devices report for a second.
    fn report(&mut self, sim: &mut Sim) -> Result<(), Failure> {
        for turn in 0..FAST {
            for node in 0..self.names.len() {
                self.report_one(sim, node, 0);
                for number in (1..self.devices).filter(|number| number % FAST == turn) {
                    if self.rng.random_ratio(1, SHARE) {
                        self.report_one(sim, node, number);
                    }
                }
            }
            sim.run_for(SECOND / FAST)?;
        }
        Ok(())
    }

    fn report_one(&mut self, sim: &mut Sim, node: usize, number: u32) {
        let name = device_name(node, number);
        let value = self.told.get(&name).copied().unwrap_or_default() + 1;
        let twin = json!({ "actual": { "value": value.to_string() }, "metadata": { "type": "int" } });
        let update = json!({ "event_id": "", "timestamp": 0, "twin": { "level": twin } });
        let topic = format!("$hw/events/device/default/{name}/twin/update");
        sim.block_on(self.apps[node].client.publish(message(&topic, update.to_string())))
            .expect("the broker");
        self.told.insert(name, value);
        self.reports += 1;
    }

    /// Looks at what the API shows: no value is replaced by an older one, or by one that no device said.
    fn look(&mut self, sim: &mut Sim) -> Result<(), Failure> {
        let api = api(&self.kube, "DeviceStatus", "devicestatuses");
        let listed = sim.block_on(api.list(&kube::api::ListParams::default()));
        let listed: ObjectList<DynamicObject> =
            listed.map_err(|error| Failure::Setup(format!("the statuses of devices: {error}")))?;
        for status in listed.items {
            let Some(name) = status.metadata.name.clone() else { continue };
            let twin = &status.data["status"]["twins"][0];
            let value = |half: &str| twin[half]["value"].as_str().and_then(|it| it.parse().ok()).unwrap_or(0);
            let now = Shown { reported: value("reported"), wanted: value("observedDesired") };
            let before = self.shown.insert(name.clone(), now).unwrap_or_default();
            let told = self.told.get(&name).copied().unwrap_or_default();
            let is_right =
                now.reported >= before.reported && now.wanted >= before.wanted && now.reported <= told;
            let outcome = if is_right {
                Ok(())
            } else {
                Err(format!("{name} shows {now:?} after {before:?}, and reported {told} last"))
            };
            sim.world().ledger.check(Invariant::DeviceReportsStayInOrder, outcome);
        }
        sim.run_for(Duration::ZERO)
    }

    /// Returns what the API does not show yet.
    fn wrong(&mut self, sim: &mut Sim) -> Result<Option<String>, Failure> {
        self.look(sim)?;
        let shown = |name: &String| self.shown.get(name).copied().unwrap_or_default();
        let late = self.told.iter().find(|(name, told)| shown(name).reported != **told);
        let late = late.map(|(name, told)| format!("{name} reported {told}, {:?} is shown", shown(name)));
        let unheard = self.wanted.iter().find(|(name, wanted)| shown(name).wanted != **wanted);
        let unheard =
            unheard.map(|(name, wanted)| format!("{wanted} is wanted of {name}, {:?} is shown", shown(name)));
        Ok(late.or(unheard))
    }
}

/// Counts how often statuses were written: of each device at most once a second, and of all together no
/// more than the rate and its burst; a cloud that crashed begins both anew.
fn check_writes(sim: &mut Sim, begun: Duration, cloud_crashes: usize) -> usize {
    let trace = sim.trace();
    let mut writes: BTreeMap<&str, usize> = BTreeMap::new();
    for line in trace.lines().filter(|line| line.contains(" PATCH ") && line.contains("/devicestatuses/")) {
        let name = line.split("/devicestatuses/").nth(1).and_then(|rest| rest.split([' ', '?', '/']).next());
        *writes.entry(name.unwrap_or_default()).or_default() += 1;
    }
    let seconds = usize::try_from((sim.elapsed() - begun).as_secs()).unwrap_or(usize::MAX);
    let rate = DeviceControllerConfig::default().writes_per_second as usize;
    let (all, all_max) = (writes.values().sum(), rate * (seconds + 2 + cloud_crashes));
    let outcome = match writes.iter().max_by_key(|(_, count)| **count) {
        Some((name, count)) if *count > seconds + 1 + cloud_crashes => {
            Err(format!("{count} writes of {name} in {seconds} s"))
        }
        Some(_) if all > all_max => Err(format!("{all} writes in {seconds} s, {all_max} are allowed")),
        Some(_) => Ok(()),
        None => Err("no status was written".to_owned()),
    };
    sim.world().ledger.check(Invariant::DemandsAreMet, outcome);
    all
}

//! What KubeEdge's own code answers, recorded one exchange after the other: `golden/answers.ndjson`.
//!
//! Its edge was asked each `payload` on each `topic`; `heard` is what local clients then read, and `cloud`
//! what the cloud was told. Where ours does something else, `ours` has that and `why` says why; `stops`
//! marks what ends KubeEdge's worker.

use protocol::device::payload::{self, MembershipUpdate};

use super::*;

/// Requests of local clients, one after the other.
#[derive(Deserialize)]
struct Case {
    name: String,
    /// Whether the node has the device `t1` before.
    is_there: bool,
    steps: Vec<Step>,
}

/// A request and what came of it.
#[derive(Deserialize)]
struct Step {
    topic: String,
    payload: String,
    #[serde(default)]
    heard: Vec<(String, Value)>,
    #[serde(default)]
    cloud: Vec<Value>,
    #[serde(default)]
    stops: bool,
    ours: Option<Vec<(String, Value)>>,
    ours_cloud: Option<bool>,
    why: Option<String>,
}

impl Step {
    /// Returns what local clients are to read here.
    fn expected(&self) -> &[(String, Value)] {
        self.ours.as_deref().unwrap_or(&self.heard)
    }

    /// Tells whether the cloud is to hear of it here.
    fn is_news(&self) -> bool {
        self.ours_cloud.unwrap_or(!self.cloud.is_empty())
    }
}

/// A node's devices and their disk.
struct Node {
    devices: Devices,
    store: MemoryStore,
}

/// Makes what differs from run to run the same, as in the record.
fn steady(mut answer: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.iter_mut().for_each(|(name, value)| match (name.as_str(), value) {
                    ("timestamp", value) => *value = json!(0),
                    ("last_online" | "lastOnlineTime", value) => *value = json!("then"),
                    (_, value) => walk(value),
                })
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut answer);
    if let Some(fields) = answer.as_object_mut() {
        assert!(fields.remove("timestamp").is_some(), "every message has a time");
        if let Some(Value::String(reason)) = fields.get_mut("reason") {
            // What comes then are the words of a JSON library.
            reason.truncate(reason.find(", err:").unwrap_or(reason.len()));
        }
    }
    answer
}

fn short(topic: &str) -> String {
    let topic = topic.strip_prefix("$hw/events/").expect("all begin with it");
    topic.strip_prefix("device/default/").unwrap_or(topic).to_owned()
}

impl Node {
    fn keep(&self, outcome: &Outcome) {
        block_on(self.store.commit(outcome.batch.clone())).expect("it is in memory");
    }

    fn act(&mut self, step: &Step) -> Outcome {
        let (device, action) = step.topic.split_once('/').expect("a device or a node");
        let call = match action {
            "twin/update" => DeviceCall::UpdateTwins(id(device)),
            "twin/get" => DeviceCall::GetTwins(id(device)),
            "twin/cloud_updated" => DeviceCall::SyncTwins(id(device)),
            "state/update" => DeviceCall::UpdateState(id(device)),
            "updated" => DeviceCall::UpdateAttributes(id(device)),
            "edge-1/membership/get" => DeviceCall::GetMembership,
            "edge-1/membership" => return self.member(&step.payload),
            "restart" => {
                self.store = self.store.crash();
                self.devices = block_on(load(&self.store)).expect("it is readable");
                return Outcome::default();
            }
            other => panic!("{other} is no action"),
        };
        self.devices.call(&call, step.payload.as_bytes(), &moment())
    }

    fn member(&mut self, text: &str) -> Outcome {
        let update: MembershipUpdate = payload::read(text.as_bytes()).expect("an update");
        let added = update.added_devices.into_iter().flatten().next();
        let outcome = match added {
            Some(added) => {
                let described = Described { description: added.description, ..uid("u1") };
                self.devices.appear(&id(&added.name), described, &moment())
            }
            None => self.devices.vanish(&id("t1"), "u1", &moment()),
        };
        outcome.expect("it comes or goes")
    }

    /// Returns what the cloud is told until it knows all.
    fn reports(&mut self) -> Vec<Value> {
        let mut reports = Vec::new();
        while let Some(report) = self.devices.report(&id("t1"), &moment()) {
            self.devices.confirm(&id("t1"), report.incarnation, report.knows);
            let (NodeRequest::ReportTwins { report, .. } | NodeRequest::ReportDeviceState { report, .. }) =
                &report.request
            else {
                panic!("{:?} is no report", report.request);
            };
            reports.push(steady(serde_json::from_slice(report).expect("JSON")));
        }
        reports
    }
}

/// Tells whether all that KubeEdge says is said. Ours has both halves of a twin, and leaves out halves without
/// a value and versions that count nothing.
fn says_all(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => theirs.iter().all(|(name, theirs)| {
            let is_nothing = *theirs == json!({}) || *theirs == json!({ "cloud": 0, "edge": 0 });
            is_nothing || ours.get(name).is_some_and(|ours| says_all(ours, theirs))
        }),
        (ours, theirs) => ours == theirs,
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let lines = include_str!("../golden/answers.ndjson").lines();
    lines.map(|line| serde_json::from_str(line).expect("a case"))
}

/// Returns what is wrong with a case.
fn wrong(case: &Case) -> Vec<String> {
    let mut node = Node { devices: Devices::default(), store: MemoryStore::new() };
    if case.is_there {
        let outcome = node.devices.appear(&id("t1"), uid("u1"), &moment()).expect("it is new");
        node.keep(&outcome);
    }
    let mut wrong = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        let mut check = |is_right: bool, what: String| {
            if !is_right {
                wrong.push(format!("{}, {number}: {} {}\n  {what}", case.name, step.topic, step.payload));
            }
        };
        let before = format!("{:?}", node.devices);
        let outcome = node.act(step);
        let told = told(&outcome).into_iter().map(|(topic, answer)| (short(&topic), steady(answer)));
        let told: Vec<(String, Value)> = told.collect();
        check(
            told == step.expected(),
            format!("is answered with {}, not {}", json!(told), json!(step.expected())),
        );
        check(outcome.news.is_some() == step.is_news(), format!("is news for the cloud: {:?}", outcome.news));
        if told.iter().any(|(_, answer)| answer.get("code").is_some()) {
            let is_same = outcome.batch.writes().is_empty() && format!("{:?}", node.devices) == before;
            check(is_same, "is refused and changes something".to_owned());
        }
        node.keep(&outcome);
        let reports = node.reports();
        for theirs in step.cloud.iter().filter(|_| step.is_news()) {
            let is_said = reports.iter().any(|report| says_all(report, theirs));
            check(is_said, format!("tells the cloud {}, not {theirs}", json!(reports)));
        }
        let differs = step.ours.is_some() || step.ours_cloud.is_some();
        check(differs == step.why.is_some(), "differs without a reason".to_owned());
        check(!step.stops || differs, "stops KubeEdge's edge, and what ours does is not said".to_owned());
    }
    wrong
}

#[test]
fn every_exchange_is_as_with_kubeedge_s_edge_or_it_is_said_why_not() {
    let wrong: Vec<String> = cases().flat_map(|case| wrong(&case)).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases().map(|case| case.steps.len()).sum::<usize>() > 600);
}

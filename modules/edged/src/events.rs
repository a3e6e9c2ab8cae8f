//! Events as kubelet reports them: made, counted together and bounded. Best effort.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::pod::Pod;
use crate::time::{rfc3339, since, unix_nanos};

/// How serious an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// All is well.
    Normal,
    /// Somebody may want to look.
    Warning,
}

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Happening {
    /// What it happened to, as an `involvedObject`.
    pub about: About,
    /// How serious it is.
    pub severity: Severity,
    /// One word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The object of an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// The part of it.
    pub field_path: String,
}

impl About {
    /// Names a pod, or one of its containers.
    #[must_use]
    pub fn pod(pod: &Pod, container: Option<&str>) -> Self {
        let init = |name: &str| pod.spec.init_containers.iter().any(|c| c.name == name);
        let field_path = match container {
            None => String::new(),
            Some(name) if init(name) => format!("spec.initContainers{{{name}}}"),
            Some(name) => format!("spec.containers{{{name}}}"),
        };
        Self {
            kind: "Pod".to_owned(),
            namespace: pod.namespace.to_string(),
            name: pod.name.to_string(),
            uid: pod.uid.clone(),
            resource_version: pod.resource_version.clone(),
            field_path,
        }
    }

    /// Names the node. Kubelet gives a node's name as its uid, and tools look for that.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self {
            kind: "Node".to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
            uid: name.to_owned(),
            resource_version: String::new(),
            field_path: String::new(),
        }
    }
}

/// What is to be sent for a happening.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A new event.
    Create(Value),
    /// A known event, counted once more: the event and the patch.
    Count(Value, Value),
}

/// Bounds of the memory of events.
const KNOWN_MAX: usize = 512;

/// After so long an equal happening is a new event.
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// How many events of one object go out at once, and how often one more.
const OBJECT_BURST: f64 = 25.0;
const OBJECT_REFILL: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: SystemTime,
}

impl Bucket {
    fn take(&mut self, burst: f64, per_second: f64, now: SystemTime) -> bool {
        self.tokens = (self.tokens + since(now, self.at).as_secs_f64() * per_second).min(burst);
        self.at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// Counts equal events together and drops what is too much.
#[derive(Debug)]
pub struct EventLog {
    node: String,
    per_second: f64,
    burst: f64,
    all: Option<Bucket>,
    objects: BTreeMap<String, Bucket>,
    known: BTreeMap<Happening, (Value, SystemTime)>,
    named: u128,
}

impl EventLog {
    /// Makes an empty log of a node. Zero events per second means no bound.
    #[must_use]
    pub fn new(node: &str, per_second: u32, burst: u32) -> Self {
        Self {
            node: node.to_owned(),
            per_second: f64::from(per_second),
            burst: f64::from(burst.max(1)),
            all: None,
            objects: BTreeMap::new(),
            known: BTreeMap::new(),
            named: 0,
        }
    }

    /// Takes a happening. Returns what is to be sent, or `None` if there is too much of it.
    pub fn take(&mut self, happening: Happening, now: SystemTime) -> Option<Record> {
        self.forget(now);
        let fresh = |tokens| Bucket { tokens, at: now };
        let object = self.objects.entry(happening.about.uid.clone()).or_insert_with(|| fresh(OBJECT_BURST));
        if !object.take(OBJECT_BURST, 1.0 / OBJECT_REFILL.as_secs_f64(), now) {
            return None;
        }
        let burst = self.burst;
        let all = self.all.get_or_insert_with(|| fresh(burst));
        if self.per_second > 0.0 && !all.take(burst, self.per_second, now) {
            return None;
        }
        if let Some((event, last)) = self.known.get_mut(&happening) {
            *last = now;
            let count = event["count"].as_u64().unwrap_or(1) + 1;
            event["count"] = json!(count);
            event["lastTimestamp"] = json!(rfc3339(now));
            let patch = json!({ "count": count, "lastTimestamp": rfc3339(now) });
            return Some(Record::Count(event.clone(), patch));
        }
        // Tools show events of one second by name, so names follow time, and no two are equal.
        self.named = unix_nanos(now).max(self.named + 1);
        let event = event(&happening, &self.node, self.named, now);
        self.known.insert(happening, (event.clone(), now));
        Some(Record::Create(event))
    }

    fn forget(&mut self, now: SystemTime) {
        self.known.retain(|_, (_, last)| since(now, *last) < KNOWN_FOR);
        if self.known.len() >= KNOWN_MAX {
            let mut times: Vec<SystemTime> = self.known.values().map(|(_, last)| *last).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or(now);
            self.known.retain(|_, (_, last)| *last > middle);
        }
        if self.objects.len() >= KNOWN_MAX {
            self.objects.retain(|_, bucket| since(now, bucket.at) < OBJECT_REFILL);
        }
    }
}

fn event(happening: &Happening, node: &str, named: u128, now: SystemTime) -> Value {
    let about = &happening.about;
    let namespace = if about.namespace.is_empty() { "default" } else { &about.namespace };
    let mut object = json!({
        "kind": about.kind,
        "name": about.name,
        "uid": about.uid,
        "apiVersion": "v1",
    });
    for (key, value) in [
        ("namespace", &about.namespace),
        ("resourceVersion", &about.resource_version),
        ("fieldPath", &about.field_path),
    ] {
        if !value.is_empty() {
            object[key] = json!(value);
        }
    }
    let severity = match happening.severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": format!("{}.{named:016x}", about.name), "namespace": namespace },
        "involvedObject": object,
        "reason": happening.reason,
        "message": happening.message,
        "source": { "component": "kubelet", "host": node },
        "firstTimestamp": rfc3339(now),
        "lastTimestamp": rfc3339(now),
        "count": 1,
        "type": severity,
        "eventTime": null,
        "reportingComponent": "kubelet",
        "reportingInstance": node,
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::fixtures::pod;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn happening(message: &str) -> Happening {
        Happening {
            about: About::pod(&pod("a"), Some("c")),
            severity: Severity::Normal,
            reason: "Started".to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn an_event_names_pod_and_container() {
        let mut log = EventLog::new("edge-1", 50, 100);
        let Some(Record::Create(event)) = log.take(happening("Started container c"), at(0)) else {
            panic!("a first event is created")
        };
        assert_eq!(event["involvedObject"]["fieldPath"], "spec.containers{c}");
        assert_eq!(event["metadata"]["namespace"], "default");
        assert_eq!((&event["count"], &event["type"]), (&json!(1), &json!("Normal")));
    }

    #[test]
    fn equal_events_are_counted() {
        let mut log = EventLog::new("edge-1", 50, 100);
        let Some(Record::Create(first)) = log.take(happening("x"), at(0)) else { panic!("created") };
        let Some(Record::Count(second, patch)) = log.take(happening("x"), at(5)) else { panic!("counted") };
        assert_eq!(first["metadata"], second["metadata"]);
        assert_eq!(patch, json!({"count": 2, "lastTimestamp": rfc3339(at(5))}));
        assert!(matches!(log.take(happening("y"), at(5)), Some(Record::Create(_))));
        assert!(matches!(log.take(happening("x"), at(700)), Some(Record::Create(_))));
    }

    #[test]
    fn names_follow_time_and_differ_within_a_nanosecond() {
        let mut log = EventLog::new("edge-1", 50, 100);
        let mut name = |message, seconds| {
            let Some(Record::Create(event)) = log.take(happening(message), at(seconds)) else {
                panic!("created")
            };
            event["metadata"]["name"].as_str().expect("a name").to_owned()
        };
        let names = [name("Pulling", 1), name("Pulled", 1), name("Created", 1), name("Started", 2)];
        assert!(names.is_sorted_by(|one, next| one < next), "{names:?}");
        assert_eq!(names[3], "a.00038d7f1bfc1400");
    }

    #[test]
    fn what_is_too_much_is_dropped() {
        let mut log = EventLog::new("edge-1", 50, 100);
        let sent = (0..100).filter(|n| log.take(happening(&n.to_string()), at(0)).is_some()).count();
        assert_eq!(sent, 25);
        assert!(log.take(happening("later"), at(301)).is_some());
        let mut narrow = EventLog::new("edge-1", 1, 3);
        let sent = (0..10).filter(|n| narrow.take(happening(&n.to_string()), at(0)).is_some()).count();
        assert_eq!(sent, 3);
    }

    #[test]
    fn the_memory_of_events_is_bounded() {
        let mut log = EventLog::new("edge-1", 0, 1);
        for n in 0..5000_u64 {
            let mut happening = happening(&n.to_string());
            happening.about.uid = n.to_string();
            log.take(happening, at(n / 100));
        }
        assert!(log.known.len() <= KNOWN_MAX, "{}", log.known.len());
    }
}

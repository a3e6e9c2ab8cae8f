//! What the runs of a soak are like.

use std::time::Duration;

/// A class of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Processes crash, machines lose power.
    Crashes,
    /// Ways between edges and cloud are cut, slow, lossy; connections break and stick.
    Links,
    /// Disks fail, fill up, are slow.
    Disks,
    /// The Kubernetes API refuses, is away, is slow.
    Api,
    /// Container runtimes fail, containers end.
    Runtimes,
    /// Wall clocks jump.
    Clocks,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 6] =
        [Self::Crashes, Self::Links, Self::Disks, Self::Api, Self::Runtimes, Self::Clocks];
}

/// What a run is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// How many edges there are.
    pub edges: u32,
    /// How many config maps, and as many secrets, there are.
    pub configs: u32,
    /// For how long things go wrong and users work.
    pub duration: Duration,
    /// How many things users do in that time.
    pub works: u32,
    /// How many faults there are in that time.
    pub faults: u32,
    /// Of which classes they are.
    pub classes: Vec<Class>,
    /// Within which time everything must be right once nothing is wrong any longer.
    pub patience: Duration,
    /// Texts of warnings and errors that the faults explain.
    pub allowed_logs: Vec<&'static str>,
}

/// The names of the scenarios, and their classes of faults.
const NAMED: [(&str, &[Class]); 8] = [
    ("all", &Class::ALL),
    ("calm", &[]),
    ("crashes", &[Class::Crashes]),
    ("links", &[Class::Links]),
    ("disks", &[Class::Disks]),
    ("api", &[Class::Api]),
    ("runtimes", &[Class::Runtimes]),
    ("clocks", &[Class::Clocks]),
];

/// Warnings that injected faults explain, by what they say. What is not here fails a run: a module
/// that fails or is stuck, a frame that is no message, an object that cannot be read.
const EXPLAINED: [&str; 29] = [
    // Links.
    "the cloud was not reached",
    "the node is silent",
    "what the node holds is not known",
    "a node's request was not served",
    "a connection was refused",
    "a connection was not admitted",
    "the node does not keep up",
    // Disks.
    "a change was not kept",
    "the node did not keep a change",
    "a change could not be made durable",
    "the store refused a write",
    "a task of the API server failed",
    "skipped a record of the edge store",
    "a record of the edge store is damaged",
    // The API.
    "cannot watch the Kubernetes API",
    "cannot read what a pod needs",
    "cannot read the pods of a node",
    "could not correct a node",
    "could not bind a pod",
    "refused a request of a node",
    "the API does not have this node any more",
    "the node was not registered",
    "the node's status was refused",
    "the API refused the pod's status",
    // Runtimes.
    "the runtime cannot be asked",
    "trying again",
    "the sandbox could not be made",
    "a volume could not be made",
    "a container did not start",
];

impl Profile {
    /// Returns the profile of a scenario.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (_, classes) = NAMED.iter().find(|(known, _)| *known == name)?;
        Some(Self {
            edges: 5,
            configs: 4,
            duration: Duration::from_secs(300),
            works: 80,
            faults: 40,
            classes: classes.to_vec(),
            patience: Duration::from_secs(600),
            allowed_logs: if classes.is_empty() { Vec::new() } else { EXPLAINED.to_vec() },
        })
    }

    /// Returns the names of all scenarios.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }
}

//! Sandboxes and containers as a runtime has them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use super::runtime::{ContainerId, PodIdentity, SandboxId};

/// Whether a sandbox can hold running containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxState {
    /// It can.
    Ready,
    /// It was stopped, or its own process died.
    NotReady,
}

/// A sandbox as the runtime has it, with its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// Whose it is.
    pub pod: PodIdentity,
    /// Whether it is ready.
    pub state: SandboxState,
    /// When it was made.
    pub created_at: SystemTime,
    /// The pod's addresses, the primary first; empty with the host's network.
    pub ips: Vec<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its containers, in any order, ended ones included until they are removed.
    pub containers: Vec<Container>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128 + n for signal n.
    pub code: i32,
    /// One word: `Completed`, `Error`, `OOMKilled`, or what the runtime says (such as
    /// `StartError`). Empty: derived from the code.
    pub reason: String,
    /// For people; often empty.
    pub message: String,
    /// When it began; `None` if it never ran.
    pub started_at: Option<SystemTime>,
    /// When it ended.
    pub finished_at: SystemTime,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// It was made and not started.
    Created,
    /// It runs.
    Running {
        /// Since when.
        started_at: SystemTime,
    },
    /// It ended.
    Exited(Exit),
    /// The runtime cannot say.
    Unknown,
}

/// A container as the runtime has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its name within the pod.
    pub name: String,
    /// How many containers of this name in this pod came before it: its restart count.
    pub attempt: u32,
    /// The image as it was asked for, or its id if the runtime does not remember.
    pub image: String,
    /// The image's digest reference, or its id: what a pod's `imageID` shows.
    pub image_id: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// What it does.
    pub state: ContainerState,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

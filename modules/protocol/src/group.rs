//! The groups that modules belong to and that messages are addressed to.

use beehive::Group;

/// The edge's link to the cloud (upstream's module `websocket`).
pub const HUB: Group = Group::new("hub");
/// The edge's durable objects.
pub const META: Group = Group::new("meta");
/// The twins of the edge's devices.
pub const TWIN: Group = Group::new("twin");
/// The edge's local clients, by MQTT and HTTP.
pub const BUS: Group = Group::new("bus");
/// The edge's pod lifecycle.
pub const EDGED: Group = Group::new("edged");
/// The cloud's links to all nodes.
pub const CLOUDHUB: Group = Group::new("cloudhub");
/// What moves objects between the Kubernetes API and the nodes.
pub const EDGECONTROLLER: Group = Group::new("edgecontroller");
/// What moves devices between the Kubernetes API and the nodes.
pub const DEVICECONTROLLER: Group = Group::new("devicecontroller");
/// What routes messages between REST endpoints and nodes, by rules.
pub const ROUTER: Group = Group::new("router");
/// What records the versions that nodes have acknowledged.
pub const SYNCCONTROLLER: Group = Group::new("synccontroller");
/// What binds pods to nodes.
pub const SCHEDULER: Group = Group::new("scheduler");
/// The embedded Kubernetes API server.
pub const APISERVER: Group = Group::new("apiserver");

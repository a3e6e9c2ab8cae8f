//! The addresses of the link: one enum for every form that upstream uses.

use std::fmt;

use protocol::{Namespace, NodeName, ObjectKey, ObjectName, ResourceType};

/// The API group and version of node jobs.
const JOB_GROUP: [&str; 2] = ["operations.kubeedge.io", "v1alpha2"];

/// A resource path, as `route.resource` carries it.
///
/// Parsing never fails: what has no form of its own is [`ResourcePath::Custom`], such as the
/// topics and URLs of user messages. Printing gives back the text that was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourcePath {
    /// No path: servicebus replies.
    Empty,
    /// `node`: the keepalive of an edge.
    Keepalive,
    /// `node/connection`: an edge's own note that its link came or went.
    Connection,
    /// `k8s/ca.crt`: the Kubernetes CA.
    KubernetesCa,
    /// `<namespace>/<type>/<name>`, with the literal `null` for cluster scope.
    Object(ObjectKey),
    /// `<namespace>/<type>`: all objects of a type.
    ///
    /// A two-segment topic of a user message reads the same.
    Collection {
        /// The namespace; `None` for cluster scope.
        namespace: Option<Namespace>,
        /// The type.
        resource: ResourceType,
    },
    /// `<namespace>/volume/<id>`: a CSI request or answer.
    Volume {
        /// The namespace, `default` in practice.
        namespace: Namespace,
        /// The volume.
        id: ObjectName,
    },
    /// `membership`: the devices of a node.
    Membership,
    /// `membership/detail`: an edge asks for its devices.
    MembershipDetail,
    /// `twin`: an answer to a device report.
    Twin,
    /// `device/<namespace>/<name>/<suffix>`.
    Device {
        /// The device's namespace.
        namespace: Namespace,
        /// The device.
        device: ObjectName,
        /// What is said of it.
        aspect: DeviceAspect,
    },
    /// `null`: a metaserver request.
    Null,
    /// `ignore/Application/ignore`: the answer to a metaserver request.
    Application,
    /// `watchapp/sync`: an edge's watches, all at once.
    WatchSync,
    /// `rule/<name>`.
    Rule(ObjectName),
    /// `ruleendpoint/<name>`.
    RuleEndpoint(ObjectName),
    /// `<port>:<path>`: a call to a service on the edge.
    ServicePort {
        /// The port on the edge.
        port: u16,
        /// The URL's path, with what follows it.
        path: String,
    },
    /// `operations.kubeedge.io/v1alpha2/<type>/<job>/node/<node>`: a node job. Never trimmed.
    Job {
        /// The type of job, such as `nodeupgradejob`.
        kind: ResourceType,
        /// The job.
        job: ObjectName,
        /// The node.
        node: NodeName,
    },
    /// `<task>/<job>/node/<node>`: a node job of the older API. Never trimmed.
    LegacyJob {
        /// `task`, `upgrade`, `prepull`.
        task: ObjectName,
        /// The job.
        job: ObjectName,
        /// The node.
        node: NodeName,
    },
    /// `node/<node>/<rest>`: how upstream's cloud addresses a node within itself.
    OnNode {
        /// The node.
        node: NodeName,
        /// The path as the node sees it.
        rest: Box<ResourcePath>,
    },
    /// Anything else.
    Custom(String),
}

/// What a device path speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceAspect {
    /// `twin/edge_updated`: the edge reports twins.
    TwinReported,
    /// `twin/cloud_updated`: the cloud desires twins (before 1.15).
    TwinDesired,
    /// `state/update`: the edge reports the device's state.
    State,
    /// `updated`: the device's attributes changed (before 1.15).
    Attributes,
}

impl DeviceAspect {
    const ALL: [Self; 4] = [Self::TwinReported, Self::TwinDesired, Self::State, Self::Attributes];

    fn segments(self) -> &'static [&'static str] {
        match self {
            Self::TwinReported => &["twin", "edge_updated"],
            Self::TwinDesired => &["twin", "cloud_updated"],
            Self::State => &["state", "update"],
            Self::Attributes => &["updated"],
        }
    }
}

impl ResourcePath {
    /// Reads a path as the link carries it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::known(text).unwrap_or_else(|| Self::Custom(text.to_owned()))
    }

    /// Reads a path as upstream's cloud uses it within itself: a leading `node/<node>/` names the
    /// node. (On the link the same text is an object in a namespace called `node`.)
    #[must_use]
    pub fn parse_internal(text: &str) -> Self {
        let Some((node, rest)) = text.strip_prefix("node/").and_then(|text| text.split_once('/')) else {
            return Self::parse(text);
        };
        match NodeName::parse(node) {
            Ok(node) => Self::OnNode { node, rest: Box::new(Self::parse(rest)) },
            Err(_) => Self::parse(text),
        }
    }

    /// Returns this path as upstream's cloud would address it to `node` within itself.
    #[must_use]
    pub fn on_node(self, node: NodeName) -> Self {
        match self {
            job @ (Self::Job { .. } | Self::LegacyJob { .. } | Self::OnNode { .. }) => job,
            rest => Self::OnNode { node, rest: Box::new(rest) },
        }
    }

    /// Returns the path of an object.
    #[must_use]
    pub fn object(resource: ResourceType, namespace: Option<Namespace>, name: ObjectName) -> Self {
        Self::Object(ObjectKey { resource, namespace, name })
    }

    /// Returns the form's name, for labels: it contains nothing of the text but a type.
    #[must_use]
    pub fn form(&self) -> String {
        match self {
            Self::Object(key) => short(&key.resource),
            Self::Collection { .. } => "collection".to_owned(),
            Self::Volume { .. } => "volume".to_owned(),
            Self::Device { aspect, .. } => format!("device/{}", aspect.segments().join("/")),
            Self::ServicePort { .. } => "service-port".to_owned(),
            Self::Rule(_) => "rule".to_owned(),
            Self::RuleEndpoint(_) => "ruleendpoint".to_owned(),
            Self::Job { kind, .. } => short(kind),
            Self::LegacyJob { .. } => "task".to_owned(),
            Self::OnNode { rest, .. } => rest.form(),
            Self::Custom(_) => "custom".to_owned(),
            fixed => fixed.to_string(),
        }
    }

    fn known(text: &str) -> Option<Self> {
        let segments: Vec<&str> = text.splitn(8, '/').collect();
        match segments.as_slice() {
            [""] => Some(Self::Empty),
            ["node"] => Some(Self::Keepalive),
            ["membership"] => Some(Self::Membership),
            ["twin"] => Some(Self::Twin),
            ["null"] => Some(Self::Null),
            ["node", "connection"] => Some(Self::Connection),
            ["k8s", "ca.crt"] => Some(Self::KubernetesCa),
            ["membership", "detail"] => Some(Self::MembershipDetail),
            ["watchapp", "sync"] => Some(Self::WatchSync),
            ["rule", name] => ObjectName::parse(name).ok().map(Self::Rule),
            ["ruleendpoint", name] => ObjectName::parse(name).ok().map(Self::RuleEndpoint),
            ["ignore", "Application", "ignore"] => Some(Self::Application),
            ["device", namespace, device, aspect @ ..] if !aspect.is_empty() => {
                Self::device(namespace, device, aspect)
            }
            [group, version, kind, job, "node", node] if [*group, *version] == JOB_GROUP => {
                Self::job(kind, job, node)
            }
            [task, job, "node", node] => Self::legacy_job(task, job, node),
            _ => Self::service_port(text).or_else(|| Self::objects(&segments)),
        }
    }

    fn device(namespace: &str, device: &str, aspect: &[&str]) -> Option<Self> {
        let aspect = DeviceAspect::ALL.into_iter().find(|known| known.segments() == aspect)?;
        let namespace = Namespace::parse(namespace).ok()?;
        Some(Self::Device { namespace, device: ObjectName::parse(device).ok()?, aspect })
    }

    fn job(kind: &str, job: &str, node: &str) -> Option<Self> {
        let kind = ResourceType::parse(kind).ok()?;
        Some(Self::Job { kind, job: ObjectName::parse(job).ok()?, node: NodeName::parse(node).ok()? })
    }

    fn legacy_job(task: &str, job: &str, node: &str) -> Option<Self> {
        let task = ObjectName::parse(task).ok()?;
        Some(Self::LegacyJob { task, job: ObjectName::parse(job).ok()?, node: NodeName::parse(node).ok()? })
    }

    fn service_port(text: &str) -> Option<Self> {
        let (port, path) = text.split_once(':')?;
        let number: u16 = port.parse().ok()?;
        let canonical = number.to_string() == port && path.starts_with('/');
        canonical.then(|| Self::ServicePort { port: number, path: path.to_owned() })
    }

    fn objects(segments: &[&str]) -> Option<Self> {
        let (namespace, resource, name) = match segments {
            [namespace, resource] => (namespace, resource, None),
            [namespace, resource, name] => (namespace, resource, Some(name)),
            _ => return None,
        };
        let namespace = match *namespace {
            "null" => None,
            namespace if namespace.contains(':') => return None,
            namespace => Some(Namespace::parse(namespace).ok()?),
        };
        let resource = ResourceType::parse(resource).ok()?;
        let Some(name) = name else { return Some(Self::Collection { namespace, resource }) };
        let name = ObjectName::parse(name).ok()?;
        match namespace {
            Some(namespace) if resource.as_str() == "volume" => Some(Self::Volume { namespace, id: name }),
            namespace => Some(Self::Object(ObjectKey { resource, namespace, name })),
        }
    }
}

fn short(resource: &ResourceType) -> String {
    resource.as_str().chars().take(40).collect()
}

impl fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = |namespace: &Option<Namespace>| match namespace {
            Some(namespace) => namespace.to_string(),
            None => "null".to_owned(),
        };
        match self {
            Self::Empty => Ok(()),
            Self::Keepalive => f.write_str("node"),
            Self::Connection => f.write_str("node/connection"),
            Self::KubernetesCa => f.write_str("k8s/ca.crt"),
            Self::Object(key) => write!(f, "{}/{}/{}", scope(&key.namespace), key.resource, key.name),
            Self::Collection { namespace, resource } => write!(f, "{}/{resource}", scope(namespace)),
            Self::Volume { namespace, id } => write!(f, "{namespace}/volume/{id}"),
            Self::Membership => f.write_str("membership"),
            Self::MembershipDetail => f.write_str("membership/detail"),
            Self::Twin => f.write_str("twin"),
            Self::Device { namespace, device, aspect } => {
                write!(f, "device/{namespace}/{device}/{}", aspect.segments().join("/"))
            }
            Self::Null => f.write_str("null"),
            Self::Application => f.write_str("ignore/Application/ignore"),
            Self::WatchSync => f.write_str("watchapp/sync"),
            Self::Rule(name) => write!(f, "rule/{name}"),
            Self::RuleEndpoint(name) => write!(f, "ruleendpoint/{name}"),
            Self::ServicePort { port, path } => write!(f, "{port}:{path}"),
            Self::Job { kind, job, node } => write!(f, "{}/{kind}/{job}/node/{node}", JOB_GROUP.join("/")),
            Self::LegacyJob { task, job, node } => write!(f, "{task}/{job}/node/{node}"),
            Self::OnNode { node, rest } => write!(f, "node/{node}/{rest}"),
            Self::Custom(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expect: &str) {
        let path = ResourcePath::parse(text);
        let shown = format!("{path:?}");
        let form = shown.split(['(', ' ', '{']).next().unwrap_or_default();
        assert_eq!(form, expect, "{text}");
        assert_eq!(path.to_string(), text);
    }

    #[test]
    fn every_form_of_the_reference_has_its_variant() {
        check("", "Empty");
        check("node", "Keepalive");
        check("node/connection", "Connection");
        check("k8s/ca.crt", "KubernetesCa");
        check("default/pod/web-0", "Object");
        check("null/node/edge-1", "Object");
        check("null/nodepatch/edge-1", "Object");
        check("node/pod/web-0", "Object");
        check("kube-node-lease/lease/edge-1", "Object");
        check("default/pod", "Collection");
        check("default/test-up", "Collection");
        check("default/volume/pvc-1", "Volume");
        check("membership", "Membership");
        check("membership/detail", "MembershipDetail");
        check("twin", "Twin");
        check("device/default/temp-1/twin/edge_updated", "Device");
        check("device/default/temp-1/twin/cloud_updated", "Device");
        check("device/default/temp-1/state/update", "Device");
        check("device/default/temp-1/updated", "Device");
        check("null", "Null");
        check("ignore/Application/ignore", "Application");
        check("watchapp/sync", "WatchSync");
        check("rule/r1", "Rule");
        check("ruleendpoint/e1", "RuleEndpoint");
        check("16666:/target", "ServicePort");
        check("operations.kubeedge.io/v1alpha2/nodeupgradejob/nuj1/node/edge-1", "Job");
        check("task/j/node/edge-1", "LegacyJob");
        check("upgrade/j/node/edge-1", "LegacyJob");
    }

    #[test]
    fn what_has_no_form_is_kept_as_it_is() {
        for text in [
            "http://127.0.0.1:16667/sbhook",
            "http:/127.0.0.1:1/x",
            "a/b/c/d",
            "/",
            "//",
            "a//b",
            "x y/pod/z",
        ] {
            check(text, "Custom");
        }
        check("016:/a", "Custom");
        check("70000:/a", "Custom");
        check("SYS/dis/upload_records", "Object");
    }

    #[test]
    fn a_node_s_prefix_is_read_only_where_it_is_meant() {
        let node = NodeName::parse("edge-1").expect("a node name");
        for text in ["default/pod/web-0", "membership", "twin", "default/topic", "8080:/a/b", "node/pod/x"] {
            let internal = ResourcePath::parse(text).on_node(node.clone());
            assert_eq!(internal.to_string(), format!("node/edge-1/{text}"));
            assert_eq!(ResourcePath::parse_internal(&internal.to_string()), internal);
        }
        let job = ResourcePath::parse("operations.kubeedge.io/v1alpha2/imageprepulljob/j/node/n");
        assert_eq!(job.clone().on_node(node), job);
        assert_eq!(
            ResourcePath::parse_internal("node/nodeid/default/rulestatus/r1").form(),
            ResourcePath::parse("default/rulestatus/r1").form(),
        );
    }

    fn segment() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9.-]{0,8}",
            Just("node".to_owned()),
            Just("null".to_owned()),
            Just("device".to_owned()),
            Just("rule".to_owned()),
            Just("volume".to_owned()),
            Just("16:".to_owned()),
            Just("operations.kubeedge.io".to_owned()),
            Just("v1alpha2".to_owned()),
            Just("twin".to_owned()),
            Just("edge_updated".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn any_text_prints_as_it_was_parsed(text in ".{0,64}") {
            prop_assert_eq!(ResourcePath::parse(&text).to_string(), text.clone());
            prop_assert_eq!(ResourcePath::parse_internal(&text).to_string(), text);
        }

        #[test]
        fn any_path_parses_as_it_was_printed(segments in proptest::collection::vec(segment(), 0..8)) {
            let text = segments.join("/");
            let path = ResourcePath::parse(&text);
            prop_assert_eq!(path.to_string(), text.clone());
            prop_assert_eq!(ResourcePath::parse(&path.to_string()), path);
            let internal = ResourcePath::parse_internal(&text);
            prop_assert_eq!(internal.to_string(), text);
            prop_assert_eq!(ResourcePath::parse_internal(&internal.to_string()), internal);
        }
    }
}

//! The built-in resources, in the order of discovery.

use std::sync::Arc;

use super::resource::{Resource, Subresource, Verb};
use crate::schema::types::{Shape, type_name};

const ALL: &[Verb] = &Verb::ALL;
const CREATE: &[Verb] = &[Verb::Create];
const READ: &[Verb] = &[Verb::Get, Verb::List];
const GET: &[Verb] = &[Verb::Get];
const UPDATE: &[Verb] = &[Verb::Update];
const CONNECT: &[Verb] = &[Verb::Create, Verb::Get];
const PROXY: &[Verb] = &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];
const PART: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];
const NO_DELETE_COLLECTION: &[Verb] =
    &[Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];

/// Whether objects live in namespaces.
#[derive(Clone, Copy, PartialEq)]
enum Scope {
    Namespaced,
    Cluster,
}
use Scope::{Cluster, Namespaced};

/// A subresource: its name, its body's group, version and kind (an empty kind is the parent's).
struct Part(&'static str, (&'static str, &'static str, &'static str), &'static [Verb]);

const STATUS: Part = Part("status", ("", "", ""), PART);
const SCALE: Part = Part("scale", ("autoscaling", "v1", "Scale"), PART);

/// A resource: plural, kind, scope, verbs, short names, categories, subresources.
struct Row(
    &'static str,
    &'static str,
    Scope,
    &'static [Verb],
    &'static [&'static str],
    &'static [&'static str],
    &'static [Part],
);

struct Group(&'static str, &'static str, &'static [Row]);

const IN_ALL: &[&str] = &["all"];
const EXTENSIONS: &[&str] = &["api-extensions"];

const CORE: &[Row] = &[
    Row("bindings", "Binding", Namespaced, CREATE, &[], &[], &[]),
    Row("componentstatuses", "ComponentStatus", Cluster, READ, &["cs"], &[], &[]),
    Row("configmaps", "ConfigMap", Namespaced, ALL, &["cm"], &[], &[]),
    Row("endpoints", "Endpoints", Namespaced, ALL, &["ep"], &[], &[]),
    Row("events", "Event", Namespaced, ALL, &["ev"], &[], &[]),
    Row("limitranges", "LimitRange", Namespaced, ALL, &["limits"], &[], &[]),
    Row(
        "namespaces",
        "Namespace",
        Cluster,
        NO_DELETE_COLLECTION,
        &["ns"],
        &[],
        &[Part("finalize", ("", "", ""), UPDATE), STATUS],
    ),
    Row(
        "nodes",
        "Node",
        Cluster,
        ALL,
        &["no"],
        &[],
        &[Part("proxy", ("", "v1", "NodeProxyOptions"), PROXY), STATUS],
    ),
    Row("persistentvolumeclaims", "PersistentVolumeClaim", Namespaced, ALL, &["pvc"], &[], &[STATUS]),
    Row("persistentvolumes", "PersistentVolume", Cluster, ALL, &["pv"], &[], &[STATUS]),
    Row("pods", "Pod", Namespaced, ALL, &["po"], IN_ALL, POD_PARTS),
    Row("podtemplates", "PodTemplate", Namespaced, ALL, &[], &[], &[]),
    Row(
        "replicationcontrollers",
        "ReplicationController",
        Namespaced,
        ALL,
        &["rc"],
        IN_ALL,
        &[SCALE, STATUS],
    ),
    Row("resourcequotas", "ResourceQuota", Namespaced, ALL, &["quota"], &[], &[STATUS]),
    Row("secrets", "Secret", Namespaced, ALL, &[], &[], &[]),
    Row(
        "serviceaccounts",
        "ServiceAccount",
        Namespaced,
        ALL,
        &["sa"],
        &[],
        &[Part("token", ("authentication.k8s.io", "v1", "TokenRequest"), CREATE)],
    ),
    Row(
        "services",
        "Service",
        Namespaced,
        ALL,
        &["svc"],
        IN_ALL,
        &[Part("proxy", ("", "v1", "ServiceProxyOptions"), PROXY), STATUS],
    ),
];

const POD_PARTS: &[Part] = &[
    Part("attach", ("", "v1", "PodAttachOptions"), CONNECT),
    Part("binding", ("", "v1", "Binding"), CREATE),
    Part("ephemeralcontainers", ("", "", ""), PART),
    Part("eviction", ("policy", "v1", "Eviction"), CREATE),
    Part("exec", ("", "v1", "PodExecOptions"), CONNECT),
    Part("log", ("", "", ""), GET),
    Part("portforward", ("", "v1", "PodPortForwardOptions"), CONNECT),
    Part("proxy", ("", "v1", "PodProxyOptions"), PROXY),
    STATUS,
];

const APPS: &[Row] = &[
    Row("controllerrevisions", "ControllerRevision", Namespaced, ALL, &[], &[], &[]),
    Row("daemonsets", "DaemonSet", Namespaced, ALL, &["ds"], IN_ALL, &[STATUS]),
    Row("deployments", "Deployment", Namespaced, ALL, &["deploy"], IN_ALL, &[SCALE, STATUS]),
    Row("replicasets", "ReplicaSet", Namespaced, ALL, &["rs"], IN_ALL, &[SCALE, STATUS]),
    Row("statefulsets", "StatefulSet", Namespaced, ALL, &["sts"], IN_ALL, &[SCALE, STATUS]),
];

const AUTHENTICATION: &[Row] = &[
    Row("selfsubjectreviews", "SelfSubjectReview", Cluster, CREATE, &[], &[], &[]),
    Row("tokenreviews", "TokenReview", Cluster, CREATE, &[], &[], &[]),
];

const AUTHORIZATION: &[Row] = &[
    Row("localsubjectaccessreviews", "LocalSubjectAccessReview", Namespaced, CREATE, &[], &[], &[]),
    Row("selfsubjectaccessreviews", "SelfSubjectAccessReview", Cluster, CREATE, &[], &[], &[]),
    Row("selfsubjectrulesreviews", "SelfSubjectRulesReview", Cluster, CREATE, &[], &[], &[]),
    Row("subjectaccessreviews", "SubjectAccessReview", Cluster, CREATE, &[], &[], &[]),
];

const RBAC: &[Row] = &[
    Row("clusterrolebindings", "ClusterRoleBinding", Cluster, ALL, &[], &[], &[]),
    Row("clusterroles", "ClusterRole", Cluster, ALL, &[], &[], &[]),
    Row("rolebindings", "RoleBinding", Namespaced, ALL, &[], &[], &[]),
    Row("roles", "Role", Namespaced, ALL, &[], &[], &[]),
];

const STORAGE: &[Row] = &[
    Row("csidrivers", "CSIDriver", Cluster, ALL, &[], &[], &[]),
    Row("csinodes", "CSINode", Cluster, ALL, &[], &[], &[]),
    Row("csistoragecapacities", "CSIStorageCapacity", Namespaced, ALL, &[], &[], &[]),
    Row("storageclasses", "StorageClass", Cluster, ALL, &["sc"], &[], &[]),
    Row("volumeattachments", "VolumeAttachment", Cluster, ALL, &[], &[], &[STATUS]),
];

const ADMISSION: &[Row] = &[
    Row("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", Cluster, ALL, &[], EXTENSIONS, &[]),
    Row("validatingadmissionpolicies", "ValidatingAdmissionPolicy", Cluster, ALL, &[], EXTENSIONS, &[STATUS]),
    Row(
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        Cluster,
        ALL,
        &[],
        EXTENSIONS,
        &[],
    ),
    Row(
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        Cluster,
        ALL,
        &[],
        EXTENSIONS,
        &[],
    ),
];

/// Both versions of one resource; the newer one is kept.
const AUTOSCALER: Row =
    Row("horizontalpodautoscalers", "HorizontalPodAutoscaler", Namespaced, ALL, &["hpa"], IN_ALL, &[STATUS]);

const GROUPS: &[Group] = &[
    Group("", "v1", CORE),
    Group("apps", "v1", APPS),
    Group("events.k8s.io", "v1", &[Row("events", "Event", Namespaced, ALL, &["ev"], &[], &[])]),
    Group("authentication.k8s.io", "v1", AUTHENTICATION),
    Group("authorization.k8s.io", "v1", AUTHORIZATION),
    Group("autoscaling", "v2", &[AUTOSCALER]),
    Group("autoscaling", "v1", &[AUTOSCALER]),
    Group(
        "batch",
        "v1",
        &[
            Row("cronjobs", "CronJob", Namespaced, ALL, &["cj"], IN_ALL, &[STATUS]),
            Row("jobs", "Job", Namespaced, ALL, &[], IN_ALL, &[STATUS]),
        ],
    ),
    Group(
        "certificates.k8s.io",
        "v1",
        &[Row(
            "certificatesigningrequests",
            "CertificateSigningRequest",
            Cluster,
            ALL,
            &["csr"],
            &[],
            &[Part("approval", ("", "", ""), PART), STATUS],
        )],
    ),
    Group(
        "networking.k8s.io",
        "v1",
        &[
            Row("ingressclasses", "IngressClass", Cluster, ALL, &[], &[], &[]),
            Row("ingresses", "Ingress", Namespaced, ALL, &["ing"], &[], &[STATUS]),
            Row("networkpolicies", "NetworkPolicy", Namespaced, ALL, &["netpol"], &[], &[]),
        ],
    ),
    Group(
        "policy",
        "v1",
        &[Row("poddisruptionbudgets", "PodDisruptionBudget", Namespaced, ALL, &["pdb"], &[], &[STATUS])],
    ),
    Group("rbac.authorization.k8s.io", "v1", RBAC),
    Group("storage.k8s.io", "v1", STORAGE),
    Group("admissionregistration.k8s.io", "v1", ADMISSION),
    Group(
        "apiextensions.k8s.io",
        "v1",
        &[Row(
            "customresourcedefinitions",
            "CustomResourceDefinition",
            Cluster,
            ALL,
            &["crd", "crds"],
            EXTENSIONS,
            &[STATUS],
        )],
    ),
    Group(
        "scheduling.k8s.io",
        "v1",
        &[Row("priorityclasses", "PriorityClass", Cluster, ALL, &["pc"], &[], &[])],
    ),
    Group("coordination.k8s.io", "v1", &[Row("leases", "Lease", Namespaced, ALL, &[], &[], &[])]),
    Group("node.k8s.io", "v1", &[Row("runtimeclasses", "RuntimeClass", Cluster, ALL, &[], &[], &[])]),
    Group(
        "discovery.k8s.io",
        "v1",
        &[Row("endpointslices", "EndpointSlice", Namespaced, ALL, &[], &[], &[])],
    ),
];

/// Returns the built-in resources.
pub(super) fn resources() -> Vec<Arc<Resource>> {
    GROUPS
        .iter()
        .flat_map(|Group(group, version, rows)| rows.iter().map(|row| Arc::new(build(group, version, row))))
        .collect()
}

fn build(group: &str, version: &str, row: &Row) -> Resource {
    let Row(plural, kind, scope, verbs, short_names, categories, parts) = row;
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let storage = match group {
        "" | "events.k8s.io" => format!("core/{plural}"),
        _ => format!("{group}/{plural}"),
    };
    Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: (*kind).to_owned(),
        list_kind: format!("{kind}List"),
        plural: (*plural).to_owned(),
        singular: kind.to_lowercase(),
        short_names: owned(short_names),
        categories: owned(categories),
        namespaced: *scope == Namespaced,
        verbs: verbs.to_vec(),
        subresources: parts.iter().map(|part| build_part(group, version, kind, part)).collect(),
        storage: Arc::from(storage),
        storage_version: version.to_owned(),
        shape: Shape::Named(Arc::from(type_name(group, version, kind))),
        custom: None,
    }
}

fn build_part(group: &str, version: &str, kind: &str, part: &Part) -> Subresource {
    let Part(name, body, verbs) = part;
    let (group, version, kind) = if body.2.is_empty() { (group, version, kind) } else { *body };
    Subresource {
        name: (*name).to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs: verbs.to_vec(),
    }
}

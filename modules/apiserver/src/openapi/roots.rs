//! Where the schemas of built-in kinds come from.

use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates,
    coordination, core, discovery, events, networking, node, policy, rbac, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use schemars::{Schema, SchemaGenerator};

type Root = fn(&mut SchemaGenerator) -> Schema;

macro_rules! roots {
    ($($group:literal: $module:ident::$version:ident { $($kind:ident),+ $(,)? })+) => {
        /// Group, version, kind, schema.
        const ROOTS: &[(&str, &str, &str, Root)] = &[
            $($(($group, stringify!($version), stringify!($kind), SchemaGenerator::subschema_for::<$module::$version::$kind>),)+)+
        ];
    };
}

roots! {
    "": core::v1 {
        Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume,
        PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service,
        ServiceAccount,
    }
    "apps": apps::v1 { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet }
    "events.k8s.io": events::v1 { Event }
    "authentication.k8s.io": authentication::v1 { SelfSubjectReview, TokenRequest, TokenReview }
    "authorization.k8s.io": authorization::v1 {
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
    }
    "autoscaling": autoscaling::v2 { HorizontalPodAutoscaler }
    "autoscaling": autoscaling::v1 { HorizontalPodAutoscaler, Scale }
    "batch": batch::v1 { CronJob, Job }
    "certificates.k8s.io": certificates::v1 { CertificateSigningRequest }
    "networking.k8s.io": networking::v1 { Ingress, IngressClass, NetworkPolicy }
    "policy": policy::v1 { Eviction, PodDisruptionBudget }
    "rbac.authorization.k8s.io": rbac::v1 { ClusterRole, ClusterRoleBinding, Role, RoleBinding }
    "storage.k8s.io": storage::v1 { CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment }
    "admissionregistration.k8s.io": admissionregistration::v1 {
        MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        ValidatingWebhookConfiguration,
    }
    "apiextensions.k8s.io": apiextensions::v1 { CustomResourceDefinition }
    "scheduling.k8s.io": scheduling::v1 { PriorityClass }
    "coordination.k8s.io": coordination::v1 { Lease }
    "node.k8s.io": node::v1 { RuntimeClass }
    "discovery.k8s.io": discovery::v1 { EndpointSlice }
    "meta.k8s.io": meta::v1 { DeleteOptions, ListMeta, ObjectMeta, Patch, Status }
}

/// Adds the schema of a kind, and of all that it refers to, to a generator.
pub(super) fn add(generator: &mut SchemaGenerator, group: &str, version: &str, kind: &str) {
    let root = ROOTS.iter().find(|root| (root.0, root.1, root.2) == (group, version, kind));
    if let Some((_, _, _, root)) = root {
        root(generator);
    }
}

//! The parts of Kubernetes' own types that the resources embed, as their schemas have them.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::shape::shape;

/// An object whose fields are not known: what it says is kept as it is.
pub type Open = serde_json::Map<String, serde_json::Value>;

/// Bytes, written in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base64(pub String);

impl JsonSchema for Base64 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Base64".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "byte"})
    }
}

/// An amount, as `500m` or `2`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// A whole number.
    Number(i64),
    /// A text with a unit.
    Text(String),
}

/// What texts are quantities.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY,
            "x-kubernetes-int-or-string": true,
        })
    }
}

shape! {
    /// Names an object in the same namespace.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub struct LocalObjectReference {
        /// The object's name.
        #[schemars(extend("x-default" = ""))]
        may name: String,
    }


    /// Names a secret of a service account.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub struct SecretReference {
        /// The API version.
        may api_version: String,
        /// The path of the part that is meant.
        may field_path: String,
        /// The kind.
        may kind: String,
        /// The name.
        must name: String,
        /// The namespace.
        may namespace: String,
        /// The version of the object that is meant.
        may resource_version: String,
        /// The uid.
        may uid: String,
    }

    /// The metadata of an embedded object.
    pub struct EmbeddedMetadata {
        /// Notes for tools.
        may annotations: BTreeMap<String, String>,
        /// Who must agree before the object goes.
        may finalizers: Vec<String>,
        /// What selectors look at.
        may labels: BTreeMap<String, String>,
        /// The name.
        may name: String,
        /// The namespace.
        may namespace: String,
    }

    /// Selects objects by their labels.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub struct LabelSelector {
        /// Requirements that all must hold.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        may match_expressions: Vec<SelectorRequirement>,
        /// Labels that all must be there.
        may match_labels: BTreeMap<String, String>,
    }

    /// One requirement of a selector.
    pub struct SelectorRequirement {
        /// The label's or field's name.
        must key: String,
        /// How it relates to the values: `In`, `NotIn`, `Exists` and so on.
        must operator: String,
        /// The values.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        may values: Vec<String>,
    }

    /// Selects nodes: one of the terms must hold.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub struct NodeSelector {
        /// The terms.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        must node_selector_terms: Vec<NodeSelectorTerm>,
    }

    /// A term: all of its requirements must hold.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub struct NodeSelectorTerm {
        /// Requirements on the node's labels.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        may match_expressions: Vec<SelectorRequirement>,
        /// Requirements on the node's fields.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        may match_fields: Vec<SelectorRequirement>,
    }

    /// A variable of a container's environment.
    pub struct EnvVar {
        /// The variable's name.
        must name: String,
        /// Its value.
        may value: String,
        /// Where its value is taken from.
        may value_from: EnvVarSource,
    }

    /// Where a variable's value is taken from.
    pub struct EnvVarSource {
        /// A key of a config map.
        may config_map_key_ref: KeySelector,
        /// A field of the pod.
        may field_ref: FieldSelector,
        /// A resource of the container.
        may resource_field_ref: ResourceFieldSelector,
        /// A key of a secret.
        may secret_key_ref: KeySelector,
    }

    /// A key of a config map or of a secret.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub struct KeySelector {
        /// The key.
        must key: String,
        /// The object's name.
        #[schemars(extend("x-default" = ""))]
        may name: String,
        /// Whether the object or its key may be missing.
        may optional: bool,
    }

    /// A field of the pod.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub struct FieldSelector {
        /// The version that the path is of; `v1` when absent.
        may api_version: String,
        /// The field's path.
        must field_path: String,
    }

    /// A resource of a container.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub struct ResourceFieldSelector {
        /// The container; its own when absent.
        may container_name: String,
        /// The unit of the value; 1 when absent.
        may divisor: Quantity,
        /// The resource, as `limits.cpu`.
        must resource: String,
    }

    /// What a container needs and may take.
    pub struct ResourceRequirements {
        /// Claims of the pod that the container uses.
        #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
        may claims: Vec<ResourceClaim>,
        /// The most that it may take.
        may limits: BTreeMap<String, Quantity>,
        /// The least that it needs.
        may requests: BTreeMap<String, Quantity>,
    }

    /// A claim that a container uses.
    pub struct ResourceClaim {
        /// The claim's name in the pod.
        must name: String,
        /// The request of the claim; all of it when absent.
        may request: String,
    }

    /// What a role allows.
    pub struct PolicyRule {
        /// The API groups; `*` for all.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        may api_groups: Vec<String>,
        /// Paths that are no resources.
        #[serde(rename = "nonResourceURLs")]
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        may non_resource_urls: Vec<String>,
        /// The objects' names; all when absent.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        may resource_names: Vec<String>,
        /// The resources; `*` for all.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        may resources: Vec<String>,
        /// The verbs; `*` for all.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        must verbs: Vec<String>,
    }

    /// The role that a binding gives.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub struct RoleRef {
        /// The role's API group.
        must api_group: String,
        /// `Role` or `ClusterRole`.
        must kind: String,
        /// The role's name.
        must name: String,
    }

    /// Whom a binding gives a role.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub struct Subject {
        /// The API group.
        may api_group: String,
        /// `User`, `Group` or `ServiceAccount`.
        must kind: String,
        /// The name.
        must name: String,
        /// The namespace of a service account.
        may namespace: String,
    }

    /// A role binding or a cluster role binding.
    pub struct RoleBinding {
        /// The API version.
        may api_version: String,
        /// The kind.
        may kind: String,
        /// The metadata.
        may metadata: EmbeddedMetadata,
        /// The role that it gives.
        must role_ref: RoleRef,
        /// Whom it gives the role.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        may subjects: Vec<Subject>,
    }

    /// A service account.
    pub struct ServiceAccount {
        /// The API version.
        may api_version: String,
        /// Whether pods get its token unasked.
        may automount_service_account_token: bool,
        /// The secrets that images are pulled with.
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        may image_pull_secrets: Vec<LocalObjectReference>,
        /// The kind.
        may kind: String,
        /// The metadata.
        may metadata: EmbeddedMetadata,
        /// The secrets that its pods may use.
        #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
        may secrets: Vec<SecretReference>,
    }
}

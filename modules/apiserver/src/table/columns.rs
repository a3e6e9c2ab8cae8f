//! The columns of the tables that built-in resources are shown in.

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heading {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) format: &'static str,
    /// Shown with `-o wide` only.
    pub(super) wide: bool,
}

/// Returns the columns of a built-in resource; those of unknown ones are a name and a date.
pub(super) fn headings(group: &str, plural: &str) -> Vec<Heading> {
    let text = COLUMNS
        .iter()
        .find(|(columns_group, columns_plural, _)| *columns_group == group && *columns_plural == plural)
        .map_or("Name:string:name|Created At:date", |(_, _, text)| text);
    text.split('|').map(heading).collect()
}

fn heading(text: &'static str) -> Heading {
    let (text, wide) = match text.strip_suffix('*') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default();
    let kind = parts.next().unwrap_or("string");
    let format = parts.next().unwrap_or_default();
    Heading { name, kind, format, wide }
}

/// Group, plural, columns: `name:type:format`, a trailing `*` for wide ones.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("", "componentstatuses", "Name:string:name|Status|Message|Error"),
    ("", "configmaps", "Name:string:name|Data|Age"),
    ("", "endpoints", "Name:string:name|Endpoints|Age"),
    (
        "",
        "events",
        "Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name:string:name*",
    ),
    ("", "limitranges", "Name:string:name|Created At:date"),
    ("", "namespaces", "Name:string:name|Status|Age"),
    (
        "",
        "nodes",
        "Name:string:name|Status|Roles|Age|Version|Internal-IP*|External-IP*|OS-Image*|Kernel-Version*|Container-Runtime*",
    ),
    (
        "",
        "persistentvolumeclaims",
        "Name:string:name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode*",
    ),
    (
        "",
        "persistentvolumes",
        "Name:string:name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode*",
    ),
    ("", "pods", "Name:string:name|Ready|Status|Restarts|Age|IP*|Node*|Nominated Node*|Readiness Gates*"),
    ("", "podtemplates", "Name:string:name|Containers|Images|Pod Labels"),
    (
        "",
        "replicationcontrollers",
        "Name:string:name|Desired:integer|Current:integer|Ready:integer|Age|Containers*|Images*|Selector*",
    ),
    ("", "resourcequotas", "Name:string:name|Age|Request|Limit"),
    ("", "secrets", "Name:string:name|Type|Data|Age"),
    ("", "serviceaccounts", "Name:string:name|Secrets|Age"),
    ("", "services", "Name:string:name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector*"),
    ("apps", "controllerrevisions", "Name:string:name|Controller|Revision|Age"),
    (
        "apps",
        "daemonsets",
        "Name:string:name|Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|Available:integer|Node Selector|Age|Containers*|Images*|Selector*",
    ),
    ("apps", "deployments", "Name:string:name|Ready|Up-to-date|Available|Age|Containers*|Images*|Selector*"),
    (
        "apps",
        "replicasets",
        "Name:string:name|Desired:integer|Current:integer|Ready:integer|Age|Containers*|Images*|Selector*",
    ),
    ("apps", "statefulsets", "Name:string:name|Ready|Age|Containers*|Images*"),
    (
        "events.k8s.io",
        "events",
        "Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name:string:name*",
    ),
    (
        "autoscaling",
        "horizontalpodautoscalers",
        "Name:string:name|Reference|Targets|MinPods|MaxPods|Replicas|Age",
    ),
    (
        "batch",
        "cronjobs",
        "Name:string:name|Schedule|Timezone|Suspend:boolean|Active:integer|Last Schedule|Age|Containers*|Images*|Selector*",
    ),
    ("batch", "jobs", "Name:string:name|Status|Completions|Duration|Age|Containers*|Images*|Selector*"),
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        "Name:string:name|Age|SignerName|Requestor|RequestedDuration|Condition",
    ),
    ("networking.k8s.io", "ingressclasses", "Name:string:name|Controller|Parameters|Age"),
    ("networking.k8s.io", "ingresses", "Name:string:name|Class|Hosts|Address|Ports|Age"),
    ("networking.k8s.io", "networkpolicies", "Name:string:name|Pod-Selector|Age"),
    (
        "policy",
        "poddisruptionbudgets",
        "Name:string:name|Min Available|Max Unavailable|Allowed Disruptions:integer|Age",
    ),
    (
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        "Name:string:name|Role|Age|Users*|Groups*|ServiceAccounts*",
    ),
    ("rbac.authorization.k8s.io", "clusterroles", "Name:string:name|Created At:date"),
    (
        "rbac.authorization.k8s.io",
        "rolebindings",
        "Name:string:name|Role|Age|Users*|Groups*|ServiceAccounts*",
    ),
    ("rbac.authorization.k8s.io", "roles", "Name:string:name|Created At:date"),
    (
        "storage.k8s.io",
        "csidrivers",
        "Name:string:name|AttachRequired:boolean|PodInfoOnMount:boolean|StorageCapacity:boolean|TokenRequests|RequiresRepublish:boolean|Modes|Age",
    ),
    ("storage.k8s.io", "csinodes", "Name:string:name|Drivers:integer|Age"),
    ("storage.k8s.io", "csistoragecapacities", "Name:string:name|Created At:date"),
    (
        "storage.k8s.io",
        "storageclasses",
        "Name:string:name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age",
    ),
    (
        "storage.k8s.io",
        "volumeattachments",
        "Name:string:name|Attacher:string:name|PV|Node|Attached:boolean|Age",
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        "Name:string:name|Webhooks:integer|Age",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        "Name:string:name|Validations:integer|ParamKind|Age",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        "Name:string:name|PolicyName|ParamRef|Age",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        "Name:string:name|Webhooks:integer|Age",
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions", "Name:string:name|Created At:date"),
    (
        "scheduling.k8s.io",
        "priorityclasses",
        "Name:string:name|Value:integer|Global-Default:boolean|Age|PreemptionPolicy",
    ),
    ("coordination.k8s.io", "leases", "Name:string:name|Holder|Age"),
    ("node.k8s.io", "runtimeclasses", "Name:string:name|Handler|Age"),
    ("discovery.k8s.io", "endpointslices", "Name:string:name|AddressType|Ports|Endpoints|Age"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_read() {
        let pods = headings("", "pods");
        assert_eq!(pods[0], Heading { name: "Name", kind: "string", format: "name", wide: false });
        assert_eq!(pods[5], Heading { name: "IP", kind: "string", format: "", wide: true });
        assert_eq!(headings("x", "y").len(), 2);
    }
}

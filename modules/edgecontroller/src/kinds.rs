//! The resource types of the link as the Kubernetes API spells them.

use kube::core::ApiResource;
use protocol::{ObjectKey, ResourceType};

/// One kind of the Kubernetes API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The type on the link.
    resource: &'static str,
    pub(crate) kind: &'static str,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    namespaced: bool,
}

const fn core(resource: &'static str, kind: &'static str, plural: &'static str, namespaced: bool) -> Kind {
    Kind { resource, kind, group: "", version: "v1", plural, namespaced }
}

const fn named(
    resource: &'static str,
    kind: &'static str,
    group: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> Kind {
    Kind { resource, kind, group, version: "v1", plural, namespaced }
}

const fn device(resource: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { version: "v1beta1", ..named(resource, kind, "devices.kubeedge.io", plural, true) }
}

/// All that a node may have business with.
const KINDS: [Kind; 17] = [
    core("pod", "Pod", "pods", true),
    core("configmap", "ConfigMap", "configmaps", true),
    core("secret", "Secret", "secrets", true),
    core("node", "Node", "nodes", false),
    core("service", "Service", "services", true),
    core("serviceaccount", "ServiceAccount", "serviceaccounts", true),
    core("event", "Event", "events", true),
    core("persistentvolume", "PersistentVolume", "persistentvolumes", false),
    core("persistentvolumeclaim", "PersistentVolumeClaim", "persistentvolumeclaims", true),
    named("volumeattachment", "VolumeAttachment", "storage.k8s.io", "volumeattachments", false),
    named("csidriver", "CSIDriver", "storage.k8s.io", "csidrivers", false),
    named("csinode", "CSINode", "storage.k8s.io", "csinodes", false),
    named("runtimeclass", "RuntimeClass", "node.k8s.io", "runtimeclasses", false),
    named("lease", "Lease", "coordination.k8s.io", "leases", true),
    device("device", "Device", "devices"),
    device("devicemodel", "DeviceModel", "devicemodels"),
    named(
        "certificatesigningrequest",
        "CertificateSigningRequest",
        "certificates.k8s.io",
        "certificatesigningrequests",
        false,
    ),
];

impl Kind {
    /// What a token is asked for with; it is only ever posted.
    pub(crate) const TOKEN_REQUEST: Self =
        named("serviceaccounttoken", "TokenRequest", "authentication.k8s.io", "serviceaccounts/token", true);

    /// Returns the kind of a type, if a node may have business with it.
    pub(crate) fn of(resource: &ResourceType) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.resource == resource.as_str())
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Returns the name by which API errors call it, such as `pods` or `leases.coordination.k8s.io`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(crate) fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version: self.api_version(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    /// Returns the path of all objects of the kind, or of those of one namespace.
    pub(crate) fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let api = self.api_version();
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/{api}/namespaces/{}/{}", segment(namespace), self.plural),
            None => format!("{root}/{api}/{}", self.plural),
        }
    }

    /// Returns the path of one object. A namespace on the key of a cluster-scoped object is not
    /// heeded: upstream's edges send `default` there.
    pub(crate) fn path(&self, key: &ObjectKey) -> String {
        let namespace = key.namespace.as_ref().map(protocol::Namespace::as_str);
        format!("{}/{}", self.collection(namespace), segment(key.name.as_str()))
    }
}

/// Writes a text as one segment of a URL's path.
pub(crate) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                segment.push(byte.into())
            }
            other => segment.push_str(&format!("%{other:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use protocol::{Namespace, ObjectName};

    use super::*;

    #[test]
    fn paths_are_those_of_the_kubernetes_api() {
        let cases = [
            ("pod", Some("ns"), "/api/v1/namespaces/ns/pods/x"),
            ("node", None, "/api/v1/nodes/x"),
            (
                "lease",
                Some("kube-node-lease"),
                "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/x",
            ),
            ("volumeattachment", Some("default"), "/apis/storage.k8s.io/v1/volumeattachments/x"),
            ("persistentvolume", None, "/api/v1/persistentvolumes/x"),
        ];
        for (resource, namespace, expected) in cases {
            let key = ObjectKey {
                resource: ResourceType::parse(resource).expect("a valid type"),
                namespace: namespace.map(|namespace| Namespace::parse(namespace).expect("a valid namespace")),
                name: ObjectName::parse("x").expect("a valid name"),
            };
            let kind = Kind::of(&key.resource).expect("a known type");
            assert_eq!(kind.path(&key), expected);
        }
        assert_eq!(segment("a?b=c#é:d"), "a%3Fb%3Dc%23%C3%A9:d");
        assert!(Kind::of(&ResourceType::parse("clusterrole").expect("a valid type")).is_none());
    }
}

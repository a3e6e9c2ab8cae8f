//! A record: where it is and what it says.

use api::ResourceKind;
use api::reliablesyncs::{CLUSTER_OBJECT_SYNC, OBJECT_SYNC, ObjectSyncSpec, ObjectSyncStatus, SyncName};
use kube::core::{ApiResource, DynamicObject};
use protocol::{Kept, Namespace, NodeName, ObjectKey, ObjectName, ResourceType, ResourceVersion, Uid};

/// Which of the two kinds of record: of objects in namespaces, or of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Namespaced,
    Cluster,
}

impl Scope {
    pub(crate) const ALL: [Self; 2] = [Self::Namespaced, Self::Cluster];

    pub(crate) const fn kind(self) -> &'static ResourceKind {
        match self {
            Self::Namespaced => &OBJECT_SYNC,
            Self::Cluster => &CLUSTER_OBJECT_SYNC,
        }
    }

    pub(crate) fn api_resource(self) -> ApiResource {
        let kind = self.kind();
        ApiResource {
            group: kind.group.to_owned(),
            version: kind.version.to_owned(),
            api_version: kind.api_version(),
            kind: kind.kind.to_owned(),
            plural: kind.plural.to_owned(),
        }
    }
}

/// What a record is about: one object, as one node keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) namespace: Option<Namespace>,
    pub(crate) spec: ObjectSyncSpec,
}

impl Subject {
    pub(crate) fn of(kept: &Kept) -> Self {
        let spec = ObjectSyncSpec {
            object_api_version: kept.api_version.clone(),
            object_kind: kept.kind.clone(),
            object_name: kept.key.name.to_string(),
        };
        Self { namespace: kept.key.namespace.clone(), spec }
    }

    pub(crate) const fn scope(&self) -> Scope {
        if self.namespace.is_some() { Scope::Namespaced } else { Scope::Cluster }
    }

    /// Returns the object's key; `None` if the record does not say which object it is about.
    pub(crate) fn key(&self) -> Option<ObjectKey> {
        Some(ObjectKey {
            resource: ResourceType::parse(&self.spec.object_kind.to_ascii_lowercase()).ok()?,
            namespace: self.namespace.clone(),
            name: ObjectName::parse(&self.spec.object_name).ok()?,
        })
    }

    /// Tells whether it is an object of this key. Types are kinds in lower case.
    pub(crate) fn has_key(&self, key: &ObjectKey) -> bool {
        self.namespace == key.namespace
            && self.spec.object_name == key.name.as_str()
            && self.is_of_type(key.resource.as_str())
    }

    pub(crate) fn is_of_type(&self, resource: &str) -> bool {
        self.spec.object_kind.eq_ignore_ascii_case(resource)
    }
}

/// A record as the API server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// The object's version in it. Empty when the record has no status yet.
    pub(crate) version: String,
    /// The record's own version, which orders what is heard of it.
    pub(crate) at: Option<u64>,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) node: NodeName,
    pub(crate) uid: Uid,
    pub(crate) subject: Subject,
    pub(crate) written: Written,
}

impl Found {
    /// Reads a record; `None` if its name is not one that a cloud gives.
    pub(crate) fn read(record: &DynamicObject) -> Option<Self> {
        let name = SyncName::parse(record.metadata.name.as_deref()?).ok()?;
        let namespace = record.metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let namespace = namespace.map(Namespace::parse).transpose().ok()?;
        let spec = serde_json::from_value(record.data["spec"].clone()).unwrap_or_default();
        Some(Self {
            node: NodeName::parse(name.node()).ok()?,
            uid: Uid::parse(name.uid()).ok()?,
            subject: Subject { namespace, spec },
            written: written(record),
        })
    }
}

/// Reads what a record says, and when.
pub(crate) fn written(record: &DynamicObject) -> Written {
    let status = serde_json::from_value(record.data["status"].clone());
    let ObjectSyncStatus { object_resource_version: version } = status.unwrap_or_default();
    let at = record.metadata.resource_version.as_deref();
    Written { version, at: at.and_then(|at| ResourceVersion::new(at).number()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_as_kubeedge_writes_it_is_read() {
        let record = json!({
            "apiVersion": "reliablesyncs.kubeedge.io/v1alpha1", "kind": "ObjectSync",
            "metadata": { "name": "ip-10-0-0-1.internal.52f494c1", "namespace": "default", "resourceVersion": "35348" },
            "spec": { "objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "p-tok" },
            "status": { "objectResourceVersion": "35347" },
        });
        let read = |record: &serde_json::Value| {
            Found::read(&serde_json::from_value(record.clone()).expect("an object"))
        };
        let found = read(&record).expect("a record");
        assert_eq!((found.node.as_str(), found.uid.as_str()), ("ip-10-0-0-1.internal", "52f494c1"));
        assert_eq!(found.written, Written { version: "35347".to_owned(), at: Some(35348) });
        assert_eq!(found.subject.scope(), Scope::Namespaced);
        assert!(found.subject.is_of_type("pod"));
        assert_eq!(found.subject.key().map(|key| key.to_string()), Some("pod default/p-tok".to_owned()));
        let mut other = record.clone();
        other["metadata"]["name"] = "no-dot".into();
        assert_eq!(read(&other), None);
        let mut bare = record;
        bare["spec"] = json!(null);
        bare["status"] = json!({ "objectResourceVersion": 7 });
        assert_eq!(
            read(&bare).map(|found| found.written.version),
            Some(String::new()),
            "what is odd says nothing"
        );
    }
}

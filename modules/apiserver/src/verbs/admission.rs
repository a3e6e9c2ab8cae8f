//! What the server adds to objects and checks beyond their own fields.

use serde_json::{Value, json};

use crate::registry::Resource;
use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::server::meta;
use crate::storage::Transaction;
use crate::storage::object::Key;
use crate::verbs::{pods, services};

/// The namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];
pub(crate) const ROOT_CA: &str = "kube-root-ca.crt";

/// Checks that objects may be created in a namespace.
pub(crate) fn check_namespace(
    call: &Call,
    resource: &Resource,
    transaction: &Transaction<'_>,
    namespace: &str,
    name: &str,
) -> Result<(), ApiError> {
    if let Some(custom) = &resource.custom {
        check_definition(transaction, &custom.definition)?;
    }
    if !resource.namespaced {
        return Ok(());
    }
    debug_assert!(!call.server.0.options.address.is_empty(), "the server has an address");
    let Some(found) = transaction.get("core/namespaces", &Key::new("", namespace)) else {
        return Err(ApiError::not_found("", "namespaces", namespace));
    };
    if !found.deleting {
        return Ok(());
    }
    let problem =
        format!("unable to create new content in namespace {namespace} because it is being terminated");
    let error = ApiError::forbidden(&resource.group, &resource.plural, name, problem);
    let mut status = error.status();
    status["details"]["causes"] = json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace",
        "message": format!("namespace {namespace} is being terminated")}]);
    Err(ApiError::of_status(status))
}

fn check_definition(transaction: &Transaction<'_>, definition: &str) -> Result<(), ApiError> {
    match transaction.get(crate::server::CRDS, &Key::new("", definition)) {
        Some(definition) if !definition.deleting => Ok(()),
        Some(_) => Err(ApiError::new(
            405,
            "MethodNotAllowed",
            "create not allowed while custom resource definition is terminating",
        )),
        None => Err(ApiError::new(404, "NotFound", "the server could not find the requested resource")),
    }
}

/// Completes a new object.
pub(crate) fn create(
    call: &Call,
    resource: &Resource,
    namespace: &str,
    transaction: &mut Transaction<'_>,
    value: &mut Value,
) -> Result<(), ApiError> {
    if resource.is("", "pods") {
        return pods::admit(call, namespace, transaction, value);
    }
    if resource.is("", "services") {
        return services::allocate(call, transaction, None, value);
    }
    if resource.is("", "namespaces") {
        let name = meta::text(value, "name").to_owned();
        value["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
        value["spec"]["finalizers"] = json!(["kubernetes"]);
        value["status"] = json!({"phase": "Active"});
    }
    if resource.is("certificates.k8s.io", "certificatesigningrequests") {
        let identity = &call.identity;
        value["spec"]["username"] = identity.name.clone().into();
        value["spec"]["groups"] = identity.all_groups().into();
    }
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        establish(call, value);
    }
    Ok(())
}

/// Stages what comes with a new object.
pub(crate) fn created(
    call: &Call,
    resource: &Resource,
    transaction: &mut Transaction<'_>,
    name: &str,
) -> Result<(), ApiError> {
    if resource.is("", "namespaces") {
        furnish(call, transaction, name)?;
    }
    Ok(())
}

/// Completes a changed object.
pub(crate) fn update(
    call: &Call,
    resource: &Resource,
    transaction: &mut Transaction<'_>,
    before: &Value,
    value: &mut Value,
    subresource: &str,
) -> Result<(), ApiError> {
    if resource.is("", "services") && subresource.is_empty() {
        return services::allocate(call, transaction, Some(before), value);
    }
    if resource.is("", "namespaces") && subresource != "finalize" {
        value["spec"]["finalizers"] = before["spec"]["finalizers"].clone();
    }
    if resource.is("certificates.k8s.io", "certificatesigningrequests") {
        value["spec"] = before["spec"].clone();
    }
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") && subresource.is_empty() {
        establish(call, value);
    }
    Ok(())
}

/// Refuses deletions that would break the cluster.
pub(crate) fn delete(resource: &Resource, key: &Key) -> Result<(), ApiError> {
    if resource.is("", "namespaces") && IMMORTAL.contains(&&*key.name) {
        return Err(ApiError::forbidden("", "namespaces", &key.name, "this namespace may not be deleted"));
    }
    Ok(())
}

/// Puts into a namespace what every namespace has: its service account and the CA to trust.
pub(crate) fn furnish(
    call: &Call,
    transaction: &mut Transaction<'_>,
    namespace: &str,
) -> Result<(), ApiError> {
    let metadata = |name: &str| {
        json!({"name": name, "namespace": namespace, "uid": call.server.new_uid(),
               "creationTimestamp": meta::time(call.now)})
    };
    let account = Key::new(namespace, "default");
    if transaction.get("core/serviceaccounts", &account).is_none() {
        let value = json!({"metadata": metadata("default")});
        transaction.put(&"core/serviceaccounts".into(), account, value)?;
    }
    let ca = &call.server.0.options.ca_certificate;
    let key = Key::new(namespace, ROOT_CA);
    let current = transaction.get("core/configmaps", &key);
    let holds =
        |object: &crate::storage::object::Stored| object.bare_value()["data"]["ca.crt"] == ca.as_str();
    if ca.is_empty() || current.as_deref().is_some_and(holds) {
        return Ok(());
    }
    let mut value =
        current.map_or_else(|| json!({"metadata": metadata(ROOT_CA)}), |object| object.bare_value());
    value["metadata"]["annotations"]["kubernetes.io/description"] =
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as \
         the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
         Kubernetes clusters."
            .into();
    value["data"]["ca.crt"] = ca.clone().into();
    transaction.put(&"core/configmaps".into(), key, value)?;
    Ok(())
}

/// Marks a definition as served, which it is from the moment it is stored.
fn establish(call: &Call, definition: &mut Value) {
    let now = meta::time(call.now);
    let mut names = definition["spec"]["names"].clone();
    if let Some(names) = names.as_object_mut() {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        names.entry("listKind").or_insert_with(|| format!("{kind}List").into());
        names.entry("singular").or_insert_with(|| kind.to_lowercase().into());
    }
    definition["spec"]["names"] = names.clone();
    let status = &mut definition["status"];
    let previous = status["conditions"].as_array().cloned().unwrap_or_default();
    let condition = |kind: &str, reason: &str, message: &str| {
        let known =
            previous.iter().find(|condition| condition["type"] == kind && condition["status"] == "True");
        known.cloned().unwrap_or_else(|| {
            json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now})
        })
    };
    status["conditions"] = json!([
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ]);
    status["acceptedNames"] = names;
    let mut stored: Vec<Value> = status["storedVersions"].as_array().cloned().unwrap_or_default();
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    for version in
        versions.filter(|version| version["storage"] == true).map(|version| version["name"].clone())
    {
        if !stored.contains(&version) {
            stored.push(version);
        }
    }
    definition["status"]["storedVersions"] = stored.into();
}

//! Acting as somebody else, as `kubectl --as` asks to.

use http::HeaderMap;

use crate::auth::identity::Identity;
use crate::auth::rbac::{self, Attributes};
use crate::server::error::ApiError;
use crate::storage::Storage;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const ACCOUNT: &str = "system:serviceaccount:";

/// Returns the identity that a request acts as: its sender's, or another that the sender may take.
pub(crate) fn resolve(
    storage: &Storage,
    sender: Identity,
    headers: &HeaderMap,
) -> Result<Identity, ApiError> {
    let asked = headers.keys().any(|name| name.as_str().starts_with("impersonate-"));
    if !asked {
        return Ok(sender);
    }
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let user = text(USER);
    if user.is_empty() {
        return Err(ApiError::bad_request("requested impersonation without impersonating a user"));
    }
    let groups: Vec<String> =
        headers.get_all(GROUP).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    let mut identity = Identity::new(user.clone(), groups.clone());
    identity.uid = text(UID);
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            identity.extra.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    for wanted in needed(&identity) {
        if !rbac::allows(storage, &sender, &wanted) {
            let refusal = wanted.refusal(&sender);
            return Err(ApiError::forbidden(&wanted.group, &wanted.resource, &wanted.name, refusal));
        }
    }
    if let (Some((namespace, _)), true) = (account(&user), groups.is_empty()) {
        identity.groups =
            vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    Ok(identity)
}

fn account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(ACCOUNT)?.split_once(':')
}

/// Returns what one has to be allowed to act as an identity.
fn needed(identity: &Identity) -> Vec<Attributes> {
    let attributes =
        |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| Attributes {
            verb: "impersonate".to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            path: None,
        };
    let mut needed = vec![match account(&identity.name) {
        Some((namespace, name)) => attributes("", "serviceaccounts", "", namespace, name),
        None => attributes("", "users", "", "", &identity.name),
    }];
    needed.extend(identity.groups.iter().map(|group| attributes("", "groups", "", "", group)));
    const GROUP: &str = "authentication.k8s.io";
    if !identity.uid.is_empty() {
        needed.push(attributes(GROUP, "uids", "", "", &identity.uid));
    }
    for (key, values) in &identity.extra {
        needed.extend(values.iter().map(|value| attributes(GROUP, "userextras", key, "", value)));
    }
    needed
}

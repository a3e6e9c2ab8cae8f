//! Tokens of service accounts.

use jiff::SignedDuration;
use serde_json::Value;

use crate::auth::token::{Claims, ISSUER, Kubernetes, Reference, account_user, sign};
use crate::server::call::{Call, Wanted};
use crate::server::error::ApiError;
use crate::server::meta;
use crate::server::reply::Reply;
use crate::storage::object::Key;

const SECONDS_DEFAULT: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

pub(crate) fn create(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    let mut request = call.decode()?.value;
    let storage = &call.server.0.storage;
    let account = storage.get("core/serviceaccounts", &wanted.key()).ok_or_else(|| wanted.not_found())?;
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(SECONDS_DEFAULT);
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
        let cause = if seconds < SECONDS_MIN {
            "may not specify a duration less than 10 minutes"
        } else {
            "may not specify a duration larger than 2^32 seconds"
        };
        let problem = format!("Invalid value: {seconds}: {cause}");
        let group = "authentication.k8s.io";
        return Err(ApiError::invalid(
            group,
            "TokenRequest",
            "",
            "FieldValueInvalid",
            "spec.expirationSeconds",
            &problem,
        ));
    }
    let audiences: Vec<String> = request["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let audiences = if audiences.is_empty() { vec![ISSUER.to_owned()] } else { audiences };
    let now = call.now.as_second();
    let mut claims = Claims {
        iss: ISSUER.to_owned(),
        sub: account_user(wanted.namespace(), wanted.name()),
        aud: audiences.clone(),
        iat: now,
        nbf: now,
        exp: now + seconds,
        jti: call.server.new_uid(),
        kubernetes: Kubernetes {
            namespace: wanted.namespace().to_owned(),
            serviceaccount: Reference { name: wanted.name().to_owned(), uid: account.uid.clone() },
            pod: None,
            secret: None,
        },
    };
    bind(call, wanted, &request["spec"]["boundObjectRef"], &mut claims)?;
    let token = sign(&call.server.0.options.signing_key, &claims).map_err(ApiError::internal)?;
    let expiry = call.now.checked_add(SignedDuration::from_secs(seconds)).map_err(ApiError::internal)?;
    let spec = meta::field_mut(&mut request, "spec");
    spec.insert("audiences".to_owned(), audiences.into());
    spec.insert("expirationSeconds".to_owned(), seconds.into());
    let status = meta::field_mut(&mut request, "status");
    status.insert("token".to_owned(), token.into());
    status.insert("expirationTimestamp".to_owned(), meta::time(expiry));
    let metadata = meta::metadata_mut(&mut request);
    metadata.insert("name".to_owned(), wanted.name().into());
    metadata.insert("namespace".to_owned(), wanted.namespace().into());
    metadata.insert("creationTimestamp".to_owned(), meta::time(call.now));
    Ok(Reply::json(201, &request))
}

fn bind(call: &Call, wanted: &Wanted, reference: &Value, claims: &mut Claims) -> Result<(), ApiError> {
    if !reference.is_object() {
        return Ok(());
    }
    let name = reference["name"].as_str().unwrap_or_default();
    let (space, plural) = match reference["kind"].as_str() {
        Some("Pod") => ("core/pods", "pods"),
        Some("Secret") => ("core/secrets", "secrets"),
        other => {
            let kind = other.unwrap_or_default();
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount to object of kind {kind:?}"
            )));
        }
    };
    let object = call.server.0.storage.get(space, &Key::new(wanted.namespace(), name));
    let object = object.ok_or_else(|| ApiError::not_found("", plural, name))?;
    let uid = reference["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != object.uid {
        let cause = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict("", "serviceaccounts/token", wanted.name(), cause));
    }
    let reference = Reference { name: name.to_owned(), uid: object.uid.clone() };
    match plural {
        "pods" => {
            let owner = object.bare_value()["spec"]["serviceAccountName"].clone();
            if owner != wanted.name() {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    wanted.name()
                )));
            }
            claims.kubernetes.pod = Some(reference);
        }
        _ => claims.kubernetes.secret = Some(reference),
    }
    Ok(())
}

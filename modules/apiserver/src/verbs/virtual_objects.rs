//! Resources without stored objects: reviews of access and identity, bindings, component states.

use serde_json::{Value, json};

use crate::auth::identity::Identity;
use crate::auth::rbac::{self, Attributes};
use crate::auth::token;
use crate::server::call::{Call, Wanted};
use crate::server::error::ApiError;
use crate::server::meta;
use crate::server::path::Action;
use crate::server::reply::Reply;
use crate::subresource::binding;
use crate::verbs::create::accept;

pub(crate) async fn answer(call: &Call, wanted: &Wanted, action: Action) -> Result<Reply, ApiError> {
    let resource = &wanted.resource;
    match (resource.plural.as_str(), action) {
        ("componentstatuses", Action::List) => Ok(component_statuses(call, wanted)),
        ("componentstatuses", Action::Get) => component_status(call, wanted),
        (_, Action::Create) => {
            let decoded = call.decode()?;
            let mut value = decoded.value;
            let warnings = accept(call, resource, &mut value, decoded.duplicates)?;
            if resource.plural == "bindings" {
                let pod = meta::text(&value, "name").to_owned();
                return binding::bind(call, wanted.namespace(), &pod, &value).await;
            }
            review(call, wanted, &mut value)?;
            Ok(Reply::json(201, &value).with_warnings(warnings))
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn component(name: &str) -> Value {
    json!({"metadata": {"name": name, "creationTimestamp": null},
           "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]})
}

fn component_statuses(call: &Call, wanted: &Wanted) -> Reply {
    // One process is all of them, and it answers.
    let items: Vec<_> = ["scheduler", "controller-manager", "etcd-0"].into_iter().map(component).collect();
    let list = json!({"kind": "ComponentStatusList", "apiVersion": "v1",
                      "metadata": {"resourceVersion": ""}, "items": items});
    let warning = "v1 ComponentStatus is deprecated in v1.19+".to_owned();
    let reply = match crate::verbs::negotiate::form(call) {
        Ok(crate::verbs::negotiate::Form::Table(request)) => {
            Reply::json(200, &crate::table::list(&wanted.resource, &list, &request, call.now))
        }
        _ => Reply::json(200, &list),
    };
    reply.with_warnings(vec![warning])
}

fn component_status(call: &Call, wanted: &Wanted) -> Result<Reply, ApiError> {
    if !["scheduler", "controller-manager", "etcd-0"].contains(&wanted.name()) {
        return Err(wanted.not_found());
    }
    let mut value = component(wanted.name());
    value["kind"] = "ComponentStatus".into();
    value["apiVersion"] = "v1".into();
    Ok(match crate::verbs::negotiate::form(call)? {
        crate::verbs::negotiate::Form::Table(request) => {
            Reply::json(200, &crate::table::object(&wanted.resource, &value, &request, call.now, true))
        }
        _ => Reply::json(200, &value),
    })
}

fn review(call: &Call, wanted: &Wanted, value: &mut Value) -> Result<(), ApiError> {
    match wanted.resource.plural.as_str() {
        "selfsubjectreviews" => {
            value["status"] = json!({"userInfo": user_info(&call.identity)});
        }
        "tokenreviews" => review_token(call, value),
        "selfsubjectaccessreviews" => {
            let identity = call.identity.clone();
            value["status"] = access(call, &identity, &value["spec"])?;
        }
        "subjectaccessreviews" => {
            let identity = subject(&value["spec"]);
            value["status"] = access(call, &identity, &value["spec"])?;
        }
        "localsubjectaccessreviews" => {
            if value["spec"]["resourceAttributes"]["namespace"] != wanted.namespace() {
                return Err(ApiError::bad_request(format!(
                    "spec.resourceAttributes.namespace must match namespace: {}",
                    wanted.namespace()
                )));
            }
            let identity = subject(&value["spec"]);
            value["status"] = access(call, &identity, &value["spec"])?;
        }
        "selfsubjectrulesreviews" => review_rules(call, value),
        _ => return Err(ApiError::method_not_allowed()),
    }
    if value["metadata"]["creationTimestamp"].is_null() {
        value["metadata"]["creationTimestamp"] = Value::Null;
    }
    Ok(())
}

fn user_info(identity: &Identity) -> Value {
    let mut info = json!({"username": identity.name, "groups": identity.all_groups()});
    if !identity.uid.is_empty() {
        info["uid"] = identity.uid.clone().into();
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(identity.extra);
    }
    info
}

fn review_token(call: &Call, value: &mut Value) {
    let presented = value["spec"]["token"].as_str().unwrap_or_default().to_owned();
    let wanted = texts(&value["spec"]["audiences"]);
    let wanted = if wanted.is_empty() { vec![token::ISSUER.to_owned()] } else { wanted };
    let known = call.server.authenticate_token(&presented);
    let known = known.and_then(|(identity, audiences)| {
        let common: Vec<_> = audiences.into_iter().filter(|audience| wanted.contains(audience)).collect();
        (!common.is_empty()).then_some((identity, common))
    });
    value["status"] = match known {
        Some((identity, audiences)) => {
            json!({"authenticated": true, "user": user_info(&identity), "audiences": audiences})
        }
        None => json!({"user": {}, "error": "invalid bearer token"}),
    };
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn subject(spec: &Value) -> Identity {
    Identity::new(spec["user"].as_str().unwrap_or_default(), texts(&spec["groups"]))
}

fn access(call: &Call, identity: &Identity, spec: &Value) -> Result<Value, ApiError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let wanted = match (resource.is_object(), path.is_object()) {
        (true, false) => Attributes {
            verb: text(&resource["verb"]),
            group: text(&resource["group"]),
            resource: text(&resource["resource"]),
            subresource: text(&resource["subresource"]),
            name: text(&resource["name"]),
            namespace: text(&resource["namespace"]),
            path: None,
        },
        (false, true) => {
            Attributes { verb: text(&path["verb"]), path: Some(text(&path["path"])), ..Attributes::default() }
        }
        _ => {
            return Err(ApiError::bad_request(
                "spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ));
        }
    };
    if rbac::allows(&call.server.0.storage, identity, &wanted) {
        return Ok(json!({"allowed": true, "reason": "RBAC: allowed by the stored roles and bindings"}));
    }
    Ok(json!({"allowed": false}))
}

fn review_rules(call: &Call, value: &mut Value) {
    let namespace = value["spec"]["namespace"].as_str().unwrap_or_default().to_owned();
    let rules = rbac::rules(&call.server.0.storage, &call.identity, &namespace);
    let (paths, resources): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| !rule.urls.is_empty());
    value["status"] = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
}

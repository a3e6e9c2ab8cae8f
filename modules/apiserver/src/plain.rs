//! Paths that name no object: version, health, discovery, OpenAPI.

use http::Method;
use serde_json::json;

use crate::discovery::{self, Flavor};
use crate::openapi;
use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::server::reply::{JSON, Reply};

const CHECKS: [&str; 4] = ["ping", "log", "etcd", "poststarthook/start-apiextensions-controllers"];

pub(crate) fn answer(call: &Call, segments: &[String]) -> Result<Reply, ApiError> {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let reply = match segments.as_slice() {
        [] => Some(index(call)),
        ["version"] => Some(Reply::json(200, &version())),
        [health @ ("healthz" | "livez" | "readyz"), check @ ..] => Some(health_of(call, health, check)),
        ["api"] => Some(core_versions(call)),
        ["apis"] => Some(groups(call)),
        ["api", version] => {
            discovery::resource_list(&call.registry, "", version).map(|list| Reply::json(200, &list))
        }
        ["apis", group] => discovery::group(&call.registry, group).map(|group| Reply::json(200, &group)),
        ["apis", group, version] => {
            discovery::resource_list(&call.registry, group, version).map(|list| Reply::json(200, &list))
        }
        ["openapi", "v2"] => {
            let kind = openapi::negotiate_v2(&call.accept);
            let document = call.server.0.openapi.v2(&call.registry, kind);
            Some(Reply::bytes(200, kind.content_type(), document))
        }
        ["openapi", "v3"] => Some(Reply::bytes(200, JSON, call.server.0.openapi.v3_index(&call.registry))),
        ["openapi", "v3", path @ ..] => {
            let document = call.server.0.openapi.v3_document(&call.registry, &path.join("/"));
            document.map(|document| Reply::bytes(200, JSON, document))
        }
        [".well-known", "openid-configuration"] => Some(Reply::json(
            200,
            &json!({"issuer": crate::auth::token::ISSUER, "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["HS256"]}),
        )),
        _ => None,
    };
    Ok(reply.unwrap_or_else(Reply::unknown_path))
}

fn index(call: &Call) -> Reply {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in call.registry.groups().into_iter().filter(|(group, _)| !group.is_empty()) {
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
        paths.push(format!("/apis/{group}"));
    }
    paths.extend(
        ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned),
    );
    paths.sort();
    Reply::json(200, &json!({"paths": paths}))
}

/// The version of the API that is served, and the commit-less build that serves it.
fn version() -> serde_json::Value {
    json!({"major": "1", "minor": "32", "gitVersion": concat!("v1.32.0+beehive-", env!("CARGO_PKG_VERSION")),
           "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none",
           "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, architecture())})
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn health_of(call: &Call, endpoint: &str, check: &[&str]) -> Reply {
    if !check.is_empty() {
        let known = CHECKS.contains(&check.join("/").as_str());
        return if known { Reply::text(200, "ok") } else { Reply::unknown_path() };
    }
    if call.query.get("verbose").is_none() {
        return Reply::text(200, "ok");
    }
    let lines: String = CHECKS.iter().map(|check| format!("[+]{check} ok\n")).collect();
    Reply::text(200, format!("{lines}{endpoint} check passed\n"))
}

fn core_versions(call: &Call) -> Reply {
    match Flavor::negotiate(&call.accept) {
        Some(flavor) => {
            let list = discovery::aggregated(&call.registry, true, flavor);
            Reply::bytes(200, flavor.content_type(), list.to_string())
        }
        None => Reply::json(200, &discovery::api_versions(&call.server.0.options.address)),
    }
}

fn groups(call: &Call) -> Reply {
    match Flavor::negotiate(&call.accept) {
        Some(flavor) => {
            let list = discovery::aggregated(&call.registry, false, flavor);
            Reply::bytes(200, flavor.content_type(), list.to_string())
        }
        None => Reply::json(200, &discovery::group_list(&call.registry)),
    }
}

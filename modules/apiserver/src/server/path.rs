//! What a request asks for, read off its method and path.

use http::Method;
use percent_encoding::percent_decode_str;

/// A request for objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResourcePath {
    pub group: String,
    pub version: String,
    pub namespace: Option<String>,
    pub plural: String,
    pub name: Option<String>,
    pub subresource: Option<String>,
    /// What follows the subresource, as for `proxy`.
    pub rest: Vec<String>,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Resource(ResourcePath),
    /// Everything else, such as `/version`, with its segments.
    Other(Vec<String>),
}

impl Target {
    /// Reads a path; `None` when a segment is not valid UTF-8 or tries to step out.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8().ok().map(|text| text.into_owned()))
            .collect::<Option<_>>()?;
        let valid = |segment: &String| segment != "." && segment != ".." && !segment.contains(['/', '\0']);
        let is_objects = matches!(segments.first().map(String::as_str), Some("api" | "apis"));
        if is_objects && !segments.iter().all(valid) {
            return None;
        }
        Some(resource(&segments).map_or(Self::Other(segments), Self::Resource))
    }
}

fn resource(segments: &[String]) -> Option<ResourcePath> {
    let (group, version, rest) = match segments {
        [api, version, rest @ ..] if api == "api" => ("", version, rest),
        [apis, group, version, rest @ ..] if apis == "apis" => (group.as_str(), version, rest),
        _ => return None,
    };
    let mut path =
        ResourcePath { group: group.to_owned(), version: version.clone(), ..ResourcePath::default() };
    let rest = match rest {
        // Namespaces are objects too: `namespaces/a`, `namespaces/a/status`, `namespaces/a/finalize`.
        [namespaces, _, sub] if namespaces == "namespaces" && (sub == "status" || sub == "finalize") => rest,
        [namespaces, namespace, rest @ ..] if namespaces == "namespaces" && !rest.is_empty() => {
            path.namespace = Some(namespace.clone());
            rest
        }
        rest => rest,
    };
    let mut rest = rest.iter();
    path.plural = rest.next()?.clone();
    path.name = rest.next().cloned();
    path.subresource = rest.next().cloned();
    path.rest = rest.cloned().collect();
    Some(path)
}

/// What is to be done, in the words of access rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Action {
    /// Tells what a method means for a path; `None` for a method that objects do not know.
    pub(crate) fn of(method: &Method, path: &ResourcePath, watch: bool) -> Option<Self> {
        let single = path.name.is_some();
        Some(match method.as_str() {
            "GET" | "HEAD" if watch && path.subresource.is_none() => Self::Watch,
            "GET" | "HEAD" if single => Self::Get,
            "GET" | "HEAD" => Self::List,
            "POST" => Self::Create,
            "PUT" => Self::Update,
            "PATCH" => Self::Patch,
            "DELETE" if single => Self::Delete,
            "DELETE" => Self::DeleteCollection,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(path: &str) -> String {
        match Target::parse(path) {
            None => "invalid".to_owned(),
            Some(Target::Other(segments)) => format!("other {}", segments.join("|")),
            Some(Target::Resource(p)) => format!(
                "{}/{} ns={} {} name={} sub={} rest={}",
                p.group,
                p.version,
                p.namespace.unwrap_or_default(),
                p.plural,
                p.name.unwrap_or_default(),
                p.subresource.unwrap_or_default(),
                p.rest.join("|")
            ),
        }
    }

    #[test]
    fn paths_are_read_as_a_real_server_reads_them() {
        for (path, expect) in [
            ("/api/v1/pods", "/v1 ns= pods name= sub= rest="),
            ("/api/v1/namespaces", "/v1 ns= namespaces name= sub= rest="),
            ("/api/v1/namespaces/a", "/v1 ns= namespaces name=a sub= rest="),
            ("/api/v1/namespaces/a/finalize", "/v1 ns= namespaces name=a sub=finalize rest="),
            ("/api/v1/namespaces/a/pods/b/log", "/v1 ns=a pods name=b sub=log rest="),
            ("/apis/apps/v1/namespaces/a/deployments/b", "apps/v1 ns=a deployments name=b sub= rest="),
            ("/api/v1/nodes/n/proxy/logs/x", "/v1 ns= nodes name=n sub=proxy rest=logs|x"),
            ("/apis/apps/v1", "other apis|apps|v1"),
            ("/version", "other version"),
            ("/api/v1/namespaces/a/pods/x%2fy", "invalid"),
            ("/api/v1/namespaces/../pods", "invalid"),
            ("/api/v1/pods/%ff", "invalid"),
        ] {
            assert_eq!(show(path), expect, "{path}");
        }
    }
}

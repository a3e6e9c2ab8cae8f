//! Field selectors: `metadata.name=a,spec.nodeName!=b`, on the fields that the API knows.

use serde_json::Value;

use crate::server::error::ApiError;
use crate::storage::object::{Key, Stored};

/// A conjunction of requirements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    field: String,
    value: String,
    negated: bool,
}

const METADATA: [&str; 2] = ["metadata.name", "metadata.namespace"];

/// The fields that can be selected besides name and namespace.
fn known(space: &str) -> &'static [&'static str] {
    match space {
        "core/pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        "core/events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "core/nodes" => &["spec.unschedulable"],
        "core/secrets" => &["type"],
        "core/namespaces" => &["status.phase"],
        "batch/jobs" => &["status.successful"],
        "certificates.k8s.io/certificatesigningrequests" => &["spec.signerName"],
        "apps/replicasets" | "core/replicationcontrollers" => &["status.replicas"],
        _ => &[],
    }
}

/// The names that events.k8s.io/v1 gives the fields of an event.
fn stored_name<'a>(space: &str, field: &'a str) -> std::borrow::Cow<'a, str> {
    match field.strip_prefix("regarding.") {
        Some(rest) if space == "core/events" => format!("involvedObject.{rest}").into(),
        _ if space == "core/events" && field == "reportingController" => "reportingComponent".into(),
        _ => field.into(),
    }
}

impl Selector {
    pub(crate) fn parse(text: &str, space: &str, selectable: &[String]) -> Result<Self, ApiError> {
        let mut requirements = Vec::new();
        for term in split_terms(text) {
            let (field, value, negated) = split_term(term).ok_or_else(|| {
                ApiError::bad_request(format!("invalid selector: {text:?}; can't understand {term:?}"))
            })?;
            let field = stored_name(space, field);
            let field = field.strip_prefix('.').unwrap_or(&field).to_owned();
            let is_known = METADATA.contains(&field.as_str())
                || known(space).contains(&field.as_str())
                || selectable.iter().any(|path| path.trim_start_matches('.') == field);
            if !is_known {
                return Err(unknown(&field, space, selectable));
            }
            requirements.push(Requirement { field, value: unescape(value), negated });
        }
        Ok(Self(requirements))
    }

    pub(crate) fn require_name(&mut self, name: &str) {
        self.0.push(Requirement { field: METADATA[0].to_owned(), value: name.to_owned(), negated: false });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, key: &Key, object: &Stored) -> bool {
        let by_metadata = |requirement: &Requirement| match requirement.field.as_str() {
            "metadata.name" => Some(requirement.holds(&key.name)),
            "metadata.namespace" => Some(requirement.holds(&key.namespace)),
            _ => None,
        };
        if self.0.iter().any(|requirement| by_metadata(requirement) == Some(false)) {
            return false;
        }
        let mut others = self.0.iter().filter(|requirement| by_metadata(requirement).is_none()).peekable();
        if others.peek().is_none() {
            return true;
        }
        let value = object.bare_value();
        others.all(|requirement| requirement.holds(&text_of(&value, &requirement.field)))
    }
}

impl Requirement {
    fn holds(&self, text: &str) -> bool {
        (self.value == text) != self.negated
    }
}

fn text_of(value: &Value, field: &str) -> String {
    let at = |path: &str| path.split('.').try_fold(value, |value, step| value.get(step));
    match field {
        "source" => return plain(at("source.component").or_else(|| at("reportingComponent"))),
        "status.podIPs" => {
            let ips = at("status.podIPs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let ips: Vec<_> = ips.iter().filter_map(|ip| ip.get("ip")?.as_str()).collect();
            return ips.join(",");
        }
        "status.successful" => {
            return at("status.succeeded").map_or_else(|| "0".to_owned(), |v| plain(Some(v)));
        }
        "status.replicas" => return at(field).map_or_else(|| "0".to_owned(), |v| plain(Some(v))),
        "spec.unschedulable" | "spec.hostNetwork" if at(field).is_none() => return "false".to_owned(),
        "spec.schedulerName" if at(field).is_none() => return "default-scheduler".to_owned(),
        _ => {}
    }
    plain(at(field))
}

fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn unknown(field: &str, space: &str, selectable: &[String]) -> ApiError {
    if space.starts_with("core/") && !known(space).is_empty() {
        return ApiError::bad_request(format!("field label not supported: {field}"));
    }
    let known: Vec<_> = METADATA.iter().map(|name| format!("{name:?}")).collect();
    let custom = selectable.iter().map(|path| format!(", {:?}", path.trim_start_matches('.')));
    ApiError::bad_request(format!(
        "{field:?} is not a known field selector: only {}{}",
        known.join(", "),
        custom.collect::<String>()
    ))
}

/// Splits at commas that are not escaped.
fn split_terms(text: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |c| {
        let splits = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        splits
    })
    .filter(|term| !term.is_empty())
}

fn split_term(term: &str) -> Option<(&str, &str, bool)> {
    let at = term.find(['=', '!'])?;
    let (field, rest) = term.split_at(at);
    let (value, negated) = match rest.strip_prefix("!=") {
        Some(value) => (value, true),
        None => (rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?, false),
    };
    Some((field.trim(), value, negated))
}

fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(space: &str, selector: &str, value: Value) -> Result<bool, String> {
        let object = Stored::new(value, 1).expect("it is an object");
        Selector::parse(selector, space, &[".spec.color".to_owned()])
            .map(|selector| selector.matches(&Key::new("ns", "a"), &object))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn fields_select() {
        let pod = || json!({"metadata": {}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
        for (selector, expect) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==b", false),
            ("metadata.namespace=ns,metadata.name=a", true),
            ("spec.nodeName=n1", true),
            ("spec.nodeName!=n1", false),
            ("spec.nodeName=", false),
            ("status.phase!=Failed,status.phase!=Succeeded", true),
            ("spec.hostNetwork=false", true),
        ] {
            assert_eq!(matches("core/pods", selector, pod()), Ok(expect), "{selector}");
        }
        assert_eq!(
            matches("example.com/things", "spec.color=red", json!({"spec": {"color": "red"}})),
            Ok(true)
        );
        let event = json!({"source": {"component": "kubelet"}, "involvedObject": {"name": "x,y"}});
        assert_eq!(
            matches("core/events", "source=kubelet,involvedObject.name=x\\,y", event.clone()),
            Ok(true)
        );
        assert_eq!(matches("core/events", "regarding.name=x\\,y", event), Ok(true));
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let refused = matches("/configmaps", "data.a=b", json!({})).expect_err("no field selector knows it");
        let expect =
            "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
        assert!(refused.starts_with(expect), "{refused}");
        assert!(matches("core/pods", "spec.nodeName", json!({})).is_err());
    }
}

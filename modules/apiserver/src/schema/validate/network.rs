//! Services, endpoint slices and ingresses.

use serde_json::{Value, json};

use super::names;
use super::pods::port_number;
use super::{Check, items, text};
use crate::schema::error::FieldError;

pub(super) fn service(check: &mut Check<'_>) {
    check.one_of("/spec/type", &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    check.one_of("/spec/sessionAffinity", &["ClientIP", "None"]);
    let kind = check.text("/spec/type");
    let headless = check.text("/spec/clusterIP") == "None";
    let spec = check.at("/spec").unwrap_or(&Value::Null);
    let ports = items(spec, "ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        check.push(FieldError::required("spec.ports", ""));
    }
    if kind == "ExternalName" {
        let name = check.text("/spec/externalName");
        if name.is_empty() {
            check.push(FieldError::required("spec.externalName", ""));
        } else {
            for problem in names::subdomain(name.trim_end_matches('.')) {
                check.push(FieldError::invalid("spec.externalName", &Value::from(name), &problem));
            }
        }
    }
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        let detail = format!("may not be set to 'None' for {kind} services");
        check.push(FieldError::invalid("spec.clusterIPs[0]", &json!("None"), &detail));
    }
    service_ports(check, ports);
    super::metadata::labels(check, "/spec/selector", "spec.selector");
    let (was, is) = (check.was("/spec/clusterIP"), check.at("/spec/clusterIP"));
    let was_external = check.was("/spec/type").and_then(Value::as_str) == Some("ExternalName");
    if let Some(was) = was.filter(|was| *was != "" && !was_external && kind != "ExternalName")
        && is != Some(was)
    {
        let shown = FieldError::invalid("spec.clusterIPs[0]", &Value::Null, "");
        let message = format!(
            "Invalid value: []string{{{}}}: may not change once set",
            is.map_or_else(|| "\"\"".to_owned(), Value::to_string)
        );
        check.push(FieldError { message, ..shown });
    }
}

fn service_ports(check: &mut Check<'_>, ports: &[Value]) {
    let mut seen_names: Vec<&str> = Vec::new();
    let mut seen_ports: Vec<(Option<&Value>, &str)> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = |name: &str| format!("spec.ports[{index}].{name}");
        let name = text(port, "name");
        if name.is_empty() {
            if ports.len() > 1 {
                check.push(FieldError::required(at("name"), ""));
            }
        } else {
            for problem in names::label(name) {
                check.push(FieldError::invalid(at("name"), &Value::from(name), &problem));
            }
            if seen_names.contains(&name) {
                check.push(FieldError::duplicate(at("name"), &Value::from(name)));
            }
            seen_names.push(name);
        }
        port_number(check, port.get("port").unwrap_or(&Value::from(0)), &at("port"));
        match port.get("targetPort") {
            Some(Value::String(name)) => {
                for problem in names::port_name(name) {
                    check.push(FieldError::invalid(at("targetPort"), &Value::from(name.clone()), &problem));
                }
            }
            Some(number) => port_number(check, number, &at("targetPort")),
            None => {}
        }
        let protocol = text(port, "protocol");
        if !matches!(protocol, "SCTP" | "TCP" | "UDP") {
            let known = ["SCTP", "TCP", "UDP"];
            check.push(FieldError::not_supported(at("protocol"), &Value::from(protocol), &known));
        }
        let key = (port.get("port"), protocol);
        if seen_ports.contains(&key) {
            let shown = json!({"port": port.get("port"), "protocol": protocol});
            check.push(FieldError::duplicate(format!("spec.ports[{index}]"), &shown));
        }
        seen_ports.push(key);
    }
}

pub(super) fn endpoint_slice(check: &mut Check<'_>) {
    check.one_of("/addressType", &["FQDN", "IPv4", "IPv6"]);
    check.immutable("/addressType");
    let object = check.new;
    for (index, endpoint) in items(object, "endpoints").iter().enumerate() {
        if items(endpoint, "addresses").is_empty() {
            let detail = "must contain at least 1 address";
            check.push(FieldError::required(format!("endpoints[{index}].addresses"), detail));
        }
    }
}

pub(super) fn ingress(check: &mut Check<'_>) {
    let spec = check.at("/spec").unwrap_or(&Value::Null);
    let rules = items(spec, "rules");
    if rules.is_empty() && spec.get("defaultBackend").is_none_or(Value::is_null) {
        let detail = "either `defaultBackend` or `rules` must be specified";
        check.push(FieldError::invalid("spec", &json!({}), detail));
    }
    for (index, rule) in rules.iter().enumerate() {
        let Some(http) = rule.get("http") else { continue };
        for (number, path) in items(http, "paths").iter().enumerate() {
            let at = |name: &str| format!("spec.rules[{index}].http.paths[{number}].{name}");
            match path.get("pathType").and_then(Value::as_str) {
                None => check.push(FieldError::required(at("pathType"), "pathType must be specified")),
                Some("Exact" | "Prefix" | "ImplementationSpecific") => {}
                Some(other) => {
                    let known = ["Exact", "ImplementationSpecific", "Prefix"];
                    check.push(FieldError::not_supported(at("pathType"), &Value::from(other), &known));
                }
            }
            let backend = path.get("backend").unwrap_or(&Value::Null);
            if let Some(service) = backend.get("service") {
                if text(service, "name").is_empty() {
                    check.push(FieldError::required(at("backend.service.name"), ""));
                }
                if service.get("port").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty) {
                    check.push(FieldError::required(
                        at("backend.service.port"),
                        "port name or number is required",
                    ));
                }
            } else if backend.get("resource").is_none() {
                check.push(FieldError::required(at("backend"), "must provide a service or a resource"));
            }
        }
    }
}

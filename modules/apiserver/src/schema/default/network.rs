//! Services, endpoints and policies.

use serde_json::{Value, json};

use crate::schema::edit::{Object, each, fill, fill_text, part, text};

pub(super) fn service(object: &mut Object) {
    let spec = part(object, "spec");
    fill_text(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "ClientIP" => fill(part(part(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10_800),
        _ => drop(spec.remove("sessionAffinityConfig")),
    }
    fill_text(spec, "type", "ClusterIP");
    each(spec, "ports", |port| {
        fill_text(port, "protocol", "TCP");
        let missing = match port.get("targetPort") {
            None | Some(Value::Null) => true,
            Some(target) => target == &json!(0) || target == &json!(""),
        };
        if missing && let Some(number) = port.get("port").cloned() {
            port.insert("targetPort".to_owned(), number);
        }
    });
    let kind = text(spec, "type").to_owned();
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        fill_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        fill_text(spec, "internalTrafficPolicy", "Cluster");
        addresses(spec);
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
}

/// Keeps the one address and the list of addresses in step.
fn addresses(spec: &mut Object) {
    let first = spec.get("clusterIPs").and_then(|all| all.get(0)).and_then(Value::as_str).map(str::to_owned);
    match (text(spec, "clusterIP").to_owned(), first) {
        (one, None) if !one.is_empty() => {
            spec.insert("clusterIPs".to_owned(), json!([one]));
        }
        (one, Some(first)) if one.is_empty() => {
            spec.insert("clusterIP".to_owned(), Value::from(first));
        }
        _ => {}
    }
    let family = match text(spec, "clusterIP") {
        "" => return,
        address if address.contains(':') => "IPv6",
        _ => "IPv4",
    };
    fill(spec, "ipFamilies", json!([family]));
    fill_text(spec, "ipFamilyPolicy", "SingleStack");
}

pub(super) fn endpoints(object: &mut Object) {
    each(object, "subsets", |subset| {
        each(subset, "ports", |port| fill_text(port, "protocol", "TCP"));
    });
}

pub(super) fn endpoint_slice(object: &mut Object) {
    each(object, "ports", |port| {
        fill(port, "name", "");
        fill_text(port, "protocol", "TCP");
    });
}

pub(super) fn policy(object: &mut Object) {
    let spec = part(object, "spec");
    for direction in ["ingress", "egress"] {
        each(spec, direction, |rule| {
            each(rule, "ports", |port| fill_text(port, "protocol", "TCP"));
        });
    }
    let mut types = vec!["Ingress"];
    if spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty()) {
        types.push("Egress");
    }
    fill(spec, "policyTypes", types);
}

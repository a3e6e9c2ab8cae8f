//! Services, endpoints, ingresses and policies.

use serde_json::Value;

use super::{NONE, Row, UNSET, joined, labels, selector, text};

const SHOWN_MAX: usize = 3;

pub(super) fn service(row: &Row<'_>) -> Vec<Value> {
    let cluster_ip = row
        .items("/spec/clusterIPs")
        .first()
        .and_then(Value::as_str)
        .unwrap_or_else(|| row.text("/spec/clusterIP"));
    vec![
        row.name(),
        row.value("/spec/type", ""),
        Value::from(if cluster_ip.is_empty() { NONE } else { cluster_ip }),
        Value::from(external_ip(row)),
        Value::from(service_ports(row)),
        row.age(),
        Value::from(labels(row.at("/spec/selector"))),
    ]
}

fn strings(items: &[Value]) -> Vec<String> {
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn external_ip(row: &Row<'_>) -> String {
    let own = strings(row.items("/spec/externalIPs"));
    match row.text("/spec/type") {
        "LoadBalancer" => {
            let mut all = addresses(row);
            all.extend(own);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => row.text("/spec/externalName").to_owned(),
        _ if own.is_empty() => NONE.to_owned(),
        _ => own.join(","),
    }
}

fn addresses(row: &Row<'_>) -> Vec<String> {
    row.items("/status/loadBalancer/ingress")
        .iter()
        .map(|ingress| match text(ingress, "ip") {
            "" => text(ingress, "hostname"),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
        .collect()
}

fn service_ports(row: &Row<'_>) -> String {
    let ports: Vec<String> = row
        .items("/spec/ports")
        .iter()
        .map(|port| {
            let number = |key: &str| port.get(key).and_then(Value::as_i64).unwrap_or(0);
            let protocol = text(port, "protocol");
            match number("nodePort") {
                0 => format!("{}/{protocol}", number("port")),
                node_port => format!("{}:{node_port}/{protocol}", number("port")),
            }
        })
        .collect();
    if ports.is_empty() { NONE.to_owned() } else { ports.join(",") }
}

fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

pub(super) fn endpoints(row: &Row<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in row.items("/subsets") {
        let part = |key: &str| subset.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let ports = part("ports");
        for address in part("addresses") {
            let ip = text(address, "ip");
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            for port in ports {
                all.push(format!("{ip}:{}", port.get("port").and_then(Value::as_i64).unwrap_or(0)));
            }
        }
    }
    row.with_age(vec![Value::from(or_none(joined(&all, SHOWN_MAX, " + ")))])
}

pub(super) fn endpoint_slice(row: &Row<'_>) -> Vec<Value> {
    let ports: Vec<String> = row
        .items("/ports")
        .iter()
        .map(|port| {
            port.get("port").and_then(Value::as_i64).map_or_else(|| "*".to_owned(), |port| port.to_string())
        })
        .collect();
    let endpoints: Vec<String> = row
        .items("/endpoints")
        .iter()
        .filter_map(|endpoint| endpoint.get("addresses")?.as_array())
        .flat_map(|addresses| strings(addresses))
        .collect();
    let shown = |texts: &[String]| {
        Value::from(if texts.is_empty() { UNSET.to_owned() } else { joined(texts, SHOWN_MAX, " + ") })
    };
    row.with_age(vec![row.value("/addressType", ""), shown(&ports), shown(&endpoints)])
}

pub(super) fn ingress_class(row: &Row<'_>) -> Vec<Value> {
    let parameters = match row.at("/spec/parameters") {
        Some(parameters) => {
            let kind = text(parameters, "kind");
            let kind = match text(parameters, "apiGroup") {
                "" => kind.to_owned(),
                group => format!("{kind}.{group}"),
            };
            format!("{kind}/{}", text(parameters, "name"))
        }
        None => NONE.to_owned(),
    };
    row.with_age(vec![row.value("/spec/controller", ""), Value::from(parameters)])
}

pub(super) fn ingress(row: &Row<'_>) -> Vec<Value> {
    let hosts: Vec<String> = row
        .items("/spec/rules")
        .iter()
        .map(|rule| text(rule, "host"))
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { joined(&hosts, SHOWN_MAX, " + ") };
    let ports = if row.items("/spec/tls").is_empty() { "80" } else { "80, 443" };
    row.with_age(vec![
        row.value("/spec/ingressClassName", NONE),
        Value::from(hosts),
        Value::from(addresses(row).join(",")),
        Value::from(ports),
    ])
}

pub(super) fn policy(row: &Row<'_>) -> Vec<Value> {
    row.with_age(vec![Value::from(selector(row.at("/spec/podSelector")))])
}

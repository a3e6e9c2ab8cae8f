//! Addresses and node ports of services.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::server::call::Call;
use crate::server::error::ApiError;
use crate::server::meta;
use crate::storage::Transaction;

const NODE_PORTS: std::ops::Range<u32> = 30_000..32_768;

/// Gives a service what it lacks of a cluster IP and node ports, and keeps what it has.
pub(crate) fn allocate(
    call: &Call,
    transaction: &Transaction<'_>,
    before: Option<&Value>,
    service: &mut Value,
) -> Result<(), ApiError> {
    if !service["spec"].is_object() {
        return Ok(());
    }
    let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    let name = meta::text(service, "name").to_owned();
    let others = || {
        let uid = meta::text(service, "uid").to_owned();
        let services = transaction.list("core/services", None);
        services
            .into_iter()
            .map(|(_, other)| other)
            .filter(move |other| other.uid != uid)
            .map(|other| other.bare_value())
    };
    if kind == "ExternalName" {
        let spec = service["spec"].as_object_mut().expect("it was checked above");
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
        return Ok(());
    }
    let taken_addresses: BTreeSet<String> =
        others().filter_map(|other| other["spec"]["clusterIP"].as_str().map(str::to_owned)).collect();
    let taken_ports: BTreeSet<u32> = others().flat_map(|other| node_ports(&other)).collect();
    if let Some(before) = before {
        inherit(before, service);
    }
    let address = address(call, &name, &service["spec"], &taken_addresses)?;
    let spec = &mut service["spec"];
    spec["clusterIPs"] = json!([address]);
    spec["clusterIP"] = address.into();
    if spec["ipFamilies"].is_null() {
        spec["ipFamilies"] = json!(["IPv4"]);
    }
    if spec["ipFamilyPolicy"].is_null() {
        spec["ipFamilyPolicy"] = "SingleStack".into();
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        give_node_ports(call, &name, spec, taken_ports)?;
    }
    Ok(())
}

/// A client that does not mention the addresses does not mean to drop them.
fn inherit(before: &Value, service: &mut Value) {
    let missing = |value: &Value| value.as_str().is_none_or(str::is_empty);
    if missing(&service["spec"]["clusterIP"]) && !missing(&before["spec"]["clusterIP"]) {
        for field in ["clusterIP", "ipFamilies", "ipFamilyPolicy"] {
            if service["spec"][field].is_null() || field == "clusterIP" {
                service["spec"][field] = before["spec"][field].clone();
            }
        }
    }
    let known = before["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for port in service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        let node_port = known.iter().find(same).map(|other| other["nodePort"].clone());
        if let (true, Some(node_port @ Value::Number(_))) =
            (port["nodePort"].as_u64().unwrap_or(0) == 0, node_port)
        {
            port["nodePort"] = node_port;
        }
    }
}

fn address(call: &Call, name: &str, spec: &Value, taken: &BTreeSet<String>) -> Result<String, ApiError> {
    let range = call.server.0.options.service_range;
    let invalid = |value: &str, problem: &str| {
        let problem = format!("Invalid value: {value:?}: {problem}");
        ApiError::invalid("", "Service", name, "FieldValueInvalid", "spec.clusterIPs", &problem)
    };
    let listed = spec["clusterIPs"].as_array().and_then(|list| list.first()).and_then(Value::as_str);
    match spec["clusterIP"].as_str().filter(|address| !address.is_empty()).or(listed) {
        Some("None") => Ok("None".to_owned()),
        Some(given) => match given.parse::<Ipv4Addr>() {
            _ if taken.contains(given) => {
                Err(invalid(given, "failed to allocate IP: provided IP is already allocated"))
            }
            Ok(parsed) if range.holds(parsed) => Ok(given.to_owned()),
            Ok(_) => Err(invalid(given, "failed to allocate IP: the provided IP is not in the valid range")),
            Err(_) => Err(invalid(given, "must be a valid IPv4 address")),
        },
        None => {
            let usable = range.size() - 2;
            let start = call.server.random_below(usable);
            // The first address is that of the service `kubernetes`; the last one is a broadcast.
            let free = (0..usable).map(|step| range.at(1 + (start + step) % usable).to_string());
            free.into_iter()
                .find(|address| !taken.contains(address) && *address != range.at(1).to_string())
                .ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))
        }
    }
}

fn node_ports(service: &Value) -> Vec<u32> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports.filter_map(|port| u32::try_from(port["nodePort"].as_u64()?).ok()).collect()
}

fn give_node_ports(
    call: &Call,
    name: &str,
    spec: &mut Value,
    mut taken: BTreeSet<u32>,
) -> Result<(), ApiError> {
    for (index, port) in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().enumerate()
    {
        let given =
            port["nodePort"].as_u64().and_then(|port| u32::try_from(port).ok()).filter(|port| *port != 0);
        let chosen = match given {
            Some(given) if NODE_PORTS.contains(&given) && !taken.contains(&given) => given,
            Some(given) => {
                let cause = if taken.contains(&given) {
                    "provided port is already allocated"
                } else {
                    "provided port is not in the valid range. The range of valid ports is 30000-32767"
                };
                let field = format!("spec.ports[{index}].nodePort");
                let problem = format!("Invalid value: {given}: {cause}");
                return Err(ApiError::invalid("", "Service", name, "FieldValueInvalid", &field, &problem));
            }
            None => {
                let count = NODE_PORTS.end - NODE_PORTS.start;
                let start = call.server.random_below(count);
                (0..count)
                    .map(|step| NODE_PORTS.start + (start + step) % count)
                    .find(|port| !taken.contains(port))
                    .ok_or_else(|| ApiError::internal("failed to allocate a nodePort: range is full"))?
            }
        };
        taken.insert(chosen);
        port["nodePort"] = chosen.into();
    }
    Ok(())
}

//! The downward API: fields of a pod and resources of its containers as text.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::pod::{Pod, ResourceFieldSelector};
use crate::quantity::parse_milli;

/// What a pod's fields depend on beside the pod itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The node's name.
    pub node_name: String,
    /// The node's addresses.
    pub host_ips: Vec<IpAddr>,
    /// The pod's addresses, once it has any.
    pub pod_ips: Vec<IpAddr>,
    /// The node's allocatable CPU in thousandths: the limit of containers without one.
    pub cpu_millis: u64,
    /// The node's allocatable memory: the limit of containers without one.
    pub memory_bytes: u64,
    /// The node's allocatable storage: the limit of containers without one.
    pub storage_bytes: u64,
}

/// Returns a field of the pod as text.
///
/// # Errors
///
/// When there is no such field; the text is kubelet's.
pub fn field(pod: &Pod, around: &Surroundings, path: &str) -> Result<String, String> {
    if let Some((map, key)) = subscript(path) {
        return match map {
            "metadata.annotations" => Ok(pod.annotations.get(key).cloned().unwrap_or_default()),
            "metadata.labels" => Ok(pod.labels.get(key).cloned().unwrap_or_default()),
            _ => Err(format!("unsupported fieldPath: {path}")),
        };
    }
    match path {
        "metadata.name" => Ok(pod.name.to_string()),
        "metadata.namespace" => Ok(pod.namespace.to_string()),
        "metadata.uid" => Ok(pod.uid.clone()),
        "metadata.labels" => Ok(lines(&pod.labels)),
        "metadata.annotations" => Ok(lines(&pod.annotations)),
        "spec.nodeName" => Ok(around.node_name.clone()),
        "spec.serviceAccountName" => Ok(pod.spec.service_account_name.clone()),
        "status.hostIP" => Ok(first(&around.host_ips)),
        "status.hostIPs" => Ok(joined(&around.host_ips)),
        "status.podIP" => Ok(first(pod_ips(pod, around))),
        "status.podIPs" => Ok(joined(pod_ips(pod, around))),
        _ => Err(format!("unsupported fieldPath: {path}")),
    }
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

fn pod_ips<'a>(pod: &Pod, around: &'a Surroundings) -> &'a [IpAddr] {
    if pod.spec.host_network { &around.host_ips } else { &around.pod_ips }
}

fn first(ips: &[IpAddr]) -> String {
    ips.first().map(ToString::to_string).unwrap_or_default()
}

fn joined(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn lines(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join("\n")
}

/// Returns a resource of a container as text, divided and rounded up.
///
/// # Errors
///
/// When there is no such container, resource or divisor.
pub fn resource(
    pod: &Pod,
    around: &Surroundings,
    own_container: &str,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let name =
        if selector.container_name.is_empty() { own_container } else { selector.container_name.as_str() };
    let container = pod.container(name).ok_or_else(|| format!("container {name} not found"))?;
    let unsupported = || format!("unsupported container resource: {}", selector.resource);
    let (list, resource) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let node = match resource {
        "cpu" => i128::from(around.cpu_millis),
        "memory" => i128::from(around.memory_bytes) * 1000,
        "ephemeral-storage" => i128::from(around.storage_bytes) * 1000,
        _ => 0,
    };
    let (given, fallback) = match list {
        "limits" => (container.resources.limits.get(resource), node),
        "requests" => (container.resources.requests.get(resource), 0),
        _ => return Err(unsupported()),
    };
    let value = match given {
        Some(text) => parse_milli(text).ok_or_else(|| format!("{text:?} is no quantity"))?,
        None => fallback,
    };
    let divisor = match selector.divisor.as_deref() {
        None | Some("" | "0") => 1000,
        Some(text) => {
            parse_milli(text).filter(|d| *d > 0).ok_or_else(|| format!("{text:?} is no divisor"))?
        }
    };
    Ok((value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) != 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::pod;

    #[test]
    fn fields_become_text_as_kubelet_writes_them() {
        let mut pod = pod("a");
        pod.labels = [("b", "2"), ("a", "x\"y")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let around = Surroundings { node_name: "edge-1".to_owned(), ..Surroundings::default() };
        let check = |path: &str, expect: &str| assert_eq!(field(&pod, &around, path).as_deref(), Ok(expect));
        check("metadata.name", "a");
        check("metadata.labels", "a=\"x\\\"y\"\nb=\"2\"");
        check("metadata.labels['b']", "2");
        check("metadata.annotations['none']", "");
        check("spec.nodeName", "edge-1");
        assert!(field(&pod, &around, "spec.containers").is_err());
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let mut pod = pod("a");
        pod.spec.containers[0].resources.limits.insert("cpu".to_owned(), "1500m".to_owned());
        let around = Surroundings { memory_bytes: 1 << 30, ..Surroundings::default() };
        let check = |resource_name: &str, divisor: Option<&str>, expect: &str| {
            let selector = ResourceFieldSelector {
                container_name: String::new(),
                resource: resource_name.to_owned(),
                divisor: divisor.map(ToOwned::to_owned),
            };
            assert_eq!(resource(&pod, &around, "c", &selector).as_deref(), Ok(expect), "{resource_name}");
        };
        check("limits.cpu", None, "2");
        check("limits.cpu", Some("1m"), "1500");
        check("limits.memory", Some("1Mi"), "1024");
        check("requests.cpu", None, "0");
    }
}

//! Names and addresses of a pod: host name, `/etc/hosts`, `/etc/resolv.conf`.

use std::net::IpAddr;

use crate::pod::Pod;
use crate::ports::DnsConfig;

/// The longest host name that the kernel takes.
const HOSTNAME_BYTES_MAX: usize = 63;

/// How many name servers and how many characters of search domains the resolver reads.
const SERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

/// Returns the pod's host name and its domain; the domain is empty without a subdomain.
#[must_use]
pub fn hostname(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let name = pod.spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(pod.name.as_str());
    let name: String = name.chars().take(HOSTNAME_BYTES_MAX).collect();
    let name = name.trim_end_matches(['-', '.']).to_owned();
    let domain = match pod.spec.subdomain.as_deref() {
        None | Some("") => String::new(),
        Some(subdomain) => format!("{subdomain}.{}.svc.{cluster_domain}", pod.namespace),
    };
    (name, domain)
}

/// Writes the hosts file of a pod with a network of its own.
#[must_use]
pub fn hosts_file(pod: &Pod, ips: &[IpAddr], cluster_domain: &str) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n"
        .to_owned();
    let (name, domain) = hostname(pod, cluster_domain);
    for ip in ips {
        let line = if domain.is_empty() {
            format!("{ip}\t{name}\n")
        } else {
            format!("{ip}\t{name}.{domain}\t{name}\n")
        };
        text.push_str(&line);
    }
    text + &aliases(pod)
}

/// Writes the hosts file of a pod with the node's network.
#[must_use]
pub fn host_network_hosts_file(pod: &Pod, node_hosts: &str) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}{}", aliases(pod))
}

fn aliases(pod: &Pod) -> String {
    if pod.spec.host_aliases.is_empty() {
        return String::new();
    }
    let mut text = "\n# Entries added by HostAliases.\n".to_owned();
    for alias in &pod.spec.host_aliases {
        text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
    }
    text
}

/// What the node knows of name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeDns {
    /// The cluster's name servers.
    pub cluster_servers: Vec<String>,
    /// The cluster's domain.
    pub cluster_domain: String,
    /// The node's own resolver.
    pub node: DnsConfig,
}

/// Decides what the pod's resolver reads. `None`: the runtime gives the node's own.
#[must_use]
pub fn dns(pod: &Pod, node: &NodeDns) -> Option<DnsConfig> {
    let policy = match pod.spec.dns_policy.as_str() {
        "" | "ClusterFirst" if pod.spec.host_network => "Default",
        "" | "ClusterFirst" | "ClusterFirstWithHostNet" if node.cluster_servers.is_empty() => "Default",
        "" | "ClusterFirst" | "ClusterFirstWithHostNet" => "Cluster",
        "None" => "None",
        _ => "Default",
    };
    let mut config = match policy {
        "Cluster" => cluster_dns(pod, node),
        "None" => DnsConfig::default(),
        _ if pod.spec.dns_config.is_none() => return None,
        _ => node.node.clone(),
    };
    if let Some(more) = &pod.spec.dns_config {
        append_new(&mut config.servers, more.nameservers.iter().cloned());
        append_new(&mut config.searches, more.searches.iter().cloned());
        for option in &more.options {
            let name = option.name.as_str();
            config.options.retain(|held| held.split(':').next() != Some(name));
            let text =
                if option.value.is_empty() { name.to_owned() } else { format!("{name}:{}", option.value) };
            config.options.push(text);
        }
    }
    config.servers.truncate(SERVERS_MAX);
    config.searches.truncate(SEARCHES_MAX);
    Some(config)
}

fn cluster_dns(pod: &Pod, node: &NodeDns) -> DnsConfig {
    let domain = &node.cluster_domain;
    let mut searches = Vec::new();
    if !domain.is_empty() {
        searches = vec![format!("{}.svc.{domain}", pod.namespace), format!("svc.{domain}"), domain.clone()];
    }
    append_new(&mut searches, node.node.searches.iter().cloned());
    DnsConfig { servers: node.cluster_servers.clone(), searches, options: vec!["ndots:5".to_owned()] }
}

fn append_new(list: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for text in more {
        if !list.contains(&text) {
            list.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::pod_with;

    fn with(mut extra: Value) -> Pod {
        extra["containers"] = json!([{ "name": "c" }]);
        pod_with(extra)
    }

    fn node() -> NodeDns {
        NodeDns {
            cluster_servers: vec!["169.254.96.16".to_owned()],
            cluster_domain: "cluster.local".to_owned(),
            node: DnsConfig {
                servers: vec!["10.0.0.1".to_owned()],
                searches: vec!["lan".to_owned()],
                options: vec![],
            },
        }
    }

    #[test]
    fn a_pod_is_named_in_its_hosts_file() {
        let pod = with(json!({"hostname": "web-0", "subdomain": "web",
            "hostAliases": [{"ip": "10.1.1.1", "hostnames": ["a", "b"]}]}));
        let text = hosts_file(&pod, &["10.244.0.5".parse().expect("an address")], "cluster.local");
        assert!(text.contains("10.244.0.5\tweb-0.web.default.svc.cluster.local\tweb-0\n"), "{text}");
        assert!(text.ends_with("# Entries added by HostAliases.\n10.1.1.1\ta\tb\n"), "{text}");
    }

    #[test]
    fn dns_follows_the_policy() {
        let cluster = dns(&with(json!({"dnsPolicy": "ClusterFirst"})), &node()).expect("a configuration");
        assert_eq!(cluster.servers, ["169.254.96.16"]);
        assert_eq!(
            cluster.searches,
            ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan"]
        );
        assert_eq!(cluster.options, ["ndots:5"]);
        assert_eq!(dns(&with(json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true})), &node()), None);
        assert_eq!(dns(&with(json!({"dnsPolicy": "Default"})), &node()), None);
        let without = NodeDns { cluster_servers: vec![], ..node() };
        assert_eq!(dns(&with(json!({})), &without), None);
        let own = dns(
            &with(json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}})),
            &node(),
        )
        .expect("a configuration");
        assert_eq!(
            (own.servers, own.options),
            (vec!["1.1.1.1".to_owned()], vec!["ndots:2".to_owned(), "edns0".to_owned()])
        );
    }

    #[test]
    fn a_long_name_is_cut_to_what_the_kernel_takes() {
        let mut pod = with(json!({}));
        pod.name = protocol::ObjectName::parse(&format!("{}-tail", "x".repeat(62))).expect("a name");
        assert_eq!(hostname(&pod, "cluster.local").0, "x".repeat(62));
    }
}

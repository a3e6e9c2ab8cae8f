//! Whether names are resolved: the cloud's by this machine, and others by pods.

use std::net::IpAddr;
use std::path::Path;

use crate::finding::Finding;
use crate::world::World;

const CHECK: &str = "dns";

/// Resolves the cloud's host, where it is a name.
pub(crate) async fn host(world: &dyn World, host: &str) -> Finding {
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Finding::ok(CHECK, format!("the cloud's host is the address {host}"));
    }
    let todo = "add a name server to /etc/resolv.conf or the host to /etc/hosts, or use the cloud's address";
    match world.resolve(host).await {
        Ok(found) if found.is_empty() => Finding::failed(CHECK, format!("{host} has no address"), todo),
        Ok(found) => {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            Finding::ok(CHECK, format!("{host} is {}", found.join(", ")))
        }
        Err(error) => Finding::failed(CHECK, format!("{host} is not resolved: {error}"), todo),
    }
}

/// Reads the resolver configuration that pods inherit.
pub(crate) fn inherited(world: &dyn World, resolv_conf: &Path, cluster_dns: &[String]) -> Finding {
    const POD_DNS: &str = "pod dns";
    let at = resolv_conf.display();
    let todo = "name a file with a name server that pods can reach in \
                modules.edged.tailoredKubeletConfig.resolvConf";
    let text = match world.read(resolv_conf) {
        Ok(text) => text,
        Err(error) => return Finding::failed(POD_DNS, format!("{at}: {error}"), todo),
    };
    let servers: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).map(str::trim).collect();
    let loopback = |server: &&str| server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if servers.is_empty() {
        return Finding::warning(POD_DNS, format!("{at} names no server"), todo);
    }
    if servers.iter().all(loopback) {
        let seen = format!("{at} names {} only, which no pod reaches", servers.join(", "));
        let todo = "set modules.edged.tailoredKubeletConfig.resolvConf to /run/systemd/resolve/resolv.conf";
        return Finding::warning(POD_DNS, seen, todo);
    }
    let cluster = match cluster_dns {
        [] => "; clusterDNS is empty, so that pods with dnsPolicy ClusterFirst use them too".to_owned(),
        servers => format!("; clusterDNS is {}", servers.join(", ")),
    };
    Finding::ok(POD_DNS, format!("{at} names {}{cluster}", servers.join(", ")))
}

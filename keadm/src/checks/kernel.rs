//! Whether the kernel has what containers and their networks need.

use std::path::Path;

use crate::finding::Finding;
use crate::world::World;

const CHECK: &str = "kernel";

/// Reads the kernel's features.
pub(crate) fn look(world: &dyn World) -> Finding {
    let read = |path: &str| world.read(Path::new(path));
    let version = read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()).unwrap_or_default();
    let namespaces = ["mnt", "pid", "net", "ipc", "uts"];
    let missing: Vec<&str> = namespaces
        .into_iter()
        .filter(|name| !world.exists(Path::new(&format!("/proc/self/ns/{name}"))))
        .collect();
    if !missing.is_empty() {
        return Finding::failed(
            CHECK,
            format!("{version} has no namespaces of the kinds {}", missing.join(", ")),
            "use a kernel with CONFIG_NAMESPACES and these kinds",
        );
    }
    let mut lacks: Vec<(&str, &str)> = Vec::new();
    if !read("/proc/filesystems").is_ok_and(|text| text.lines().any(|line| line.ends_with("\toverlay"))) {
        lacks.push(("no overlay file system", "modprobe overlay"));
    }
    if read("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "0") {
        lacks.push(("IPv4 is not forwarded", "sysctl -w net.ipv4.ip_forward=1"));
    }
    match read("/proc/sys/net/bridge/bridge-nf-call-iptables") {
        Ok(text) if text.trim() == "0" => {
            lacks.push(("bridges pass iptables by", "sysctl -w net.bridge.bridge-nf-call-iptables=1"));
        }
        Ok(_) => {}
        Err(_) => lacks.push(("no br_netfilter", "modprobe br_netfilter")),
    }
    if lacks.is_empty() {
        return Finding::ok(
            CHECK,
            format!("{version} with namespaces, overlay, forwarding and br_netfilter"),
        );
    }
    let (seen, todo): (Vec<&str>, Vec<&str>) = lacks.into_iter().unzip();
    Finding::warning(
        CHECK,
        format!("{version}: {}; pods with a network of their own may not reach others", seen.join(", ")),
        format!("{}; and keep it in /etc/modules-load.d and /etc/sysctl.d", todo.join("; ")),
    )
}

//! The kernel's texts.

use edged::ports::DnsConfig;

/// Counts the processors of a list such as `0-3,8`. A machine has at least one.
pub(super) fn count_cpus(online: &str) -> u64 {
    let count = |range: &str| -> Option<u64> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)?.saturating_add(1))
    };
    online.trim().split(',').filter_map(count).fold(0, u64::saturating_add).max(1)
}

/// Reads an amount of `/proc/meminfo`.
pub(super) fn memory_bytes(meminfo: &str, name: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or_default().saturating_mul(1024)
}

/// Reads how many processes and threads there are of `/proc/loadavg`.
pub(super) fn processes(loadavg: &str) -> u64 {
    let tasks = loadavg.split_whitespace().nth(3).and_then(|field| field.split_once('/'));
    tasks.and_then(|(_running, all)| all.parse().ok()).unwrap_or_default()
}

/// Reads the distribution's name of `os-release`.
pub(super) fn os_release_name(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?.trim();
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// Returns the interface of the IPv4 default route of `/proc/net/route` with the least metric.
pub(super) fn route_interface(routes: &str) -> Option<String> {
    let defaults = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
        let metric: u64 = fields.get(6)?.parse().ok()?;
        is_default.then_some((metric, (*fields.first()?).to_owned()))
    });
    defaults.min().map(|(_, interface)| interface)
}

/// Reads a `resolv.conf`. Of several `search` or `domain` lines, the last counts.
pub(super) fn resolv_conf(text: &str) -> DnsConfig {
    let mut dns = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => dns.searches = words.map(str::to_owned).collect(),
            Some("options") => dns.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    dns
}

/// Spells a processor architecture as Go does.
pub(super) fn go_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted() {
        for (online, expect) in [("0\n", 1), ("0-3", 4), ("0-1,4,6-7", 5), ("", 1), ("x-", 1), ("3-1", 1)] {
            assert_eq!(count_cpus(online), expect, "{online:?}");
        }
    }

    #[test]
    fn the_kernels_texts_are_read() {
        let meminfo = "MemTotal:       24683436 kB\nMemFree:  1 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(memory_bytes(meminfo, "MemTotal"), 24_683_436 * 1024);
        assert_eq!(memory_bytes(meminfo, "MemAvailable"), 2 << 20);
        assert_eq!(memory_bytes("", "MemTotal"), 0);
        assert_eq!(processes("0.10 0.20 0.30 2/345 6789\n"), 345);
        assert_eq!(processes("x"), 0);
        let release = "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(os_release_name(release).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    }

    #[test]
    fn the_default_route_with_the_least_metric_counts() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
            eth1\t00000000\t0100A8C0\t0003\t0\t0\t200\t00000000\t0\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\n\
            eth2\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n";
        assert_eq!(route_interface(routes).as_deref(), Some("eth0"));
        assert_eq!(route_interface("Iface\n"), None);
    }

    #[test]
    fn a_resolver_configuration_is_read() {
        let text = "# made by hand\ndomain a\nsearch b c\nnameserver 192.0.2.1\nnameserver 2001:db8::1\noptions ndots:5 edns0\n";
        let dns = resolv_conf(text);
        assert_eq!(dns.servers, ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(dns.searches, ["b", "c"]);
        assert_eq!(dns.options, ["ndots:5", "edns0"]);
    }
}

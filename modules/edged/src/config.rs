//! The section `edged`: upstream's keys that act here, and ours.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::pod::null_as_default;
use crate::quantity::{parse_milli, parse_units};

/// A taint, given to the node when it registers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// Taken from files as they are; the API server sets it.
    #[serde(deserialize_with = "null_as_default")]
    pub time_added: Option<String>,
}

/// Keys of `tailoredKubeletConfig` that act here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "they are upstream's keys")]
pub struct KubeletConfig {
    /// Whether the node registers itself.
    pub register_node: bool,
    /// Taints at registration.
    #[serde(deserialize_with = "null_as_default")]
    pub register_with_taints: Vec<Taint>,
    /// How often the node's status is computed, and its lease renewed.
    #[serde(with = "beehive::config::duration")]
    pub node_status_update_frequency: Duration,
    /// How often an unchanged status is sent.
    #[serde(with = "beehive::config::duration")]
    pub node_status_report_frequency: Duration,
    /// How long a lease lasts.
    pub node_lease_duration_seconds: u32,
    /// How many images a node's status lists at most; 0 for none, -1 for all.
    pub node_status_max_images: i64,
    /// How many pods the node takes.
    pub max_pods: u32,
    /// The cluster's name servers.
    #[serde(rename = "clusterDNS", deserialize_with = "null_as_default")]
    pub cluster_dns: Vec<String>,
    /// The cluster's domain.
    pub cluster_domain: String,
    /// The runtime's socket.
    pub container_runtime_endpoint: String,
    /// The image service's socket; the runtime's if empty.
    pub image_service_endpoint: String,
    /// The longest that a call of the runtime may take; pulls and stops are given more.
    #[serde(with = "beehive::config::duration")]
    pub runtime_request_timeout: Duration,
    /// Where containers' logs are.
    pub pod_logs_dir: PathBuf,
    /// The size from which a log is rotated.
    pub container_log_max_size: String,
    /// How many files of a log are kept.
    pub container_log_max_files: u32,
    /// How often logs are looked at.
    #[serde(with = "beehive::config::duration")]
    pub container_log_monitor_interval: Duration,
    /// Whether CPU limits are enforced.
    #[serde(rename = "cpuCFSQuota")]
    pub cpu_cfs_quota: bool,
    /// Whether images are pulled one at a time.
    pub serialize_image_pulls: bool,
    /// How many events are recorded per second.
    #[serde(rename = "eventRecordQPS")]
    pub event_record_qps: u32,
    /// How many events are recorded at once.
    pub event_burst: u32,
    /// What must be left of the machine; below it a pressure condition is set.
    #[serde(deserialize_with = "null_as_default")]
    pub eviction_hard: BTreeMap<String, String>,
    /// What the system keeps for itself.
    #[serde(deserialize_with = "null_as_default")]
    pub system_reserved: BTreeMap<String, String>,
    /// What edgecore keeps for itself.
    #[serde(deserialize_with = "null_as_default")]
    pub kube_reserved: BTreeMap<String, String>,
    /// Whether containers without a seccomp profile get the runtime's.
    pub seccomp_default: bool,
    /// The resolver configuration that pods inherit.
    pub resolv_conf: PathBuf,
    /// The port that the node says its kubelet serves on.
    pub read_only_port: u16,
    /// How often each pod is looked at without a reason.
    #[serde(with = "beehive::config::duration")]
    pub sync_frequency: Duration,
}

impl Default for KubeletConfig {
    fn default() -> Self {
        let signals =
            [("memory.available", "100Mi"), ("nodefs.available", "10%"), ("nodefs.inodesFree", "5%")];
        Self {
            register_node: true,
            register_with_taints: Vec::new(),
            node_status_update_frequency: Duration::from_secs(10),
            node_status_report_frequency: Duration::from_secs(300),
            node_lease_duration_seconds: 40,
            node_status_max_images: 0,
            max_pods: 110,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            container_runtime_endpoint: "unix:///run/containerd/containerd.sock".to_owned(),
            image_service_endpoint: String::new(),
            runtime_request_timeout: Duration::from_secs(120),
            pod_logs_dir: PathBuf::from("/var/log/pods"),
            container_log_max_size: "10Mi".to_owned(),
            container_log_max_files: 5,
            container_log_monitor_interval: Duration::from_secs(10),
            cpu_cfs_quota: true,
            serialize_image_pulls: true,
            event_record_qps: 50,
            event_burst: 100,
            eviction_hard: signals.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            system_reserved: BTreeMap::new(),
            kube_reserved: BTreeMap::new(),
            seccomp_default: false,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            read_only_port: 10350,
            sync_frequency: Duration::from_secs(60),
        }
    }
}

/// The section `edged`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EdgedConfig {
    /// The node's name; the machine's host name if empty.
    pub hostname_override: String,
    /// The node's address; the default route's if empty.
    #[serde(rename = "nodeIP")]
    pub node_ip: String,
    /// The interface whose address the node has; overrides `nodeIP`.
    pub custom_interface_name: String,
    /// Labels at registration.
    #[serde(deserialize_with = "null_as_default")]
    pub node_labels: BTreeMap<String, String>,
    /// Whether pods may be scheduled to the node once it registers.
    pub register_schedulable: bool,
    /// Whether events go to the cloud.
    pub report_event: bool,
    /// Where pods' volumes are.
    pub root_directory: PathBuf,
    /// Whether containers without a seccomp profile get the runtime's.
    pub seccomp_default: bool,
    /// Kubelet's own keys.
    #[serde(deserialize_with = "null_as_default")]
    pub tailored_kubelet_config: KubeletConfig,
    /// Which runtime runs pods: `auto`, `containerd` (any CRI v1 runtime) or `hollow`. Ours.
    pub runtime: String,
}

impl Default for EdgedConfig {
    fn default() -> Self {
        Self {
            hostname_override: String::new(),
            node_ip: String::new(),
            custom_interface_name: String::new(),
            node_labels: BTreeMap::new(),
            register_schedulable: true,
            report_event: false,
            root_directory: PathBuf::from("/var/lib/kubelet"),
            seccomp_default: false,
            tailored_kubelet_config: KubeletConfig::default(),
            runtime: "auto".to_owned(),
        }
    }
}

impl EdgedConfig {
    /// Returns every problem as a path below the section and a text.
    #[must_use]
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut say = |path: &str, message: String| problems.push((path.to_owned(), message));
        if !self.hostname_override.is_empty()
            && let Err(problem) = protocol::NodeName::parse(&self.hostname_override)
        {
            say("hostnameOverride", problem.to_string());
        }
        if !self.node_ip.is_empty() && self.node_ip.parse::<std::net::IpAddr>().is_err() {
            say("nodeIP", format!("{:?} is no address", self.node_ip));
        }
        if !["auto", "containerd", "cri", "hollow"].contains(&self.runtime.as_str()) {
            say("runtime", format!("{:?} is none of auto, containerd, hollow", self.runtime));
        }
        let kubelet = &self.tailored_kubelet_config;
        let path = |key: &str| format!("tailoredKubeletConfig.{key}");
        for (key, value) in [
            ("nodeStatusUpdateFrequency", kubelet.node_status_update_frequency),
            ("nodeStatusReportFrequency", kubelet.node_status_report_frequency),
            ("containerLogMonitorInterval", kubelet.container_log_monitor_interval),
            ("syncFrequency", kubelet.sync_frequency),
            ("runtimeRequestTimeout", kubelet.runtime_request_timeout),
        ] {
            if value.is_zero() {
                say(&path(key), "must be longer than 0s".to_owned());
            }
        }
        if kubelet.node_lease_duration_seconds == 0 {
            say(&path("nodeLeaseDurationSeconds"), "must be greater than 0".to_owned());
        }
        for server in &kubelet.cluster_dns {
            if server.parse::<std::net::IpAddr>().is_err() {
                say(&path("clusterDNS"), format!("{server:?} is no address"));
            }
        }
        if parse_units(&kubelet.container_log_max_size).is_none_or(|bytes| bytes <= 0) {
            say(&path("containerLogMaxSize"), format!("{:?} is no size", kubelet.container_log_max_size));
        }
        for taint in &kubelet.register_with_taints {
            if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&taint.effect.as_str()) {
                say(&path("registerWithTaints"), format!("{:?} is no effect of a taint", taint.effect));
            }
        }
        for (signal, value) in &kubelet.eviction_hard {
            if Threshold::parse(value).is_none() {
                say(&path("evictionHard"), format!("{signal}: {value:?} is neither a size nor a percentage"));
            }
        }
        problems
    }
}

/// How much of something must be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// So many bytes or pieces.
    Amount(u64),
    /// So many hundredths of a percent of all.
    Share(u64),
}

impl Threshold {
    /// Parses `100Mi` or `10%`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => {
                let share = parse_milli(percent)? / 10;
                u64::try_from(share).ok().filter(|share| *share <= 10_000).map(Self::Share)
            }
            None => parse_units(text).and_then(|units| u64::try_from(units).ok()).map(Self::Amount),
        }
    }

    /// Returns the amount that must be left of `total`.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Amount(amount) => amount,
            Self::Share(share) => {
                u64::try_from(u128::from(total) * u128::from(share) / 10_000).unwrap_or(u64::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<EdgedConfig, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn upstreams_keys_are_read() {
        let config = read(json!({"hostnameOverride": "edge-1", "nodeIP": "192.0.2.2", "nodeLabels": null,
            "tailoredKubeletConfig": {"clusterDNS": null, "nodeStatusUpdateFrequency": "1m30s",
                "evictionHard": {"memory.available": "5%"}, "maxPods": 5, "cpuCFSQuota": false}}))
        .expect("a section");
        assert_eq!(config.problems(), []);
        assert_eq!(config.tailored_kubelet_config.node_status_update_frequency, Duration::from_secs(90));
        assert!(read(json!({"hostnameOveride": "x"})).is_err());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let config = read(json!({"nodeIP": "x", "runtime": "docker", "hostnameOverride": "a/b",
            "tailoredKubeletConfig": {"clusterDNS": ["dns"], "syncFrequency": "0s",
                "registerWithTaints": [{"key": "a", "effect": "Never"}], "evictionHard": {"memory.available": "x"}}}))
        .expect("a section");
        let paths: Vec<String> = config.problems().into_iter().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            [
                "hostnameOverride",
                "nodeIP",
                "runtime",
                "tailoredKubeletConfig.syncFrequency",
                "tailoredKubeletConfig.clusterDNS",
                "tailoredKubeletConfig.registerWithTaints",
                "tailoredKubeletConfig.evictionHard"
            ]
        );
    }

    #[test]
    fn thresholds_are_sizes_or_shares() {
        assert_eq!(Threshold::parse("10%").map(|t| t.of(1000)), Some(100));
        assert_eq!(Threshold::parse("100Mi").map(|t| t.of(0)), Some(100 << 20));
        assert_eq!(Threshold::parse("101%"), None);
        assert_eq!(Threshold::parse("x"), None);
    }
}

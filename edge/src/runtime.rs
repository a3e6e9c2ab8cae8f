//! Which runtime runs the node's pods, and the ports that go with it.

use std::path::PathBuf;
use std::sync::Arc;

use beehive::{Clock, SystemClock};
use edged::config::EdgedConfig;
use edged::hollow::{HollowProber, HollowRuntime};
use edged::memory_files::MemoryFiles;
use edged::ports::EdgedPorts;

use crate::cri::{Cri, CriOptions, DEFAULT_ENDPOINTS, Deadlines, EndpointError, SocketEndpoint, probe_first};
use crate::files::DiskFiles;
use crate::machine::Machine;
use crate::prober::NetProber;

/// Returns the ports of the runtime that the section `edged` chooses. `auto` takes the first runtime
/// that answers and says so; where none does, the hollow one.
///
/// # Errors
///
/// When an endpoint is no endpoint.
pub async fn edged_ports(config: &EdgedConfig) -> Result<EdgedPorts, EndpointError> {
    let kubelet = &config.tailored_kubelet_config;
    let endpoint = kubelet.container_runtime_endpoint.as_str();
    match config.runtime.as_str() {
        "hollow" => Ok(hollow(config)),
        "auto" => {
            let others = DEFAULT_ENDPOINTS.into_iter().filter(|other| *other != endpoint);
            let candidates: Vec<&str> = std::iter::once(endpoint).chain(others).collect();
            match probe_first(&candidates).await {
                Ok(found) => {
                    let runtime = format!("{} {}", found.version.name, found.version.version);
                    tracing::info!(%runtime, socket = %found.endpoint.path().display(), "found a container runtime");
                    Ok(real(config, found.endpoint, None))
                }
                Err(refusals) => {
                    tracing::warn!(
                        tried = %refusals.join("; "),
                        "no container runtime answers: the hollow one is used, which runs nothing"
                    );
                    Ok(hollow(config))
                }
            }
        }
        _ => {
            let images = match kubelet.image_service_endpoint.as_str() {
                "" => None,
                endpoint => Some(SocketEndpoint::parse(endpoint)?),
            };
            Ok(real(config, SocketEndpoint::parse(endpoint)?, images))
        }
    }
}

fn real(config: &EdgedConfig, endpoint: SocketEndpoint, images: Option<SocketEndpoint>) -> EdgedPorts {
    let kubelet = &config.tailored_kubelet_config;
    let mut options = CriOptions::new(endpoint);
    options.image_endpoint = images;
    options.deadlines = Deadlines::from_request_timeout(kubelet.runtime_request_timeout);
    EdgedPorts {
        runtime: Arc::new(Cri::new(options)),
        files: Arc::new(DiskFiles::new(config.root_directory.clone(), kubelet.pod_logs_dir.clone())),
        node: Arc::new(machine(config)),
        prober: Arc::new(NetProber::new()),
    }
}

/// Returns the ports of the hollow runtime, which keeps nothing on disk.
pub(crate) fn hollow(config: &EdgedConfig) -> EdgedPorts {
    let clock = SystemClock;
    let files = MemoryFiles::new();
    EdgedPorts {
        runtime: Arc::new(HollowRuntime::new(Arc::new(move || clock.now()), files.clone())),
        files: Arc::new(files),
        node: Arc::new(machine(config)),
        prober: Arc::new(HollowProber),
    }
}

fn machine(config: &EdgedConfig) -> Machine {
    let interface = Some(config.custom_interface_name.clone()).filter(|name| !name.is_empty());
    let resolv_conf: PathBuf = config.tailored_kubelet_config.resolv_conf.clone();
    Machine::new(config.root_directory.clone(), resolv_conf, interface)
}

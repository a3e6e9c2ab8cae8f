//! A mapper from its start to its end.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dmi_grpc::services::device_mapper_service_server::DeviceMapperServiceServer;
use dmi_grpc::{BindError, MESSAGE_BYTES_MAX, Socket, serve};
use dmi_proto::v1beta1::MapperInfo;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Code;
use tonic::service::Routes;

use crate::config::Config;
use crate::driver::Driver;
use crate::edge::Edge;
use crate::host::Host;
use crate::panel::Panel;
use crate::service::Service;

/// The pauses before a mapper registers again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often it is looked whether edgecore was replaced.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Says why a mapper cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It cannot listen.
    #[error("the mapper cannot listen: {0}")]
    Socket(#[from] BindError),
    /// Edgecore does not want it as it is configured.
    #[error("edgecore refused the mapper: {0}; check config.yaml")]
    Refused(String),
    /// Its socket can be listened on no longer.
    #[error("the mapper's socket ended")]
    SocketEnded,
}

/// Runs a mapper until `stop` resolves. It waits for edgecore for as long as that takes.
///
/// # Errors
///
/// When it cannot listen on its socket, or edgecore refuses what it says of itself.
pub async fn run<D: Driver>(
    config: Config,
    driver: D,
    host: Host,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let edge = Edge::new(&config.common.edgecore_sock);
    let panel = Arc::new(Mutex::new(Panel::new(driver, edge.clone(), host)));
    let socket = Socket::bind(&config.grpc_server.socket_path).await?;
    let service = DeviceMapperServiceServer::new(Service::new(Arc::clone(&panel)));
    let service = service.max_decoding_message_size(MESSAGE_BYTES_MAX);
    let (end, ended) = oneshot::channel::<()>();
    let mut server = JoinSet::new();
    server.spawn(serve(socket, Routes::new(service), async {
        drop(ended.await);
    }));
    let outcome = tokio::select! {
        biased;
        () = stop => Ok(()),
        refused = stay_registered(&config, &edge, &panel) => Err(refused),
        _ = server.join_next() => Err(RunError::SocketEnded),
    };
    let closing = panel.lock().unwrap_or_else(PoisonError::into_inner).close();
    closing.await;
    drop(end);
    outcome
}

/// Registers, and again whenever edgecore's socket is another one: then it may have forgotten the mapper.
/// Returns only if edgecore refuses.
async fn stay_registered<D: Driver>(config: &Config, edge: &Edge, panel: &Mutex<Panel<D>>) -> RunError {
    let mut known = None;
    let mut failures: u32 = 0;
    loop {
        let socket = identity(&config.common.edgecore_sock);
        if socket.is_some() && socket == known {
            sleep(LOOK_EVERY).await;
            continue;
        }
        match edge.register(info(config)).await {
            Ok(all) => {
                (known, failures) = (socket, 0);
                let (models, devices) = (all.model_list, all.device_list);
                tracing::info!(devices = devices.len(), models = models.len(), "registered with edgecore");
                panel.lock().unwrap_or_else(PoisonError::into_inner).replace(models, devices);
            }
            Err(status) if status.code() == Code::InvalidArgument => {
                return RunError::Refused(status.message().to_owned());
            }
            Err(status) => {
                failures = failures.saturating_add(1);
                if failures.is_power_of_two() {
                    let (code, cause) = (status.code(), status.message());
                    tracing::warn!(?code, cause, failures, "edgecore cannot be registered with yet");
                }
                sleep(PAUSES.0.saturating_mul(1 << failures.min(16)).min(PAUSES.1)).await;
            }
        }
    }
}

/// Returns what tells a socket from others of its name.
fn identity(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let file = fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.ctime(), file.ctime_nsec()))
}

fn info(config: &Config) -> MapperInfo {
    let common = &config.common;
    MapperInfo {
        name: common.name.clone(),
        version: common.version.clone(),
        api_version: common.api_version.clone(),
        protocol: common.protocol.clone(),
        address: config.grpc_server.socket_path.as_os_str().as_encoded_bytes().to_vec(),
        state: "ok".to_owned(),
    }
}

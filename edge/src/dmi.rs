//! The edge serves its device mappers with gRPC on a Unix socket, and calls each on its own.

mod calls;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use dmi::ports::{Call, CallError, Calls, ListenError, MapperCall, Mappers};
use dmi_grpc::services::device_manager_service_server::DeviceManagerServiceServer;
use dmi_grpc::services::device_mapper_service_client::DeviceMapperServiceClient;
use dmi_grpc::{MESSAGE_BYTES_MAX, Socket, channel, serve, socket_path};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::{Code, Request, Status};

use self::calls::Manager;

/// Calls that were read and that nobody has taken.
const CALLS_MAX: usize = 64;

/// Serves and calls mappers over Unix sockets.
#[derive(Debug, Clone)]
pub struct DmiSockets {
    path: PathBuf,
}

impl DmiSockets {
    /// Makes the way to mappers, which register on the socket at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

#[async_trait]
impl Mappers for DmiSockets {
    async fn listen(&self) -> Result<Box<dyn Calls>, ListenError> {
        let socket = Socket::bind(&self.path).await.map_err(|error| ListenError(error.to_string()))?;
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        let manager = DeviceManagerServiceServer::new(Manager::new(sender))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut server = JoinSet::new();
        server.spawn(async move {
            if let Err(error) = serve(socket, Routes::new(manager), std::future::pending()).await {
                tracing::debug!(%error, "the socket for device mappers ended");
            }
        });
        Ok(Box::new(SocketCalls { calls, _server: server }))
    }

    fn check_address(&self, address: &[u8]) -> Result<(), String> {
        match socket_path(address) {
            Some(_) => Ok(()),
            None => Err(format!(
                "the mapper's address {:?} is not the absolute path of a Unix socket",
                String::from_utf8_lossy(address.get(..256).unwrap_or(address))
            )),
        }
    }

    /// Connects anew for each call, as KubeEdge does: a mapper is called rarely, and restarts.
    async fn call(&self, address: &[u8], call: MapperCall, limit: Duration) -> Result<(), CallError> {
        let path = socket_path(address)
            .ok_or_else(|| CallError::Unreachable("its address is no path of a socket".to_owned()))?;
        let client = DeviceMapperServiceClient::new(channel(&path));
        match timeout(limit, send(client, call, limit)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => Err(in_words(&status, &path)),
            Err(_) => Err(CallError::Unreachable(format!("{}: no answer within {limit:?}", path.display()))),
        }
    }
}

type Client = DeviceMapperServiceClient<tonic::transport::Channel>;

async fn send(mut client: Client, call: MapperCall, limit: Duration) -> Result<(), Status> {
    match call {
        MapperCall::CreateModel(it) => client.create_device_model(within(it, limit)).await.map(drop),
        MapperCall::UpdateModel(it) => client.update_device_model(within(it, limit)).await.map(drop),
        MapperCall::RemoveModel(it) => client.remove_device_model(within(it, limit)).await.map(drop),
        MapperCall::RegisterDevice(it) => client.register_device(within(it, limit)).await.map(drop),
        MapperCall::UpdateDevice(it) => client.update_device(within(it, limit)).await.map(drop),
        MapperCall::RemoveDevice(it) => client.remove_device(within(it, limit)).await.map(drop),
    }
}

/// Tells the mapper too how long it has.
fn within<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

fn in_words(status: &Status, path: &std::path::Path) -> CallError {
    // A mapper's own statuses have no source; the transport's have.
    if let Some(source) = std::error::Error::source(status) {
        let mut cause = source;
        while let Some(next) = cause.source() {
            cause = next;
        }
        return CallError::Unreachable(format!("{}: {cause}", path.display()));
    }
    match status.code() {
        Code::Unimplemented => CallError::Unserved,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
            CallError::Unreachable(format!("{}: {}", path.display(), status.message()))
        }
        _ => CallError::Refused(status.message().to_owned()),
    }
}

/// Dropping it ends the server and with it the socket.
struct SocketCalls {
    calls: mpsc::Receiver<Call>,
    _server: JoinSet<()>,
}

#[async_trait]
impl Calls for SocketCalls {
    async fn next(&mut self) -> Result<Call, ListenError> {
        self.calls.recv().await.ok_or_else(|| ListenError("the socket ended".to_owned()))
    }
}

//! A mapper that does what the suite wants.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dmi::conformance::MapperEnd;
use dmi::memory::{Manner, MapperError};
use dmi::ports::{Cause, MapperCall, Refusal};
use dmi_grpc::services::device_manager_service_client::DeviceManagerServiceClient;
use dmi_grpc::services::device_mapper_service_server::{DeviceMapperService, DeviceMapperServiceServer};
use dmi_grpc::{Socket, channel, serve};
use dmi_proto::v1beta1 as messages;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// A mapper's end: a client for each call, as `mapper-framework` has it, and a server.
pub(crate) struct SocketEnd {
    edge: PathBuf,
    own: PathBuf,
    heard: Arc<Mutex<Vec<MapperCall>>>,
    server: Mutex<JoinSet<()>>,
}

impl SocketEnd {
    pub(crate) fn new(folder: &Path) -> Self {
        let (edge, own) = (folder.join("dmi.sock"), folder.join("mapper.sock"));
        Self { edge, own, heard: Arc::default(), server: Mutex::default() }
    }

    fn client(&self) -> DeviceManagerServiceClient<Channel> {
        DeviceManagerServiceClient::new(channel(&self.edge))
    }
}

fn answered<T>(answer: Result<Response<T>, Status>) -> Result<T, MapperError> {
    let status = match answer {
        Ok(answer) => return Ok(answer.into_inner()),
        Err(status) => status,
    };
    if std::error::Error::source(&status).is_some() {
        return Err(MapperError::Unreachable);
    }
    let cause = match status.code() {
        Code::InvalidArgument => Cause::Invalid,
        Code::NotFound => Cause::NotFound,
        Code::ResourceExhausted => Cause::TooMany,
        Code::Unavailable => Cause::Unavailable,
        other => panic!("the edge answers with one of these: {other:?}"),
    };
    Err(Refusal::new(cause, status.message()).into())
}

#[async_trait]
impl MapperEnd for SocketEnd {
    async fn register(
        &self,
        request: messages::MapperRegisterRequest,
    ) -> Result<messages::MapperRegisterResponse, MapperError> {
        answered(self.client().mapper_register(request).await)
    }

    async fn report_status(&self, request: messages::ReportDeviceStatusRequest) -> Result<(), MapperError> {
        answered(self.client().report_device_status(request).await).map(drop)
    }

    async fn report_state(&self, request: messages::ReportDeviceStatesRequest) -> Result<(), MapperError> {
        answered(self.client().report_device_states(request).await).map(drop)
    }

    async fn serve(&self, manner: Manner) -> Vec<u8> {
        self.stop().await;
        let socket = Socket::bind(&self.own).await.expect("it can be bound");
        let service = DeviceMapperServiceServer::new(Service { manner, heard: Arc::clone(&self.heard) });
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.spawn(async move {
            serve(socket, Routes::new(service), std::future::pending()).await.expect("it serves");
        });
        self.own.display().to_string().into_bytes()
    }

    async fn stop(&self) {
        let mut server = std::mem::take(&mut *self.server.lock().unwrap_or_else(PoisonError::into_inner));
        server.shutdown().await;
    }

    async fn heard(&self) -> Vec<MapperCall> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Service {
    manner: Manner,
    heard: Arc<Mutex<Vec<MapperCall>>>,
}

impl Service {
    async fn hear<T: Default>(&self, call: MapperCall) -> Result<Response<T>, Status> {
        match &self.manner {
            Manner::Willing => self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(call),
            // Go's servers answer so that say no more than that something failed.
            Manner::Refusing(text) => return Err(Status::unknown(text.clone())),
            Manner::Unserving => return Err(Status::unimplemented("unknown method")),
            Manner::Stalling => std::future::pending().await,
        }
        Ok(Response::new(T::default()))
    }
}

#[tonic::async_trait]
impl DeviceMapperService for Service {
    async fn register_device(
        &self,
        request: Request<messages::RegisterDeviceRequest>,
    ) -> Result<Response<messages::RegisterDeviceResponse>, Status> {
        self.hear(MapperCall::RegisterDevice(request.into_inner())).await
    }

    async fn remove_device(
        &self,
        request: Request<messages::RemoveDeviceRequest>,
    ) -> Result<Response<messages::RemoveDeviceResponse>, Status> {
        self.hear(MapperCall::RemoveDevice(request.into_inner())).await
    }

    async fn update_device(
        &self,
        request: Request<messages::UpdateDeviceRequest>,
    ) -> Result<Response<messages::UpdateDeviceResponse>, Status> {
        self.hear(MapperCall::UpdateDevice(request.into_inner())).await
    }

    async fn create_device_model(
        &self,
        request: Request<messages::CreateDeviceModelRequest>,
    ) -> Result<Response<messages::CreateDeviceModelResponse>, Status> {
        self.hear(MapperCall::CreateModel(request.into_inner())).await
    }

    async fn remove_device_model(
        &self,
        request: Request<messages::RemoveDeviceModelRequest>,
    ) -> Result<Response<messages::RemoveDeviceModelResponse>, Status> {
        self.hear(MapperCall::RemoveModel(request.into_inner())).await
    }

    async fn update_device_model(
        &self,
        request: Request<messages::UpdateDeviceModelRequest>,
    ) -> Result<Response<messages::UpdateDeviceModelResponse>, Status> {
        self.hear(MapperCall::UpdateModel(request.into_inner())).await
    }

    async fn get_device(
        &self,
        _: Request<messages::GetDeviceRequest>,
    ) -> Result<Response<messages::GetDeviceResponse>, Status> {
        Err(Status::unimplemented("the edge never asks this"))
    }
}

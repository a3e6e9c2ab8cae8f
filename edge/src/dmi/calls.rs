//! The service that mappers call.

use dmi::ports::{Answer, Call, Cause, Refusal};
use dmi_grpc::services::device_manager_service_server::DeviceManagerService;
use dmi_proto::v1beta1::{
    MapperRegisterRequest, MapperRegisterResponse, ReportDeviceStatesRequest, ReportDeviceStatesResponse,
    ReportDeviceStatusRequest, ReportDeviceStatusResponse,
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

/// Hands calls to whoever listens.
pub(super) struct Manager {
    calls: mpsc::Sender<Call>,
}

impl Manager {
    pub(super) const fn new(calls: mpsc::Sender<Call>) -> Self {
        Self { calls }
    }

    async fn hand_over<T>(&self, call: impl FnOnce(Answer<T>) -> Call) -> Result<T, Status> {
        let (answer, answered) = Answer::new();
        let unanswered = |_| status(&Refusal::unanswered());
        self.calls.send(call(answer)).await.map_err(|_| status(&Refusal::unanswered()))?;
        answered.await.map_err(unanswered)?.map_err(|refusal| status(&refusal))
    }
}

fn status(refusal: &Refusal) -> Status {
    let text = refusal.text.clone();
    match refusal.cause {
        Cause::Invalid => Status::invalid_argument(text),
        Cause::NotFound => Status::not_found(text),
        Cause::TooMany => Status::resource_exhausted(text),
        Cause::Unavailable => Status::unavailable(text),
    }
}

#[tonic::async_trait]
impl DeviceManagerService for Manager {
    async fn mapper_register(
        &self,
        request: Request<MapperRegisterRequest>,
    ) -> Result<Response<MapperRegisterResponse>, Status> {
        let request = request.into_inner();
        self.hand_over(|answer| Call::Register(request, answer)).await.map(Response::new)
    }

    async fn report_device_status(
        &self,
        request: Request<ReportDeviceStatusRequest>,
    ) -> Result<Response<ReportDeviceStatusResponse>, Status> {
        let request = request.into_inner();
        self.hand_over(|answer| Call::ReportStatus(request, answer)).await?;
        Ok(Response::new(ReportDeviceStatusResponse {}))
    }

    async fn report_device_states(
        &self,
        request: Request<ReportDeviceStatesRequest>,
    ) -> Result<Response<ReportDeviceStatesResponse>, Status> {
        let request = request.into_inner();
        self.hand_over(|answer| Call::ReportState(request, answer)).await?;
        Ok(Response::new(ReportDeviceStatesResponse {}))
    }
}

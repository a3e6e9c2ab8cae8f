//! What a mapper says to edgecore.

use std::path::Path;
use std::time::Duration;

use dmi_grpc::channel;
use dmi_grpc::services::device_manager_service_client::DeviceManagerServiceClient;
use dmi_proto::v1beta1 as dmi;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// How long edgecore may take to keep a report.
const REPORT_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take to register.
const REGISTER_WITHIN: Duration = Duration::from_secs(10);

/// Edgecore. The connection is made when it is needed, and again when it broke.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    client: DeviceManagerServiceClient<Channel>,
}

impl Edge {
    pub(crate) fn new(socket: &Path) -> Self {
        let client = DeviceManagerServiceClient::new(channel(socket));
        Self { client: client.max_decoding_message_size(dmi_grpc::MESSAGE_BYTES_MAX) }
    }

    pub(crate) async fn register(
        &self,
        mapper: dmi::MapperInfo,
    ) -> Result<dmi::MapperRegisterResponse, Status> {
        let request = dmi::MapperRegisterRequest { with_data: true, mapper: Some(mapper) };
        let mut client = self.client.clone();
        within(REGISTER_WITHIN, client.mapper_register(limited(request, REGISTER_WITHIN))).await
    }

    pub(crate) async fn report_status(&self, report: dmi::ReportDeviceStatusRequest) -> Result<(), Status> {
        let mut client = self.client.clone();
        within(REPORT_WITHIN, client.report_device_status(limited(report, REPORT_WITHIN))).await.map(drop)
    }

    pub(crate) async fn report_state(&self, report: dmi::ReportDeviceStatesRequest) -> Result<(), Status> {
        let mut client = self.client.clone();
        within(REPORT_WITHIN, client.report_device_states(limited(report, REPORT_WITHIN))).await.map(drop)
    }
}

fn limited<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("edgecore did not answer within {limit:?}"))),
    }
}

//! What edgecore calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dmi_grpc::services::device_mapper_service_server::DeviceMapperService;
use dmi_proto::v1beta1 as dmi;
use tonic::{Request, Response, Status};

use crate::driver::Driver;
use crate::panel::Panel;

/// Serves edgecore's calls.
pub(crate) struct Service<D: Driver>(Arc<Mutex<Panel<D>>>);

impl<D: Driver> Service<D> {
    pub(crate) const fn new(panel: Arc<Mutex<Panel<D>>>) -> Self {
        Self(panel)
    }

    fn panel(&self) -> MutexGuard<'_, Panel<D>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, device: Option<dmi::Device>) -> Result<(), Status> {
        let device = device.ok_or_else(|| Status::invalid_argument("the request has no device"))?;
        self.panel().put(device).map_err(|error| Status::failed_precondition(error.to_string()))
    }

    fn put_model(&self, model: Option<dmi::DeviceModel>) -> Result<(), Status> {
        self.panel().put_model(model.ok_or_else(|| Status::invalid_argument("the request has no model"))?);
        Ok(())
    }
}

#[tonic::async_trait]
impl<D: Driver> DeviceMapperService for Service<D> {
    async fn register_device(
        &self,
        request: Request<dmi::RegisterDeviceRequest>,
    ) -> Result<Response<dmi::RegisterDeviceResponse>, Status> {
        let device = request.into_inner().device;
        let (device_name, device_namespace) =
            device.as_ref().map(|it| (it.name.clone(), it.namespace.clone())).unwrap_or_default();
        self.put(device)?;
        Ok(Response::new(dmi::RegisterDeviceResponse { device_name, device_namespace }))
    }

    async fn update_device(
        &self,
        request: Request<dmi::UpdateDeviceRequest>,
    ) -> Result<Response<dmi::UpdateDeviceResponse>, Status> {
        self.put(request.into_inner().device)?;
        Ok(Response::new(dmi::UpdateDeviceResponse {}))
    }

    async fn remove_device(
        &self,
        request: Request<dmi::RemoveDeviceRequest>,
    ) -> Result<Response<dmi::RemoveDeviceResponse>, Status> {
        let dmi::RemoveDeviceRequest { device_name, device_namespace } = request.into_inner();
        self.panel().remove(&device_namespace, &device_name);
        Ok(Response::new(dmi::RemoveDeviceResponse {}))
    }

    async fn create_device_model(
        &self,
        request: Request<dmi::CreateDeviceModelRequest>,
    ) -> Result<Response<dmi::CreateDeviceModelResponse>, Status> {
        let model = request.into_inner().model;
        let (device_model_name, device_model_namespace) =
            model.as_ref().map(|it| (it.name.clone(), it.namespace.clone())).unwrap_or_default();
        self.put_model(model)?;
        Ok(Response::new(dmi::CreateDeviceModelResponse { device_model_name, device_model_namespace }))
    }

    async fn update_device_model(
        &self,
        request: Request<dmi::UpdateDeviceModelRequest>,
    ) -> Result<Response<dmi::UpdateDeviceModelResponse>, Status> {
        self.put_model(request.into_inner().model)?;
        Ok(Response::new(dmi::UpdateDeviceModelResponse {}))
    }

    async fn remove_device_model(
        &self,
        request: Request<dmi::RemoveDeviceModelRequest>,
    ) -> Result<Response<dmi::RemoveDeviceModelResponse>, Status> {
        let dmi::RemoveDeviceModelRequest { model_name, model_namespace } = request.into_inner();
        self.panel().remove_model(&model_namespace, &model_name);
        Ok(Response::new(dmi::RemoveDeviceModelResponse {}))
    }

    async fn get_device(
        &self,
        request: Request<dmi::GetDeviceRequest>,
    ) -> Result<Response<dmi::GetDeviceResponse>, Status> {
        let dmi::GetDeviceRequest { device_name, device_namespace } = request.into_inner();
        let device = self.panel().device(&device_namespace, &device_name);
        match device {
            Some(device) => Ok(Response::new(dmi::GetDeviceResponse { device: Some(device) })),
            None => {
                Err(Status::not_found(format!("this mapper has no device {device_namespace}/{device_name}")))
            }
        }
    }
}

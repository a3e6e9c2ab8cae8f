//! The devices and models that a mapper was told, and the tasks of its devices.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use dmi_proto::v1beta1 as dmi;
use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::device::{Device, id};
use crate::driver::Driver;
use crate::edge::Edge;
use crate::host::Host;
use crate::worker::{Latest, Worker};

/// How long all devices get to be closed when the mapper stops.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The pause after a driver panicked.
const PANIC_PAUSE: Duration = Duration::from_secs(10);

/// A device with its task.
struct Running {
    message: dmi::Device,
    latest: Latest,
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
}

/// Says why a device cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("the device model {0} was not told to this mapper")]
pub(crate) struct NoModel(String);

/// Runs a device's task, and again if its driver panics.
async fn supervise<D: Driver>(worker: Worker<D>, mut stop: oneshot::Receiver<()>) {
    loop {
        if AssertUnwindSafe(worker.run(&mut stop)).catch_unwind().await.is_ok() {
            return;
        }
        tracing::error!(device = worker.device.id(), "the driver of a device panicked: it is opened again");
        tokio::select! {
            biased;
            _ = &mut stop => return,
            () = sleep(PANIC_PAUSE) => {}
        }
    }
}

/// The devices and models that a mapper was told.
pub(crate) struct Panel<D: Driver> {
    driver: Arc<D>,
    edge: Edge,
    host: Host,
    models: BTreeMap<String, dmi::DeviceModel>,
    devices: BTreeMap<String, Running>,
}

impl<D: Driver> Panel<D> {
    pub(crate) fn new(driver: D, edge: Edge, host: Host) -> Self {
        Self { driver: Arc::new(driver), edge, host, models: BTreeMap::new(), devices: BTreeMap::new() }
    }

    /// Takes all models and devices that there are.
    pub(crate) fn replace(&mut self, models: Vec<dmi::DeviceModel>, devices: Vec<dmi::Device>) {
        for model in models {
            self.models.insert(id(&model.namespace, &model.name), model);
        }
        let there: Vec<String> = devices.iter().map(|device| id(&device.namespace, &device.name)).collect();
        let gone: Vec<String> = self.devices.keys().filter(|known| !there.contains(known)).cloned().collect();
        gone.iter().for_each(|id| self.remove_id(id));
        for device in devices {
            let name = device.name.clone();
            if let Err(error) = self.put(device) {
                tracing::warn!(device = name, %error, "a device was left out");
            }
        }
    }

    /// Takes a device, and begins anew with it if it is another than before.
    pub(crate) fn put(&mut self, message: dmi::Device) -> Result<(), NoModel> {
        let key = id(&message.namespace, &message.name);
        let model = message.spec.as_ref().map(|spec| spec.device_model_reference.clone()).unwrap_or_default();
        let model = id(&message.namespace, &model);
        let model = self.models.get(&model).ok_or(NoModel(model))?;
        let device = Device::of(&message, model);
        if self.devices.get(&key).is_some_and(|before| before.message == message) {
            return Ok(());
        }
        let before = self.devices.remove(&key);
        let (stop, stopped) = oneshot::channel();
        let latest = Latest::default();
        let worker = Worker {
            driver: Arc::clone(&self.driver),
            device,
            edge: self.edge.clone(),
            host: self.host.clone(),
            latest: Arc::clone(&latest),
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            // The one before has the device until it has closed it.
            if let Some(Running { stop, mut task, .. }) = before {
                drop(stop);
                while task.join_next().await.is_some() {}
            }
            supervise(worker, stopped).await;
        });
        self.devices.insert(key, Running { message, latest, stop, task });
        Ok(())
    }

    /// A device is gone. Its task closes it.
    pub(crate) fn remove(&mut self, namespace: &str, name: &str) {
        self.remove_id(&id(namespace, name));
    }

    fn remove_id(&mut self, id: &str) {
        if let Some(Running { stop, mut task, .. }) = self.devices.remove(id) {
            drop(stop);
            task.detach_all();
        }
    }

    pub(crate) fn put_model(&mut self, model: dmi::DeviceModel) {
        self.models.insert(id(&model.namespace, &model.name), model);
    }

    pub(crate) fn remove_model(&mut self, namespace: &str, name: &str) {
        self.models.remove(&id(namespace, name));
    }

    /// Returns a device with the values that it last had.
    pub(crate) fn device(&self, namespace: &str, name: &str) -> Option<dmi::Device> {
        let running = self.devices.get(&id(namespace, name))?;
        let latest = running.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let twins = latest.iter().map(|(name, value)| dmi::Twin {
            property_name: name.clone(),
            reported: Some(dmi::TwinProperty { value: value.clone(), ..dmi::TwinProperty::default() }),
            observed_desired: None,
        });
        let mut device = running.message.clone();
        device.status.get_or_insert_default().twins = twins.collect();
        Some(device)
    }

    /// Takes all devices, to be closed.
    pub(crate) fn close(&mut self) -> impl Future<Output = ()> + use<D> {
        let devices = std::mem::take(&mut self.devices);
        async move {
            let closing = async {
                let mut tasks = Vec::new();
                for Running { stop, task, .. } in devices.into_values() {
                    drop(stop);
                    tasks.push(task);
                }
                for mut task in tasks {
                    while task.join_next().await.is_some() {}
                }
            };
            if timeout(STOP_WITHIN, closing).await.is_err() {
                tracing::warn!("not all devices were closed in time");
            }
        }
    }
}

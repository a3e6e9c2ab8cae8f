//! Whether nodes are told of devices: only where there is a device controller.

use beehive::{AskError, Context, Failure, Handler, Message};
use protocol::cloud::CarryDevices;
use protocol::{ResourceType, group};
use tokio::time::{Duration, sleep};

use crate::EdgeController;

/// How long nodes wait for the devices to be known before they are told everything else.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// The device controller answered, or there is none.
#[derive(Debug, Message)]
pub(crate) struct Carries(bool);

/// The devices should be known by now.
#[derive(Debug, Clone, Message)]
pub(crate) struct DevicesDue;

impl EdgeController {
    /// Asks whether nodes are to be told of devices.
    pub(crate) fn ask_for_devices(cx: &mut Context<Self>) {
        cx.after(PATIENCE, DevicesDue);
        let (bus, me) = (cx.bus().clone(), cx.me());
        cx.spawn(async move {
            let carries = loop {
                match bus.to(group::DEVICECONTROLLER).ask(CarryDevices).within(PATIENCE).await {
                    Ok(()) => break true,
                    Err(AskError::NobodyServes { .. } | AskError::NotWired { .. }) => break false,
                    Err(error) => tracing::debug!(%error, "the device controller does not answer yet"),
                }
                sleep(PAUSE).await;
            };
            if me.send(Carries(carries)).await.is_err() {
                tracing::debug!("the edge controller stopped before it knew of devices");
            }
        });
    }
}

impl Handler<Carries> for EdgeController {
    async fn handle(&mut self, Carries(carries): Carries, cx: &mut Context<Self>) -> Result<(), Failure> {
        if carries {
            self.watch(ResourceType::DEVICE, cx);
            return Ok(());
        }
        let effects = self.desired.do_without_devices();
        self.carry_out(effects, cx);
        Ok(())
    }
}

impl Handler<DevicesDue> for EdgeController {
    async fn handle(&mut self, _: DevicesDue, cx: &mut Context<Self>) -> Result<(), Failure> {
        let effects = self.desired.do_without_devices();
        if !effects.is_empty() {
            tracing::info!(
                "the devices and device models could not be read yet: nodes are told everything else; \
                 are the resource definitions of devices.kubeedge.io installed?"
            );
        }
        self.carry_out(effects, cx);
        Ok(())
    }
}

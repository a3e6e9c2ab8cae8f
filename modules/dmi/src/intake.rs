//! Listening to mappers.

use std::sync::Arc;
use std::time::Duration;

use beehive::{Context, Failure, Handler, Me, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::Dmi;
use crate::ports::{Call, Mappers};

/// The pauses after a failure to listen: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long mappers wait for the devices of the node to be known.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

/// A mapper calls.
#[derive(Debug, Message)]
pub(crate) struct Arrived {
    call: Call,
    /// Its place among the calls that are taken at a time, until it is answered.
    place: OwnedSemaphorePermit,
}

/// Takes calls of mappers, and no more than there are places for.
pub(crate) struct Intake {
    mappers: Arc<dyn Mappers>,
    me: Me<Dmi>,
    places: Arc<Semaphore>,
    /// Spreads the pauses of several nodes.
    roll: f64,
}

impl Intake {
    pub(crate) fn new(mappers: Arc<dyn Mappers>, me: Me<Dmi>, places: Arc<Semaphore>, roll: f64) -> Self {
        Self { mappers, me, places, roll }
    }

    /// Listens, again and again, once the devices of the node are known or take too long to be.
    pub(crate) async fn run(self, is_known: oneshot::Receiver<()>) {
        if !matches!(timeout(KNOWN_WITHIN, is_known).await, Ok(Ok(()))) {
            tracing::warn!("device mappers are listened to before the devices of the node are known");
        }
        let mut failures: u32 = 0;
        loop {
            match self.mappers.listen().await {
                Ok(mut calls) => {
                    tracing::info!("listening to device mappers");
                    failures = 0;
                    while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
                        match calls.next().await {
                            Ok(call) => {
                                if self.me.send(Arrived { call, place }).await.is_err() {
                                    return;
                                }
                            }
                            Err(error) => {
                                tracing::warn!(%error, "device mappers are listened to no longer");
                                break;
                            }
                        }
                    }
                }
                Err(error) if failures == 0 => tracing::error!(
                    %error,
                    "device mappers cannot be listened to, and it is tried again: modules.deviceTwin.dmiSockPath \
                     says where, and modules.dmi.enable: false does without"
                ),
                Err(error) => tracing::debug!(%error, failures, "device mappers still cannot be listened to"),
            }
            failures = failures.saturating_add(1);
            sleep(pause(failures, self.roll)).await;
        }
    }
}

fn pause(failures: u32, roll: f64) -> Duration {
    let whole = PAUSES.0.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSES.1);
    whole.mul_f64(0.5 + 0.5 * roll)
}

impl Handler<Arrived> for Dmi {
    async fn handle(
        &mut self,
        Arrived { call, place }: Arrived,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        match call {
            Call::Register(request, answer) => self.register(request, answer, place, cx),
            Call::ReportStatus(request, answer) => self.report_status(request, answer, place, cx),
            Call::ReportState(request, answer) => self.report_state(request, answer, place, cx),
        }
        Ok(())
    }
}

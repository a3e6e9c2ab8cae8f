//! The broker within the process, opened for others.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::pause::pause;
use crate::ports::{Broker, ConnectTo, MqttError, ServeOn};

/// Has the event bus' session at its own broker subscribe, before anybody else is let in: what is published
/// for the event bus has somewhere to wait from the first message on.
pub(crate) async fn subscribe_first(
    broker: &dyn Broker,
    to: ConnectTo,
    filters: &[String],
) -> Result<(), MqttError> {
    let connection = broker.local().connect(to).await?;
    for filter in filters {
        match connection.client.subscribe(filter).await {
            Ok(()) => {}
            Err(error @ MqttError::Refused(_)) => tracing::warn!(filter, %error, "a subscription failed"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Opens the broker, and keeps it open for as long as the module runs.
pub(crate) struct Door {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) on: ServeOn,
    pub(crate) rng: SmallRng,
}

impl Door {
    /// Opens it, again and again if it does not open, until `stop` resolves.
    pub(crate) async fn run(mut self, stop: oneshot::Receiver<()>) {
        tokio::select! {
            biased;
            _ = stop => {}
            never = self.keep_open() => match never {},
        }
    }

    async fn keep_open(&mut self) -> Infallible {
        let mut attempt = 0_u32;
        let serving = loop {
            match self.broker.serve(self.on.clone()).await {
                Ok(serving) => break serving,
                Err(error) => {
                    if (attempt + 1).is_power_of_two() {
                        tracing::error!(
                            address = %self.on.address,
                            %error,
                            "the MQTT broker does not serve devices, and tries again: free its port or change mqttServerInternal"
                        );
                    }
                }
            }
            sleep(pause(attempt, self.rng.random())).await;
            attempt = attempt.saturating_add(1);
        };
        let (needs_password, uses_tls) = (self.on.user.is_some(), self.on.tls.is_some());
        tracing::info!(address = %serving.address(), needs_password, uses_tls, "the MQTT broker serves devices");
        pending().await
    }
}

//! The listener for applications, begun anew when it fails.

use std::sync::Arc;
use std::time::Duration;

use beehive::Me;
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::time::sleep;

use crate::ports::{AppListener, ListenOn};
use crate::{Asked, ServiceBus};

/// The first pause after the listener failed, and the longest one.
const LISTEN_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Listens for as long as the task lives. An address that is taken may be free later.
pub(crate) async fn listen(
    listener: Arc<dyn AppListener>,
    on: ListenOn,
    me: Me<ServiceBus>,
    mut rng: SmallRng,
) {
    let mut pause = LISTEN_PAUSE.0;
    loop {
        let problem = match listener.listen(on.clone()).await {
            Err(error) => error,
            Ok(mut calls) => {
                tracing::info!(address = on.address, port = on.port, "the service bus listens");
                pause = LISTEN_PAUSE.0;
                loop {
                    let sent = match calls.next().await {
                        Ok(call) => me.send(Asked(call)).await,
                        Err(error) => break error,
                    };
                    if sent.is_err() {
                        return;
                    }
                }
            }
        };
        tracing::warn!(address = on.address, port = on.port, %problem, ?pause, "the service bus does not listen");
        sleep(pause.mul_f64(1.0 + rng.random::<f64>() / 2.0)).await;
        pause = (pause * 2).min(LISTEN_PAUSE.1);
    }
}

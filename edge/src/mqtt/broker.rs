//! A broker within the edge process, for MQTT 3.1.1 and 3.1.
//!
//! What it acknowledges of the topics that the event bus subscribes to, the event bus has taken: a client
//! within the process holds back the acknowledgement of what was published for it. All else that it keeps,
//! it keeps in memory: sessions, what waits in them, and retained messages outlive the event bus, and not the
//! process.
//!
//! Everything is bounded. A client that takes its messages too slowly gets none with QoS 0 any more, slows
//! down those that publish to it with QoS 1 or 2 for ten seconds at most, and then loses its connection.
//!
//! The core is a state machine without sockets, tasks or a clock; see docs/mqtt.md for what it promises.

mod connection;
mod core;
mod encode;
mod frames;
mod local;
mod packet;
mod retained;
mod server;
mod session;
mod shared;
mod tls;
mod tree;

use std::sync::Arc;

use async_trait::async_trait;
use eventbus::ports::{Broker, Mqtt, MqttError, ServeOn, Serving};

use self::core::Rules;
use self::local::LocalMqtt;
use self::shared::Shared;

/// Messages that may wait for a client before somebody said how many: upstream's default.
const QUEUE_MAX: usize = 100;

/// A broker within this process. Clones are the same broker.
#[derive(Debug, Clone)]
pub struct EmbeddedBroker(Arc<Shared>);

impl EmbeddedBroker {
    /// Makes a broker without clients. It listens once it is told to.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared::new(Rules { user: None, queue_max: QUEUE_MAX })))
    }
}

impl Default for EmbeddedBroker {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    fn local(&self) -> Arc<dyn Mqtt> {
        Arc::new(LocalMqtt(Arc::clone(&self.0)))
    }

    async fn serve(&self, on: ServeOn) -> Result<Box<dyn Serving>, MqttError> {
        server::serve(&self.0, on).await
    }
}

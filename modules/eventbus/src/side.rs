//! A broker that the event bus is a client of: the one within the process, or an external one.

use std::sync::Arc;

use beehive::BuildError;

use crate::EventBusConfig;
use crate::outgoing::Outgoing;
use crate::ports::{ConnectTo, Mqtt, Ports, Qos, ServeOn};
use crate::server::ServerUrl;

/// A broker, and how the event bus speaks to it.
pub(crate) struct Side {
    pub(crate) mqtt: Arc<dyn Mqtt>,
    pub(crate) server: ServerUrl,
    /// What is to be published there.
    pub(crate) outgoing: Outgoing,
    pub(crate) qos: Qos,
    pub(crate) is_retained: bool,
    /// How the broker serves others, if it is the one within the process.
    pub(crate) serve_on: Option<ServeOn>,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Side {
    /// Returns the brokers of a configuration, the one within the process first.
    pub(crate) fn of(config: &EventBusConfig, ports: &Ports) -> Result<Vec<Self>, BuildError> {
        let mut sides = Vec::new();
        let problem = |key: &str, problem: &str| BuildError::new(format!("{key}: {problem}"));
        if config.is_internal() {
            let wrong = |why| problem("mqttServerInternal", why);
            sides.push(Self {
                mqtt: ports.broker.local(),
                server: ServerUrl::parse(&config.mqtt_server_internal).map_err(wrong)?,
                outgoing: Outgoing::new(),
                qos: config.internal_qos(),
                is_retained: config.mqtt_retain,
                serve_on: Some(config.serve_on().map_err(wrong)?),
            });
        }
        if config.is_external() {
            let wrong = |why| problem("mqttServerExternal", why);
            sides.push(Self {
                mqtt: Arc::clone(&ports.mqtt),
                server: ServerUrl::parse(&config.mqtt_server_external).map_err(wrong)?,
                outgoing: Outgoing::new(),
                // Upstream's values, whatever the keys for its own broker say.
                qos: Qos::AtLeastOnce,
                is_retained: false,
                serve_on: None,
            });
        }
        Ok(sides)
    }

    /// Returns how the connection that subscribes for devices is made.
    pub(crate) fn subscriber(&self, config: &EventBusConfig, node: &str) -> ConnectTo {
        let to = config.subscriber(self.server.clone(), node);
        if self.serve_on.is_some() { config.within(to, false) } else { to }
    }

    /// Returns how the connection that subscribes for the rules of the cloud is made.
    pub(crate) fn router(&self, config: &EventBusConfig, node: &str) -> ConnectTo {
        let to = config.router(self.server.clone(), node);
        if self.serve_on.is_some() { config.within(to, false) } else { to }
    }

    /// Returns how the connection that publishes is made.
    pub(crate) fn publisher(&self, config: &EventBusConfig, node: &str) -> ConnectTo {
        let to = config.publisher(self.server.clone(), node);
        if self.serve_on.is_some() { config.within(to, true) } else { to }
    }
}

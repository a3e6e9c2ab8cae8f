//! On which port the node of `keadm up` serves devices.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;

/// The ports that are tried, KubeEdge's own first. 1883 is left to a broker that is installed.
const PORTS: RangeInclusive<u16> = 1884..=1893;

/// Says why there is no port for MQTT.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MqttPortError {
    #[error("the port {port} for MQTT cannot be used: choose another --mqtt-port, or free it")]
    Taken {
        port: u16,
        #[source]
        cause: io::Error,
    },
    #[error(
        "none of the ports {} to {} can be used for MQTT: choose one by --mqtt-port",
        PORTS.start(),
        PORTS.end()
    )]
    AllTaken {
        #[source]
        cause: io::Error,
    },
}

/// Returns where to serve: on the port that was asked for, or on the first one that is free.
pub(crate) fn address(asked: Option<u16>) -> Result<SocketAddr, MqttPortError> {
    if let Some(port) = asked {
        return free(port).map_err(|cause| MqttPortError::Taken { port, cause });
    }
    let mut cause = io::Error::from(io::ErrorKind::AddrInUse);
    for port in PORTS {
        match free(port) {
            Ok(address) => return Ok(address),
            Err(error) => cause = error,
        }
    }
    Err(MqttPortError::AllTaken { cause })
}

/// Returns what a user is told about it.
pub(crate) fn told(node: &str, address: SocketAddr) -> String {
    let mut text = format!("devices reach the node {node} by MQTT on {address}");
    if PORTS.contains(&address.port()) && address.port() > *PORTS.start() {
        text.push_str(&format!("; the port {} is taken, --mqtt-port chooses one", PORTS.start()));
    }
    text
}

/// Looks whether a port is free at this moment.
fn free(port: u16) -> io::Result<SocketAddr> {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    TcpListener::bind(address)?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_asked_for_is_that_one_or_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("an address").port();
        let error = address(Some(port)).expect_err("it is taken");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        drop(taken);
        assert_eq!(address(Some(port)).expect("it is free").port(), port);
    }

    #[test]
    fn a_user_is_told_where_and_when_it_is_not_where_he_expects_it() {
        let text = |port| told("edge", SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        assert_eq!(text(1884), "devices reach the node edge by MQTT on 127.0.0.1:1884");
        assert!(text(1885).contains("127.0.0.1:1885; the port 1884 is taken"));
        assert!(!text(20_000).contains("taken"));
    }
}

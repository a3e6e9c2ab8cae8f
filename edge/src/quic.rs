//! The edge reaches its cloud over QUIC, with the certificates of WebSocket.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use link_quic::{introduce, link_error};
use quinn::{Connection, Endpoint, EndpointConfig, TokioRuntime};
use tokio::net::lookup_host;
use tokio::time::timeout;
use wire::link::{DialTo, Dialed, LinkError};

use crate::dial::{CONNECT_TIMEOUT, client_config, server_name};

/// How many addresses of one name are tried.
const ADDRESSES_MAX: usize = 4;

/// Connects, introduces the node, and returns the link.
pub(crate) async fn dial(to: DialTo) -> Result<Dialed, LinkError> {
    let config = link_quic::client_config(client_config(&to.tls).await?)?;
    let name = server_name(&to.server)?.to_str().into_owned();
    let unreached = |why: String| LinkError::Transport(format!("{}/udp: {why}", to.server));
    let addresses = lookup_host(&to.server).await.map_err(|error| unreached(error.to_string()))?;
    let mut problem = unreached("the name has no address".to_owned());
    for address in addresses.take(ADDRESSES_MAX) {
        match connect(address, config.clone(), &name).await {
            Ok(connection) => {
                let introduced = introduce(connection, &to.node, &to.codecs, to.frame_bytes_max).await;
                return introduced.map(|(codec, link)| Dialed { codec, link });
            }
            Err(LinkError::Transport(why)) => problem = unreached(why),
            Err(error) => return Err(error),
        }
    }
    Err(problem)
}

/// Connects from a socket of its own. It is bound to no address of the machine, so that the connection goes
/// on when the machine gets another.
async fn connect(
    address: SocketAddr,
    config: quinn::ClientConfig,
    name: &str,
) -> Result<Connection, LinkError> {
    let unusable = |why: &dyn std::fmt::Display| LinkError::Transport(why.to_string());
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).map_err(|error| unusable(&error))?;
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
        .map_err(|error| unusable(&error))?;
    let mut connecting = endpoint.connect_with(config, address, name).map_err(|error| unusable(&error))?;
    // What follows the first answer may take the dial's whole time.
    match timeout(CONNECT_TIMEOUT, connecting.handshake_data()).await {
        Ok(answered) => answered.map_err(|error| link_error(&error))?,
        Err(_) => return Err(unusable(&format!("no answer within {CONNECT_TIMEOUT:?}"))),
    };
    connecting.await.map_err(|error| link_error(&error))
}

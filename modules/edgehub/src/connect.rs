//! From a dial to a session that both ends agree on.

use std::time::Duration;

use beehive::Bus;
use protocol::edge::ListHeld;
use protocol::{Held, NodeName, group};
use tokio::time::timeout;
use wire::Codec;
use wire::codec::{CloudFrame, EdgeFrame, Hello, NATIVE_VERSION};
use wire::link::{DialTo, Dialed, Dialer, Link, LinkError};

/// The longest time that the store may take to say what it holds.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Dials, and on the native codec exchanges hello and welcome.
pub(crate) async fn connect(
    dialer: &dyn Dialer,
    to: DialTo,
    bus: &Bus,
    instance: [u8; 16],
) -> Result<Dialed, LinkError> {
    let limit = to.handshake_timeout;
    let node = to.node.clone();
    let mut dialed = match timeout(limit, dialer.dial(to)).await {
        Ok(dialed) => dialed?,
        Err(_) => return Err(LinkError::HandshakeTimeout(limit)),
    };
    if dialed.codec == Codec::Native {
        let held = held(bus).await;
        match timeout(limit, greet(&mut dialed.link, node, instance, held)).await {
            Ok(greeted) => greeted?,
            Err(_) => return Err(LinkError::HandshakeTimeout(limit)),
        }
    }
    Ok(dialed)
}

/// Without an inventory the cloud sends all that concerns the node: more than needed, never less.
async fn held(bus: &Bus) -> Option<Vec<Held>> {
    match bus.to(group::META).ask(ListHeld).within(LIST_TIMEOUT).await {
        Ok(Ok(held)) => Some(held),
        Ok(Err(error)) => {
            tracing::warn!(%error, "what the node holds is not known; the cloud will send everything");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "what the node holds is not known; the cloud will send everything");
            None
        }
    }
}

async fn greet(
    link: &mut Link,
    node: NodeName,
    instance: [u8; 16],
    held: Option<Vec<Held>>,
) -> Result<(), LinkError> {
    let hello = Hello { version: NATIVE_VERSION, node: node.to_string(), instance, held };
    if let Some(frame) = Codec::Native.encode_edge(EdgeFrame::Hello(hello)) {
        link.writer.send(frame).await?;
    }
    let frame = link.reader.next().await?;
    match Codec::Native.decode_cloud(&frame) {
        Ok(CloudFrame::Welcome { version: NATIVE_VERSION, session }) => {
            tracing::debug!(session, "the cloud welcomed the node");
            Ok(())
        }
        Ok(CloudFrame::Welcome { version, .. }) => {
            Err(LinkError::Handshake(format!("the cloud speaks version {version} of the native codec")))
        }
        Ok(CloudFrame::Goodbye(reason)) => {
            Err(LinkError::Handshake(format!("the cloud refused the node: {reason}")))
        }
        Ok(_) => Err(LinkError::Handshake("the cloud did not answer the hello".to_owned())),
        Err(error) => Err(LinkError::Handshake(error.to_string())),
    }
}

//! The settings of both ends.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, ValidationTokenConfig, VarInt};
use wire::link::LinkError;

/// The name by which both ends know that they speak the same over QUIC.
pub const ALPN: &[u8] = b"beehive-link.v1";

/// How much one end may send before the other has read it.
const WINDOW_BYTES: u32 = 1 << 20;
/// After which silence a connection is over. The link's own pings come before: they find a dead peer
/// within ten seconds, and keep open what is between the ends.
const IDLE_TIMEOUT: VarInt = VarInt::from_u32(30_000);
/// Packets of connections that nobody has accepted yet: of each, and of all together.
const EARLY_BYTES: u64 = 16 << 10;
const EARLY_BYTES_OF_ALL: u64 = 4 << 20;
/// How long the answer to a retry is believed.
const RETRY_LIFETIME: Duration = Duration::from_secs(10);

/// Makes the settings of an edge's connection.
///
/// # Errors
///
/// When TLS has no version or cipher that QUIC needs.
pub fn client_config(mut tls: rustls::ClientConfig) -> Result<ClientConfig, LinkError> {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| LinkError::Local(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(0)));
    Ok(config)
}

/// Makes the settings of a cloud's connections, of which `early_max` may wait to be accepted.
///
/// # Errors
///
/// When TLS has no version or cipher that QUIC needs.
pub fn server_config(mut tls: rustls::ServerConfig, early_max: usize) -> Result<ServerConfig, LinkError> {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| LinkError::Local(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(1)));
    // An edge goes on when its address changes.
    config.migration(true);
    config.retry_token_lifetime(RETRY_LIFETIME);
    // Each dial begins anew, so that nobody would show such a token.
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    config.validation_token_config(tokens);
    config.max_incoming(early_max.max(1));
    config.incoming_buffer_size(EARLY_BYTES);
    config.incoming_buffer_size_total(EARLY_BYTES_OF_ALL);
    Ok(config)
}

/// Makes what both have in common; the peer may open so many streams.
fn transport(streams_max: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(streams_max.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(WINDOW_BYTES.into())
        .receive_window(WINDOW_BYTES.into())
        .send_window(WINDOW_BYTES.into())
        .max_idle_timeout(Some(IdleTimeout::from(IDLE_TIMEOUT)));
    transport
}

//! The edge reaches its cloud over either transport.

use std::time::Duration;

use async_trait::async_trait;
use link_ws::LinkCertificates;
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use wire::link::{DialTo, Dialed, Dialer, LinkError, TlsFiles, Transport};

use crate::tls::believing;
use crate::{quic, ws};

/// How long the first answer may take. The system repeats its first packet after 1, 3 and 7 seconds, and
/// QUIC does so too; a dial of its own begins before the last of these, and finds a path that has come
/// back sooner.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Dials the cloud over the network. The certificate files are read for each dial, so that renewed ones
/// are used from the next connection on.
#[derive(Debug, Clone, Default)]
pub struct NetDialer;

#[async_trait]
impl Dialer for NetDialer {
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError> {
        let limit = to.handshake_timeout;
        let dialed = match to.transport {
            Transport::WebSocket => timeout(limit, ws::dial(to)).await,
            Transport::Quic => timeout(limit, quic::dial(to)).await,
        };
        dialed.unwrap_or(Err(LinkError::HandshakeTimeout(limit)))
    }
}

/// The certificate must be of the host that the configuration names.
pub(crate) fn server_name(server: &str) -> Result<ServerName<'static>, LinkError> {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned())
        .map_err(|error| LinkError::Local(format!("{host:?} is no host name: {error}")))
}

/// Makes TLS of the edge's files.
pub(crate) async fn client_config(files: &TlsFiles) -> Result<rustls::ClientConfig, LinkError> {
    let certificates = LinkCertificates::read(files).await?;
    believing(certificates.roots()?)
        .with_client_auth_cert(certificates.chain, certificates.key)
        .map_err(|error| LinkError::Local(format!("the edge's certificate: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_name_is_its_host() {
        for (server, expect) in
            [("10.0.0.1:10000", "10.0.0.1"), ("cloud.example:10000", "cloud.example"), ("[::1]:10000", "::1")]
        {
            assert_eq!(server_name(server).expect("a name").to_str(), expect);
        }
        assert!(server_name("a b:1").is_err());
    }
}

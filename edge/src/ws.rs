//! The edge reaches its cloud over WebSocket and TLS, with certificates on both sides.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use link_ws::{LinkCertificates, header, link, settings};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use wire::Codec;
use wire::link::{DialTo, Dialed, Dialer, LinkError, TlsFiles};

use crate::tls::believing;

/// How long the first answer may take. The system repeats its first packet after 1, 3 and 7 seconds; a
/// dial of its own begins before the last of these, and finds a path that has come back sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Dials the cloud over WebSocket and TLS. The certificate files are read for each dial, so that
/// renewed ones are used from the next connection on.
#[derive(Debug, Clone, Default)]
pub struct WsDialer;

#[async_trait]
impl Dialer for WsDialer {
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError> {
        let limit = to.handshake_timeout;
        match timeout(limit, dial(to)).await {
            Ok(dialed) => dialed,
            Err(_) => Err(LinkError::HandshakeTimeout(limit)),
        }
    }
}

async fn dial(to: DialTo) -> Result<Dialed, LinkError> {
    let failed = |error: String| LinkError::Handshake(error);
    let tls = TlsConnector::from(Arc::new(client_config(&to.tls).await?));
    let request = request(&to)?;
    let name = server_name(&to.server)?;
    let unreached = |why: &dyn std::fmt::Display| LinkError::Transport(format!("{}: {why}", to.server));
    let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(&to.server)).await {
        Ok(connected) => connected.map_err(|error| unreached(&error))?,
        Err(_) => return Err(unreached(&format!("no answer within {CONNECT_TIMEOUT:?}"))),
    };
    stream.set_nodelay(true).map_err(|error| LinkError::Transport(error.to_string()))?;
    let stream = tls.connect(name, stream).await.map_err(|error| failed(error.to_string()))?;
    let upgraded = client_async_with_config(request, stream, Some(settings(to.frame_bytes_max))).await;
    let (socket, response) = upgraded.map_err(|error| failed(refusal(error)))?;
    let chosen = response.headers().get(Codec::HEADER).and_then(|value| value.to_str().ok());
    let codec = Codec::of_header(chosen);
    if !to.codecs.contains(&codec) {
        return Err(failed(format!("the cloud speaks only the codec {codec:?}")));
    }
    Ok(Dialed { codec, link: link(socket) })
}

/// Says what the server said, where it said something.
fn refusal(error: Error) -> String {
    match error {
        Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
            format!("the cloud refused the upgrade: {} {body}", response.status())
        }
        error => error.to_string(),
    }
}

/// Upstream's request: its path and its three headers.
fn request(to: &DialTo) -> Result<Request, LinkError> {
    let bad = |what: &str, error: String| LinkError::Local(format!("the {what} is of no use: {error}"));
    let url = format!("wss://{}/{}/{}/events", to.server, to.project, to.node);
    let mut request = url.into_client_request().map_err(|error| bad("server address", error.to_string()))?;
    let headers = request.headers_mut();
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| bad("header", error.to_string()));
    headers.insert(header::NODE, value(to.node.as_str())?);
    headers.insert(header::PROJECT, value(&to.project)?);
    headers.insert(header::USE, HeaderValue::from_static(header::USE_MESSAGES));
    let offered: Vec<&str> = to.codecs.iter().filter_map(|codec| codec.header_value()).collect();
    if !offered.is_empty() {
        headers.insert(Codec::HEADER, value(&offered.join(", "))?);
    }
    Ok(request)
}

/// The certificate must be of the host that the configuration names.
fn server_name(server: &str) -> Result<ServerName<'static>, LinkError> {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned())
        .map_err(|error| LinkError::Local(format!("{host:?} is no host name: {error}")))
}

async fn client_config(files: &TlsFiles) -> Result<rustls::ClientConfig, LinkError> {
    let certificates = LinkCertificates::read(files).await?;
    let mut config = believing(certificates.roots()?)
        .with_client_auth_cert(certificates.chain, certificates.key)
        .map_err(|error| LinkError::Local(format!("the edge's certificate: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
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

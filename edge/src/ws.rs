//! The edge reaches its cloud over WebSocket and TLS, with certificates on both sides.

use std::sync::Arc;

use link_ws::{header, link, settings};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use wire::Codec;
use wire::link::{DialTo, Dialed, LinkError};

use crate::dial::{CONNECT_TIMEOUT, client_config, server_name};

/// Connects, asks for the upgrade, and returns the link.
pub(crate) async fn dial(to: DialTo) -> Result<Dialed, LinkError> {
    let failed = |error: String| LinkError::Handshake(error);
    let mut tls = client_config(&to.tls).await?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tls = TlsConnector::from(Arc::new(tls));
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

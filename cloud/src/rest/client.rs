//! The client of REST endpoints: one request on a connection of its own, in clear or over TLS whose server is
//! verified.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use node_config::Causes;
use router::ports::{EndpointAnswer, EndpointCall, EndpointError, RestClient};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::write_headers;

/// After how long the system's authorities, and those of the file, are read anew.
const AUTHORITIES_LAST: Duration = Duration::from_secs(300);

/// Calls endpoints over the network.
#[derive(Debug, Clone, Default)]
pub struct HttpRestClient {
    known: Arc<Mutex<Option<Known>>>,
}

/// Whom servers are believed, for a while.
#[derive(Debug, Clone)]
struct Known {
    ca: Option<PathBuf>,
    since: Instant,
    config: Arc<ClientConfig>,
}

#[async_trait]
impl RestClient for HttpRestClient {
    async fn post(&self, call: EndpointCall) -> Result<EndpointAnswer, EndpointError> {
        let within = call.within;
        timeout(within, self.exchange(call)).await.unwrap_or(Err(EndpointError::TimedOut(within)))
    }
}

impl HttpRestClient {
    async fn exchange(&self, call: EndpointCall) -> Result<EndpointAnswer, EndpointError> {
        let uri: Uri = call.url.parse().map_err(|error: http::uri::InvalidUri| unfit(&error))?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(EndpointError::Unfit("its URL is neither http nor https".to_owned())),
        };
        let host = uri.host().ok_or_else(|| EndpointError::Unfit("its URL has no host".to_owned()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let request = request(&uri, &call)?;
        let limit = call.answer_bytes_max;
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| unreachable(&error))?;
        if stream.set_nodelay(true).is_err() {
            tracing::trace!("a connection to an endpoint waits for whole packets");
        }
        if !is_secure {
            return send(stream, request, limit).await;
        }
        let name = ServerName::try_from(host).map_err(|error| unfit(&error))?;
        let connector = TlsConnector::from(self.config(call.ca.as_deref()).await?);
        let stream = connector.connect(name, stream).await.map_err(|error| unreachable(&error))?;
        send(stream, request, limit).await
    }

    async fn config(&self, ca: Option<&Path>) -> Result<Arc<ClientConfig>, EndpointError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known
            && known.ca.as_deref() == ca
            && known.since.elapsed() < AUTHORITIES_LAST
        {
            return Ok(known.config);
        }
        let config = Arc::new(believing(ca).await?);
        let known = Known { ca: ca.map(Path::to_owned), since: Instant::now(), config: Arc::clone(&config) };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(config)
    }
}

async fn believing(ca: Option<&Path>) -> Result<ClientConfig, EndpointError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca {
        let problem = |error: &dyn std::fmt::Display| {
            EndpointError::Unreachable(format!("modules.router.endpointCaFile {}: {error}", path.display()))
        };
        let pem = tokio::fs::read(path).await.map_err(|error| problem(&error))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| problem(&error))?;
            roots.add(certificate).map_err(|error| problem(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unfit(&error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn unfit(error: &dyn std::fmt::Display) -> EndpointError {
    EndpointError::Unfit(error.to_string())
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> EndpointError {
    EndpointError::Unreachable(Causes(error).to_string())
}

fn request(uri: &Uri, call: &EndpointCall) -> Result<Request<Full<Bytes>>, EndpointError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    // Who calls is not told by the URL's user.
    let host = authority.rsplit('@').next().unwrap_or_default();
    let mut request =
        Request::post(path).body(Full::new(call.body.clone())).map_err(|error| unfit(&error))?;
    *request.headers_mut() = write_headers(&call.headers);
    let host = HeaderValue::from_str(host).map_err(|error| unfit(&error))?;
    request.headers_mut().insert(header::HOST, host);
    Ok(request)
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<Full<Bytes>>,
    bytes_max: usize,
) -> Result<EndpointAnswer, EndpointError> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        let status = answer.status().as_u16();
        match Limited::new(answer.into_body(), bytes_max).collect().await {
            Ok(body) => Ok(EndpointAnswer { status, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(EndpointError::TooLarge(bytes_max)),
            Err(error) => Err(unreachable(&*error)),
        }
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // A server that closes at once has answered before; its answer waits.
        ended = connection => {
            ended.map_err(|error| unreachable(&error))?;
            answer.await
        }
    }
}

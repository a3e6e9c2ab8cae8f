//! One request to the cloud's HTTPS server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How much of a refusal is told.
const REASON_CHARS_MAX: usize = 500;

/// Says why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody is there, or the connection broke.
    #[error("the cloud at {server} was not reached: {problem}")]
    Unreachable {
        /// Where.
        server: String,
        /// What the system said.
        problem: String,
    },
    /// The server is not the cloud, or does not believe this edge.
    #[error("the cloud at {server} and this edge do not trust each other: {problem}")]
    Trust {
        /// Where.
        server: String,
        /// What TLS said.
        problem: String,
    },
    /// The server refuses.
    #[error("the cloud at {server} refused the request with {status}: {reason}")]
    Refused {
        /// Where.
        server: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        reason: String,
    },
    /// The address of the server is of no use.
    #[error("edgeHub.httpServer is of no use: {0}")]
    Server(String),
}

/// Where to ask.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Host and port.
    authority: String,
    name: ServerName<'static>,
}

impl Server {
    pub(crate) fn parse(url: &str) -> Result<Self, RequestError> {
        let useless = |problem: String| RequestError::Server(format!("{url:?}: {problem}"));
        let uri: http::Uri = url.parse().map_err(|error| useless(format!("{error}")))?;
        let host = uri.host().ok_or_else(|| useless("it names no host".to_owned()))?;
        let port = uri.port_u16().ok_or_else(|| useless("it names no port".to_owned()))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| useless(error.to_string()))?;
        Ok(Self { authority: format!("{host}:{port}"), name })
    }

    /// Sends a request and returns the body of its answer.
    pub(crate) async fn get(
        &self,
        tls: rustls::ClientConfig,
        path: &str,
        headers: &[(&'static str, HeaderValue)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, RequestError> {
        match timeout(REQUEST_TIMEOUT, self.exchange(tls, path, headers, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(format!("no answer within {REQUEST_TIMEOUT:?}"))),
        }
    }

    async fn exchange(
        &self,
        mut tls: rustls::ClientConfig,
        path: &str,
        headers: &[(&'static str, HeaderValue)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, RequestError> {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let broken = |error: hyper::Error| self.broken(&error);
        let stream =
            TcpStream::connect(&self.authority).await.map_err(|error| self.unreachable(error.to_string()))?;
        let connector = TlsConnector::from(Arc::new(tls));
        let stream =
            connector.connect(self.name.clone(), stream).await.map_err(|error| self.untrusted(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut request = Request::get(path).header(header::HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::<Bytes>::from(body))
            .map_err(|error| RequestError::Server(error.to_string()))?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.unreachable(error.to_string()))?.to_bytes();
            Ok((status, body))
        };
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        let (status, body) = tokio::select! {
            biased;
            answer = &mut answer => answer?,
            ended = &mut connection => {
                ended.map_err(broken)?;
                answer.await?
            }
        };
        if status == StatusCode::OK {
            return Ok(body.to_vec());
        }
        let reason = String::from_utf8_lossy(&body).trim().chars().take(REASON_CHARS_MAX).collect();
        Err(RequestError::Refused { server: self.authority.clone(), status, reason })
    }

    fn unreachable(&self, problem: String) -> RequestError {
        RequestError::Unreachable { server: self.authority.clone(), problem }
    }

    /// What TLS finds wrong does not mend itself; what the network does may.
    fn untrusted(&self, error: &std::io::Error) -> RequestError {
        let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        match tls {
            Some(problem) => {
                RequestError::Trust { server: self.authority.clone(), problem: problem.to_string() }
            }
            None => self.unreachable(error.to_string()),
        }
    }

    /// In TLS 1.3 a server refuses the client's certificate after the handshake.
    fn broken(&self, error: &hyper::Error) -> RequestError {
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return self.untrusted(error);
            }
            cause = error.source();
        }
        self.unreachable(error.to_string())
    }
}

/// Believes every certificate. For the one request whose answer is checked against the token.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Makes a TLS client that believes anyone.
pub(crate) fn believing_anyone() -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth())
}

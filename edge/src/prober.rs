//! Knocks at containers' ports for their probes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edged::ports::{HttpProbe, ProbeScheme, Prober};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Probes over the node's own network.
#[derive(Debug, Clone)]
pub struct NetProber {
    tls: Arc<ClientConfig>,
}

impl Default for NetProber {
    fn default() -> Self {
        Self::new()
    }
}

impl NetProber {
    /// Makes the port.
    #[must_use]
    pub fn new() -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider's own protocol versions fit it")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        Self { tls: Arc::new(config) }
    }

    async fn ask(&self, probe: &HttpProbe) -> Result<u16, String> {
        let connection = TcpStream::connect((probe.host.as_str(), probe.port)).await;
        let connection = connection.map_err(|error| format!("connect: {error}"))?;
        match probe.scheme {
            ProbeScheme::Http => get(connection, probe).await,
            ProbeScheme::Https => {
                let name = ServerName::try_from(probe.host.clone()).map_err(|error| error.to_string())?;
                let connector = TlsConnector::from(Arc::clone(&self.tls));
                let secured = connector.connect(name, connection).await;
                get(secured.map_err(|error| format!("TLS: {error}"))?, probe).await
            }
        }
    }
}

#[async_trait]
impl Prober for NetProber {
    async fn tcp(&self, host: &str, port: u16, timeout: Duration) -> Result<(), String> {
        match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("dial tcp {host}:{port}: {error}")),
            Err(_) => Err(format!("dial tcp {host}:{port}: i/o timeout")),
        }
    }

    async fn http(&self, probe: &HttpProbe, timeout: Duration) -> Result<u16, String> {
        let scheme = if probe.scheme == ProbeScheme::Https { "https" } else { "http" };
        let url = format!("{scheme}://{}:{}{}", probe.host, probe.port, probe.path);
        match tokio::time::timeout(timeout, self.ask(probe)).await {
            Ok(answer) => answer.map_err(|error| format!("Get {url:?}: {error}")),
            Err(_) => Err(format!("Get {url:?}: context deadline exceeded")),
        }
    }
}

async fn get<C: AsyncRead + AsyncWrite + Unpin + Send>(
    connection: C,
    probe: &HttpProbe,
) -> Result<u16, String> {
    let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await.map_err(|e| e.to_string())?;
    let own = |name: &str| probe.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
    let mut request = http::Request::get(&probe.path);
    if !own("host") {
        let host = if probe.host.contains(':') { format!("[{}]", probe.host) } else { probe.host.clone() };
        request = request.header("Host", format!("{host}:{}", probe.port));
    }
    if !own("user-agent") {
        request = request.header("User-Agent", "kube-probe/1.32");
    }
    if !own("accept") {
        request = request.header("Accept", "*/*");
    }
    for (name, value) in &probe.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! { biased;
        answer = &mut answer => answer,
        // A server that closes at once has answered before; its answer waits.
        driven = driver => match driven {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
}

/// Takes any certificate, as kubelet's probes do: they ask whether a server answers, not who it is.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_http_probe_gives_the_status_and_sends_its_headers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = async {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            let mut request = vec![0; 4096];
            let size = connection.read(&mut request).await.expect("a request");
            connection.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").await.expect("written");
            String::from_utf8_lossy(&request[..size]).into_owned()
        };
        let probe = HttpProbe {
            scheme: ProbeScheme::Http,
            host: "127.0.0.1".to_owned(),
            port,
            path: "/healthz?x=1".to_owned(),
            headers: vec![("X-Probe".to_owned(), "y".to_owned())],
        };
        let prober = NetProber::new();
        let (request, answer) = tokio::join!(server, prober.http(&probe, WITHIN));
        assert_eq!(answer, Ok(503));
        assert!(request.starts_with("GET /healthz?x=1 HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains("x-probe: y"), "{request}");
    }

    #[tokio::test]
    async fn a_tcp_probe_tells_an_open_port_from_a_closed_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let prober = NetProber::new();
        assert_eq!(prober.tcp("127.0.0.1", port, WITHIN).await, Ok(()));
        drop(listener);
        assert!(prober.tcp("127.0.0.1", port, WITHIN).await.is_err());
    }
}

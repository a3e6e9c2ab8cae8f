//! Knocks at containers' ports for their probes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use edged::ports::{HttpProbe, ProbeScheme, Prober};
use http::Request;
use http_body_util::Full;
use node_config::Causes;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;

use crate::http1::{ExchangeError, Server, Wanted, exchange};
use crate::tls::believing_anyone;

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
        // Kubelet's probes ask whether a server answers, not who it is.
        Self { tls: Arc::new(believing_anyone()) }
    }

    async fn ask(&self, probe: &HttpProbe, timeout: Duration) -> Result<u16, String> {
        let tls = match probe.scheme {
            ProbeScheme::Http => None,
            ProbeScheme::Https => {
                let name = ServerName::try_from(probe.host.clone()).map_err(|error| error.to_string())?;
                Some((Arc::clone(&self.tls), name))
            }
        };
        let server = Server { host: &probe.host, port: probe.port, tls };
        let request = request(probe).map_err(|error| error.to_string())?;
        match exchange(&server, request, Wanted::Status, timeout).await {
            Ok(answer) => Ok(answer.status.as_u16()),
            Err(ExchangeError::TimedOut(_)) => Err("context deadline exceeded".to_owned()),
            Err(error) => Err(Causes(&error).to_string()),
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
        self.ask(probe, timeout).await.map_err(|error| format!("Get {url:?}: {error}"))
    }
}

/// Kubelet's request: what the probe does not say itself is filled in.
fn request(probe: &HttpProbe) -> Result<Request<Full<Bytes>>, http::Error> {
    let own = |name: &str| probe.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
    let mut request = Request::get(&probe.path);
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
    request.body(Full::default())
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

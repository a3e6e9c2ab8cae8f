//! One request to the cloud's HTTPS server.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use rustls_pki_types::ServerName;

use crate::http1::{self, Answer, ExchangeError, Wanted, exchange};

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
        /// What that is about.
        doubt: Doubt,
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

/// What makes one end of a connection doubt the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The time at which the cloud's certificate is valid.
    Time,
    /// The name by which the cloud was asked.
    Name,
    /// The server asks for a certificate that an edge has only once it joined.
    Uncertified,
    /// Anything else.
    Other,
}

impl Doubt {
    fn of(problem: &rustls::Error) -> Self {
        use rustls::{AlertDescription as Alert, CertificateError as Of, Error};
        match problem {
            Error::InvalidCertificate(
                Of::Expired | Of::ExpiredContext { .. } | Of::NotValidYet | Of::NotValidYetContext { .. },
            )
            | Error::AlertReceived(Alert::CertificateExpired) => Self::Time,
            Error::InvalidCertificate(Of::NotValidForName | Of::NotValidForNameContext { .. }) => Self::Name,
            Error::AlertReceived(Alert::CertificateRequired) => Self::Uncertified,
            _ => Self::Other,
        }
    }
}

/// Where to ask.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Host and port, as in the address.
    authority: String,
    /// The host without brackets.
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Server {
    pub(crate) fn parse(url: &str) -> Result<Self, RequestError> {
        let useless = |problem: String| RequestError::Server(format!("{url:?}: {problem}"));
        let uri: http::Uri = url.parse().map_err(|error| useless(format!("{error}")))?;
        let host = uri.host().ok_or_else(|| useless("it names no host".to_owned()))?;
        let port = uri.port_u16().ok_or_else(|| useless("it names no port".to_owned()))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare.clone()).map_err(|error| useless(error.to_string()))?;
        Ok(Self { authority: format!("{host}:{port}"), host: bare, port, name })
    }

    /// Sends a request and returns the body of its answer.
    pub(crate) async fn get(
        &self,
        tls: rustls::ClientConfig,
        path: &str,
        headers: &[(&'static str, HeaderValue)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, RequestError> {
        let Answer { status, body, .. } = self.ask(tls, path, headers, body).await?;
        if status == StatusCode::OK { Ok(body.to_vec()) } else { Err(self.refused(status, &body)) }
    }

    /// Sends a request and returns its answer, whatever its status.
    pub(crate) async fn ask(
        &self,
        mut tls: rustls::ClientConfig,
        path: &str,
        headers: &[(&'static str, HeaderValue)],
        body: Vec<u8>,
    ) -> Result<Answer, RequestError> {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut request = Request::get(path).header(header::HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request =
            request.body(Full::from(body)).map_err(|error| RequestError::Server(error.to_string()))?;
        let secured = Some((Arc::new(tls), self.name.clone()));
        let server = http1::Server { host: &self.host, port: self.port, tls: secured };
        let wanted = Wanted::Body { bytes_max: ANSWER_BYTES_MAX };
        exchange(&server, request, wanted, REQUEST_TIMEOUT).await.map_err(|error| self.failed(error))
    }

    /// Says that the server answered with another status than was hoped for.
    pub(crate) fn refused(&self, status: StatusCode, body: &[u8]) -> RequestError {
        let reason = String::from_utf8_lossy(body).trim().chars().take(REASON_CHARS_MAX).collect();
        RequestError::Refused { server: self.authority.clone(), status, reason }
    }

    /// Says that what the server gave as its authority is none.
    pub(crate) fn no_authority(&self, error: &rustls::Error) -> RequestError {
        RequestError::Trust {
            server: self.authority.clone(),
            problem: format!("what it gives as its authority is no certificate: {error}"),
            doubt: Doubt::Other,
        }
    }

    fn failed(&self, error: ExchangeError) -> RequestError {
        match error {
            ExchangeError::Connect(error) => self.unreachable(error.to_string()),
            ExchangeError::Tls(error) => self.untrusted(&error),
            ExchangeError::Http(error) => self.broken(&error),
            ExchangeError::Body(_) | ExchangeError::TimedOut(_) => self.unreachable(error.to_string()),
        }
    }

    fn unreachable(&self, problem: String) -> RequestError {
        RequestError::Unreachable { server: self.authority.clone(), problem }
    }

    /// What TLS finds wrong does not mend itself; what the network does may.
    fn untrusted(&self, error: &std::io::Error) -> RequestError {
        let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        match tls {
            Some(problem) => RequestError::Trust {
                server: self.authority.clone(),
                problem: problem.to_string(),
                doubt: Doubt::of(problem),
            },
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

//! One HTTP/1 request over a connection of its own, in clear or over TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Whom to ask.
pub(crate) struct Server<'a> {
    /// A name or an address; an IPv6 address stands without brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// How to speak TLS, and the name that the server must prove; none to speak in clear.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// How much of an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The status alone; whatever comes after it is not waited for.
    Status,
    /// The body too, up to so many bytes; a longer one is an error.
    Body { bytes_max: usize },
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Empty where it was not wanted.
    pub(crate) body: Bytes,
}

impl Answer {
    /// Returns the time by the server's clock, as it wrote it.
    pub(crate) fn date(&self) -> Option<&str> {
        self.headers.get(header::DATE).and_then(|date| date.to_str().ok())
    }
}

/// Says why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("connect")]
    Connect(#[source] io::Error),
    #[error("TLS")]
    Tls(#[source] io::Error),
    #[error(transparent)]
    Http(hyper::Error),
    #[error(transparent)]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// Sends a request and returns the answer; connecting and reading included, it takes no longer than
/// `within`.
pub(crate) async fn exchange(
    server: &Server<'_>,
    request: Request<Full<Bytes>>,
    wanted: Wanted,
    within: Duration,
) -> Result<Answer, ExchangeError> {
    let exchange = async {
        let stream = TcpStream::connect((server.host, server.port)).await.map_err(ExchangeError::Connect)?;
        match &server.tls {
            None => send(stream, request, wanted).await,
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await.map_err(ExchangeError::Tls)?;
                send(stream, request, wanted).await
            }
        }
    };
    timeout(within, exchange).await.unwrap_or(Err(ExchangeError::TimedOut(within)))
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<Full<Bytes>>,
    wanted: Wanted,
) -> Result<Answer, ExchangeError> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(ExchangeError::Http)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(ExchangeError::Http)?;
        let status = answer.status();
        let headers = answer.headers().clone();
        let body = match wanted {
            Wanted::Status => Bytes::new(),
            Wanted::Body { bytes_max } => {
                let body = Limited::new(answer.into_body(), bytes_max).collect().await;
                body.map_err(ExchangeError::Body)?.to_bytes()
            }
        };
        Ok(Answer { status, headers, body })
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // A server that closes at once has answered before; its answer waits.
        ended = connection => {
            ended.map_err(ExchangeError::Http)?;
            answer.await
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Long enough for any machine; only a failing test waits for it.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Asks a server that answers with `answer` and then stays silent until the asker leaves.
    async fn ask(answer: &str, wanted: Wanted, within: Duration) -> Result<Answer, ExchangeError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.write_all(answer.as_bytes()).await.expect("written");
            let mut request = Vec::new();
            // Whoever leaves in the middle of an answer may reset the connection.
            let _left = stream.read_to_end(&mut request).await;
        };
        let peer = Server { host: "127.0.0.1", port, tls: None };
        let request = Request::get("/").body(Full::default()).expect("a request");
        let asking = exchange(&peer, request, wanted, within);
        tokio::join!(asking, server).0
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound_and_no_further() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let read = ask(answer, Wanted::Body { bytes_max: 5 }, PATIENCE).await.expect("an answer");
        assert_eq!((read.status, &read.body[..]), (StatusCode::OK, &b"hello"[..]));
        let read = ask(answer, Wanted::Body { bytes_max: 4 }, PATIENCE).await;
        assert!(matches!(read, Err(ExchangeError::Body(_))), "{read:?}");
    }

    #[tokio::test]
    async fn a_status_does_not_wait_for_the_body() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let read = ask(answer, Wanted::Status, PATIENCE).await.expect("an answer");
        assert_eq!((read.status, read.date(), read.body.len()), (StatusCode::OK, None, 0));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_given_up() {
        let within = Duration::from_millis(50);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let read = ask(answer, Wanted::Body { bytes_max: 5 }, within).await;
        assert!(matches!(read, Err(ExchangeError::TimedOut(limit)) if limit == within), "{read:?}");
    }
}

//! The listener for applications on the node, over HTTP or HTTPS.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::rules::SERVICE_BODY_BYTES_MAX;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use servicebus::ports::{AppCall, AppCalls, AppListener, ListenError, ListenOn, TlsFiles};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Connections at a time; more wait in the system's queue. Each may hold one body.
const CONNECTIONS_MAX: usize = 16;
/// Requests that wait for the service bus to take them.
const CALLS_MAX: usize = 16;
/// How long an application may take for a handshake or the head of a request, and for a body.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How much later than its own deadline the service bus may answer.
const ANSWER_GRACE: Duration = Duration::from_secs(5);
/// The pause after the system refused to hand out a connection, as when files run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on sockets of this machine. The files for TLS are read for each connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpAppListener;

#[async_trait]
impl AppListener for HttpAppListener {
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn AppCalls>, ListenError> {
        if let Some(files) = &on.tls {
            read(files).await.map_err(ListenError)?;
        }
        let listener = TcpListener::bind((on.address.as_str(), on.port)).await;
        let listener = listener.map_err(|error| ListenError(error.to_string()))?;
        let (calls, called) = mpsc::channel(CALLS_MAX);
        let desk = Arc::new(Desk { calls, tls: on.tls, answer_timeout: on.answer_timeout });
        let mut task = JoinSet::new();
        task.spawn(serve(listener, desk));
        Ok(Box::new(Calls { called, _task: task }))
    }
}

struct Calls {
    called: mpsc::Receiver<AppCall>,
    _task: JoinSet<()>,
}

#[async_trait]
impl AppCalls for Calls {
    async fn next(&mut self) -> Result<AppCall, ListenError> {
        self.called.recv().await.ok_or_else(|| ListenError("the listener ended".to_owned()))
    }
}

async fn read(files: &TlsFiles) -> Result<ServerConfig, String> {
    let file = async |path: &Path| {
        tokio::fs::read(path).await.map_err(|error| format!("{}: {error}", path.display()))
    };
    let (cert, key) = (file(&files.cert).await?, file(&files.key).await?);
    let unfit = |path: &Path, problem: String| format!("{}: {problem}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert).collect();
    let chain = chain.map_err(|error| unfit(&files.cert, error.to_string()))?;
    let leaf = chain.first().ok_or_else(|| unfit(&files.cert, "it holds no certificate".to_owned()))?;
    if !is_for_servers(leaf) {
        // KubeEdge asks for this, too: the node's certificate for its link is none of a server.
        let problem =
            "it is not for server authentication: the certificate of the node's link is of no use here";
        return Err(unfit(&files.cert, problem.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unfit(&files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.with_no_client_auth();
    builder.with_single_cert(chain, key).map_err(|error| unfit(&files.key, error.to_string()))
}

fn is_for_servers(certificate: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let usage = certificate.extended_key_usage();
    usage.ok().flatten().is_some_and(|usage| usage.value.server_auth)
}

/// What serves connections.
struct Desk {
    calls: mpsc::Sender<AppCall>,
    tls: Option<TlsFiles>,
    answer_timeout: Duration,
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "an application's connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let desk = Arc::clone(&desk);
        connections.spawn(async move {
            let _place = place;
            if let Err(cause) = desk.connection(stream).await {
                tracing::debug!(%cause, "an application's connection ended");
            }
        });
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Desk {
    async fn connection(&self, stream: TcpStream) -> Result<(), Cause> {
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.requests(stream).await,
            Some(files) => {
                // Never in clear where TLS was asked for.
                let config = read(files).await.inspect_err(|problem| {
                    tracing::warn!(problem, "the service bus has no certificate to show");
                })?;
                let acceptor = TlsAcceptor::from(Arc::new(config));
                let stream = timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await??;
                self.requests(stream).await
            }
        }
    }

    async fn requests<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<(), Cause> {
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.answer(request).await) });
        let mut builder = http1::Builder::new();
        // A connection that was answered leaves its place.
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false);
        Ok(builder.serve_connection(TokioIo::new(stream), service).await?)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let body = Limited::new(request.into_body(), SERVICE_BODY_BYTES_MAX).collect();
        let body = match timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => Some(body.to_bytes()),
            Ok(Err(_)) | Err(_) => None,
        };
        let (answer, answered) = oneshot::channel();
        if self.calls.try_send(AppCall { body, answer }).is_err() {
            return failure();
        }
        match timeout(self.answer_timeout + ANSWER_GRACE, answered).await {
            Ok(Ok(json)) => {
                let mut response = Response::new(Full::new(json));
                let kind = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            Ok(Err(_)) | Err(_) => failure(),
        }
    }
}

/// The service bus is not there: the one answer that is none of its own.
fn failure() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("the service bus does not answer, try again\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Long enough for any machine; only a failing test waits for it.
    const PATIENCE: Duration = Duration::from_secs(60);

    async fn on(tls: Option<TlsFiles>) -> ListenOn {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = free.local_addr().expect("an address").port();
        ListenOn { address: "127.0.0.1".to_owned(), port, tls, answer_timeout: PATIENCE }
    }

    async fn exchange(port: u16, head: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        let request = format!("{head} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(request.as_bytes()).await.expect("it is read");
        // Who is refused may be before the end of what he says.
        let _refused = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _reset = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time");
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn an_application_is_heard_whatever_its_method_and_path_and_gets_the_answer() {
        let on = on(None).await;
        let mut calls = HttpAppListener.listen(on.clone()).await.expect("a free port is bound");
        for head in ["POST /", "PUT /any/path?x=1"] {
            let serving = async {
                let call = calls.next().await.expect("a request");
                assert_eq!(call.body.as_deref(), Some(&b"body"[..]));
                call.answer.send("{\"code\":200}".into()).expect("the application waits");
            };
            let (answer, ()) = tokio::join!(exchange(on.port, head, b"body"), serving);
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{\"code\":200}"), "{answer}");
        }
        let dropped = async { drop(calls.next().await.expect("a request")) };
        let (answer, ()) = tokio::join!(exchange(on.port, "POST /", b"body"), dropped);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let taken = HttpAppListener.listen(on).await;
        assert!(taken.is_err(), "the port is taken");
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_told_as_one_that_cannot_be_read() {
        let on = on(None).await;
        let mut calls = HttpAppListener.listen(on.clone()).await.expect("a free port is bound");
        let serving = async {
            let call = calls.next().await.expect("a request");
            assert_eq!(call.body, None);
            call.answer.send("{}".into()).expect("the application waits");
        };
        let large = vec![b'x'; SERVICE_BODY_BYTES_MAX + 1];
        tokio::join!(exchange(on.port, "POST /", &large), serving);
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_for_servers_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = TlsFiles { cert: directory.path().join("crt"), key: directory.path().join("key") };
        for (usage, is_fit) in
            [(ExtendedKeyUsagePurpose::ClientAuth, false), (ExtendedKeyUsagePurpose::ServerAuth, true)]
        {
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().expect("a key");
            let made = params.self_signed(&key).expect("a certificate");
            std::fs::write(&files.cert, made.pem()).expect("it is written");
            std::fs::write(&files.key, key.serialize_pem()).expect("it is written");
            let listened = HttpAppListener.listen(on(Some(files.clone())).await).await;
            assert_eq!(listened.is_ok(), is_fit);
        }
    }
}

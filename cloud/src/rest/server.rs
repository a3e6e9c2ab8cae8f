//! The listener for REST clients, over HTTP or HTTPS.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::rules::Headers;
use router::ports::{
    ListenError, ListenOn, REST_BODY_BYTES_MAX, RestAnswer, RestCall, RestCalls, RestListener, RestRequest,
    TlsFiles,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{read_headers, write_headers};
use crate::accept::accept_all;
use crate::linger::{LingerLimits, Lingering};

/// Requests that wait for the router to take them.
const CALLS_MAX: usize = 64;
/// How much later than its own deadline the router may answer.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// What the listener allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestLimits {
    /// How many connections may be open at once; more wait in the system's queue.
    pub connections_max: usize,
    /// How many bytes the bodies of all requests under way may have together.
    pub bytes_max: usize,
    /// How long a TLS handshake may take, and how long a client may take to send the head of a request.
    pub head_timeout: Duration,
}

impl Default for RestLimits {
    fn default() -> Self {
        Self { connections_max: 512, bytes_max: 64 << 20, head_timeout: Duration::from_secs(10) }
    }
}

/// Listens on sockets of this machine. The files for TLS are read for each connection, so that renewed ones
/// are used from the next one on.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpRestListener(pub RestLimits);

#[async_trait]
impl RestListener for HttpRestListener {
    async fn listen(&self, on: ListenOn) -> Result<Box<dyn RestCalls>, ListenError> {
        let tls = match on.tls {
            Some(files) => Some(Arc::new(Tls::open(files).await?)),
            None => None,
        };
        let place = (on.address.clone(), on.port);
        let listener = TcpListener::bind(place).await;
        let listener = listener.map_err(|error| {
            ListenError(format!(
                "modules.router cannot listen on {}:{}: {error}; choose another modules.router.port",
                on.address, on.port
            ))
        })?;
        let (calls, called) = mpsc::channel(CALLS_MAX);
        let desk = Desk {
            calls,
            tls,
            budget: Arc::new(Semaphore::new(self.0.bytes_max)),
            limits: self.0,
            request_timeout: on.request_timeout,
        };
        let mut task = JoinSet::new();
        task.spawn(serve(listener, desk));
        Ok(Box::new(Calls { called, _task: task }))
    }
}

struct Calls {
    called: mpsc::Receiver<RestCall>,
    _task: JoinSet<()>,
}

#[async_trait]
impl RestCalls for Calls {
    async fn next(&mut self) -> Result<RestCall, ListenError> {
        self.called.recv().await.ok_or_else(|| ListenError("the REST listener ended".to_owned()))
    }
}

/// The certificate as it was read last.
struct Tls {
    files: TlsFiles,
    current: Mutex<Arc<ServerConfig>>,
}

impl Tls {
    async fn open(files: TlsFiles) -> Result<Self, ListenError> {
        let config = read(&files).await.map_err(ListenError)?;
        Ok(Self { files, current: Mutex::new(Arc::new(config)) })
    }

    async fn acceptor(&self) -> TlsAcceptor {
        match read(&self.files).await {
            Ok(config) => *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config),
            Err(problem) => tracing::warn!(problem, "the router goes on with the certificate that it has"),
        }
        TlsAcceptor::from(Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

async fn read(files: &TlsFiles) -> Result<ServerConfig, String> {
    let file = async |path: &std::path::Path| {
        tokio::fs::read(path).await.map_err(|error| format!("{}: {error}", path.display()))
    };
    let (cert, key) = (file(&files.cert).await?, file(&files.key).await?);
    let unfit = |path: &std::path::Path, problem: String| format!("{}: {problem}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert).collect();
    let chain = chain.map_err(|error| unfit(&files.cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(unfit(&files.cert, "it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unfit(&files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.with_no_client_auth();
    builder.with_single_cert(chain, key).map_err(|error| unfit(&files.key, error.to_string()))
}

/// What serves connections.
#[derive(Clone)]
struct Desk {
    calls: mpsc::Sender<RestCall>,
    tls: Option<Arc<Tls>>,
    budget: Arc<Semaphore>,
    limits: RestLimits,
    request_timeout: Duration,
}

async fn serve(listener: TcpListener, desk: Desk) {
    let mut connections = JoinSet::new();
    let serving = |stream, peer| {
        let desk = desk.clone();
        async move {
            if let Err(cause) = desk.connection(stream).await {
                tracing::debug!(%peer, %cause, "a REST connection ended");
            }
        }
    };
    accept_all(&listener, desk.limits.connections_max, &mut connections, serving).await;
}

/// Why a body was not read.
type Refusal = (StatusCode, String);

impl Desk {
    async fn connection(self, stream: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        stream.set_nodelay(true)?;
        let stream = Lingering::new(stream, LingerLimits::default());
        match &self.tls {
            None => self.requests(stream).await,
            Some(tls) => {
                let acceptor = tls.acceptor().await;
                let stream = timeout(self.limits.head_timeout, acceptor.accept(stream)).await??;
                self.requests(stream).await
            }
        }
    }

    async fn requests<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.answer(request).await) });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.limits.head_timeout);
        Ok(builder.serve_connection(TokioIo::new(stream), service).await?)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let uri = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        // The places of the body's bytes are free again when the answer is made.
        let (body, _places) = match timeout(self.request_timeout, self.body(body)).await {
            Ok(Ok(read)) => read,
            Ok(Err((status, text))) => return refusal(status, &text, true),
            Err(_elapsed) => {
                return refusal(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time", true);
            }
        };
        let (answer, answered) = oneshot::channel();
        let headers = read_headers(&head.headers);
        let request = RestRequest { method: head.method.to_string(), uri, headers, body };
        if self.calls.try_send(RestCall { request, answer }).is_err() {
            let text = "the router has too many requests";
            return refusal(StatusCode::SERVICE_UNAVAILABLE, text, false);
        }
        match timeout(self.request_timeout + ANSWER_GRACE, answered).await {
            Ok(Ok(answer)) => response(answer),
            Ok(Err(_dropped)) => {
                refusal(StatusCode::SERVICE_UNAVAILABLE, "the router stopped before it answered", false)
            }
            Err(_elapsed) => refusal(StatusCode::GATEWAY_TIMEOUT, "the router did not answer in time", false),
        }
    }

    /// Reads a body, as far as there is room for it among those of all requests.
    async fn body(&self, mut body: Incoming) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
        let too_large = || {
            let text = format!("the body has more than {REST_BODY_BYTES_MAX} bytes");
            (StatusCode::PAYLOAD_TOO_LARGE, text)
        };
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > REST_BODY_BYTES_MAX {
            return Err(too_large());
        }
        let (mut read, mut places) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| (StatusCode::BAD_REQUEST, format!("the body broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if read.len() + data.len() > REST_BODY_BYTES_MAX {
                return Err(too_large());
            }
            let wanted = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let Ok(taken) = Arc::clone(&self.budget).try_acquire_many_owned(wanted) else {
                let text = "the requests under way hold too many bytes; try again".to_owned();
                return Err((StatusCode::SERVICE_UNAVAILABLE, text));
            };
            match &mut places {
                Some(places) => places.merge(taken),
                None => places = Some(taken),
            }
            read.extend_from_slice(&data);
        }
        Ok((read.freeze(), places))
    }
}

fn response(answer: RestAnswer) -> Response<Full<Bytes>> {
    let RestAnswer { status, headers, body } = answer;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = write_headers(&headers);
    response
}

/// Makes an answer of the listener's own. After a body that was not read, the connection ends.
fn refusal(status: StatusCode, text: &str, ends: bool) -> Response<Full<Bytes>> {
    let mut headers = Headers::new();
    headers.insert("content-type".to_owned(), vec!["text/plain; charset=utf-8".to_owned()]);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER.to_string(), vec!["1".to_owned()]);
    }
    if ends {
        headers.insert(header::CONNECTION.to_string(), vec!["close".to_owned()]);
    }
    response(RestAnswer { status: status.as_u16(), headers, body: text.to_owned().into() })
}

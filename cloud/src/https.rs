//! The embedded API server behind a TLS listener.
//!
//! Clients prove who they are with a certificate of the cluster's own authority, whose common name
//! is the user and whose organizations are the groups, or with a bearer token, which the API
//! server checks itself.

pub mod authority;
pub mod kubeconfig;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiserver::{ApiServer, Identity};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::accept::accept_all;
use crate::tls::server_config;

pub use authority::{Authority, AuthorityError, Issued};
pub use kubeconfig::write_kubeconfig;

pub use crate::linger::LingerLimits;
use crate::linger::Lingering;

/// A server certificate is replaced when it ends within this time.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a listener allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpsLimits {
    /// How many connections may be open at once; more wait in the system's queue.
    pub connections_max: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a client may take to send the head of a request.
    pub head_timeout: Duration,
    /// How many requests one HTTP/2 connection may have open.
    pub streams_max: u32,
    /// What a client may still send after its connection was ended, so that it reads the last answer.
    pub linger: LingerLimits,
    /// How long open requests are waited for when the listener stops.
    pub drain_timeout: Duration,
}

impl Default for HttpsLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            streams_max: 250,
            linger: LingerLimits::default(),
            drain_timeout: Duration::from_secs(2),
        }
    }
}

/// Says why a listener could not begin.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The address could not be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The certificates are of no use.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The authority's certificate cannot verify clients.
    #[error("cannot verify client certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The authority could not issue a certificate.
    #[error("cannot make a server certificate")]
    Authority(#[from] AuthorityError),
}

/// A bound listener for HTTPS.
#[derive(Debug)]
pub struct HttpsListener {
    listener: TcpListener,
    limits: HttpsLimits,
    certificate: Certificate,
}

/// The server certificate, and who issues the next one.
#[derive(Debug)]
struct Certificate {
    authority: Arc<Authority>,
    names: Vec<String>,
    current: Current,
}

/// The server certificate in use.
struct Current {
    acceptor: TlsAcceptor,
    renew_at: SystemTime,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("renew_at", &self.renew_at).finish_non_exhaustive()
    }
}

impl HttpsListener {
    /// Binds an address. `names` are the host names and addresses that clients may use, besides
    /// `localhost`, the loopback addresses and the API server's names within the cluster.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound or the authority cannot issue a certificate.
    pub async fn bind(
        address: SocketAddr,
        authority: Arc<Authority>,
        names: Vec<String>,
        limits: HttpsLimits,
    ) -> Result<Self, HttpsError> {
        let current = Current::issue(&authority, &names)?;
        let listener =
            TcpListener::bind(address).await.map_err(|cause| HttpsError::Bind { address, cause })?;
        Ok(Self { listener, limits, certificate: Certificate { authority, names, current } })
    }

    /// Returns the address that was bound.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves requests until `stop` resolves, then waits a little for those under way.
    pub async fn serve(self, server: ApiServer, stop: impl Future<Output = ()>) {
        let Self { listener, limits, mut certificate } = self;
        let (stopping, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let serving = |stream, peer| {
            let acceptor = certificate.acceptor();
            let connection = connection(stream, acceptor, server.clone(), limits, stopped.clone());
            async move {
                if let Err(cause) = connection.await {
                    tracing::debug!(%peer, %cause, "an API connection ended");
                }
            }
        };
        tokio::select! {
            biased;
            () = stop => {}
            () = accept_all(&listener, limits.connections_max, &mut connections, serving) => {}
        }
        drop(listener);
        stopping.send_replace(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        if timeout(limits.drain_timeout, drained).await.is_err() {
            tracing::debug!(open = connections.len(), "open API connections are cut");
        }
    }
}

impl Certificate {
    /// Returns what makes TLS connections, with a certificate that was replaced in time.
    fn acceptor(&mut self) -> TlsAcceptor {
        if self.authority.now() >= self.current.renew_at {
            match Current::issue(&self.authority, &self.names) {
                Ok(renewed) => self.current = renewed,
                Err(cause) => tracing::error!(%cause, "the API server's certificate could not be renewed"),
            }
        }
        self.current.acceptor.clone()
    }
}

impl Current {
    fn issue(authority: &Authority, names: &[String]) -> Result<Self, HttpsError> {
        let issued = authority.issue_server(names)?;
        let chain = vec![issued.certificate_der()];
        let protocols: [&[u8]; 2] = [b"h2", b"http/1.1"];
        let config =
            server_config::<HttpsError>(&[authority.certificate_der()], chain, issued.key_der(), &protocols)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), renew_at: issued.ends() - RENEW_BEFORE })
    }
}

type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    server: ApiServer,
    limits: HttpsLimits,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let stream = Lingering::new(stream, limits.linger);
    let stream = timeout(limits.handshake_timeout, acceptor.accept(stream)).await??;
    let identity = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|certificate| identity_of(certificate));
    let service = server.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        if let Some(identity) = &identity {
            request.extensions_mut().insert(identity.clone());
        }
        request
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .keep_alive_interval(limits.head_timeout)
        .keep_alive_timeout(limits.head_timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        result = connection.as_mut() => return result,
        // An error means that the listener is gone, which asks for the same.
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Reads who a verified certificate is for.
fn identity_of(certificate: &[u8]) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    Some(Identity::new(name, groups))
}

//! How a node gets its certificate, as KubeEdge's do.
//!
//! A node without one takes the cloud's authority, checks it against the join token, and asks for a
//! certificate of its own name with that token. Before the certificate ends, the node asks for the
//! next one with it.

mod files;
mod request;
mod survey;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use beehive::Clock;
use edgehub::{EdgeHubConfig, Token};
use http::{HeaderValue, StatusCode};
use link_ws::fingerprint;
use protocol::NodeName;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio::time::sleep;
use wire::link::TlsFiles;

use self::files::{Shows, Standing, client_config, standing, write_authority, write_pair};
use self::request::Server;
use crate::tls::believing_anyone;

pub use self::files::WriteError;
pub use self::request::{Doubt, RequestError};
pub use self::survey::{Registration, Survey, survey};

/// The pause after a request failed, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The longest pause while the name is that of a node that lives: it may just have ended.
const TAKEN_PAUSE: Duration = Duration::from_secs(5);
/// The longest sleep before the certificate is looked at again.
const LOOK_PERIOD: Duration = Duration::from_secs(3600);
/// The pause between two requests for a certificate while the node has none that is in force.
const EXPIRED_PAUSE: Duration = Duration::from_secs(60);
/// Percent of a certificate's life after which it is replaced: from, and up to.
const RENEW_AT: (u32, u32) = (70, 90);

/// Says why a node has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There is no token to get one with.
    #[error(
        "this node has no certificate to reach the cloud with ({reason}) and edgeHub.token is empty: \
         set it to what `keadm gettoken` prints on the cloud's side, or provide the three files"
    )]
    NoToken {
        /// Why the files are of no use.
        reason: String,
    },
    /// The token is none.
    #[error(
        "edgeHub.token is no join token: it must have four parts with dots between, as `keadm gettoken` prints it"
    )]
    Token,
    /// The cloud is another one than the token's.
    #[error(
        "the authority of the cloud at {server} is not the one of edgeHub.token \
         (SHA-256 {found}, the token says {expected}): the token is of another cluster, \
         edgeHub.httpServer is not this cluster's, or somebody is in between"
    )]
    OtherAuthority {
        /// Where it was asked.
        server: String,
        /// What the token says.
        expected: String,
        /// What the cloud gave.
        found: String,
    },
    /// The request brought nothing.
    #[error("no certificate for this node{}", advice(.0))]
    Request(#[source] RequestError),
    /// A file could not be written.
    #[error("the node's certificate cannot be kept")]
    Write(#[from] WriteError),
    /// The key or the files cannot be used.
    #[error("the node's key or certificate is of no use: {0}")]
    Local(String),
}

impl From<RequestError> for EnrolError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

fn advice(error: &RequestError) -> &'static str {
    match error {
        RequestError::Refused { status: StatusCode::UNAUTHORIZED, .. } => {
            " (set edgeHub.token to what `keadm gettoken` prints now)"
        }
        RequestError::Trust { doubt: Doubt::Time, .. } => {
            " (compare the clock of this machine with the cloud's)"
        }
        RequestError::Trust { doubt: Doubt::Name, .. } => {
            " (is the host of edgeHub.httpServer in the cloud's cloudHub.advertiseAddress or dnsNames?)"
        }
        RequestError::Trust { doubt: Doubt::Uncertified, .. } => {
            " (edgeHub.httpServer has the port of the links: it must be that of cloudHub.https, usually 10002)"
        }
        RequestError::Trust { doubt: Doubt::Other, .. } => {
            " (edgeHub.httpServer leads to something else than the cloud, or the cloud has a new authority)"
        }
        _ => "",
    }
}

impl EnrolError {
    /// Tells whether the same may succeed later, as when the cloud is away.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Request(RequestError::Unreachable { .. }) => true,
            Self::Request(RequestError::Refused { status, .. }) => {
                let passes = [StatusCode::TOO_MANY_REQUESTS, StatusCode::CONFLICT];
                status.is_server_error() || passes.contains(status)
            }
            _ => false,
        }
    }
}

impl EnrolError {
    /// Tells whether a node lives that has this one's name.
    fn is_taken(&self) -> bool {
        matches!(self, Self::Request(RequestError::Refused { status: StatusCode::CONFLICT, .. }))
    }
}

/// Sees to it that a node has a certificate.
pub struct Enrolment {
    server: Server,
    url: String,
    token: Token,
    files: TlsFiles,
    node: NodeName,
    renews: bool,
    clock: Arc<dyn Clock>,
}

impl Enrolment {
    /// Reads what is needed of the hub's section.
    ///
    /// # Errors
    ///
    /// When `httpServer` is of no use.
    pub fn new(config: &EdgeHubConfig, node: NodeName, clock: Arc<dyn Clock>) -> Result<Self, EnrolError> {
        Ok(Self {
            server: Server::parse(&config.http_server)?,
            url: config.http_server.clone(),
            token: Token::new(config.token.reveal().trim()),
            files: config.tls(),
            node,
            renews: config.rotate_certificates,
            clock,
        })
    }

    /// Returns when the node has a certificate, be it one that has ended: a node that once joined
    /// runs its pods without the cloud.
    ///
    /// # Errors
    ///
    /// When there is none and waiting does not help.
    pub async fn ensure(&self) -> Result<(), EnrolError> {
        let reason = match standing(&self.files, &self.node, self.clock.now()) {
            Standing::Valid { .. } | Standing::Expired { .. } => return Ok(()),
            Standing::Useless(reason) => reason,
        };
        if self.token.reveal().is_empty() {
            return Err(EnrolError::NoToken { reason });
        }
        tracing::info!(node = %self.node, cloud = self.url, reason, "joining the cloud with the token");
        let mut pause = PAUSE.0;
        loop {
            match self.join().await {
                Ok(()) => return Ok(()),
                Err(error) if error.may_pass() => {
                    let is_taken = error.is_taken();
                    let error = node_config::Causes(&error).to_string();
                    tracing::warn!(error, ?pause, "the node could not join yet");
                    sleep(spread(pause)).await;
                    pause = (pause * 2).min(if is_taken { TAKEN_PAUSE } else { PAUSE.1 });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Replaces the certificate in time, for as long as it is polled.
    pub async fn maintain(&self) {
        let at = RENEW_AT.0 + percent() * (RENEW_AT.1 - RENEW_AT.0) / 100;
        let mut failed = PAUSE.0;
        loop {
            let pause = match self.due(at) {
                Due::In(pause) => pause,
                Due::Now(way) => match self.replace(way.clone()).await {
                    Ok(()) => {
                        failed = PAUSE.0;
                        // Where the two clocks disagree, the next one may seem due at once.
                        EXPIRED_PAUSE
                    }
                    Err(error) => {
                        let error = node_config::Causes(&error).to_string();
                        tracing::error!(error, ?way, "the node's certificate could not be replaced");
                        failed = (failed * 2).min(EXPIRED_PAUSE);
                        spread(failed)
                    }
                },
            };
            sleep(pause.min(LOOK_PERIOD)).await;
        }
    }

    fn due(&self, percent: u32) -> Due {
        let now = self.clock.now();
        match standing(&self.files, &self.node, now) {
            Standing::Valid { .. } if !self.renews => Due::In(LOOK_PERIOD),
            Standing::Valid { from, until } => {
                let life = until.duration_since(from).unwrap_or_default();
                let due = from + life / 100 * percent;
                due.duration_since(now)
                    .map_or(Due::Now(Way::Certificate), |pause| Due::In(pause.max(Duration::from_secs(1))))
            }
            Standing::Expired { at } => Due::Now(Way::Token { reason: format!("it ended {}", ago(at, now)) }),
            Standing::Useless(reason) => Due::Now(Way::Token { reason }),
        }
    }

    async fn replace(&self, way: Way) -> Result<(), EnrolError> {
        match way {
            Way::Certificate => self.renew().await,
            Way::Token { reason } if self.token.reveal().is_empty() => Err(EnrolError::NoToken { reason }),
            Way::Token { .. } => self.join().await,
        }
    }

    /// Gets the authority and a certificate with the token.
    async fn join(&self) -> Result<(), EnrolError> {
        let (expected, jwt) = split(self.token.reveal()).ok_or(EnrolError::Token)?;
        // Anyone may answer: what comes is checked against the token.
        let authority = self.server.get(believing_anyone(), "/ca.crt", &[], Vec::new()).await?;
        let found = fingerprint(&authority);
        if !found.eq_ignore_ascii_case(expected) {
            return Err(EnrolError::OtherAuthority {
                server: self.url.clone(),
                expected: expected.to_owned(),
                found,
            });
        }
        write_authority(&self.files, &authority)?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {jwt}")).map_err(|_| EnrolError::Token)?;
        bearer.set_sensitive(true);
        self.request(Shows::Nothing, Some(bearer)).await
    }

    /// Gets the next certificate with the present one.
    async fn renew(&self) -> Result<(), EnrolError> {
        self.request(Shows::Certificate, None).await
    }

    async fn request(&self, shows: Shows, bearer: Option<HeaderValue>) -> Result<(), EnrolError> {
        let local = |error: &dyn std::fmt::Display| EnrolError::Local(error.to_string());
        let tls = client_config(&self.files, shows).map_err(EnrolError::Local)?;
        let key = KeyPair::generate().map_err(|error| local(&error))?;
        let csr = csr(&self.node, &key).map_err(|error| local(&error))?;
        let node = HeaderValue::from_str(self.node.as_str()).map_err(|error| local(&error))?;
        let mut headers = vec![("nodename", node)];
        headers.extend(bearer.map(|bearer| ("authorization", bearer)));
        let certificate = self.server.get(tls, "/edge.crt", &headers, csr).await?;
        write_pair(&self.files, &certificate, &key.serialize_pem())?;
        match standing(&self.files, &self.node, self.clock.now()) {
            Standing::Valid { .. } => {
                let file = self.files.certificate.display();
                tracing::info!(node = %self.node, %file, "the node has a new certificate");
                Ok(())
            }
            Standing::Expired { .. } => Err(EnrolError::Local(
                "the cloud gave a certificate that has ended already: compare the clocks".to_owned(),
            )),
            Standing::Useless(reason) => Err(EnrolError::Local(reason)),
        }
    }
}

/// What is to be done about the certificate.
#[derive(Debug)]
enum Due {
    In(Duration),
    Now(Way),
}

/// How the next certificate is got.
#[derive(Debug, Clone)]
enum Way {
    Certificate,
    Token { reason: String },
}

/// Splits a token into the authority's fingerprint and what the cloud checks.
fn split(token: &str) -> Option<(&str, &str)> {
    (token.split('.').count() == 4).then(|| token.split_once('.'))?
}

/// Upstream's request: its cloud takes name and organization from it.
fn csr(node: &NodeName, key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "system:nodes");
    subject.push(DnType::CommonName, format!("system:node:{node}"));
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// Between half of a pause and all of it, so that nodes do not come at once.
fn spread(pause: Duration) -> Duration {
    pause / 2 + pause / 200 * percent()
}

fn percent() -> u32 {
    let seed = node_config::random_seed().unwrap_or_default();
    u32::try_from(seed % 100).unwrap_or_default()
}

fn ago(at: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(at).unwrap_or_default().as_secs();
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{} hours ago, at {since} s of Unix time", seconds / 3600)
}

//! What a cloud's server of certificates tells anyone who asks, before a node joins and for people.

use http::StatusCode;
use link_ws::fingerprint;
use protocol::NodeName;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use super::request::{RequestError, Server};
use crate::certificate::CertificateFacts;
use crate::tls::{Noted, believing, noting};

/// Whether the cluster has a node of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// It has.
    Known,
    /// It has not.
    Unknown,
}

/// What a cloud said.
#[derive(Debug)]
pub struct Survey {
    /// The SHA-256 of its authority, as join tokens begin with it.
    pub fingerprint: String,
    /// Its authority.
    pub authority: Option<CertificateFacts>,
    /// The certificate that it showed.
    pub certificate: Option<CertificateFacts>,
    /// The time by its clock, as HTTP writes it.
    pub date: Option<String>,
    /// Whether it has the node, asked as one who believes the authority alone: an error here is what
    /// a node would meet.
    pub node: Result<Registration, RequestError>,
}

/// Asks the cloud whose server of certificates is at `url`, such as `https://203.0.113.7:10002`.
///
/// # Errors
///
/// When there is no answer or it is no cloud's.
pub async fn survey(url: &str, node: &NodeName) -> Result<Survey, RequestError> {
    let server = Server::parse(url)?;
    let noted = Noted::default();
    let answer = server.ask(noting(noted.clone()), "/ca.crt", &[], Vec::new()).await?;
    if answer.status != StatusCode::OK {
        return Err(server.refused(answer.status, &answer.body));
    }
    let authority = CertificateDer::from(answer.body.to_vec());
    let facts = CertificateFacts::of_der(&authority);
    Ok(Survey {
        fingerprint: fingerprint(&authority),
        node: registration(&server, authority, node).await,
        authority: facts,
        certificate: noted.take().and_then(|leaf| CertificateFacts::of_der(&leaf)),
        date: answer.date().map(str::to_owned),
    })
}

async fn registration(
    server: &Server,
    authority: CertificateDer<'static>,
    node: &NodeName,
) -> Result<Registration, RequestError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(|error| server.no_authority(&error))?;
    let tls = believing(roots).with_no_client_auth();
    let answer = server.ask(tls, &format!("/node/{node}"), &[], Vec::new()).await?;
    match answer.status {
        StatusCode::OK => Ok(Registration::Known),
        StatusCode::NOT_FOUND => Ok(Registration::Unknown),
        other => Err(server.refused(other, &answer.body)),
    }
}
